"""The words records are made of: enumerations, what a field may hold, and the parts that several records share.

Field names follow OPC UA 40001-101 / 40100-1, units are in the names. One rule for the unknown: a field without a
known value is None here and left out of the JSON. Rejected: TypedDicts (no ranges, no construction check) and pydantic
(a compiled dependency).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cache
from typing import Annotated

from edge.core.words import Advice, GapCause, Neighbours, Term

SCHEMA_MAJOR, SCHEMA_MINOR = 1, 3


@cache
def schema_name(kind: str) -> str:
    """`edge-inspect.<kind>/<major>.<minor>`."""
    return f"edge-inspect.{kind}/{SCHEMA_MAJOR}.{SCHEMA_MINOR}"


class Kind(str, Enum):
    """The kinds of record there are today; a consumer ignores those it does not know."""

    BIRTH = "birth"
    DEATH = "death"
    HEARTBEAT = "heartbeat"
    STATE = "state"
    ALERT = "alert"
    RESULT = "result"
    GAP = "gap"
    EVIDENCE = "evidence"
    AUDIT = "audit"
    DRIFT = "drift"
    CHALLENGE = "challenge"


class DriftState(str, Enum):
    """Whether a drift is told for the first time, or over."""

    BEGUN = "begun"
    ENDED = "ended"


class PreviousEnd(str, Enum):
    """How the run before this one ended."""

    CLEAN = "clean"  # it said DEATH
    CRASH = "crash"
    POWER = "power"  # the machine has been started anew since
    WATCHDOG = "watchdog"  # the supervisor ended it, because it no longer inspected


class LossCause(str, Enum):
    """Why records are no longer in the journal."""

    RETENTION = "retention"
    CORRUPT = "corrupt"


class Outcome(str, Enum):
    """What became of a command."""

    DONE = "done"
    REFUSED = "refused"


class ChallengeState(str, Enum):
    """What became of a challenge, or of the time for one."""

    BEGUN = "begun"
    PASSED = "passed"
    FAILED = "failed"
    OVERDUE = "overdue"


class StationState(str, Enum):
    """What the station says of itself."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    STOPPING = "stopping"


class CameraState(str, Enum):
    """What a live camera does."""

    STARTING = "starting"  # opened, no frame yet
    STREAMING = "streaming"
    DEGRADED = "degraded"  # its frames cannot be inspected: frozen, dark, incomplete …
    STALLED = "stalled"  # no frame and no error
    LOST = "lost"


class ResultState(IntEnum):
    """Whether the inspection ran (OPC UA ResultState)."""

    UNDEFINED = 0
    COMPLETED = 1
    PROCESSING = 2
    ABORTED = 3
    FAILED = 4


class ResultEvaluation(IntEnum):
    """What it found (OPC UA ResultEvaluationEnum). Only OK is OK."""

    UNDEFINED = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What a field's JSON Schema says beyond its type."""

    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    format: str | None = None


Name = Annotated[str, Limits(pattern="^[A-Za-z0-9_-]{1,32}$")]
Hex16 = Annotated[str, Limits(pattern="^[0-9a-f]{32}$")]
Uuid = Annotated[str, Limits(format="uuid")]
Time = Annotated[str, Limits(pattern="Z$", format="date-time")]
Count = Annotated[int, Limits(minimum=0)]
NotNegative = Annotated[float, Limits(minimum=0)]
Severity = Annotated[int, Limits(minimum=1, maximum=1000)]
RecipeNumber = Annotated[int, Limits(minimum=1, maximum=32767)]  # what a PLC's word holds


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareRecord:
    """What ran: this project's version, the engine's name and its version."""

    version: str
    engine: str
    engine_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord:
    """The bundle that was used (OPC UA InternalRecipe); hashes in lower-case hexadecimal digits.

    commissioning_hash: of the file, or of the change by COMMISSION, whose thresholds took the place of the bundle's;
    left out where they are its own.
    number: under which the station's recipe table has this very bundle; left out where it has not.
    """

    id: str
    version: str
    hash: str
    hash_algorithm: str = "sha256"
    commissioning_hash: str | None = None
    number: RecipeNumber | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRecord:
    """What the thresholds promise: at most `rate` of good parts rejected, at `confidence` (both 0 to 1); in words."""

    rate: NotNegative
    confidence: NotNegative
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BandsRecord:
    """Between which measures a picture is inspected at all, see MeasuresRecord. No least_alike: any place will do."""

    darkest: float
    brightest: float
    most_saturated: float
    least_sharp: float
    least_alike: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuresRecord:
    """What the picture looked like. brightness: mean grey level, 0 to 255; saturated: share of clipped pixels, 0 to 1;
    sharpness: mean absolute Laplacian over the standard deviation.

    alike: correlation with the mean good picture, -1 to 1; left out where the recipe has none. shift_px: how far it
    lies from that, right and down, in pixels of the network's input; left out unless moving it back explains at least
    half of its unlikeness.
    """

    brightness: NotNegative
    saturated: NotNegative
    sharpness: NotNegative
    alike: float | None = None
    shift_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengedRecord:
    """That a part may be a piece of a challenge. evaluation: what was found of it, which is no verdict on a part.

    piece, expected: of the kit; left out of a part that came while pieces might still lie on the belt.
    """

    run_id: str
    evaluation: ResultEvaluation
    piece: str | None = None
    expected: ResultEvaluation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeItemRecord:
    """One piece of a run: what is expected and what was found; problem: why that is not right; left out where it is."""

    piece: str
    expected: ResultEvaluation
    evaluation: ResultEvaluation
    anomaly_score: float | None = None
    threshold: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRecord:
    """Records after `after_seq` of `epoch`, up to this one: of parts since the last proof, to be held.

    Both are left out where there never was one: then all of them.
    """

    epoch: Hex16 | None = None
    after_seq: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRecord:
    """What the bundle is expected to find, as its training saw it: an estimate from planted defects, no promise.

    share: of all planted defects, 0 to 1, with its 95 % interval; statement: from which size and contrast on most are
    found. advice: what to make of it; why: the reason and what to do.
    """

    advice: Advice
    share: NotNegative
    low: NotNegative
    high: NotNegative
    statement: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRecord:
    """One patch size's part in the score at the image's peak, on the bundle's scale."""

    patch_size: int
    regression_error: float
    predictive_uncertainty: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourRecord:
    """One map of distances to the nearest good descriptor: its part in the score at the image's peak, as above."""

    map: Neighbours
    distance: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivenByRecord:
    """The patch size and the term that contributed most to a defect's peak.

    neighbours: the map of distances, where one of them did; its term is then told as regression_error.
    """

    patch_size: int
    term: Term
    neighbours: Neighbours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectRecord:
    """One region above the map threshold, in frame pixels (x right, y down); at most 64 polygon points."""

    defect_id: Count
    score_max: float
    score_mean: float
    bbox_px: tuple[int, int, int, int]  # x, y, width, height
    centroid_px: tuple[float, float]
    area_px: NotNegative
    polygon_px: tuple[tuple[int, int], ...]
    driven_by: DrivenByRecord
    area_mm2: NotNegative | None = None
    length_mm: NotNegative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """The frame that was inspected."""

    frame_id: int
    width_px: Count | None = None
    height_px: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedRecord:
    """Frames first..last (inclusive) that nobody inspected; `part_ids` where they are known."""

    first_frame_id: int
    last_frame_id: int
    count: Count
    cause: GapCause
    noticed: Time
    part_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """Records first..last (inclusive) of an epoch that can no longer be had.

    `last_seq` is left out where nobody knows how far the damage went, `epoch` where not even that could be read.
    """

    first_seq: Count
    cause: LossCause
    epoch: Hex16 | None = None
    last_seq: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFileRecord:
    """One file; `uri` is relative to the station's evidence folder and names the content's SHA-256."""

    uri: str
    role: str
    media_type: str
    sha256: Annotated[str, Limits(pattern="^[0-9a-f]{64}$")]
    bytes: Count
