"""The records on the wire as types; field names follow OPC UA 40001-101 / 40100-1, units are in the names.

Frozen dataclasses, because the JSON Schema is generated from them (`edge.core.schema`) and mypy checks who
fills them. One rule for the unknown: a field without a known value is None here and left out of the JSON;
null is never sent. Rejected: TypedDicts (no ranges, no construction check) and pydantic (a compiled dependency).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, IntEnum
from typing import Annotated, Any, ClassVar

import numpy as np

from edge.core.types import Acquisition, AlertKind, GapCause, Reason, Term
from edge.core.wire import CONTENT_TYPE, encode, schema_name, topic_of


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


class StationState(str, Enum):
    """What the station says of itself."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    STOPPING = "stopping"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareRecord:
    """What ran: this project's version, the engine's name and its version."""

    version: str
    engine: str
    engine_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord:
    """The bundle that was used (OPC UA InternalRecipe); `hash` in lower-case hexadecimal digits."""

    id: str
    version: str
    hash: str
    hash_algorithm: str = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRecord:
    """One patch size's part in the score at the image's peak, in standard deviations above normal."""

    patch_size: int
    regression_error: float
    predictive_uncertainty: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivenByRecord:
    """The patch size and the term that contributed most to a defect's peak."""

    patch_size: int
    term: Term


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
class Record:
    """What every record says: which one it is, and where it comes from."""

    KIND: ClassVar[Kind]
    IS_TRANSIENT: ClassVar[bool] = False

    epoch: Hex16
    seq: Count
    result_id: Uuid
    site: Name
    line: Name
    station: Name
    device_id: Name
    camera_id: Name
    created: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRecord(Record):
    """What every record says that speaks about parts."""

    internal_recipe: RecipeRecord
    software: SoftwareRecord
    result_state: ResultState
    result_evaluation: ResultEvaluation
    severity: Severity
    is_simulated: bool
    is_partial: bool
    reason: Reason | None = None
    result_evaluation_details: str | None = None
    product_id: str | None = None
    batch_id: str | None = None
    job_id: str | None = None

    def __post_init__(self) -> None:
        if self.result_evaluation is ResultEvaluation.NOT_DECIDABLE and self.reason is None:
            raise ValueError("NotDecidable must say why: give a reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedRecord(EvaluatedRecord):
    """What an inspection adds; durations in milliseconds, `t_boot_ns` on the device's monotonic clock."""

    late: bool
    scales: tuple[ScaleRecord, ...] = ()
    defects: tuple[DefectRecord, ...] = ()
    trigger_id: str | None = None
    part_id: str | None = None
    acquired: Time | None = None
    t_boot_ns: int | None = None
    boot_id: str | None = None
    image: ImageRecord | None = None
    processing_duration_ms: NotNegative | None = None
    latency_ms: NotNegative | None = None
    deadline_ms: NotNegative | None = None
    anomaly_score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord(InspectedRecord):
    """The verdict on one part."""

    KIND: ClassVar[Kind] = Kind.RESULT

    acquired: Time
    t_boot_ns: int
    image: ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRecord(InspectedRecord):
    """What the line must be told; about an inspection (fields as in a result) or about a gap."""

    KIND: ClassVar[Kind] = Kind.ALERT

    alert: AlertKind
    raised: Time
    gap: MissedRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRecord(EvaluatedRecord):
    """Parts that nobody inspected, or whose verdict could not be delivered: all of them NotDecidable."""

    KIND: ClassVar[Kind] = Kind.GAP

    gap: MissedRecord


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
class HistoryGapRecord(Record):
    """Records that the journal no longer has: dropped when their time had come, or damaged. Says nothing of parts."""

    KIND: ClassVar[Kind] = Kind.GAP

    history: HistoryRecord
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BirthRecord(Record):
    """The daemon started, or changed its bundle: what it runs. `camera_uri` carries no credentials.

    `birth_count` counts the starts on this journal, from 1; both it and `previous_end` need a journal.
    """

    KIND: ClassVar[Kind] = Kind.BIRTH

    internal_recipe: RecipeRecord
    software: SoftwareRecord
    camera_uri: str
    acquisition: Acquisition
    image_threshold: float
    map_threshold: float
    review_threshold: float | None = None
    deadline_ms: NotNegative | None = None
    boot_id: str | None = None
    birth_count: Count | None = None
    previous_end: PreviousEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathRecord(Record):
    """The daemon stops in good order; a crash sends none."""

    KIND: ClassVar[Kind] = Kind.DEATH

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord(Record):
    """The station's state changed to this."""

    KIND: ClassVar[Kind] = Kind.STATE

    state: StationState


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRecord(Record):
    """Each second; transient. captured = inspected + skipped + undecided + in_flight, in frames since start."""

    KIND: ClassVar[Kind] = Kind.HEARTBEAT
    IS_TRANSIENT: ClassVar[bool] = True

    head_seq: Count
    state: StationState
    uptime_s: NotNegative
    captured: Count
    inspected: Count
    skipped: Count
    undecided: Count
    in_flight: Count
    sink_failures: Count
    oldest_seq: Count | None = None
    camera_fps: NotNegative | None = None
    frame_age_s: NotNegative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFileRecord:
    """One file; `uri` is relative to the station's evidence folder and names the content's SHA-256."""

    uri: str
    role: str
    media_type: str
    sha256: Annotated[str, Limits(pattern="^[0-9a-f]{64}$")]
    bytes: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord(Record):
    """Files that were written of the part whose verdict is `about_result_id`.

    `is_dropped`: files that have been removed again, of several parts; `about_result_id` is the first of them.
    """

    KIND: ClassVar[Kind] = Kind.EVIDENCE

    about_result_id: Uuid
    evidence: tuple[EvidenceFileRecord, ...]
    is_dropped: bool = False
    part_id: str | None = None
    frame_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord(Record):
    """A command that came through the control socket, and what became of it; `arguments` as JSON text."""

    KIND: ClassVar[Kind] = Kind.AUDIT

    command: str
    outcome: Outcome
    arguments: str
    actor: str | None = None
    details: str | None = None
    about_result_id: Uuid | None = None


RECORDS: tuple[type[Record], ...] = (
    BirthRecord,
    DeathRecord,
    HeartbeatRecord,
    StateRecord,
    AlertRecord,
    ResultRecord,
    GapRecord,
    HistoryGapRecord,
    EvidenceRecord,
    AuditRecord,
)


def to_body(record: Record) -> dict[str, Any]:
    """The record as JSON-ready values; ValueError names the field that holds a number that is not finite."""
    kind = record.KIND.value
    return {"schema": schema_name(kind), "kind": kind, **dict(_known(record))}


def to_frames(record: Record) -> tuple[bytes, ...]:
    """The record as the wire's five frames; ValueError as in `to_body`, or when the body is over 32 KiB."""
    kind = record.KIND.value
    properties: dict[str, object] = {"content_type": CONTENT_TYPE, "schema": schema_name(kind)}
    if record.IS_TRANSIENT:
        properties["transient"] = True
    topic = topic_of(record.site, record.line, record.station, kind)
    return tuple(encode(topic, record.seq, bytes.fromhex(record.epoch), properties, to_body(record)))


def _known(record: Any) -> Iterator[tuple[str, Any]]:
    for item in fields(record):
        value = getattr(record, item.name)
        if value is not None:
            yield item.name, _plain(value, item.name)


def _plain(value: Any, name: str) -> Any:
    if type(value) in (str, int, bool):
        return value
    if isinstance(value, tuple):
        if set(map(type, value)) == {int}:  # a polygon's points: hundreds of them in one record
            return list(value)
        return [_plain(item, name) for item in value]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return dict(_known(value))
    if isinstance(value, np.generic):  # arithmetic on maps leaves NumPy scalars, which json refuses
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; only finite numbers may go out")
    return value
