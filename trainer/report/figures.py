"""From inspections already made to the figures of a report: PRO, AUROC, detection, false rejects, latency.

UNDECIDED images are counted by name and never as good; rates are stated against us: an undecided defect is not
detected, and an undecided good part does not dilute the false rejects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.binomial import binomial_upper_bound
from edge.core.errors import TrainingError
from edge.core.types import DrivenBy, Map, Reason, Term, Verdict
from trainer.aupimo import aupimo
from trainer.dataset import GOOD
from trainer.metrics import Mask, PixelScores, found_at, passed_at, roc_auc
from trainer.report.inspected import Inspects, Record, Scored
from trainer.report.results import (
    CONFIDENCE,
    Detection,
    FalseRejects,
    ImageReport,
    MapReport,
    Regret,
    Report,
    Subject,
    TermReport,
    TypeReport,
)

MAX_FPR = 0.3
CURVE_POINTS = 61
STRICT_FPR = 0.05
TERM_NAMES = {Term.REGRESSION_ERROR: "error", Term.PREDICTIVE_UNCERTAINTY: "uncertainty"}
BANDS_PX = (6, 12, 30, 60)  # of the network's input


def report_on(inspector: Inspects, records: Sequence[Record], subject: Subject) -> Report:
    """All figures from inspections already made; TrainingError where no defective image has a score."""
    scored = _of_defective([record.scored for record in records if record.scored is not None], records, subject)
    told = [one for one in scored if one.mask is not None]  # pixels without a truth are neither good nor bad
    fused = _gather(inspector, told, None)
    sizes = sorted({key.patch_size for key in scored[0].anomaly_map.deviations})
    terms, pb2 = _term_reports(inspector, scored), _pb2([one.score for one in scored], _are_defective(scored))
    overall = _group_report("all", [r for r in records if not r.sample.is_good], told, records, fused)
    p50, p95 = np.percentile([r.inspection.timings.total_ms for r in records if r.scored is not None], [50, 95])
    types = dict.fromkeys(r.sample.defect_type for r in records if r.sample.defect_type != GOOD)
    return Report(
        subject,
        inspector.image_threshold,
        inspector.map_threshold,
        overall,
        (_map_report(inspector, scored, None, fused), *(_map_report(inspector, scored, size) for size in sizes)),
        tuple(
            _group_report(name, [r for r in records if r.sample.defect_type == name], told, records, fused)
            for name in types
        ),
        tuple(_group_report(name, band, told, records, fused) for name, band in _by_size(records, inspector)),
        _false_rejects([r for r in records if r.sample.defect_type == GOOD]),
        float(p50),
        float(p95),
        tuple(_image_report(record) for record in records),
        inspector.review_threshold,
        pb2,
        terms,
        Regret(
            _lost([term.image_auroc for term in terms], overall.image_auroc), _lost([term.pb2 for term in terms], pb2)
        ),
        passed_at(*_good_and_bad([one.score for one in scored], _are_defective(scored))),
        None if fused is None else fused.au_pro(STRICT_FPR),
        _aupimo(inspector, told),
        _notes(records, scored),
        _neighbours_alone(inspector, scored),
    )


def _gather(inspector: Inspects, told: Sequence[Scored], patch_size: int | None) -> PixelScores | None:
    """The pixels of images whose truth is known; None where no defect is marked in any."""
    masks = [one.mask for one in told if one.mask is not None]
    if not any(mask.any() for mask in masks):
        return None
    return PixelScores.gather(_maps(inspector, told, patch_size, None), masks)


def _aupimo(inspector: Inspects, told: Sequence[Scored]) -> float | None:
    good = [one for one in told if one.sample.is_good]
    bad = [one for one in told if not one.sample.is_good]
    masks = [one.mask for one in bad if one.mask is not None]
    return aupimo(_maps(inspector, good, None, None), zip(_maps(inspector, bad, None, None), masks, strict=True))


def _notes(records: Sequence[Record], scored: Sequence[Scored]) -> tuple[str, ...]:
    """What a reader must know of the set: images without a truth, by name, and images of other sizes."""
    notes = []
    for why in dict.fromkeys(record.untold for record in records if record.untold):
        names = [record.sample.name for record in records if record.untold == why]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        notes.append(f"{len(names)} defective images count for images and not for pixels, {why}: {shown}")
    sizes = Counter(one.frame_size for one in scored)
    if len(sizes) > 1:
        counted = ", ".join(f"{count} of {width}×{height}" for (height, width), count in sizes.most_common(5))
        notes.append(f"images of {len(sizes)} sizes, each resized to the network's input: {counted}")
    return tuple(notes)


def _term_reports(inspector: Inspects, scored: Sequence[Scored]) -> tuple[TermReport, ...]:
    defective, reports = _are_defective(scored), []
    for key, weight in scored[0].anomaly_map.weights.items():
        scores = [
            inspector.score_of(one.anomaly_map.deviations[key], one.anomaly_map.stride, one.frame_size)
            for one in scored
        ]
        reports.append(TermReport(term_name(key), _auroc(scores, defective), _pb2(scores, defective), weight))
    return tuple(reports)


def _neighbours_alone(inspector: Inspects, scored: Sequence[Scored]) -> TermReport | None:
    """The mean of the maps of distances, as if there were no students; None where the bundle has none."""
    keys = [key for key in scored[0].anomaly_map.deviations if key.neighbours is not None]
    if not keys:
        return None
    scores = []
    for one in scored:
        mean = np.mean([one.anomaly_map.deviations[key] for key in keys], axis=0)
        scores.append(inspector.score_of(np.asarray(mean, np.float32), one.anomaly_map.stride, one.frame_size))
    defective = _are_defective(scored)
    return TermReport("neighbours alone", _auroc(scores, defective), _pb2(scores, defective), 1.0)


def term_name(key: DrivenBy) -> str:
    """A term for people."""
    return f"{key.neighbours.value} neighbours" if key.neighbours else f"p{key.patch_size} {TERM_NAMES[key.term]}"


def _are_defective(scored: Sequence[Scored]) -> list[bool]:
    return [one.sample.defect_type != GOOD for one in scored]


def _pb2(scores: Sequence[float], defective: Sequence[bool]) -> float | None:
    return found_at(*_good_and_bad(scores, defective))


def _good_and_bad(scores: Sequence[float], defective: Sequence[bool]) -> tuple[list[float], list[float]]:
    pairs = list(zip(scores, defective, strict=True))
    return [score for score, is_bad in pairs if not is_bad], [score for score, is_bad in pairs if is_bad]


def _lost(singles: Sequence[float | None], fused: float | None) -> float | None:
    known = [single for single in singles if single is not None]
    return None if fused is None or not known else max(known) - fused


def detection_on(inspector: Inspects, records: Sequence[Record], subject: Subject) -> Detection:
    """What can be said of images whose defects nobody has drawn; TrainingError where no defective one has a score."""
    bad = [record for record in records if record.sample.defect_type != GOOD]
    scored = _of_defective([record.scored for record in records if record.scored is not None], records, subject)
    scores = [one.score for one in scored]
    defective = _are_defective(scored)
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
        _pb2(scores, defective),
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
    """Each image's map at its mask's size, one at a time: the fused scores, or (of one patch size or one of the paper's
    terms) the plain sum of its normalised terms, whatever the bundle weighs them with."""
    for one in scored:
        whole = one.anomaly_map
        chosen = [whole.deviations[key] for key in _keys(one, patch_size, term)]
        part = whole.scores if patch_size is None and term is None else np.asarray(np.sum(chosen, axis=0), np.float32)
        size = one.frame_size if one.mask is None else (one.mask.shape[0], one.mask.shape[1])
        yield inspector.to_frame(part, whole.stride, size)


def _keys(one: Scored, patch_size: int | None, term: Term | None) -> list[DrivenBy]:
    return [
        key
        for key in one.anomaly_map.deviations
        if patch_size in (None, key.patch_size) and (term is None or (key.term is term and key.neighbours is None))
    ]


def _map_report(
    inspector: Inspects, scored: Sequence[Scored], patch_size: int | None, pixels: PixelScores | None = None
) -> MapReport:
    if pixels is None:
        pixels = _gather(inspector, [one for one in scored if one.mask is not None], patch_size)
    defective, keys = _are_defective(scored), _keys(scored[0], patch_size, None)
    neighbours = keys[0].neighbours if patch_size is not None else None

    def by_maximum(term: Term | None) -> float | None:
        if not _keys(scored[0], patch_size, term):
            return None
        return _auroc([float(part.max()) for part in _maps(inspector, scored, patch_size, term)], defective)

    return MapReport(
        "fused" if patch_size is None else f"{neighbours.value} neighbours" if neighbours else f"p{patch_size}",
        None if pixels is None else pixels.au_pro(MAX_FPR),
        None if pixels is None else pixels.auroc(),
        by_maximum(None),
        by_maximum(Term.REGRESSION_ERROR),
        by_maximum(Term.PREDICTIVE_UNCERTAINTY),
        () if pixels is None else _drawn(*pixels.pro_curve(MAX_FPR)),
    )


def _drawn(fpr: NDArray[np.float64], pro: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """A curve of a corner for each pixel, thinned to what a page can show."""
    rates = np.linspace(0, MAX_FPR, CURVE_POINTS)
    return tuple(zip(rates.round(4).tolist(), np.interp(rates, fpr, pro).round(4).tolist(), strict=True))


def _by_size(records: Sequence[Record], inspector: Inspects) -> Iterator[tuple[str, list[Record]]]:
    """The defective images of each size band, named by it; a defect's size is the longer side of its box in pixels
    of the network's input, an image's that of its largest defect."""
    masked = [(record, record.mask) for record in records if not record.sample.is_good and record.mask is not None]
    defective = [record for record, _ in masked]
    places = np.digitize([_largest_px(mask, inspector) for _, mask in masked], BANDS_PX)
    for place in np.unique(places):
        low, high = (0, *BANDS_PX, None)[place : place + 2]
        name = f"{low} px and more" if high is None else f"{low} to {high} px"
        yield name, [record for record, own in zip(defective, places, strict=True) if own == place]


def _largest_px(mask: Mask, inspector: Inspects) -> float:
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    across, down = inspector.frame_scale((mask.shape[0], mask.shape[1]))
    return float(np.maximum(boxes[1:, cv2.CC_STAT_WIDTH] / across, boxes[1:, cv2.CC_STAT_HEIGHT] / down).max())


def _group_report(
    name: str, group: Sequence[Record], told: Sequence[Scored], records: Sequence[Record], fused: PixelScores | None
) -> TypeReport:
    """The figures of some defective images; for AUROC they stand against all good ones. told: those of `fused`."""
    scored = [record.scored for record in records if record.scored is not None]
    own = {id(record.scored) for record in group}
    places = [place for place, one in enumerate(told) if id(one) in own]
    against_good = [one for one in scored if id(one) in own or one.sample.defect_type == GOOD]
    verdicts = [record.inspection.verdict for record in group]
    detected = verdicts.count(Verdict.DEFECTIVE)
    return TypeReport(
        name,
        len(group),
        detected,
        verdicts.count(Verdict.UNDECIDED),
        detected / len(group),
        fused.of_images(places).au_pro(MAX_FPR) if places and fused is not None else None,
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
