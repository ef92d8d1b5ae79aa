"""What one material and one seed gave: the figures of a row, from the reports of its evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from edge.core.binomial import binomial_upper_bound
from edge.core.manifest import Manifest
from trainer.report.results import Report

ESTIMATE_WITHIN = 0.15


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row. Shares are 0 to 1; None where a figure has nothing to stand on.

    found, rejected: at the shipped threshold, of `bad` and `good` test images; promised: the bound on good parts
    rejected. expected: the share of defects that the bundle said it would find; advice: its word. regret: the best
    single term less the fused score. references: (image AUROC, PB2) by name. fit_s: None where the fit was resumed.
    """

    material: str
    seed: int
    good: int
    bad: int
    image_auroc: float | None
    pb2: float | None
    pg2: float | None
    pro: float | None
    pro_at_5: float | None
    aupimo: float | None
    found: int
    rejected: int
    promised: float
    expected: float | None
    advice: str
    regret_auroc: float | None
    regret_pb2: float | None
    references: Mapping[str, tuple[float | None, float | None]]
    fit_s: float | None
    gmac: float
    ms: float
    notes: tuple[str, ...] = ()

    @property
    def real(self) -> float:
        """The share of real defects found at the shipped threshold."""
        return self.found / self.bad

    @property
    def is_contradicted(self) -> bool:
        """Whether so many rejects contradict the promise: one-sided binomial test at 5 %."""
        return 1 - binomial_upper_bound(self.good - self.rejected, self.good) > self.promised

    @property
    def is_estimate_near(self) -> bool | None:
        """Whether the forecast was within 15 points of the truth; None where there is none."""
        return None if self.expected is None else abs(self.expected - self.real) <= ESTIMATE_WITHIN

    @property
    def is_ill_advised(self) -> bool:
        """Whether it said "use it" where under half is found."""
        return self.advice == "use" and self.real < 0.5


def outcome_of(
    material: str, seed: int, manifest: Manifest, report: Report, paper: Report | None, fit_s: float | None, gmac: float
) -> Outcome:
    """The row of a bundle's report; paper: that of the paper's mean on the same students, where there are such."""
    best = {
        "best single term, image AUROC": max((t.image_auroc or 0.0, t.pb2) for t in report.terms),
        "best single term, PB2": max(((t.image_auroc, t.pb2) for t in report.terms), key=lambda pair: pair[1] or 0.0),
    }
    references: dict[str, tuple[float | None, float | None]] = {**best}
    if report.neighbours_alone is not None:
        references["neighbours alone"] = report.neighbours_alone.image_auroc, report.neighbours_alone.pb2
    if paper is not None:
        references["the paper's mean"] = paper.overall.image_auroc, paper.pb2
    forecast, rejects = manifest.forecast, report.false_rejects
    return Outcome(
        material,
        seed,
        rejects.decided,
        report.overall.images,
        report.overall.image_auroc,
        report.pb2,
        report.pg2,
        report.maps[0].pro,
        report.pro_at_5,
        report.aupimo,
        report.overall.detected,
        rejects.rejected,
        manifest.calibration(manifest.reference_variant).bound.rate,
        None if forecast is None else forecast.share,
        "" if forecast is None else forecast.advice()[0].value,
        report.regret.image_auroc,
        report.regret.pb2,
        references,
        fit_s,
        gmac,
        report.latency_p50_ms,
        report.notes,
    )


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """As JSON's types: what `outcome_from_json` reads, and what follows from it."""
    derived = ("real", "is_contradicted", "is_estimate_near", "is_ill_advised")
    return {**asdict(outcome), **{name: getattr(outcome, name) for name in derived}}


def outcome_from_json(body: Mapping[str, Any]) -> Outcome:
    """What `outcome_to_json` gave."""
    known = {field.name: body[field.name] for field in fields(Outcome)}
    pairs = {name: (pair[0], pair[1]) for name, pair in known["references"].items()}
    return Outcome(**{**known, "references": pairs, "notes": tuple(known["notes"])})
