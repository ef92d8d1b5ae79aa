"""What an evaluation found: the figures as types, as JSON and as a table for a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edge.core.words import Scale

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MapReport:
    """One map's figures. image_auroc: by the map's maximum, as for the maps of one term alone.

    pro_curve: (false positive rate, PRO) at even rates up to 0.3, for drawing.
    """

    name: str
    pro: float | None
    pixel_auroc: float | None
    image_auroc: float | None
    image_auroc_regression_error: float | None
    image_auroc_predictive_uncertainty: float | None
    pro_curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TermReport:
    """One term alone, scored by the rule that decides; `pb2`: defective images found where 2 % of good ones are not."""

    name: str
    image_auroc: float | None
    pb2: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class Regret:
    """What is lost against the best single term, which nobody knows beforehand; below 0 where fusing gains."""

    image_auroc: float | None
    pb2: float | None


@dataclass(frozen=True, slots=True)
class TypeReport:
    """One defect type, or one band of sizes.

    detected: DEFECTIVE at the calibrated threshold, of all `images` (undecided ones included). review: of the
    undecided, those left to a person because of their score. pro: of these images'
    regions against all defect-free pixels. image_auroc: by the inspection's score, against good.
    """

    name: str
    images: int
    detected: int
    undecided: int
    detection_rate: float
    pro: float | None
    image_auroc: float | None
    review: int = 0


@dataclass(frozen=True, slots=True)
class FalseRejects:
    """Good parts called DEFECTIVE, of the `decided` ones, with the one-sided Clopper-Pearson bound at 95 %.

    review: of the undecided, those left to a person because of their score.
    """

    rejected: int
    decided: int
    undecided: int
    rate: float | None
    upper_bound: float
    review: int = 0


@dataclass(frozen=True, slots=True)
class ImageReport:
    """One test image: what it is, and what was said of it; score None where it could not be scored."""

    name: str
    defect_type: str
    score: float | None
    verdict: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated, with what: enough to repeat it. calibration: the bundle's promise, as a sentence.

    unit: of all scores, see `edge.core.words.Scale`. forecast: what the bundle was expected to find.
    """

    bundle_digest: str
    product: str
    engine: str
    dataset: str
    date: str  # UTC, ISO 8601
    software: dict[str, str]
    calibration: str = ""
    unit: str = Scale.DEVIATIONS.unit
    forecast: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one evaluation, JSON-ready; None where a figure has no images to stand on.

    pb2, pg2: defective images found where 2 % of good ones are not passed, good ones passed where 2 % of defective ones
    are missed. pro_at_5: of the fused map, up to a false-positive rate of .05. notes: on the set, for people.
    """

    subject: Subject
    image_threshold: float
    map_threshold: float
    overall: TypeReport
    maps: tuple[MapReport, ...]  # fused first, then each patch size
    types: tuple[TypeReport, ...]
    bands: tuple[TypeReport, ...]  # by the size of an image's largest defect, in pixels of the network's input
    false_rejects: FalseRejects
    latency_p50_ms: float
    latency_p95_ms: float
    images: tuple[ImageReport, ...]
    review_threshold: float | None = None
    pb2: float | None = None
    terms: tuple[TermReport, ...] = ()
    regret: Regret = Regret(None, None)
    pg2: float | None = None
    pro_at_5: float | None = None
    aupimo: float | None = None
    notes: tuple[str, ...] = ()
    neighbours_alone: TermReport | None = None

    def to_json(self) -> str:
        """All fields, as report.json has them."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Detection:
    """Figures of a test set without masks: of whole parts alone. found: `pro` is None.

    pb2: defective images that score above what 2 % of good ones do; None where there are none of either.
    """

    subject: Subject
    image_threshold: float
    found: TypeReport
    found_lower_bound: float
    false_rejects: FalseRejects
    pb2: float | None
    latency_p50_ms: float
    latency_p95_ms: float
    images: tuple[ImageReport, ...]
    review_threshold: float | None = None

    def to_json(self) -> str:
        """All fields, as report.json has them."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def format_detection(report: Detection) -> str:
    """The same for a terminal."""
    about, rejects, found = report.subject, report.false_rejects, report.found
    rate = "none decided" if rejects.rate is None else f"{rejects.rate:.1%}"
    pb2 = _figure(report.pb2)
    at_least = f"at least {report.found_lower_bound:.1%} at {CONFIDENCE:.0%} confidence"
    at_most = f"at most {rejects.upper_bound:.1%} at {CONFIDENCE:.0%} confidence"
    in_review = f"({rejects.review} and {found.review} of them left to review)"
    lines = [
        f"{about.product}   bundle {about.bundle_digest[:12]}   engine {about.engine}   {about.date}",
        f"{about.dataset}: {rejects.decided + rejects.undecided} good and {found.images} defective images, no masks",
        "",
        f"found          {found.detected} of {found.images} defective parts ({found.detection_rate:.1%}), {at_least}",
        f"false rejects  {rejects.rejected} of {rejects.decided} good parts ({rate}), {at_most}",
        f"undecided      {rejects.undecided} good, {found.undecided} defective; never counted as good {in_review}",
        f"by the score   image AUROC {_figure(found.image_auroc)}, found at 2 % false rejects (PB2) {pb2}",
        f"latency        p50 {report.latency_p50_ms:.1f} ms, p95 {report.latency_p95_ms:.1f} ms an image",
    ]
    return "\n".join(lines)


def format_table(report: Report) -> str:
    """The report for a terminal: at most 100 columns, figures of one kind below each other."""
    about, rejects, everything = report.subject, report.false_rejects, report.overall
    rate = "none decided" if rejects.rate is None else f"{rejects.rate:.1%}"
    bound = f"{rejects.upper_bound:.1%} at {CONFIDENCE:.0%} confidence"
    aupimo = f"AUPIMO {_figure(report.aupimo)}"
    in_review = f" ({rejects.review} and {everything.review} of them left to review)"
    lines = [
        f"{about.product}   bundle {about.bundle_digest[:12]}   engine {about.engine}   {about.date}",
        f"{about.dataset}: {rejects.decided + rejects.undecided} good and {everything.images} defective images",
        "",
        f"{'map':<24}{'PRO':>8}{'pixel AUROC':>14}{'image AUROC*':>15}{'error only*':>14}{'uncertainty only*':>20}",
        *(
            f"{m.name:<24}{_figure(m.pro):>8}{_figure(m.pixel_auroc):>14}{_figure(m.image_auroc):>15}"
            f"{_figure(m.image_auroc_regression_error):>14}{_figure(m.image_auroc_predictive_uncertainty):>20}"
            for m in report.maps
        ),
        "* by the map's maximum; below, by the score that decides the verdict",
        "",
        f"{'defect type, size':<24}{'PRO':>8}{'image AUROC':>14}{'detected':>19}{'undecided':>13}",
        *(
            f"{_short(t.name, 23):<24}{_figure(t.pro):>8}{_figure(t.image_auroc):>14}"
            f"{f'{t.detected} of {t.images}':>12}{t.detection_rate:>7.0%}{t.undecided:>13}"
            for t in (*report.types, *report.bands, everything)
        ),
        "",
        f"{'single term, as deciding':<24}{'image AUROC':>14}{'found at 2 % PB2':>19}{'weight':>13}",
        *(f"{t.name:<24}{_figure(t.image_auroc):>14}{_figure(t.pb2):>19}{t.weight:>13.2f}" for t in report.terms),
        f"{'fused':<24}{_figure(everything.image_auroc):>14}{_figure(report.pb2):>19}",
        f"{'regret':<24}{_figure(report.regret.image_auroc):>14}{_figure(report.regret.pb2):>19}",
        "",
        f"false rejects  {rejects.rejected} of {rejects.decided} good parts ({rate}), at most {bound}",
        f"undecided      {rejects.undecided} good, {everything.undecided} defective; never counted as good{in_review}",
        f"stricter       PG2 {_figure(report.pg2)}, PRO up to 5 % {_figure(report.pro_at_5)}, {aupimo}",
        f"latency        p50 {report.latency_p50_ms:.1f} ms, p95 {report.latency_p95_ms:.1f} ms an image",
        *(f"expected       {about.forecast}" for _ in (1,) if about.forecast),
        *(f"note           {note}" for note in report.notes),
    ]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 2]}.."
