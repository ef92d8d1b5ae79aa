"""From inspections already made to the figures of a report: PRO, AUROC, detection, false rejects, latency.

UNDECIDED images are counted by name and never as good; rates are stated against us: an undecided defect is not
detected, and an undecided good part does not dilute the false rejects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError
from edge.core.promise import binomial_upper_bound
from edge.core.types import Map, Reason, Term, Verdict
from trainer.dataset import GOOD
from trainer.metrics import Mask, PixelScores, found_at, roc_auc
from trainer.report.inspected import Inspects, Record, Scored
from trainer.report.results import (
    CONFIDENCE,
    Detection,
    FalseRejects,
    ImageReport,
    MapReport,
    Report,
    Subject,
    TypeReport,
)

MAX_FPR = 0.3
CURVE_POINTS = 61
BANDS_PX = (6, 12, 30, 60)  # of the network's input


def report_on(inspector: Inspects, records: Sequence[Record], subject: Subject) -> Report:
    """All figures from inspections already made; TrainingError where no defective image has a score."""
    scored = _of_defective([record.scored for record in records if record.scored is not None], records, subject)
    fused = PixelScores.gather(_maps(inspector, scored, None, None), [one.mask for one in scored])
    sizes = sorted({key.patch_size for one in scored for key in one.anomaly_map.deviations})
    milliseconds = [record.inspection.timings.total_ms for record in records if record.scored is not None]
    p50, p95 = np.percentile(milliseconds, [50, 95])
    types = dict.fromkeys(r.sample.defect_type for r in records if r.sample.defect_type != GOOD)
    return Report(
        subject,
        inspector.image_threshold,
        inspector.map_threshold,
        _group_report("all", [r for r in records if r.sample.defect_type != GOOD], records, fused),
        (_map_report(inspector, scored, None, fused), *(_map_report(inspector, scored, size) for size in sizes)),
        tuple(
            _group_report(name, [r for r in records if r.sample.defect_type == name], records, fused) for name in types
        ),
        tuple(_group_report(name, band, records, fused) for name, band in _by_size(records, inspector)),
        _false_rejects([r for r in records if r.sample.defect_type == GOOD]),
        float(p50),
        float(p95),
        tuple(_image_report(record) for record in records),
        inspector.review_threshold,
    )


def detection_on(inspector: Inspects, records: Sequence[Record], subject: Subject) -> Detection:
    """What can be said of images whose defects nobody has drawn; TrainingError where no defective one has a score."""
    bad = [record for record in records if record.sample.defect_type != GOOD]
    scored = _of_defective([record.scored for record in records if record.scored is not None], records, subject)
    scores = [one.score for one in scored]
    defective = [one.sample.defect_type != GOOD for one in scored]
    good, bad_ones = (
        [one.score for one in scored if (one.sample.defect_type == GOOD) is kind] for kind in (True, False)
    )
    verdicts = [record.inspection.verdict for record in bad]
    found = verdicts.count(Verdict.DEFECTIVE)
    p50, p95 = np.percentile([record.inspection.timings.total_ms for record in records if record.scored], [50, 95])
    return Detection(
        subject,
        inspector.image_threshold,
        TypeReport(
            "all",
            len(bad),
            found,
            verdicts.count(Verdict.UNDECIDED),
            found / len(bad),
            None,
            _auroc(scores, defective),
            _in_review(bad),
        ),
        1 - binomial_upper_bound(len(bad) - found, len(bad), CONFIDENCE),
        _false_rejects([record for record in records if record.sample.defect_type == GOOD]),
        found_at(good, bad_ones),
        float(p50),
        float(p95),
        tuple(_image_report(record) for record in records),
        inspector.review_threshold,
    )


def _of_defective(scored: Sequence[Scored], records: Sequence[Record], subject: Subject) -> Sequence[Scored]:
    """The same; TrainingError where there is no defective image among them."""
    if not any(one.sample.defect_type != GOOD for one in scored):
        details = "; ".join(sorted({record.inspection.detail or "no detail" for record in records}))
        raise TrainingError(f"no defective image of {subject.dataset} could be scored: {details}")
    return scored


def _maps(inspector: Inspects, scored: Sequence[Scored], patch_size: int | None, term: Term | None) -> Iterator[Map]:
    """Each image's map at its mask's size, one at a time: the fused scores, or (of one patch size or one term) the
    plain sum of its normalised terms, whatever the bundle weighs them with."""
    for one in scored:
        whole = one.anomaly_map
        chosen = [
            deviations
            for key, deviations in whole.deviations.items()
            if patch_size in (None, key.patch_size) and term in (None, key.term)
        ]
        part = whole.scores if patch_size is None and term is None else np.asarray(np.sum(chosen, axis=0), np.float32)
        yield inspector.to_frame(part, whole.stride, (one.mask.shape[0], one.mask.shape[1]))


def _map_report(
    inspector: Inspects, scored: Sequence[Scored], patch_size: int | None, pixels: PixelScores | None = None
) -> MapReport:
    if pixels is None:
        pixels = PixelScores.gather(_maps(inspector, scored, patch_size, None), [one.mask for one in scored])
    defective = [one.sample.defect_type != GOOD for one in scored]

    def by_maximum(term: Term | None) -> float | None:
        return _auroc([float(part.max()) for part in _maps(inspector, scored, patch_size, term)], defective)

    return MapReport(
        "fused" if patch_size is None else f"p{patch_size}",
        pixels.au_pro(MAX_FPR),
        pixels.auroc(),
        by_maximum(None),
        by_maximum(Term.REGRESSION_ERROR),
        by_maximum(Term.PREDICTIVE_UNCERTAINTY),
        _drawn(*pixels.pro_curve(MAX_FPR)),
    )


def _drawn(fpr: NDArray[np.float64], pro: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """A curve of a corner for each pixel, thinned to what a page can show."""
    rates = np.linspace(0, MAX_FPR, CURVE_POINTS)
    return tuple(zip(rates.round(4).tolist(), np.interp(rates, fpr, pro).round(4).tolist(), strict=True))


def _by_size(records: Sequence[Record], inspector: Inspects) -> Iterator[tuple[str, list[Record]]]:
    """The defective images of each size band, named by it; a defect's size is the longer side of its box in pixels
    of the network's input, an image's that of its largest defect."""
    defective = [record for record in records if record.sample.defect_type != GOOD]
    places = np.digitize([_largest_px(record.mask, inspector) for record in defective], BANDS_PX)
    for place in np.unique(places):
        low, high = (0, *BANDS_PX, None)[place : place + 2]
        name = f"{low} px and more" if high is None else f"{low} to {high} px"
        yield name, [record for record, own in zip(defective, places, strict=True) if own == place]


def _largest_px(mask: Mask, inspector: Inspects) -> float:
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    across, down = inspector.frame_scale((mask.shape[0], mask.shape[1]))
    return float(np.maximum(boxes[1:, cv2.CC_STAT_WIDTH] / across, boxes[1:, cv2.CC_STAT_HEIGHT] / down).max())


def _group_report(name: str, group: Sequence[Record], records: Sequence[Record], fused: PixelScores) -> TypeReport:
    """The figures of some defective images; for AUROC they stand against all good ones."""
    scored = [record.scored for record in records if record.scored is not None]
    own = {id(record.scored) for record in group}
    places = [place for place, one in enumerate(scored) if id(one) in own]
    against_good = [one for one in scored if id(one) in own or one.sample.defect_type == GOOD]
    verdicts = [record.inspection.verdict for record in group]
    detected = verdicts.count(Verdict.DEFECTIVE)
    return TypeReport(
        name,
        len(group),
        detected,
        verdicts.count(Verdict.UNDECIDED),
        detected / len(group),
        fused.of_images(places).au_pro(MAX_FPR) if places else None,
        _auroc([one.score for one in against_good], [one.sample.defect_type != GOOD for one in against_good]),
        _in_review(group),
    )


def _auroc(scores: Sequence[float], defective: Sequence[bool]) -> float | None:
    return roc_auc(scores, defective) if len(set(defective)) == 2 else None


def _false_rejects(good: Sequence[Record]) -> FalseRejects:
    verdicts = [record.inspection.verdict for record in good]
    rejected, undecided = verdicts.count(Verdict.DEFECTIVE), verdicts.count(Verdict.UNDECIDED)
    decided = len(verdicts) - undecided
    bound = binomial_upper_bound(rejected, decided, CONFIDENCE)
    return FalseRejects(rejected, decided, undecided, rejected / decided if decided else None, bound, _in_review(good))


def _in_review(records: Sequence[Record]) -> int:
    return sum(record.inspection.reason is Reason.REVIEW for record in records)


def _image_report(record: Record) -> ImageReport:
    found = record.inspection
    score = None if record.scored is None else record.scored.score
    reason = None if found.reason is None else found.reason.value
    return ImageReport(record.sample.name, record.sample.defect_type, score, found.verdict.value, reason)
