"""A Modbus TCP server for one PLC: the frames, the functions that registers need, who may connect; no threads.

It is turned by whoever polls its sockets. Function codes 1 to 6, 15, 16, 22 and 23, each request at once and whole, so
that what is read in one request is of one moment. Rejected: pymodbus 3.16, which of several requests in one segment
answers the first and loses the others (a lost write is a lost part), hands out no connection's address, so that who may
connect hangs on its internals, and whose interface has broken with most minor versions.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog
import zmq

from edge.core.errors import refusal
from edge.gateways.registers import BITS, HOLDING

UNITS = (0, 1, 255)  # the device itself: 0 and 255 say so, 1 is what most send
MOST_CONNECTIONS = 4
_BACKLOG = 16  # that knock at once
_HEAD = struct.Struct(">HHHB")  # transaction, protocol (0), bytes that follow, unit
_MOST_BYTES = 260  # of a frame
_MOST_UNSENT = 64 * 1024  # a peer that asks and does not read
_FUNCTION, _ADDRESS, _VALUE, _BUSY, _UNIT = 1, 2, 3, 6, 11  # exception codes


class Plc(Protocol):
    """What stands behind the registers."""

    def read(self) -> list[int]:
        """The INPUT words of this moment."""

    def written(self, words: list[int], span: range) -> None:
        """The HOLDING words, after a write of those in `span`, by one request."""

    def gone(self) -> None:
        """Whoever wrote has no connection any more, or has asked nothing for too long."""


class _Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Connection:
    """One peer."""

    def __init__(self, peer: socket.socket, address: str, now_s: float) -> None:
        self.socket, self.address, self.heard_s = peer, address, now_s
        self.received, self.unsent = b"", b""


class ModbusServer:
    """The listening socket and its connections. Unavailable or SettingsError where the address cannot be had.

    allowed: addresses that may connect; empty: all. silence_s: who asks nothing for so long is cut off. Only one
    address may write at a time: the one that did while it has a connection.
    """

    def __init__(self, host: str, port: int, plc: Plc, *, allowed: frozenset[str], silence_s: float) -> None:
        self._plc, self._allowed, self._silence_s = plc, allowed, silence_s
        self._words = [0] * HOLDING
        self._writer: str | None = None
        self._log = structlog.get_logger(__name__)
        self.refused = 0
        self.connections: list[Connection] = []
        try:
            self.listener = socket.create_server((host, port), family=_family(host), backlog=_BACKLOG)
        except OSError as error:
            raise refusal(error.errno, f"--listen {host}:{port}: cannot be listened on: {error.strerror}") from error
        self.listener.setblocking(False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listener.getsockname()[1])

    def _accept(self, now_s: float) -> None:
        """Take whoever knocks, if there is room for it."""
        for _ in range(_BACKLOG):  # and then those who are served have their turn
            try:
                peer, (address, *_) = self.listener.accept()
            except OSError:
                return
            if (why := self._why_refused(address)) is not None:
                self.refused += 1
                self._log.warning("a connection is refused", address=address, why=why)
                peer.close()
                continue
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(Connection(peer, address, now_s))

    def _why_refused(self, address: str) -> str | None:
        if self._allowed and address not in self._allowed:
            return "--allow does not name this address"
        return f"{MOST_CONNECTIONS} are open already" if len(self.connections) >= MOST_CONNECTIONS else None

    def sockets(self) -> list[tuple[int, int]]:
        """What to poll, and for what: (file, POLLIN and POLLOUT)."""
        waiting = [(one.socket.fileno(), zmq.POLLIN | (zmq.POLLOUT if one.unsent else 0)) for one in self.connections]
        return [(self.listener.fileno(), zmq.POLLIN), *waiting]

    def serve(self, ready: set[int], now_s: float) -> None:
        """Take who knocks, answer who asks, cut off who is silent; ready: the files for which there is something."""
        if self.listener.fileno() in ready:
            self._accept(now_s)
        for connection in [one for one in self.connections if one.socket.fileno() in ready]:
            self._turn(connection, now_s)
        for connection in [one for one in self.connections if now_s - one.heard_s > self._silence_s]:
            self._drop(connection)  # a PLC that was switched off closes no connection

    def _turn(self, connection: Connection, now_s: float) -> None:
        """Answer what this peer asks; it is gone afterwards where it has gone, or speaks something else."""
        try:
            self._flush(connection)
            content = connection.socket.recv(4096)
            connection.received += content
            is_well = bool(content) and self._answer_all(connection, now_s)
            self._flush(connection)
        except BlockingIOError:
            return  # there was room to send, and no more
        except OSError:
            is_well = False
        if not is_well or len(connection.unsent) > _MOST_UNSENT:
            self._drop(connection)

    def _flush(self, connection: Connection) -> None:
        """Send what could not be sent before."""
        with suppress(BlockingIOError):
            sent = connection.socket.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]

    def close(self) -> None:
        """Cut off everybody, and listen no more."""
        for connection in list(self.connections):
            self._drop(connection)
        self.listener.close()

    def _drop(self, connection: Connection) -> None:
        connection.socket.close()
        self.connections.remove(connection)
        if self._writer is not None and self._writer not in [one.address for one in self.connections]:
            self._writer, self._words = None, [0] * HOLDING
            self._plc.gone()

    # --- frames ---

    def _answer_all(self, connection: Connection, now_s: float) -> bool:
        """Answer every whole frame; False where this is not Modbus."""
        while len(connection.received) >= _HEAD.size:
            transaction, protocol, length, unit = _HEAD.unpack_from(connection.received)
            if protocol != 0 or not 2 <= length <= _MOST_BYTES - 6:
                return False
            if len(connection.received) < 6 + length:
                return True
            request = connection.received[_HEAD.size : 6 + length]
            connection.received = connection.received[6 + length :]
            connection.heard_s = now_s
            answer = self._answer(connection, unit, request)
            connection.unsent += _HEAD.pack(transaction, 0, len(answer) + 1, unit) + answer
        return True

    def _answer(self, connection: Connection, unit: int, request: bytes) -> bytes:
        try:
            if unit not in UNITS:
                raise _Refused(_UNIT)
            return request[:1] + self._function(connection, request[0])(request[1:])
        except _Refused as refused:
            return bytes([request[0] | 0x80, refused.code])
        except struct.error:
            return bytes([request[0] | 0x80, _VALUE])

    def _function(self, connection: Connection, function: int) -> Callable[[bytes], bytes]:
        reads: dict[int, Callable[[bytes], bytes]] = {
            1: lambda body: _bits(self._words[0], body),
            2: lambda body: _bits(self._plc.read()[0], body),
            3: lambda body: _registers(self._words, body),
            4: lambda body: _registers(self._plc.read(), body),
        }
        writes = {5: self._coil, 6: self._register, 15: self._coils, 16: self._registers, 22: self._mask}
        writes[23] = self._both
        if (read := reads.get(function)) is not None:
            return read
        if (write := writes.get(function)) is None:
            raise _Refused(_FUNCTION)
        if self._writer not in (None, connection.address):
            self._log.warning("a write is refused", address=connection.address, why=f"{self._writer} writes here")
            raise _Refused(_BUSY)
        self._writer = connection.address
        return write

    # --- writes ---

    def _write(self, first: int, words: tuple[int, ...]) -> None:
        if first + len(words) > HOLDING:
            raise _Refused(_ADDRESS)
        self._words[first : first + len(words)] = words
        self._plc.written(self._words, range(first, first + len(words)))

    def _register(self, body: bytes) -> bytes:
        first, word = struct.unpack(">HH", body)
        self._write(first, (word,))
        return body

    def _registers(self, body: bytes) -> bytes:
        first, count = _span(body, HOLDING, 123)
        size = body[4:5]
        words = struct.unpack(f">{count}H", body[5:])
        if size != bytes([2 * count]):
            raise _Refused(_VALUE)
        self._write(first, words)
        return body[:4]

    def _coil(self, body: bytes) -> bytes:
        bit, value = struct.unpack(">HH", body)
        if value not in (0, 0xFF00):
            raise _Refused(_VALUE)
        self._set_bits(bit, [bool(value)])
        return body

    def _coils(self, body: bytes) -> bytes:
        first, count = _span(body, BITS, 1968)
        size = (count + 7) // 8
        if body[4:5] != bytes([size]) or len(body) != 5 + size:
            raise _Refused(_VALUE)
        self._set_bits(first, [bool(body[5 + at // 8] >> at % 8 & 1) for at in range(count)])
        return body[:4]

    def _set_bits(self, first: int, values: list[bool]) -> None:
        if first + len(values) > BITS:
            raise _Refused(_ADDRESS)
        word = self._words[0]
        for at, value in enumerate(values, first):
            word = word | 1 << at if value else word & ~(1 << at)
        self._write(0, (word,))

    def _mask(self, body: bytes) -> bytes:
        at, keep, put = struct.unpack(">HHH", body)
        if at >= HOLDING:
            raise _Refused(_ADDRESS)
        self._write(at, (self._words[at] & keep | put & ~keep & 0xFFFF,))
        return body

    def _both(self, body: bytes) -> bytes:
        """Write, then read: holding registers, as the function is defined."""
        _span(body, HOLDING, 125)
        self._registers(body[4:])
        return _registers(self._words, body[:4])


def _span(body: bytes, size: int, most: int) -> tuple[int, int]:
    first, count = struct.unpack_from(">HH", body)
    if not 1 <= count <= most:
        raise _Refused(_VALUE)
    if first + count > size:
        raise _Refused(_ADDRESS)
    return int(first), int(count)


def _exactly(body: bytes) -> bytes:
    if len(body) != 4:
        raise _Refused(_VALUE)
    return body


def _registers(words: list[int], body: bytes) -> bytes:
    first, count = _span(_exactly(body), len(words), 125)
    return bytes([2 * count]) + struct.pack(f">{count}H", *words[first : first + count])


def _bits(word: int, body: bytes) -> bytes:
    first, count = _span(_exactly(body), BITS, 2000)
    return bytes([(count + 7) // 8]) + (word >> first & (1 << count) - 1).to_bytes((count + 7) // 8, "little")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
