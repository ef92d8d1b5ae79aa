"""The words of Modbus: where each stands, and that registers.md says all of them."""

from __future__ import annotations

import struct

import pytest

from edge.gateways import registers
from edge.gateways.exchange import Shown, Verdict
from edge.gateways.signals import Cause, Code, Control, Evaluation, Status

VERDICT = Verdict(
    Evaluation.NOT_OK, Cause.NONE, 750, 6.5, 3.25, 2, (10, 20, 30, 40), 1.5, 33, 1, bytes(range(16)), 31.4, 70_000
)
SHOWN = Shown(
    status=Status.ONLINE | Status.RESULTS_VALID | Status.FAIL, heartbeat=7, clock_us=0x00010002, current_recipe=4,
    code=Code.TEXT, acquisition=9, inspection=8, verdict=VERDICT, part=b"P7", buffered=3, recipe=b"\xab" * 8,
)  # fmt: skip


def test_the_document_is_what_the_code_says() -> None:
    current = registers.DOCUMENT.read_text(encoding="utf-8")
    assert current == registers.document(), "python -m edge.gateways.registers --write"


def test_the_document_lists_every_bit_and_every_number() -> None:
    assert set(registers.CONTROL_TEXTS) == set(Control) and set(registers.STATUS_TEXTS) == set(Status)
    assert set(registers.CODE_TEXTS) == set(Code) and set(registers.CAUSE_TEXTS) == set(Cause)


@pytest.mark.parametrize(
    ("table", "count"), [(registers.HOLDING_WORDS, registers.HOLDING), (registers.INPUT_WORDS, registers.INPUT)]
)
def test_the_document_lists_every_word_once(table: tuple[registers.Word, ...], count: int) -> None:
    assert [word for one in table for word in range(one.first, one.last + 1)] == list(range(count))


def the(name: str, words: list[int]) -> bytes:
    """The bytes of the words of that name."""
    tables = registers.INPUT_WORDS if len(words) == registers.INPUT else registers.HOLDING_WORDS
    (word,) = [one for one in tables if one.name == name]
    return struct.pack(f">{word.last - word.first + 1}H", *words[word.first : word.last + 1])


def test_what_is_shown_stands_where_the_document_says() -> None:
    words = registers.words_of(SHOWN)
    numbers = {"Status": 0x51, "Heartbeat": 7, "MapVersion": 1, "CurrentRecipe": 4, "ErrorCode": 11}
    numbers |= {"AcquisitionId": 9, "InspectionId": 8, "Result": 2, "Reason": 0, "Severity": 750, "Defects": 2}
    numbers |= {"PatchSize": 33, "Term": 1, "Latency": 31, "Buffered": 3}
    assert {name: int.from_bytes(the(name, words), "big") for name in numbers} == numbers
    floats = {name: struct.unpack(">f", the(name, words))[0] for name in ("Score", "Threshold", "Area")}
    assert floats == {"Score": 6.5, "Threshold": 3.25, "Area": 1.5}
    assert the("X, Y, Width, Height", words) == bytes([0, 10, 0, 20, 0, 30, 0, 40])
    assert the("PartId", words).rstrip(b"\0") == b"P7" and the("ResultId", words) == bytes(range(16))
    assert the("Seq", words) == (70_000).to_bytes(4, "big") and the("RecipeHash", words) == b"\xab" * 8
    assert the("Clock", words) == b"\0\1\0\2"


def test_what_no_word_can_hold_is_the_nearest_that_it_can() -> None:
    verdict = Verdict(Evaluation.NOT_OK, score=float("inf"), severity=10**6, latency_ms=-1.0, seq=1 << 40)
    words = registers.words_of(Shown(Status(0), 0, 1, 0, Code.NONE, 0, verdict=verdict))
    assert struct.unpack(">f", the("Score", words))[0] > 1e38
    assert (the("Severity", words), the("Latency", words)) == (b"\xff\xff", b"\0\0")


def test_what_is_asked_is_read_where_the_document_says() -> None:
    words = list(range(registers.HOLDING))
    words[0] = 0b101011
    asked = registers.asked(words)
    assert asked.control == Control(0b101011)
    assert (asked.command, asked.heartbeat, asked.expected_recipe) == (1, 2, 3)
    assert asked.seen_us.to_bytes(4, "big") == the("SeenClock", words)
    assert asked.part == the("PartId", words) and asked.batch == the("BatchId", words)
