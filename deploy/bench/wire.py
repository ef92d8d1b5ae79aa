"""`edge-deploy bench-wire`: how long a verdict takes from the loop to a consumer, and how fast history is read again.

Each figure stands beside a reference from the same run: the bare sync of the same disk, and a bare socket that sends
the same frames. Rejected: figures alone, which say more about the disk and the neighbours than about this code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import click
import numpy as np
import zmq

from edge.client import Consumer, Subscription
from edge.client.replay_link import ReplayLink

WARM_UP = 20
SAMPLE = 100_000
WAIT_S = 60.0
_REFERENCE_BYTES = 8192  # a record takes two or three pages of the write-ahead log


@contextmanager
def station(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`deploy.bench.wire_station` as a process: itself, its live and its replay endpoint."""
    command = [sys.executable, "-m", "deploy.bench.wire_station", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        live, replay = process.stdout.readline().split()
        yield process, live, replay
        process.stdin.close()


def delivery_ms(
    folder: Path,
    parts: int,
    rate: float,
    beside: Callable[[str, str], AbstractContextManager[object]] = lambda live, replay: nullcontext(),
) -> list[float]:
    """From the verdict in the loop's hand to the same record, committed, in another process' hand; milliseconds.

    beside: who else is connected meanwhile, to the live and the replay endpoint.
    """
    taken: list[float] = []
    arguments = "serve", folder / "live.db", parts + WARM_UP, 1 / rate
    with station(*arguments) as (process, live, replay), beside(live, replay), Subscription(live) as feed:
        feed.receive(WAIT_S)  # BIRTH or a heartbeat: we are connected
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        while len(taken) < parts + WARM_UP:
            message = feed.receive(WAIT_S)
            now_ns = time.monotonic_ns()  # one clock for all processes of a machine
            if message is None:
                raise click.ClickException(f"nothing came for {WAIT_S:g} s after {len(taken)} of {parts} parts")
            if message.kind == "result":
                taken.append((now_ns - message.body["t_boot_ns"]) / 1e6)
    return taken[WARM_UP:]


def sync_ms(folder: Path, count: int) -> list[float]:
    """The reference: writing as many bytes behind a file and waiting until they are on disk; milliseconds."""
    taken = []
    with (folder / "reference").open("wb", buffering=0) as file:
        for _ in range(count + WARM_UP):
            started = time.perf_counter()
            file.write(bytes(_REFERENCE_BYTES))
            os.fdatasync(file.fileno())
            taken.append(1e3 * (time.perf_counter() - started))
    return taken[WARM_UP:]


def replay_rates(folder: Path, records: int) -> dict[str, float]:
    """First record (ms), and records a second: a raw DEALER, the library's link and its Consumer, a bare socket.

    The raw reader reads all; the others at most SAMPLE of them.
    """
    sample = min(records, SAMPLE)
    path = folder / "history.db"
    subprocess.run([sys.executable, "-m", "deploy.bench.wire_station", "fill", str(path), str(records)], check=True)
    found: dict[str, float] = {}
    with station("echo", sample) as (_, endpoint, _replay), _dealer(endpoint) as dealer:
        dealer.send_multipart([b"go"])
        found["bare socket, records/s"] = _rate(lambda: sum(bool(_received(dealer)) for _ in range(sample)))
    with station("serve", path, 0, 0.0) as (_, _live, endpoint):
        started = time.perf_counter()
        with _dealer(endpoint) as dealer:
            events = _raw_history(dealer, records)
            next(events)
            found["first record, ms"] = 1e3 * (time.perf_counter() - started)
            found["raw reader, records/s"] = _rate(lambda: sum(1 for _ in events))
        found["library, fetch, records/s"] = _rate(lambda: _fetched(endpoint, sample))
        found["library, Consumer, records/s"] = _rate(lambda: _consumed(endpoint, sample))
    return found


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


@contextmanager
def _dealer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.set(zmq.RCVHWM, 0)
        dealer.connect(endpoint)
        yield dealer


def _received(dealer: zmq.Socket[bytes]) -> list[bytes]:
    if not dealer.poll(round(1000 * WAIT_S)):
        raise click.ClickException(f"the station did not answer for {WAIT_S:g} s")
    return dealer.recv_multipart()


def _raw_history(dealer: zmq.Socket[bytes], records: int) -> Iterator[list[bytes]]:
    """The frames of `records` records from the oldest on."""
    dealer.send_multipart([b"HELLO", b"1", b'{"consumer": "raw", "resume": "earliest"}'])
    after = json.loads(_received(dealer)[2])["cursor"]["seq"]
    while after < records:
        request = {"after": after, "max_messages": min(1000, records - after), "max_bytes": 4 << 20}
        dealer.send_multipart([b"FETCH", b"2", json.dumps(request).encode()])
        while (frames := _received(dealer))[0] == b"EVENT":
            yield frames
        after = json.loads(frames[2])["next"]


def _fetched(endpoint: str, records: int) -> int:
    link = ReplayLink(endpoint, "link", WAIT_S)
    position, count = link.hello("earliest").cursor, 0
    while count < records:
        fetched = link.fetch(position, max_messages=1000)
        position, count = fetched.next, count + len(fetched.messages)
    link.close()
    return count


def _consumed(endpoint: str, records: int) -> int:
    with Consumer("consumer", replay=endpoint, resume="earliest", answer_timeout_s=WAIT_S) as consumer:
        return sum(consumer.receive(WAIT_S) is not None for _ in range(records))


def measure(folder: Path, parts: int, rate: float, records: int) -> dict[str, float]:
    """All figures by name; `folder` is where the journals and the reference's file are written."""
    times = {"verdict to consumer": delivery_ms(folder, parts, rate), "bare sync": sync_ms(folder, parts)}
    found = {f"{name}, p{p}, ms": float(np.percentile(ms, p)) for name, ms in times.items() for p in (50, 99)}
    return found | replay_rates(folder, records)


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where to write: the disk that the journal is on.  [default: the system's temporary folder]",
)
@click.option("--parts", default=1000, show_default=True, help="Verdicts to time.")
@click.option("--rate", default=50.0, show_default=True, help="Verdicts a second.")
@click.option("--records", default=100_000, show_default=True, help="Records in the journal that is read again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def main(folder: Path | None, parts: int, rate: float, records: int, as_json: bool) -> None:
    """Time verdicts on their way through the journal to a consumer, and the reading of history."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-wire-") as own:
        found = measure(Path(own), parts, rate, records)
    found["load"] = os.getloadavg()[0]
    if as_json:
        click.echo(json.dumps(found))
        return
    bare_ms, bare_rate = found["bare sync, p50, ms"], found["bare socket, records/s"]
    for name, value in found.items():
        reference = bare_ms if name.endswith("ms") else bare_rate if name.endswith("/s") else None
        click.echo(f"{name:32} {value:10.1f}" + ("" if reference is None else f"   × {value / reference:.2f}"))


if __name__ == "__main__":
    main()
