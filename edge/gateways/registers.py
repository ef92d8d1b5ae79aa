"""Modbus' words for the handshake, and registers.md from them: `python -m edge.gateways.registers --write`.

Addresses are the protocol's, from 0. Two words make a 32-bit value or float32, the high one first; a word of text has
two characters, the first in the high byte. Rejected: a table in a document, which a PLC programmer would find wrong.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

import click

from edge.gateways.exchange import Asked, Shown, Verdict
from edge.gateways.signals import CAUSES, Cause, Code, Control, Evaluation, Status

MAP_VERSION = 1
HOLDING, INPUT, BITS = 40, 64, 16
DOCUMENT = Path(__file__).with_name("registers.md")
_ASKED = struct.Struct(">HHHHI4x32s32s")
_SHOWN = struct.Struct(">8HHHffHHHHHfHHH32s16sHHI8sIHH8x")
_NOTHING = Verdict(Evaluation.NONE)


class Word(NamedTuple):
    """Registers from `first` to `last`, what they are called, and what they say."""

    first: int
    last: int
    name: str
    text: str


def asked(words: list[int], span: range) -> Asked:
    """What the PLC has written into its HOLDING words; span: those of the last request.

    A clock that did not come with Control, in one request, says nothing of when Control was composed.
    """
    control, command, heartbeat, expected, seen_us, part, batch = _ASKED.unpack(struct.pack(f">{HOLDING}H", *words))
    if span.start > 0 or span.stop < _STAMPED:
        seen_us = 0
    return Asked(Control(control & _CONTROLS), command, heartbeat, expected, seen_us, part, batch)


def words_of(shown: Shown) -> list[int]:
    """The INPUT words that the PLC reads."""
    verdict = shown.verdict or _NOTHING
    x, y, width, height = (_word(one) for one in verdict.box)
    packed = _SHOWN.pack(
        shown.status, shown.heartbeat, MAP_VERSION, shown.current_recipe, shown.code, shown.acquisition,
        shown.inspection, verdict.evaluation, verdict.cause, _word(verdict.severity), _float(verdict.score),
        _float(verdict.threshold), _word(verdict.defects), x, y, width, height, _float(verdict.area_mm2), 0,
        _word(verdict.patch_size), verdict.term, shown.part, verdict.result_id, _word(verdict.latency_ms),
        shown.buffered, verdict.seq % (1 << 32), shown.recipe, shown.clock_us, 0, 0,
    )  # fmt: skip
    return list(struct.unpack(f">{INPUT}H", packed))


def _word(number: float) -> int:
    return max(0, min(0xFFFF, round(number)))


def _float(number: float) -> float:
    """As float32 can hold it: a score beyond that is no less a reject."""
    return max(-_HIGHEST, min(_HIGHEST, number)) if math.isfinite(number) else math.copysign(_HIGHEST, number)


_STAMPED = 6  # words from Control to SeenClock
_HIGHEST = 3.4e38
_CONTROLS = sum(Control)

CONTROL_TEXTS = {
    Control.TRIGGER_ENABLE: "parts may be triggered; without it TriggerReady is 0",
    Control.TRIGGER: "its rising edge says that a part is there; hold it until TriggerAck or ResultsValid",
    Control.BUFFER_RESULTS_ENABLE: "up to 8 parts may wait, under way or not taken; else one at a time",
    Control.RESULTS_ACK: "its rising edge takes the result that is shown; then the next one is, or none",
    Control.EXECUTE_COMMAND: "its rising edge carries out Command; hold it until CommandCompleted or CommandFailed",
    Control.CLEAR_ERROR: "its rising edge clears MissedTrigger and what was refused, and accepts a recipe that changed",
    Control.CHALLENGE_BEGIN: "its rising edge begins a challenge with test pieces, where --allow-challenges is given",
}
STATUS_TEXTS = {
    Status.ONLINE: "every station was heard within 3.5 s",
    Status.TRIGGER_READY: "an edge of Trigger will be taken",
    Status.TRIGGER_ACK: "every station has taken the newest part; 0 again with Trigger",
    Status.BUSY: "a part waits for its result",
    Status.RESULTS_VALID: "words 6 to 51 are the result of the part whose id stands in 24 to 39",
    Status.PASS: "with ResultsValid: the part is OK; one of Pass, Fail, Undecided is set, without it none",
    Status.FAIL: "with ResultsValid: the part is not OK",
    Status.UNDECIDED: "with ResultsValid: nobody knows; reject it. Reason says why",
    Status.OVERRUN: "eight parts wait: no trigger is taken until a result is",
    Status.COMMAND_EXECUTING: "a command is being carried out; nothing passes meanwhile",
    Status.COMMAND_COMPLETED: "it was; 0 again with ExecuteCommand",
    Status.COMMAND_FAILED: "it was refused; 0 again with ExecuteCommand",
    Status.ERROR: "ErrorCode is not 0",
    Status.CHALLENGE_DUE: "test pieces are due",
    Status.DEGRADED: "a station is degraded or drifts; its verdicts stand",
    Status.MISSED_TRIGGER: "an edge of Trigger was not taken, no result comes; 0 with the next one, or ClearError",
}
CODE_TEXTS = {
    Code.NONE: "nothing keeps parts from being taken",
    Code.NO_CONTACT: "a station is silent, has not said yet what it runs, or stops",
    Code.CAMERA: "a camera is stalled or lost",
    Code.STATION: "a station is starting or critical: its log and its page say why",
    Code.RECIPE_REFUSED: "a command was refused: no such recipe, or commands are off (--allow-recipes); latched",
    Code.NOT_TRIGGERED: "a station takes no triggers: it runs without --trigger control or hardware",
    Code.PLC_SILENT: "PlcHeartbeat stands still for longer than --plc-watchdog-s",
    Code.RECIPE_NOT_EXPECTED: "CurrentRecipe is not ExpectedRecipe",
    Code.RECIPE_CHANGED: "the recipe was changed, and not by this PLC: look at words 3 and 52 to 55, then ClearError",
    Code.SIMULATED: "a station's pictures are not of parts (demo, folder, file), and --accept-simulated is off",
    Code.CLOCK_NOT_COPIED: "SeenClock is not Clock, copied into the same write as Control (words swapped?); latched",
    Code.TEXT: "PartId or BatchId is not printable ASCII (a line end of a scanner's?); latched",
    Code.TRIGGER_REFUSED: "a station refused the last trigger; latched",
    Code.CHALLENGE_REFUSED: "no challenge was begun: parts wait, no kit, one is open, no --allow-challenges; latched",
}
CAUSE_TEXTS = {
    **{number: f"`{reason.value}`, as the station says" for reason, number in CAUSES.items()},
    Cause.NONE: "there is none: Pass or Fail",
    Cause.OTHER: "the station says another one",
    Cause.NO_RESULT: "no result by the deadline, or the station fell silent",
    Cause.REFUSED: "the station refused the trigger",
    Cause.ANOTHER_RECIPE: "it was judged by another recipe than ran when it was triggered",
    Cause.SIMULATED: "its picture is not one of this part",
    Cause.NOT_READY: "when its OK came the recipe was being changed, or was not the one expected",
    Cause.ANOTHER_PART: "the result of this trigger names another part",
}
HOLDING_WORDS = (
    Word(0, 0, "Control", "bits, below; also coils 0 to 15, which bring no clock: no part is triggered through them"),
    Word(1, 1, "Command", "for ExecuteCommand: a recipe's number, 1 to 32767; -1: the one before"),
    Word(2, 2, "PlcHeartbeat", "with --plc-watchdog-s it has to move within that time"),
    Word(3, 3, "ExpectedRecipe", "0: not compared. Where CurrentRecipe is another, nothing passes"),
    Word(4, 5, "SeenClock", "uint32: Clock, as read last, **in the same write as Control, every cycle**"),
    Word(6, 7, "", "reserved"),
    Word(8, 23, "PartId", "text, read at the edge of Trigger; empty: the gateway gives it a name, read 24 to 39"),
    Word(24, 39, "BatchId", "text; BATCH is sent when it changes, and parts wait for it; empty: nothing is sent"),
)
INPUT_WORDS = (
    Word(0, 0, "Status", "bits, below; also discrete inputs 0 to 15"),
    Word(1, 1, "Heartbeat", "+1 each 100 ms while every station is heard"),
    Word(2, 2, "MapVersion", f"{MAP_VERSION}"),
    Word(3, 3, "CurrentRecipe", "number of the recipe that runs (of the first station); 0: it has none"),
    Word(4, 4, "ErrorCode", "below"),
    Word(5, 5, "AcquisitionId", "of the newest trigger that was taken: 1 to 65535, then 1 again"),
    Word(6, 6, "InspectionId", "AcquisitionId of the result that is shown"),
    Word(7, 7, "Result", "0 none, 1 OK, 2 NotOK, 3 NotDecidable"),
    Word(8, 8, "Reason", "below"),
    Word(9, 9, "Severity", "1 to 1000"),
    Word(10, 11, "Score", "float32"),
    Word(12, 13, "Threshold", "float32"),
    Word(14, 14, "Defects", "how many"),
    Word(15, 18, "X, Y, Width, Height", "of the highest defect's box, in pixels"),
    Word(19, 20, "Area", "float32, of the highest defect, in mm²; 0 where no scale is known"),
    Word(21, 21, "", "reserved, 0"),
    Word(22, 22, "PatchSize", "of the network that drove the highest defect, in pixels"),
    Word(23, 23, "Term", "1 regression error, 2 predictive uncertainty, 3 distance to the nearest good descriptor"),
    Word(24, 39, "PartId", "the part that the result is of, word for word as it was written; else its given name"),
    Word(40, 47, "ResultId", "the 16 bytes of the record's `result_id`"),
    Word(48, 48, "Latency", "ms, from trigger to verdict"),
    Word(49, 49, "Buffered", "results that wait to be taken"),
    Word(50, 51, "Seq", "uint32, the record's number"),
    Word(52, 55, "RecipeHash", "the first 8 bytes of the hash of the recipe that runs (of the first station)"),
    Word(56, 57, "Clock", "uint32, for SeenClock; take it for a stamp, not for a time"),
    Word(58, 63, "", "reserved, 0"),
)


def document() -> str:
    """registers.md."""
    lines = [
        "# Registers of `edge-gateway modbus`",
        "",
        "Written by `python -m edge.gateways.registers --write`. Addresses count from 0, as in the protocol: one that",
        "counts from 1 adds 1 (40001 is holding register 0). A 32-bit value and a float32 have their high word first;",
        "text is ASCII, two characters a word, the first in the high byte, filled with zeros or blanks.",
        "",
        "Read all 64 input registers in one request: they are of one moment. Write registers 0 to 39 in one request.",
        "",
        *_words("Holding registers: what the PLC writes (function codes 3, 6, 16, 22, 23)", HOLDING_WORDS),
        *_words("Input registers: what the PLC reads (function code 4)", INPUT_WORDS),
        *_bits("Control", CONTROL_TEXTS),
        *_bits("Status", STATUS_TEXTS),
        *_numbers("ErrorCode", {int(code): (camel(code.name), text) for code, text in CODE_TEXTS.items()}),
        *_numbers("Reason", {int(cause): (camel(cause.name), text) for cause, text in CAUSE_TEXTS.items()}),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _words(title: str, table: tuple[Word, ...]) -> list[str]:
    rows = [f"| {_span(one)} | {one.name} | {one.text} |" for one in table]
    return [f"## {title}", "", "| word | name | meaning |", "|---|---|---|", *rows, ""]


def _span(word: Word) -> str:
    return f"{word.first}" if word.first == word.last else f"{word.first} to {word.last}"


def _bits(title: str, texts: dict[Control, str] | dict[Status, str]) -> list[str]:
    rows = [f"| {bit.bit_length() - 1} | {camel(bit.name or '')} | {text} |" for bit, text in texts.items()]
    return [f"## {title}", "", "| bit | name | meaning |", "|---|---|---|", *rows, ""]


def _numbers(title: str, table: dict[int, tuple[str, str]]) -> list[str]:
    rows = [f"| {number} | {name} | {text} |" for number, (name, text) in sorted(table.items())]
    return [f"## {title}", "", "| number | name | meaning |", "|---|---|---|", *rows, ""]


def camel(name: str) -> str:
    """TRIGGER_READY -> TriggerReady, as registers.md and a PLC's program have it."""
    return "".join(one.capitalize() for one in name.split("_"))


@click.command()
@click.option("--write", is_flag=True, help="Write registers.md in place of saying it.")
def main(write: bool) -> None:
    """registers.md, as the code has it."""
    if write:
        DOCUMENT.write_text(document(), encoding="utf-8")
    else:
        click.echo(document(), nl=False)


if __name__ == "__main__":
    main()
