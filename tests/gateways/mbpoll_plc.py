"""The same PLC on Debian's mbpoll: one that connects anew for each request. Arguments and lines as tests/peers/plc.mjs.

One more mbpoll reads all the time: a PLC keeps a connection, and when its last one ends, it is gone. One that was cut
does not connect again by itself: it is started anew, or the PLC would be gone after each request.
"""

from __future__ import annotations

import json
import queue
import struct
import subprocess
import sys
import threading
import time
from typing import Any

READY, VALID, PASS, FAIL, UNDECIDED, MISSED = 2, 16, 32, 64, 128, 1 << 15
ENABLE, TRIGGER, ACK, CLEAR = 1, 2, 8, 32
DEAF_S = 2.0


class Mbpoll:
    """Reads and writes through the program."""

    def __init__(self, port: int) -> None:
        self._command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-p", str(port)]
        self._begin()

    def _begin(self) -> None:
        self._reader = subprocess.Popen(
            [*self._command, "-t", "3:hex", "-r", "0", "-c", "64", "-l", "100", "127.0.0.1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._heard_s = time.monotonic()
        threading.Thread(target=self._listen, args=(self._reader,), daemon=True).start()

    def _listen(self, reader: subprocess.Popen[str]) -> None:
        assert reader.stdout is not None
        for line in reader.stdout:
            if line.startswith("[") and "0x" in line:
                self._heard_s = time.monotonic()

    def read(self) -> list[int] | None:
        """The 64 input words; None where nobody answers."""
        if time.monotonic() - self._heard_s > DEAF_S:
            self.close()
            self._begin()
        run = self._run("-t", "3:hex", "-r", "0", "-c", "64", "-1", "127.0.0.1")
        words = [int(line.split("0x")[1], 16) for line in run.splitlines() if line.startswith("[") and "0x" in line]
        return words if len(words) == 64 else None

    def write(self, words: list[int]) -> None:
        """The first holding words."""
        self._run("-t", "4:hex", "-r", "0", "127.0.0.1", *(f"0x{word:04x}" for word in words))

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False).stdout

    def close(self) -> None:
        """The reader ends."""
        self._reader.kill()
        self._reader.wait()


class Plc:
    """What its program does in each cycle."""

    def __init__(self, deadline_ms: float, sensor_ms: float) -> None:
        self.sensor_ms = sensor_ms
        self.deadline_ms, self.parts = deadline_ms, queue.SimpleQueue[tuple[str, float] | None]()
        self.part: tuple[str, float] | None = None
        self.is_sent, self.control, self.is_ended = False, 0, False

    def scan(self, words: list[int]) -> list[int]:
        """From what was read to what is written."""
        status = words[0]
        is_valid = bool(status & VALID)
        if (status & PASS > 0) + (status & FAIL > 0) + (status & UNDECIDED > 0) != is_valid:
            print(json.dumps({"unsound": 1}), flush=True)  # at once: it may be killed before its end
        self._next_part()
        control = ENABLE | (ACK if is_valid else 0)
        if (status & MISSED or words[4] == 8) and not self.control & CLEAR:
            control |= CLEAR
        control |= self._part(words, status)
        self.control = control
        name = (self.part[0] if self.part else "").encode().ljust(32, b"\0")
        return [control, 0, 0, 0, words[56], words[57], 0, 0, *struct.unpack(">16H", name)]

    def _next_part(self) -> None:
        while self.part is None and not self.is_ended and not self.parts.empty():
            self.part, self.is_sent = self.parts.get(), False
            self.is_ended = self.part is None
            if self.part is not None and time.time() * 1000 - self.part[1] > self.sensor_ms:
                self._end("none")

    def _part(self, words: list[int], status: int) -> int:
        if self.part is None:
            return 0
        name, since = self.part
        age_ms = time.time() * 1000 - since
        echo = struct.pack(">16H", *words[24:40]).rstrip(b"\0").decode()
        if age_ms > self.deadline_ms or (not self.is_sent and age_ms > self.sensor_ms):
            self._end("none", code=words[4], cause=words[8])
        elif self.is_sent and status & VALID and words[5] == words[6] and echo != name:
            self._end("none", echo=echo)
        elif self.is_sent and status & VALID and words[5] == words[6]:
            verdict = "pass" if status & PASS else "fail" if status & FAIL else "undecided"
            score = struct.unpack(">f", struct.pack(">HH", *words[10:12]))[0]
            self._end(verdict, result=words[7], cause=words[8], score=score, after_ms=round(age_ms))
        elif self.is_sent or (status & READY and not status & VALID):
            self.is_sent = True
            return TRIGGER
        return 0

    def _end(self, verdict: str, **facts: Any) -> None:
        assert self.part is not None
        print(json.dumps({"part": self.part[0], "verdict": verdict, **facts}), flush=True)
        self.part = None

    def hear(self) -> None:
        """The parts, as they are said."""
        for line in sys.stdin:
            name, since = line.split()
            self.parts.put((name, float(since)))
        self.parts.put(None)


def main() -> None:
    """Until there are no more parts."""
    port, deadline_ms, _, sensor_ms = (int(one) for one in sys.argv[1:])
    plc, link = Plc(deadline_ms, sensor_ms), Mbpoll(port)
    threading.Thread(target=plc.hear, daemon=True).start()
    cycles = 0
    try:
        while not plc.is_ended:
            if (words := link.read()) is not None:
                link.write(plc.scan(words))
                cycles += 1
                if cycles == 3:
                    print(json.dumps({"ready": True}), flush=True)
            elif plc.part is not None and time.time() * 1000 - plc.part[1] > deadline_ms:
                plc._end("none")
    finally:
        link.close()


if __name__ == "__main__":
    main()
