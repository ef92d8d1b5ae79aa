"""A PLC: for each line of its input, "PART_ID NS", sends TRIGGER, and prints the answers as JSON.

late_ns: how long after that moment the answer was here, so TRIGGER was at the station by then.

--dated: says since when the part can have been there, on the station's clock.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time

import zmq


def main() -> None:
    """Until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("--dated", action="store_true")
    arguments = parser.parse_args()
    link = zmq.Context.instance().socket(zmq.DEALER)
    link.connect(arguments.endpoint)
    lines: list[str | None] = []
    asked_ns: dict[str, int] = {}
    ahead_ns = _clock(link) if arguments.dated else None
    threading.Thread(target=lambda: _read(lines), daemon=True).start()
    while True:
        while lines:
            line = lines.pop(0)
            if line is None:
                return
            part_id, at_ns = line.split()
            asked_ns[part_id] = int(at_ns)
            request: dict[str, object] = {"part_id": part_id, "trigger_id": f"t-{part_id}"}
            if ahead_ns is not None:
                request["not_before_ns"] = int(at_ns) + ahead_ns
            link.send_multipart([b"TRIGGER", part_id.encode(), json.dumps(request).encode()])
        if link.poll(1):
            verb, id_, facts = link.recv_multipart()
            late_ns = time.monotonic_ns() - asked_ns[id_.decode()]
            answer = {"verb": verb.decode(), "id": id_.decode(), "late_ns": late_ns}
            print(json.dumps({**answer, **json.loads(facts)}), flush=True)


def _read(lines: list[str | None]) -> None:
    while line := sys.stdin.readline():
        lines.append(line)
    lines.append(None)


def _clock(link: zmq.Socket[bytes]) -> int:
    """How far the station's clock is ahead of ours, at the least."""
    link.send_multipart([b"STATUS", b"clock", b"{}"])
    if not link.poll(60_000):
        raise SystemExit("no answer to STATUS")
    return int(json.loads(link.recv_multipart()[2])["clock_ns"]) - time.monotonic_ns()


if __name__ == "__main__":
    main()
