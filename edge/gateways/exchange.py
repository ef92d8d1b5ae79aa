"""What goes in and out of the handshake, as values: what the PLC asked, what a station said, what is to be done, shown.

Times are monotonic nanoseconds of the gateway; bytes are as the PLC wrote them. Rejected: registers here, which OPC UA
does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.gateways.signals import Cause, Code, Control, Evaluation, Status

_NO_CONTROL = Control(0)
ROLLBACK = -1  # in place of a recipe's number: the one before


@dataclass(frozen=True, slots=True)
class Recipe:
    """What runs: its number in the station's table (0: it has none), its hash, and that of its commissioning."""

    number: int
    hash: str
    commissioning: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one station says of one part; without a result of its own, `evaluation` and `cause` alone.

    box: x, y, width, height of the highest defect in pixels. result_id: 16 bytes. recipe: the first 8 of its hash.
    """

    evaluation: Evaluation
    cause: Cause = Cause.NONE
    severity: int = 0
    score: float = 0.0
    threshold: float = 0.0
    defects: int = 0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    area_mm2: float = 0.0
    patch_size: int = 0
    term: int = 0
    result_id: bytes = bytes(16)
    latency_ms: float = 0.0
    seq: int = 0
    recipe: bytes = bytes(8)


def undecided(cause: Cause) -> Verdict:
    """No Pass and no Fail, and why."""
    return Verdict(Evaluation.NOT_DECIDABLE, cause)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the PLC has written. seen_us: our clock as it read it last, for this very write; 0: it does not
    copy it.

    part, batch: as their bytes, padded with zeros or blanks; empty where there is none.
    """

    control: Control = _NO_CONTROL
    command: int = 0
    heartbeat: int = 0
    expected_recipe: int = 0
    seen_us: int = 0
    part: bytes = b""
    batch: bytes = b""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the PLC reads, all of one moment. part: that of the result, as the PLC wrote it; empty without one, as
    `verdict` then is.
    """

    status: Status
    heartbeat: int
    clock_us: int
    current_recipe: int
    code: Code
    acquisition: int
    inspection: int = 0
    verdict: Verdict | None = None
    part: bytes = b""
    buffered: int = 0
    recipe: bytes = bytes(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """deadline_ns: from the earliest moment at which the part can have been there. watchdog_ns: how long word 2 may
    stand still, None: for ever. stations: how many judge each part.
    """

    deadline_ns: int
    stations: int = 1
    watchdog_ns: int | None = None
    allow_recipes: bool = False
    allow_challenges: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """To do: send TRIGGER. since_ns: the earliest moment at which the part can have been there, on our clock."""

    part_id: str
    trigger_id: str
    since_ns: int
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class LoadRecipe:
    """To do: send RECIPE with this number, or ROLLBACK (-1)."""

    number: int


@dataclass(frozen=True, slots=True)
class BeginBatch:
    """To do: send BATCH."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class BeginChallenge:
    """To do: send CHALLENGE begin."""


Effect = Trigger | LoadRecipe | BeginBatch | BeginChallenge


@dataclass(frozen=True, slots=True)
class Station:
    """What one station is now. code: what keeps it from taking parts. recipe: None while it is not known."""

    code: Code = Code.NO_CONTACT
    recipe: Recipe | None = None
    is_degraded: bool = False
    is_challenge_due: bool = False


def combined(verdicts: Sequence[Verdict | None]) -> Verdict | None:
    """What several stations say together: NotOK of any; else undecided of any; OK of all. None: not all have spoken."""
    said = [one for one in verdicts if one is not None]
    if bad := [one for one in said if one.evaluation is Evaluation.NOT_OK]:
        return bad[0]
    if len(said) < len(verdicts):
        return None
    return next((one for one in said if one.evaluation is not Evaluation.OK), said[0])


def text_of(content: bytes) -> str | None:
    """Printable ASCII up to the first zero, without blanks around it; None for anything else."""
    text, _, rest = content.partition(b"\0")
    if rest.strip(b"\0") or not all(32 <= byte < 127 for byte in text):
        return None
    return text.decode("ascii").strip()
