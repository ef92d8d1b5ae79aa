"""A PLC's side of the registers, in Python: for rehearsals and tests, and as an example of what a PLC's program does.

Rejected: a Modbus library for it; of the protocol it needs two functions.
"""

from __future__ import annotations

import socket
import struct
import time

from edge.core.errors import EdgeError
from edge.gateways.registers import INPUT
from edge.gateways.signals import Control, Status

_CLOCK = 56  # the words that are copied into SeenClock


class NoAnswer(EdgeError):
    """The gateway has gone, or does not show what was waited for."""


class SmallPlc:
    """One connection, to `port`. words: the input registers as read last."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 30.0) -> None:
        self.port = port
        self._socket, self._timeout_s = socket.create_connection((host, port), timeout_s), timeout_s
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.words = [0] * INPUT

    def read(self) -> Status:
        """All input registers in one request; Status. NoAnswer where the gateway has gone."""
        self.words = list(struct.unpack(f">{INPUT}H", self._ask(struct.pack(">BHH", 4, 0, INPUT))[2:]))
        return Status(self.words[0])

    def write(self, control: Control, part: str = "", expected: int = 0, command: int = 0, batch: str = "") -> None:
        """Control, with the clock as read last, in one request. part, batch: at most 32 ASCII characters."""
        clock = self.words[_CLOCK : _CLOCK + 2]
        content = struct.pack(">8H", control, command, 0, expected, *clock, 0, 0)
        for text in (part, batch) if batch else (part,):
            content += text.encode("ascii").ljust(32, b"\0")
        self._ask(struct.pack(">BHHB", 16, 0, len(content) // 2, len(content)) + content)

    def until(self, bits: Status, control: Control | None = None, expected: int = 0) -> Status:
        """Read, and write `control`, until all these bits are set; NoAnswer where they are not in time."""
        end_s = time.monotonic() + self._timeout_s
        while (status := self.read()) & bits != bits:
            if time.monotonic() > end_s:
                raise NoAnswer(f"waited for {bits.name}: {' '.join(f'{word:04x}' for word in self.words)}")
            if control is not None:
                self.write(control, expected=expected)
        return status

    def part(self, name: str, also: Control | None = None) -> Status:
        """Trigger this part, which is there now, and wait for its result, which `take` acknowledges."""
        enabled = Control.TRIGGER_ENABLE | (also or Control(0))
        self.until(Status.TRIGGER_READY, enabled)
        self.write(enabled)
        self.read()
        self.write(enabled | Control.TRIGGER, name)
        return self.until(Status.RESULTS_VALID)

    def take(self) -> None:
        """Acknowledge the result that is shown."""
        self.write(Control.TRIGGER_ENABLE | Control.RESULTS_ACK)
        self.read()
        self.write(Control.TRIGGER_ENABLE)

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _ask(self, request: bytes) -> bytes:
        self._socket.sendall(struct.pack(">HHHB", 1, 0, len(request) + 1, 1) + request)
        (length,) = struct.unpack(">4xHx", self._received(7))
        answer = self._received(length - 1)
        if answer[0] & 0x80:
            raise NoAnswer(f"function {request[0]} was refused with exception {answer[1]}")
        return answer

    def _received(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            try:
                more = self._socket.recv(count - len(content))
            except OSError as error:
                raise NoAnswer(f"the gateway does not answer: {error}") from error
            if not more:
                raise NoAnswer("the gateway has closed the connection")
            content += more
        return content
