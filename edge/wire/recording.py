"""From facts (Inspection, Gap, Alert, health) to records: pure functions, the only home of these mappings.

What is not sound is refused with ValueError, never repaired in silence (see `edge.wire.soundness`). Bodies stay
under 32 KiB by construction: 32 defects, 768 polygon points over all of them, bounded texts. Rejected: methods on
the types of `edge.core.types`, which would make the nouns know the wire.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, overload

from edge.core.ids import told_apart
from edge.core.redaction import hide_credentials, without_credentials
from edge.core.types import Alert, Challenged, Defect, Gap, Inspection, Measures
from edge.core.words import GapCause, Reason, Verdict
from edge.wire import records, vocabulary
from edge.wire.facts import HealthSnapshot, Origin, Stamp
from edge.wire.messages import MAX_BODY_BYTES, dump_object, load_object
from edge.wire.soundness import THRESHOLD_SEVERITY, problem_with, severity_of
from edge.wire.vocabulary import CameraState, ResultEvaluation, ResultState, StationState

MAX_DEFECTS = 32
MAX_POLYGON_POINTS = 64
_MAX_POINTS = 768  # over all defects: keeps the largest body under 32 KiB (a test builds it)
MAX_PART_IDS = 64  # named in one gap
_MAX_ID, _MAX_DETAIL, _MAX_PART_IDS_CHARACTERS = 128, 512, 2048

EVALUATION_OF = {
    Verdict.GOOD: ResultEvaluation.OK,
    Verdict.DEFECTIVE: ResultEvaluation.NOT_OK,
    Verdict.UNDECIDED: ResultEvaluation.NOT_DECIDABLE,
}
_STATE_OF_REASON: dict[Reason, ResultState] = {  # any other: it ran, and could not decide
    Reason.ENGINE_ERROR: ResultState.FAILED,
    Reason.NON_FINITE: ResultState.FAILED,
    Reason.GAP: ResultState.ABORTED,
    Reason.QUEUE_FULL: ResultState.ABORTED,
}


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds and 'Z'; ValueError for a datetime without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; only UTC goes on the wire")
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def result_record(
    origin: Origin, stamp: Stamp, inspection: Inspection, latency_ms: float | None = None
) -> records.ResultRecord:
    """The verdict on one part; `latency_ms` from capture to decision. ValueError when it is not sound."""
    return records.ResultRecord(
        **_envelope(origin, stamp), **_evaluated(origin), **_inspected(origin, inspection, latency_ms)
    )


def alert_record(origin: Origin, stamp: Stamp, alert: Alert, latency_ms: float | None = None) -> records.AlertRecord:
    """What the gate decided to tell; ValueError when it is about nothing, or its inspection is not sound."""
    facts = {**_envelope(origin, stamp), **_evaluated(origin), "alert": alert.kind, "raised": rfc3339(alert.raised_at)}
    if alert.inspection is not None:
        facts |= _inspected(origin, alert.inspection, latency_ms)
        return records.AlertRecord(**facts, gap=_missed(alert.gap) if alert.gap else None)
    if alert.gap is None:
        raise ValueError("an alert must be about an inspection or a gap")
    return records.AlertRecord(**facts, **_gap(alert.gap), late=False)


def late_body(body: bytes) -> bytes | None:
    """A result's body as it is when nobody was told of it in time; None where it is no OK."""
    facts = load_object("record", body, MAX_BODY_BYTES)
    if facts["result_evaluation"] != ResultEvaluation.OK:
        return None
    detail = "the station ended before this verdict was told"
    facts |= {"result_evaluation": ResultEvaluation.NOT_DECIDABLE.value, "reason": Reason.LATE.value, "late": True}
    return dump_object({**facts, "severity": THRESHOLD_SEVERITY, "result_evaluation_details": detail})


def gap_record(origin: Origin, stamp: Stamp, gap: Gap) -> records.GapRecord:
    """Parts nobody inspected; all NotDecidable. `is_partial` when `part_ids` names some of them only."""
    return records.GapRecord(**_envelope(origin, stamp), **_evaluated(origin), **_gap(gap))


def history_gap_record(origin: Origin, stamp: Stamp, history: vocabulary.HistoryRecord) -> records.HistoryGapRecord:
    """Records that the journal no longer has."""
    return records.HistoryGapRecord(**_envelope(origin, stamp), history=history)


def birth_record(
    origin: Origin, stamp: Stamp, birth_count: int | None = None, previous_end: vocabulary.PreviousEnd | None = None
) -> records.BirthRecord:
    """What this daemon runs; credentials are taken out of the camera's URI."""
    return records.BirthRecord(
        **_envelope(origin, stamp),
        internal_recipe=origin.recipe,
        software=origin.software,
        camera_uri=_text(without_credentials(origin.camera_uri), _MAX_DETAIL),
        acquisition=origin.acquisition,
        image_threshold=origin.image_threshold,
        map_threshold=origin.map_threshold,
        review_threshold=origin.review_threshold,
        forecast=origin.forecast,
        score_scale=origin.score_scale,
        deadline_ms=origin.deadline_ms,
        boot_id=origin.boot_id,
        birth_count=birth_count,
        previous_end=previous_end,
        trigger=origin.trigger,
        trigger_window_ms=origin.trigger_window_ms,
        camera_latency_ms=origin.camera_latency_ms,
        recipe_reason=None if origin.choice is None else origin.choice.why,
        promise=origin.promise,
        bands=origin.bands,
    )


def evidence_record(
    origin: Origin,
    stamp: Stamp,
    about_result_id: str,
    files: tuple[vocabulary.EvidenceFileRecord, ...],
    part_id: str | None = None,
    frame_id: int | None = None,
    is_dropped: bool = False,
) -> records.EvidenceRecord:
    """Files written of the part whose record has `about_result_id`, or removed again."""
    return records.EvidenceRecord(
        **_envelope(origin, stamp),
        about_result_id=about_result_id,
        evidence=files,
        is_dropped=is_dropped,
        part_id=_id(part_id),
        frame_id=frame_id,
    )


def audit_record(
    origin: Origin,
    stamp: Stamp,
    command: str,
    outcome: vocabulary.Outcome,
    arguments: str,
    *,
    actor: str | None = None,
    details: str | None = None,
    about_result_id: str | None = None,
) -> records.AuditRecord:
    """A command and what became of it; texts are cut to 512 characters (`arguments`: 4096)."""
    return records.AuditRecord(
        **_envelope(origin, stamp),
        command=_text(command),
        outcome=outcome,
        arguments=_told(arguments, 8 * _MAX_DETAIL),
        actor=_text(actor),
        details=None if details is None else _told(details, _MAX_DETAIL),
        about_result_id=about_result_id,
    )


def drift_record(
    origin: Origin,
    stamp: Stamp,
    *,
    measure: str,
    cause: str,
    advice: str,
    state: vocabulary.DriftState,
    baseline: float,
    now: float,
    since: datetime,
    limit: float | None = None,
    reaches_limit_s: float | None = None,
) -> records.DriftRecord:
    """What drifts, or no longer does; six places, since more would be noise."""
    return records.DriftRecord(
        **_envelope(origin, stamp),
        internal_recipe=origin.recipe,
        measure=measure,
        cause=cause,
        state=state,
        baseline=round(baseline, 6),
        now=round(now, 6),
        since=rfc3339(since),
        advice=advice,
        limit=None if limit is None else round(limit, 6),
        reaches_limit_s=None if reaches_limit_s is None else round(reaches_limit_s),
    )


def death_record(origin: Origin, stamp: Stamp, reason: str) -> records.DeathRecord:
    """The daemon stops in good order, and why."""
    return records.DeathRecord(**_envelope(origin, stamp), reason=_told(reason, _MAX_DETAIL))


def state_record(
    origin: Origin, stamp: Stamp, state: StationState, cause: str | None = None, advice: str | None = None
) -> records.StateRecord:
    """The station's state became `state`; `cause` and `advice` are cut to 512 characters."""
    why, what_to_do = (None if text is None else _told(text, _MAX_DETAIL) for text in (cause, advice))
    return records.StateRecord(**_envelope(origin, stamp), state=state, cause=why, advice=what_to_do)


def heartbeat_record(
    origin: Origin,
    stamp: Stamp,
    health: HealthSnapshot,
    sink_failures: int = 0,
    oldest_seq: int | None = None,
    refused_peers: int | None = None,
    clock_ns: int | None = None,
    floods: int | None = None,
) -> records.HeartbeatRecord:
    """The second's heartbeat; `stamp.seq` is the head seq, since a heartbeat has none of its own."""
    return records.HeartbeatRecord(
        **_envelope(origin, stamp),
        head_seq=stamp.seq,
        state=StationState(health.state),
        uptime_s=health.uptime_s,
        captured=health.captured,
        inspected=health.inspected,
        skipped=health.skipped,
        undecided=health.undecided,
        in_flight=health.in_flight,
        sink_failures=sink_failures,
        oldest_seq=oldest_seq,
        camera_state=None if health.camera is None else CameraState(health.camera),
        camera_fps=health.fps,
        frame_age_s=health.frame_age_s,
        refused_peers=refused_peers,
        clock_ns=clock_ns,
        floods=floods,
        frames_dropped=health.frames_dropped,
        drifting=health.drifting or None,
        challenge_due_s=health.challenge_due_s,
    )


def _envelope(origin: Origin, stamp: Stamp) -> dict[str, Any]:
    station = origin.station
    return {
        "epoch": stamp.epoch.hex(),
        "seq": stamp.seq,
        "result_id": stamp.result_id,
        "site": station.site,
        "line": station.line,
        "station": station.station,
        "device_id": station.device_id,
        "camera_id": station.camera_id,
        "created": rfc3339(stamp.created),
    }


def _evaluated(origin: Origin) -> dict[str, Any]:
    return {
        "internal_recipe": origin.recipe,
        "software": origin.software,
        "product_id": _id(origin.product_id),
        "batch_id": _id(origin.batch_id),
        "job_id": _id(origin.job_id),
    }


def _inspected(origin: Origin, inspection: Inspection, latency_ms: float | None) -> dict[str, Any]:
    if problem := problem_with(inspection):
        raise ValueError(f"frame {inspection.frame_id}: {problem[1]}; send it as UNDECIDED")
    kept = sorted(inspection.defects, key=lambda defect: -defect.score_max)[:MAX_DEFECTS]
    near = [vocabulary.NeighbourRecord(map=n.map, distance=n.distance, weight=n.weight) for n in inspection.neighbours]
    height, width = inspection.frame_size or (None, None)
    return {
        **_decision(inspection),
        "severity": severity_of(inspection),
        "is_simulated": inspection.is_simulated,
        "is_partial": len(kept) < len(inspection.defects),
        "late": inspection.late,
        "scales": tuple(
            vocabulary.ScaleRecord(
                patch_size=scale.patch_size,
                regression_error=scale.regression_error,
                predictive_uncertainty=scale.predictive_uncertainty,
                weight=scale.weight,
            )
            for scale in inspection.scales
        ),
        "neighbours": tuple(near) or None,
        "defects": tuple(_defect(index, defect, len(kept)) for index, defect in enumerate(kept)),
        "trigger_id": _id(inspection.trigger_id),
        "part_id": _id(inspection.part_id),
        "acquired": rfc3339(inspection.captured_at),
        "t_boot_ns": inspection.captured_ns,
        "t_trigger_ns": inspection.asked_ns,
        "is_repeat": inspection.is_repeat or None,
        "boot_id": origin.boot_id,
        "image": vocabulary.ImageRecord(frame_id=inspection.frame_id, width_px=width, height_px=height),
        "processing_duration_ms": inspection.timings.total_ms,
        "latency_ms": None if latency_ms is None else max(0.0, latency_ms),
        "deadline_ms": origin.deadline_ms,
        "anomaly_score": inspection.score,
        "threshold": inspection.threshold,
        "picture_fault": _picture_fault(inspection.detail) if inspection.reason is Reason.HEALTH_GATE else None,
        "challenge": None if inspection.challenge is None else _challenged(inspection.challenge),
        "measures": None if inspection.measures is None else measures_record(inspection.measures),
    }


def _challenged(challenge: Challenged) -> vocabulary.ChallengedRecord:
    return vocabulary.ChallengedRecord(
        run_id=challenge.run_id,
        evaluation=EVALUATION_OF[challenge.verdict or Verdict.UNDECIDED],
        piece=challenge.piece,
        expected=None if challenge.expected is None else EVALUATION_OF[challenge.expected],
    )


def challenge_record(
    origin: Origin,
    stamp: Stamp,
    state: vocabulary.ChallengeState,
    cause: str | None = None,
    **facts: Any,
) -> records.ChallengeRecord:
    """What became of a challenge, with `facts` as the record has them; `cause` is cut to 512 characters."""
    why = None if cause is None else _told(cause, _MAX_DETAIL)
    return records.ChallengeRecord(**_envelope(origin, stamp), state=state, cause=why, **facts)


def measures_record(measures: Measures) -> vocabulary.MeasuresRecord:
    """To six places: more would be noise, and bytes in each record."""
    return vocabulary.MeasuresRecord(
        brightness=round(measures.brightness, 6),
        saturated=round(measures.saturated, 6),
        sharpness=round(measures.sharpness, 6),
        alike=None if measures.alike is None else round(measures.alike, 6),
        shift_px=measures.shift_px,
    )


def _picture_fault(detail: str | None) -> str | None:
    """What the health gate's sentence begins with, where it names a fault: `blurred: sharpness 0.1 …`."""
    fault, colon, _ = (detail or "").partition(": ")
    return fault if colon and re.fullmatch(r"[a-z ]{1,40}", fault) else None


def _decision(inspection: Inspection) -> dict[str, Any]:
    if inspection.verdict is Verdict.UNDECIDED:
        return _undecided(inspection.reason, inspection.detail)
    return {"result_state": ResultState.COMPLETED, "result_evaluation": EVALUATION_OF[inspection.verdict]}


def _undecided(reason: Reason | None, detail: str | None) -> dict[str, Any]:
    if reason is None:
        raise ValueError("NotDecidable must say why: give a reason")
    return {
        "result_state": _STATE_OF_REASON.get(reason, ResultState.COMPLETED),
        "result_evaluation": ResultEvaluation.NOT_DECIDABLE,
        "reason": reason,
        "result_evaluation_details": None if detail is None else _told(detail, _MAX_DETAIL),
    }


def _gap(gap: Gap) -> dict[str, Any]:
    missed = _missed(gap)
    return {
        **_undecided(Reason.QUEUE_FULL if gap.cause is GapCause.QUEUE_FULL else Reason.GAP, gap.detail),
        "severity": THRESHOLD_SEVERITY,
        "is_simulated": False,
        "is_partial": 0 < len(missed.part_ids) < gap.count,
        "gap": missed,
    }


def _missed(gap: Gap) -> vocabulary.MissedRecord:
    named: list[str] = []
    room = _MAX_PART_IDS_CHARACTERS
    for part_id in gap.part_ids[:MAX_PART_IDS]:
        named.append(_id(part_id))
        room -= len(named[-1])
        if room < 0:
            del named[-1]
            break
    return vocabulary.MissedRecord(
        first_frame_id=gap.first_id,
        last_frame_id=gap.last_id,
        count=gap.count,
        cause=gap.cause,
        noticed=rfc3339(gap.noticed_at),
        part_ids=tuple(named),
    )


def _defect(defect_id: int, defect: Defect, shown: int) -> vocabulary.DefectRecord:
    return vocabulary.DefectRecord(
        defect_id=defect_id,
        score_max=defect.score_max,
        score_mean=defect.score_mean,
        bbox_px=defect.box_px,
        centroid_px=defect.centroid_px,
        area_px=defect.area_px,
        polygon_px=_thinned(defect.polygon_px, min(MAX_POLYGON_POINTS, _MAX_POINTS // shown)),
        driven_by=vocabulary.DrivenByRecord(
            patch_size=defect.driven_by.patch_size,
            term=defect.driven_by.term,
            neighbours=defect.driven_by.neighbours,
        ),
        area_mm2=defect.area_mm2,
        length_mm=defect.length_mm,
        roi_ninth=defect.roi_ninth,
    )


def _thinned(polygon: tuple[tuple[int, int], ...], limit: int) -> tuple[tuple[int, int], ...]:
    """Evenly chosen vertices: the polygon is for pointing; area and box carry the measurements."""
    if len(polygon) <= limit:
        return polygon
    return tuple(polygon[index * len(polygon) // limit] for index in range(limit))


def _told(value: str, limit: int) -> str:
    """A sentence, such as an error's, which may quote a camera's address."""
    return _text(hide_credentials(value), limit)


@overload
def _id(value: str) -> str: ...
@overload
def _id(value: str | None) -> str | None: ...
def _id(value: str | None) -> str | None:
    """An id, as it is where it can be printed and has at most 128 characters; else told apart by a digest."""
    if value is None or (value.isascii() and value.isprintable() and len(value) <= _MAX_ID):
        return value  # what nearly every id is: it cannot look like one with a digest
    return told_apart(value, _printable, _MAX_ID, "…")


@overload
def _text(value: str, limit: int = _MAX_ID) -> str: ...
@overload
def _text(value: str | None, limit: int = _MAX_ID) -> str | None: ...
def _text(value: str | None, limit: int = _MAX_ID) -> str | None:
    """At most `limit` characters; what cannot be printed (controls, surrogates) becomes '?'."""
    if value is None:
        return None
    clean = _printable(value[:limit])
    return clean if len(value) <= limit else clean[:-1] + "…"


def _printable(value: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in value)
