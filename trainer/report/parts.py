"""Chosen parts of an evaluation as pictures in the page: the image, the verdict's overlay, each scale's two terms.

Heat of one term is relative to what good parts reach in it (nine tenths of them stay below half way), so a map that
glows says "more than on good parts" on every scale alike, whatever the fusion weighs it with.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np

from edge.core.images import read_image
from edge.core.overlay import draw_overlay
from edge.core.types import Defect, DrivenBy, Image, Map, Verdict
from trainer.dataset import GOOD
from trainer.report.figures import term_name
from trainer.report.inspected import Inspects, Record, Scored
from trainer.sheets import fitted

SHOWN = 4  # parts of each kind
CLEAN = 0.9
TILE_PX = 264  # drawn smaller: sharp when zoomed in


def chosen_parts(records: Sequence[Record]) -> list[tuple[str, str, list[Record]]]:
    """(heading, what to look for, records): worst misses, worst false rejects, and some that went right."""
    scored = sorted((r for r in records if r.scored is not None), key=lambda r: r.scored.score if r.scored else 0.0)
    good = [r for r in scored if r.sample.defect_type == GOOD]
    defective = [r for r in scored if r.sample.defect_type != GOOD]
    missed = [r for r in defective if r.inspection.verdict is Verdict.GOOD]
    rejected = [r for r in good if r.inspection.verdict is Verdict.DEFECTIVE][::-1]
    found = [r for r in defective if r.inspection.verdict is Verdict.DEFECTIVE]
    closest = [r for r in good if r.inspection.verdict is Verdict.GOOD][-2:][::-1]
    right = [*found[:1], *found[len(found) // 2 :][:1], *found[-1:], *closest[:1]]
    return [
        (f"Worst misses ({len(missed)} missed)", "Defective parts called good, lowest score first.", missed[:SHOWN]),
        (
            f"Worst false rejects ({len(rejected)} rejected)",
            "Good parts called defective, highest score first. Are they really good?",
            rejected[:SHOWN],
        ),
        (
            "Some right ones",
            "The faintest, the median and the strongest defect that was found, and the good part nearest to a reject.",
            list({id(r): r for r in right}.values()),
        ),
    ]


def term_units(records: Sequence[Record]) -> dict[DrivenBy, float]:
    """What nine tenths of good parts stay below, for each scale's term; above 0."""
    maps = [r.scored.anomaly_map for r in records if r.scored is not None]
    good = [r.scored.anomaly_map for r in records if r.scored is not None and r.sample.defect_type == GOOD] or maps
    return {
        key: max(1e-3, float(np.quantile([float(m.deviations[key].max()) for m in good], CLEAN)))
        for key in (good[0].deviations if good else ())
    }


def part_html(inspector: Inspects, record: Record, units: Mapping[DrivenBy, float]) -> str:
    """One part as a row of pictures with its name, verdict, score and what drove it."""
    one = record.scored
    assert one is not None
    image, found = read_image(record.sample.path), record.inspection
    truth = None if record.sample.defect_type == GOOD else one.mask
    tiles = [_tile(image, "image"), _tile(_overlay(inspector, image, one, found.defects, truth), "fused", ring=True)]
    small = fitted(image, TILE_PX)
    for key, deviations in one.anomaly_map.deviations.items():
        scores = _to(inspector, deviations, one, (small.shape[0], small.shape[1]))
        weight = one.anomaly_map.weights[key]
        label = f"{term_name(key)} {float(deviations.max()):.1f}"
        drawn = draw_overlay(small, np.maximum(scores, 0), units[key], ())
        tiles.append(_tile(drawn, label, faint=weight == 0))
    verdict = found.verdict.value
    wrong = found.verdict is (Verdict.DEFECTIVE if record.sample.defect_type == GOOD else Verdict.GOOD)
    head = (
        f'<h4><code>{escape(record.sample.name)}</code> <span class="{"wrong" if wrong else "right"}">{verdict}</span> '
        f"score {one.score:.2f}{_driver(found.defects)}</h4>"
    )
    return f'<div class="part">{head}<div class="tiles">{"".join(tiles)}</div></div>'


def _driver(defects: Sequence[Defect]) -> str:
    if not defects:
        return ""
    worst = max(defects, key=lambda defect: defect.score_max)
    count = f"{len(defects)} defect{'s' if len(defects) > 1 else ''} drawn"
    return f", driven by {term_name(worst.driven_by)}, {count}"


def _overlay(
    inspector: Inspects, image: Image, one: Scored, defects: Sequence[Defect], truth: np.ndarray | None
) -> Image:
    scores = _to(inspector, one.anomaly_map.scores, one, (image.shape[0], image.shape[1]))
    drawn = draw_overlay(image, scores, inspector.map_threshold, defects)
    if truth is not None:
        size = (image.shape[1], image.shape[0])
        mask = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, (70.0, 230.0, 70.0), max(1, round(min(image.shape[:2]) / 200)))
    return drawn


def _to(inspector: Inspects, scores: Map, one: Scored, size: tuple[int, int]) -> Map:
    return inspector.to_frame(scores, one.anomaly_map.stride, size)


def _tile(image: Image, label: str, ring: bool = False, faint: bool = False) -> str:
    encoded = cv2.imencode(".jpg", fitted(image, TILE_PX), [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
    css = " ".join(name for name, on in (("ring", ring), ("faint", faint)) if on)
    return (
        f'<figure class="{css}"><img src="{source}" alt="{escape(label)}">'
        f"<figcaption>{escape(label)}</figcaption></figure>"
    )
