"""What may go out as it is, and how bad it is: the last check before a verdict leaves the device.

An unsound inspection (a NaN, an undecided one without a reason, a good one that came late) becomes NotDecidable
and says why, so an OK is always earned. Rejected: refusing it only, which would leave the part without any record.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edge.core.threshold import unit_of
from edge.core.types import Inspection, Timings
from edge.core.words import Reason, Verdict

THRESHOLD_SEVERITY = 500


def problem_with(inspection: Inspection) -> tuple[Reason, str] | None:
    """Why the inspection must not go out as it is; None when it is sound."""
    if not all(map(math.isfinite, _numbers(inspection))):
        return Reason.NON_FINITE, "a score, threshold, defect or duration was not a finite number"
    if inspection.verdict is Verdict.UNDECIDED:
        return None if inspection.reason else (Reason.ENGINE_ERROR, "undecided without a reason")
    if inspection.score is None or inspection.threshold is None:
        return Reason.ENGINE_ERROR, f"{inspection.verdict.value} without a score and a threshold"
    if inspection.verdict is Verdict.GOOD and inspection.late:
        return Reason.LATE, "good, but after its deadline"
    return None


def sendable(inspection: Inspection) -> Inspection:
    """The inspection itself when it is sound, else an UNDECIDED one without numbers that says why."""
    problem = problem_with(inspection)
    if problem is None:
        return inspection
    reason, detail = problem
    return replace(
        inspection,
        verdict=Verdict.UNDECIDED,
        score=None,
        threshold=None,
        defects=(),
        scales=(),
        neighbours=(),
        timings=Timings(),
        measures=None if reason is Reason.NON_FINITE else inspection.measures,
        reason=inspection.reason or reason,
        detail=detail if inspection.detail is None else f"{detail}; {inspection.detail}",
    )


def severity_of(inspection: Inspection) -> int:
    """1 for good, 500 at the threshold, 750 one `unit_of` the threshold above it (twice the threshold), towards 1000.

    Undecided counts 500: the part is not let pass either; of one in review the score says how near it came.
    """
    if inspection.verdict is Verdict.GOOD:
        return 1
    if inspection.verdict is Verdict.UNDECIDED:
        return THRESHOLD_SEVERITY
    score, threshold = inspection.score, inspection.threshold
    if score is None or threshold is None:
        return 1000
    unit, above = unit_of(float(threshold)), max(0.0, float(score) - float(threshold))  # defective all the same
    return round(1000 - THRESHOLD_SEVERITY * unit / (unit + above))


def _numbers(inspection: Inspection) -> list[float]:
    numbers = [inspection.score, inspection.threshold, inspection.timings.total_ms]
    for scale in inspection.scales:
        numbers += [scale.regression_error, scale.predictive_uncertainty, scale.weight]
    for one in inspection.neighbours:
        numbers += [one.distance, one.weight]
    for defect in inspection.defects:
        numbers += [defect.score_max, defect.score_mean, defect.area_px, *defect.centroid_px]
        numbers += [defect.area_mm2, defect.length_mm]
    if (measures := inspection.measures) is not None:
        numbers += [measures.brightness, measures.saturated, measures.sharpness, measures.alike]
    return [number for number in numbers if number is not None]
