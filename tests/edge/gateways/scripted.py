"""A station that answers each TRIGGER as a test says, on real sockets, and a PLC in a few lines of Python."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from edge.core.types import Inspection
from edge.gateways.registers import INPUT
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.publisher import Publisher
from edge.wire.facts import Origin
from edge.wire.messages import as_historical
from edge.wire.recording import birth_record, gap_record, heartbeat_record, result_record
from tests.edge import samples
from tests.patience import WAIT_S

ORIGIN = replace(samples.origin(), trigger="control", trigger_window_ms=150.0)
Answer = Callable[[dict[str, Any]], "list[Inspection] | str"]


class ScriptedStation:
    """told: for each part id, when its first record went out (monotonic seconds). beats: whether it is heard."""

    def __init__(self, folder: Path, name: str = "station", origin: Origin = ORIGIN) -> None:
        self.live, self.control = f"ipc://{folder}/{name}-live", f"ipc://{folder}/{name}-control"
        self.origin, self.answer = origin, with_id(lambda own, part: samples.good(1, trigger_id=own, part_id=part))
        self.told: dict[str, float] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.beats, self.is_historical, self._is_ended, self._beat_s = True, False, False, 0.0
        self._do: list[Callable[[], None]] = []
        self._publisher, self._journal = Publisher(self.live), Journal(IN_MEMORY)
        self._control = zmq.Context.instance().socket(zmq.ROUTER)
        self._control.bind(self.control)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """No more."""
        self._is_ended = True
        self._thread.join()
        self._control.close(0)
        self._publisher.close()

    def become(self, origin: Origin) -> None:
        """It runs something else from now on, and says so."""
        self.origin = origin
        self._do.append(self._be_born)

    def lose(self, part_id: str) -> None:
        """Say that nobody inspected this part."""
        gap = samples.gap(1, 1, part_ids=(part_id,))
        self._do.append(lambda: self._tell(lambda stamp: gap_record(self.origin, stamp, gap)))

    def _run(self) -> None:
        poller = zmq.Poller()
        for one in (self._control, self._publisher.socket):
            poller.register(one, zmq.POLLIN)
        self._be_born()
        while not self._is_ended:
            ready = dict(poller.poll(10))
            if self._publisher.socket in ready:
                self._publisher.service()
                self._be_born()  # whoever subscribed has to know
            while self._do:
                self._do.pop(0)()
            if self._control in ready:
                self._serve()
            if self.beats and time.monotonic() - self._beat_s > 0.2:
                self._beat_s = time.monotonic()
                build = lambda stamp: heartbeat_record(self.origin, stamp, samples.health())  # noqa: E731
                self._publisher.socket.send_multipart(self._journal.transient(build).frames)

    def _be_born(self) -> None:
        self._tell(lambda stamp: birth_record(self.origin, stamp))

    def _tell(self, build: Any) -> None:
        frames = self._journal.assign(build).frames
        self._publisher.socket.send_multipart(as_historical(frames) if self.is_historical else frames)

    def _serve(self) -> None:
        peer, verb, request_id, content = self._control.recv_multipart()
        facts = json.loads(content)
        self.asked.append((verb.decode(), facts))
        answer = self.answer(facts) if verb == b"TRIGGER" else []
        told = {"reason": answer} if isinstance(answer, str) else {"details": "done"}
        word = b"REFUSED" if isinstance(answer, str) else b"STATUS" if verb == b"STATUS" else b"DONE"
        clock = {"clock_ns": time.monotonic_ns()}
        self._control.send_multipart([peer, word, request_id, json.dumps(told | clock).encode()])
        for inspection in () if isinstance(answer, str) else answer:
            self.told.setdefault(facts["part_id"], time.monotonic())
            self._tell(lambda stamp, one=inspection: result_record(self.origin, stamp, one, 12.0))


def with_id(*makers: Callable[[str, str], Inspection]) -> Answer:
    """Answer with these inspections, each made for the trigger's own id and part."""
    return lambda facts: [make(facts["trigger_id"], facts["part_id"]) for make in makers]


class SmallPlc:
    """Reads and writes as fast as it is asked to; for what is shown of one part, and how soon."""

    ENABLE, TRIGGER, ACK, CLEAR = 1, 2, 8, 32
    READY, VALID = 2, 16

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.words = [0] * INPUT

    def read(self) -> int:
        """All words; the first of them."""
        self.words = list(struct.unpack(f">{INPUT}H", self._ask(struct.pack(">BHH", 4, 0, INPUT))[2:]))
        return self.words[0]

    def write(self, control: int, part: str = "", expected: int = 0, command: int = 0) -> None:
        """Control, the clock as read last, and the part's name."""
        head = struct.pack(">8H", control, command, 0, expected, self.words[56], self.words[57], 0, 0)
        content = head + part.encode().ljust(32, b"\0")
        self._ask(struct.pack(">BHHB", 16, 0, len(content) // 2, len(content)) + content)

    def until(self, bits: int, control: int | None = None, **asked: Any) -> int:
        """Cycle until all these bits are set; the status then."""
        end_s = time.monotonic() + WAIT_S
        while self.read() & bits != bits:
            assert time.monotonic() < end_s, [f"{word:04x}" for word in self.words]
            if control is not None:
                self.write(control, **asked)
        return self.words[0]

    def part(self, name: str, buffered: int = 0) -> int:
        """Trigger this part, wait for its result; the status then. `take` is up to the caller."""
        self.until(self.READY, self.ENABLE | buffered)
        self.write(self.ENABLE | buffered)
        self.read()
        self.write(self.ENABLE | buffered | self.TRIGGER, name)
        return self.until(self.VALID)

    def take(self) -> None:
        """Acknowledge the result."""
        self.write(self.ENABLE | self.ACK)
        self.read()
        self.write(self.ENABLE)

    def close(self) -> None:
        """Go."""
        self._socket.close()

    def _ask(self, request: bytes) -> bytes:
        self._socket.sendall(struct.pack(">HHHB", 1, 0, len(request) + 1, 1) + request)
        (length,) = struct.unpack(">4xHx", self._received(7))
        return self._received(length - 1)

    def _received(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            more = self._socket.recv(count - len(content))
            if not more:
                raise ConnectionResetError("the gateway has gone")
            content += more
        return content
