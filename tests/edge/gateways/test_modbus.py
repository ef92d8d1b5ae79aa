"""The Modbus server: what each function does, what is refused, who may connect and write; frames written by hand."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.errors import Unavailable
from edge.gateways.modbus import MOST_CONNECTIONS, ModbusServer
from edge.gateways.registers import HOLDING, INPUT
from tests.patience import WAIT_S, wait_until

READ = struct.pack(">BHH", 4, 0, INPUT)


class Registers:
    """A PLC's other side that keeps what it is told. read: the first word counts up, all others are it."""

    def __init__(self) -> None:
        self.reads, self.wrote, self.gone_count, self.span = 0, [0] * HOLDING, 0, range(0)

    def read(self) -> list[int]:
        self.reads += 1
        return [self.reads % 65536] * INPUT

    def written(self, words: list[int], span: range) -> None:
        self.wrote, self.span = list(words), span

    def gone(self) -> None:
        self.gone_count += 1


class Served:
    """A server turned by a thread; `now_s` is its clock."""

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        self.plc, self.now_s, self.is_ended = Registers(), 0.0, False
        self.server = ModbusServer("127.0.0.1", 0, self.plc, allowed=allowed, silence_s=3.0)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.is_ended:
            ready = zmq.zmq_poll(self.server.sockets(), 10)
            self.server.serve({one for one, _ in ready if isinstance(one, int)}, self.now_s)
        self.server.close()

    def end(self) -> None:
        self.is_ended = True
        self.thread.join()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), WAIT_S, source_address=(source, 0))


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.end()


def frame(request: bytes, unit: int = 1, transaction: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(request) + 1, unit) + request


def received(peer: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count and (more := peer.recv(count - len(content))):
        content += more
    return content


def answer(peer: socket.socket, request: bytes, unit: int = 1) -> bytes:
    """What is answered, behind the head, which must be that of the request."""
    peer.sendall(frame(request, unit))
    transaction, protocol, length, heard = struct.unpack(">HHHB", received(peer, 7))
    assert (transaction, protocol, heard) == (7, 0, unit)
    return received(peer, length - 1)


def test_all_that_is_read_in_one_request_is_of_one_moment(served: Served) -> None:
    with served.connect() as peer:
        for number in (1, 2, 3):
            assert answer(peer, READ) == bytes([4, 2 * INPUT]) + struct.pack(f">{INPUT}H", *[number] * INPUT)


def test_each_function_writes_what_it_says(served: Served) -> None:
    with served.connect() as peer:
        assert answer(peer, struct.pack(">BHH", 6, 3, 0x1234)) == struct.pack(">BHH", 6, 3, 0x1234)
        assert answer(peer, struct.pack(">BHHBHH", 16, 8, 2, 4, 0x4142, 0x4300)) == struct.pack(">BHH", 16, 8, 2)
        assert answer(peer, struct.pack(">BHH", 5, 1, 0xFF00)) == struct.pack(">BHH", 5, 1, 0xFF00)
        assert answer(peer, struct.pack(">BHHBB", 15, 2, 3, 1, 0b101)) == struct.pack(">BHH", 15, 2, 3)
        assert answer(peer, struct.pack(">BHHH", 22, 3, 0xFF00, 0x0056)) == struct.pack(">BHHH", 22, 3, 0xFF00, 0x56)
        both = struct.pack(">BHHHHBH", 23, 8, 1, 39, 1, 2, 0x5A5A)
        assert answer(peer, both) == bytes([23, 2]) + b"AB"
        assert answer(peer, struct.pack(">BHH", 3, 0, 4)) == bytes([3, 8, 0, 0b10110, 0, 0, 0, 0, 0x12, 0x56])
        assert answer(peer, struct.pack(">BHH", 1, 0, 5)) == bytes([1, 1, 0b10110])
        assert len(answer(peer, struct.pack(">BHH", 2, 0, 16))) == 4
    assert served.plc.wrote[:4] == [0b10110, 0, 0, 0x1256] and served.plc.wrote[39] == 0x5A5A
    assert served.plc.span == range(39, 40)


REFUSED = [
    (struct.pack(">BHHB4x", 16, 39, 2, 4), 2, "beyond the last word"),
    (struct.pack(">BHH", 6, 40, 1), 2, "beyond the last word"),
    (struct.pack(">BHH", 5, 16, 0xFF00), 2, "beyond the last coil"),
    (struct.pack(">BHH", 5, 0, 1), 3, "neither on nor off"),
    (struct.pack(">BHH", 4, 0, INPUT + 1), 2, "beyond the last word"),
    (struct.pack(">BHH", 3, 0, 0), 3, "none"),
    (struct.pack(">BHHB2x", 16, 0, 1, 9), 3, "a length that is not its own"),
    (struct.pack(">BH", 4, 0), 3, "too short"),
    (struct.pack(">BHHB", 4, 0, 1, 0), 3, "too long"),
    (struct.pack(">BHHHHB2x", 23, 0, 0, 0, 1, 2), 3, "reads none"),
    (struct.pack(">BHH", 15, 0, 1), 3, "coils without their length"),
    (struct.pack(">BHHB", 15, 0, 1, 1), 3, "coils without their bits"),
    (bytes([43, 14, 1, 0]), 1, "no such function"),
]


@pytest.mark.parametrize(("request_", "code", "why"), REFUSED)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    served: Served, request_: bytes, code: int, why: str
) -> None:
    with served.connect() as peer:
        assert answer(peer, request_) == bytes([request_[0] | 0x80, code]), why
        assert served.plc.wrote == [0] * HOLDING
        assert answer(peer, READ)[0] == 4


def test_an_unknown_unit_is_refused(served: Served) -> None:
    with served.connect() as peer:
        assert answer(peer, READ, unit=9) == bytes([0x84, 11])
        for unit in (0, 1, 255):
            assert answer(peer, READ, unit)[0] == 4


def test_every_request_in_one_segment_is_answered_in_order(served: Served) -> None:
    with served.connect() as peer:
        peer.sendall(b"".join(frame(READ, transaction=number) for number in range(20)))
        size = 7 + 2 + 2 * INPUT
        heard = received(peer, 20 * size)
        assert [int.from_bytes(heard[at : at + 2], "big") for at in range(0, 20 * size, size)] == list(range(20))


def test_a_request_may_come_in_pieces(served: Served) -> None:
    with served.connect() as peer:
        for byte in frame(READ):
            peer.sendall(bytes([byte]))
        assert received(peer, 7 + 2 + 2 * INPUT)[7] == 4


def test_what_is_not_modbus_ends_its_connection_and_no_other(served: Served) -> None:
    with served.connect() as other, served.connect() as peer:
        assert answer(other, READ)[0] == 4
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert peer.recv(10) == b""
        assert answer(other, READ)[0] == 4


def test_a_fifth_connection_and_an_address_that_is_not_allowed_are_refused(served: Served) -> None:
    peers = [served.connect() for _ in range(MOST_CONNECTIONS)]
    assert all(answer(one, READ)[0] == 4 for one in peers)
    with served.connect() as fifth, suppress(ConnectionResetError):
        assert fifth.recv(1) == b""
    for one in peers:
        one.close()
    strict = Served(frozenset({"127.0.0.1"}))
    with strict.connect("127.0.0.2") as stranger, suppress(ConnectionResetError):
        assert stranger.recv(1) == b""
    with strict.connect() as peer:
        assert answer(peer, READ)[0] == 4
    strict.end()
    assert (served.server.refused, strict.server.refused) == (1, 1)


def test_one_address_writes_and_when_it_has_gone_nothing_is_left_of_it(served: Served) -> None:
    word = struct.pack(">BHH", 6, 0, 1)
    with served.connect("127.0.0.2") as other:
        with served.connect() as plc, served.connect() as again:
            assert answer(plc, word) == word and answer(again, READ)[0] == 4
            assert answer(other, word) == bytes([0x86, 6]) and answer(other, READ)[0] == 4
            plc.close()
            assert answer(again, READ)[0] == 4 and served.plc.gone_count == 0
        wait_until(lambda: served.plc.gone_count == 1, "the PLC is not gone")
        assert answer(other, struct.pack(">BHH", 3, 0, 1)) == bytes([3, 2, 0, 0])
        assert answer(other, word) == word


def test_a_plc_that_asks_nothing_is_gone(served: Served) -> None:
    with served.connect() as plc:
        assert answer(plc, struct.pack(">BHH", 6, 0, 1))[0] == 6
        served.now_s = 2.9
        assert answer(plc, READ)[0] == 4
        served.now_s = 6.0
        with suppress(ConnectionResetError):
            assert plc.recv(1) == b""
        wait_until(lambda: served.plc.gone_count == 1, "the PLC is not gone")


def test_an_address_that_is_taken_is_named(served: Served) -> None:
    with pytest.raises(Unavailable, match=f"--listen 127.0.0.1:{served.server.port}"):
        ModbusServer("127.0.0.1", served.server.port, Registers(), allowed=frozenset(), silence_s=3.0)


REQUESTS = st.builds(  # with addresses, counts and lengths that may be right
    lambda function, first, count, rest: bytes([function]) + struct.pack(">HH", first, count) + rest,
    st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23]),
    st.integers(0, 41),
    st.integers(0, 17),
    st.one_of(st.binary(max_size=8), st.lists(st.integers(0, 4), max_size=8).map(bytes)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(REQUESTS.map(lambda one: frame(one)), st.binary(min_size=1, max_size=300)), min_size=1))
def test_no_bytes_at_all_end_the_server(chunks: list[bytes]) -> None:
    """Whatever comes: an answer, a refusal, or the end of that connection."""
    plc = Registers()
    server = ModbusServer("127.0.0.1", 0, plc, allowed=frozenset(), silence_s=3.0)
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as peer:
        for chunk in chunks:
            with suppress(OSError):
                peer.sendall(chunk)
            files = {one for one, _ in server.sockets()}
            server.serve(files, 0.0)
            server.serve(files, 0.0)
    server.close()
    assert len(plc.wrote) == HOLDING and all(0 <= word < 65536 for word in plc.wrote)
