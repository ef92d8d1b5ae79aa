"""The records on the wire as types, one class a kind; their words are in `edge.wire.vocabulary`.

Frozen dataclasses, because the JSON Schema is generated from them (`edge.wire.schema`) and mypy checks who fills them.
How one becomes JSON is in `edge.wire.encoding`. Rejected: one class with a field for everything, whose schema would
allow what no kind has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edge.core.words import Acquisition, AlertKind, Reason, Scale
from edge.wire.vocabulary import (
    BandsRecord,
    CameraState,
    ChallengedRecord,
    ChallengeItemRecord,
    ChallengeState,
    Count,
    DefectRecord,
    DriftState,
    EvidenceFileRecord,
    ForecastRecord,
    Hex16,
    HistoryRecord,
    HoldRecord,
    ImageRecord,
    Kind,
    MeasuresRecord,
    MissedRecord,
    Name,
    NeighbourRecord,
    NotNegative,
    Outcome,
    PreviousEnd,
    PromiseRecord,
    RecipeRecord,
    ResultEvaluation,
    ResultState,
    ScaleRecord,
    Severity,
    SoftwareRecord,
    StationState,
    Time,
    Uuid,
)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedRecord(EvaluatedRecord):
    """What an inspection adds; durations in milliseconds, `t_…_ns` on the device's monotonic clock.

    t_boot_ns, t_trigger_ns: the earliest moment of its exposure, and of its trigger where it had one. is_repeat: its
    part id was triggered before; left out otherwise. picture_fault: in a word or a few, why the picture was not
    fit for inspection (`health_gate`), the same for the same fault; more may come: do not take them for a closed list.
    measures: of the picture, part or none; left out where it was not looked at. challenge: it may be a piece of one,
    and is NotDecidable whatever was found.
    """

    late: bool
    scales: tuple[ScaleRecord, ...] = ()
    neighbours: tuple[NeighbourRecord, ...] | None = None
    defects: tuple[DefectRecord, ...] = ()
    trigger_id: str | None = None
    part_id: str | None = None
    acquired: Time | None = None
    t_boot_ns: int | None = None
    t_trigger_ns: int | None = None
    is_repeat: bool | None = None
    boot_id: str | None = None
    image: ImageRecord | None = None
    processing_duration_ms: NotNegative | None = None
    latency_ms: NotNegative | None = None
    deadline_ms: NotNegative | None = None
    anomaly_score: float | None = None
    threshold: float | None = None
    picture_fault: str | None = None
    measures: MeasuresRecord | None = None
    challenge: ChallengedRecord | None = None


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
class HistoryGapRecord(Record):
    """Records that the journal no longer has: dropped when their time had come, or damaged. Says nothing of parts."""

    KIND: ClassVar[Kind] = Kind.GAP

    history: HistoryRecord
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BirthRecord(Record):
    """The daemon started, or changed its bundle: what it runs. `camera_uri` carries no credentials.

    `birth_count` counts the starts on this journal, from 1; both it and `previous_end` need a journal. trigger: what
    says that a part is there, "source", "control" or "hardware"; with the last two beside a live camera, how long a
    part is in view after its trigger, and how long a frame takes from exposure to arrival, at the least and at the
    most. recipe_reason: why this recipe runs and no other, for people. promise: of the thresholds. bands: of pictures
    that are inspected.
    """

    KIND: ClassVar[Kind] = Kind.BIRTH

    internal_recipe: RecipeRecord
    software: SoftwareRecord
    camera_uri: str
    acquisition: Acquisition
    image_threshold: float
    map_threshold: float
    review_threshold: float | None = None
    score_scale: Scale | None = None
    deadline_ms: NotNegative | None = None
    boot_id: str | None = None
    birth_count: Count | None = None
    previous_end: PreviousEnd | None = None
    trigger: str | None = None
    trigger_window_ms: NotNegative | None = None
    camera_latency_ms: tuple[NotNegative, NotNegative] | None = None
    forecast: ForecastRecord | None = None
    recipe_reason: str | None = None
    promise: PromiseRecord | None = None
    bands: BandsRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathRecord(Record):
    """The daemon stops in good order; a crash sends none."""

    KIND: ClassVar[Kind] = Kind.DEATH

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord(Record):
    """The station's state changed to this; why, and what to do, where no single part says so."""

    KIND: ClassVar[Kind] = Kind.STATE

    state: StationState
    cause: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRecord(Record):
    """Each second; transient. captured = inspected + skipped + undecided + in_flight, in frames since start.

    `refused_peers`: connections since the start that have proved no key; left out where none is asked for. clock_ns:
    the device's monotonic clock, for a client that says since when a part can have been there.
    `floods`: how often somebody was kept out, or all were cut off, because of too many connections or subscriptions.
    `frames_dropped`: pictures that somebody on the frames socket was too slow for; left out where there is none.
    `drifting`: the measures whose drift was told and stands; left out where there is none.
    `challenge_due_s`: until the next challenge is due, 0 when it is; left out where none is asked for.
    """

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
    camera_state: CameraState | None = None
    camera_fps: NotNegative | None = None
    frame_age_s: NotNegative | None = None
    refused_peers: Count | None = None
    clock_ns: int | None = None
    floods: Count | None = None
    frames_dropped: Count | None = None
    drifting: tuple[str, ...] | None = None
    challenge_due_s: NotNegative | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRecord(Record):
    """A measure has moved away from what was normal for this recipe, and that matters; or it is over.

    measure: as in a result's `measures`; `spread` (of the brightness, from part to part), `score` (over its threshold)
    or `rejects` (their share). cause: in a word or two, the same for the same cause. More of both may come: do not take
    them for closed lists. baseline, now, limit: in the measure's unit; at the limit pictures or parts are refused.
    reaches_limit_s: from this record on, where there is a trend.
    """

    KIND: ClassVar[Kind] = Kind.DRIFT

    internal_recipe: RecipeRecord
    measure: str
    cause: str
    state: DriftState
    baseline: float
    now: float
    since: Time
    advice: str
    limit: float | None = None
    reaches_limit_s: NotNegative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRecord(Record):
    """A challenge began, passed or failed, or its time has come. hold: the parts since the last proof, if this is none.

    operator: who began it. cause: why it failed. run_id, kit: left out of one that is overdue. is_electronic: stored
    pictures went through the engine, and no pieces through the station.
    """

    KIND: ClassVar[Kind] = Kind.CHALLENGE

    state: ChallengeState
    items: tuple[ChallengeItemRecord, ...] = ()
    run_id: str | None = None
    kit: str | None = None
    operator: str | None = None
    cause: str | None = None
    hold: HoldRecord | None = None
    is_electronic: bool | None = None


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
    DriftRecord,
    ChallengeRecord,
)
