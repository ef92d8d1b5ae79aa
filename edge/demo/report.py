"""What the demo says at its end: found and missed by size and contrast, false rejects, latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from edge.core.calibration import Bound
from edge.demo.parts import DemoPart
from edge.wire.vocabulary import ResultEvaluation

SIZES_PX = ((3, 6), (6, 15), (15, 30), (30, 61))
CONTRASTS = ((1.5, 3.0), (3.0, 99.0))
PROMISED_SIZE_PX, PROMISED_CONTRAST = 6, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One part: what the line was told, and the truth. Latency from capture to the subscriber, in ms."""

    part_id: str
    evaluation: ResultEvaluation
    score: float
    threshold: float
    latency_ms: float
    inspect_ms: float
    truth: DemoPart

    @classmethod
    def of(cls, body: dict[str, Any], truth: DemoPart, received_ns: int) -> Outcome:
        """From a `result` record's body; both clocks are the machine's monotonic clock."""
        return cls(
            part_id=body["part_id"],
            evaluation=ResultEvaluation(body["result_evaluation"]),
            score=body.get("anomaly_score", float("nan")),
            threshold=body.get("threshold", float("nan")),
            latency_ms=(received_ns - body["t_boot_ns"]) / 1e6,
            inspect_ms=body["processing_duration_ms"],
            truth=truth,
        )

    @property
    def is_rejected(self) -> bool:
        """True unless the part earned an OK."""
        return self.evaluation is not ResultEvaluation.OK

    @property
    def is_right(self) -> bool:
        """Whether the verdict agrees with what was rendered."""
        return self.is_rejected == self.truth.is_defective

    def as_json(self) -> dict[str, Any]:
        """For scripts; the truth beside the verdict."""
        defect = self.truth.defect
        return {
            "part_id": self.part_id,
            "evaluation": self.evaluation.name,
            "score": self.score,
            "threshold": self.threshold,
            "latency_ms": self.latency_ms,
            "inspect_ms": self.inspect_ms,
            "defect": defect and {"kind": defect.kind, "size_px": defect.size_px, "contrast": defect.contrast},
        }

    def line(self, number: int, of: int) -> str:
        """One line for a person."""
        defect = self.truth.defect
        truth = "good" if defect is None else f"{defect.kind} {defect.size_px:.0f} px, {defect.contrast:.1f}×"
        mark = click.style("right", fg="green") if self.is_right else click.style("WRONG", fg="red", bold=True)
        return (
            f"{number:4}/{of}  {self.part_id}  {self.evaluation.name:13} score {self.score:7.2f} "
            f"/ {self.threshold:.2f}  {self.latency_ms:6.1f} ms  {mark}  truth: {truth}"
        )


def format_report(outcomes: Sequence[Outcome], promise: Bound) -> str:
    """The table at the end."""
    if not outcomes:
        return "no verdict arrived"
    good = [o for o in outcomes if not o.truth.is_defective]
    rejected = sum(o.is_rejected for o in good)
    found, planted = detected(outcomes, PROMISED_SIZE_PX, 1e9, PROMISED_CONTRAST, 1e9)
    lines = [
        "",
        "defects found, by size and contrast (× the local texture's deviation)",
        f"{'':14}" + "".join(f"{f'{low:g}–{high:g}×' if high < 99 else f'≥ {low:g}×':>14}" for low, high in CONTRASTS),
        *(_row(outcomes, low, high) for low, high in SIZES_PX),
        f"of ≥ {PROMISED_SIZE_PX} px and ≥ {PROMISED_CONTRAST:g}×: {found} of {planted}",
        f"good parts rejected: {rejected} of {len(good)}; the bundle promises {promise}",
        f"undecided: {sum(o.evaluation is ResultEvaluation.NOT_DECIDABLE for o in outcomes)} of {len(outcomes)}",
        _latencies("frame to subscriber", [o.latency_ms for o in outcomes]),
        _latencies("of it inspection", [o.inspect_ms for o in outcomes]),
        _latencies("of it everything else", [o.latency_ms - o.inspect_ms for o in outcomes]),
    ]
    return "\n".join(lines)


def detected(outcomes: Sequence[Outcome], small: float, large: float, faint: float, strong: float) -> tuple[int, int]:
    """Rejected and planted among defects of small ≤ size < large pixels and faint ≤ contrast < strong."""
    band = [
        o
        for o in outcomes
        if o.truth.defect is not None
        and small <= o.truth.defect.size_px < large
        and faint <= o.truth.defect.contrast < strong
    ]
    return sum(o.is_rejected for o in band), len(band)


def _row(outcomes: Sequence[Outcome], low: int, high: int) -> str:
    cells = []
    for faint, strong in CONTRASTS:
        found, planted = detected(outcomes, low, high, faint, strong)
        cells.append(f"{f'{found} of {planted}' if planted else '–':>14}")
    return f"{f'{low}–{high - (high == 61)} px':>14}" + "".join(cells)


def _latencies(name: str, values: Sequence[float]) -> str:
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return f"{name:>22}: p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   p99 {p99:6.1f} ms"
