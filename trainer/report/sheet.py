"""The picture sheet of an evaluation: what was missed, what was found, and which good parts came closest to a reject.

A table says how often it fails, only pictures say why; so the worst cases come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from edge.core.images import read_image
from edge.core.types import Image, Verdict
from trainer.dataset import GOOD
from trainer.report.inspected import Inspects, Record, Scored
from trainer.report.results import Report
from trainer.sheets import COLUMNS, Cell, draw_sheet

LEGEND = "left: image    right: heat from 0.5x (amber) to 2x (red) of the map threshold; white: reported; green: truth"
Item = TypeVar("Item")


def evaluation_sheet(inspector: Inspects, records: Sequence[Record], report: Report) -> Image:
    """The picture sheet: worst, median and best defective images, then the good ones with the highest scores."""
    verdicts = {record.sample: record.inspection for record in records}

    def cell(one: Scored) -> Cell:
        image, found = read_image(one.sample.path), verdicts[one.sample]
        scores = inspector.to_frame(one.anomaly_map.scores, one.anomaly_map.stride, (image.shape[0], image.shape[1]))
        is_good = one.sample.defect_type == GOOD
        wrong = found.verdict is (Verdict.DEFECTIVE if is_good else Verdict.GOOD)
        caption = f"{one.sample.name}   score {one.score:.2f}   {found.verdict.value.upper()}"
        return Cell(image, scores, None if is_good else one.mask, found.defects, caption, wrong)

    ascending = sorted((r.scored for r in records if r.scored is not None), key=lambda one: one.score)
    worst, median, best = worst_median_best([one for one in ascending if one.sample.defect_type != GOOD])
    alarming = [one for one in reversed(ascending) if one.sample.defect_type == GOOD][:COLUMNS]
    missed = report.overall.images - report.overall.detected - report.overall.undecided
    rejects = report.false_rejects
    rows = [
        (f"worst: defective images with the lowest scores ({missed} of {report.overall.images} missed)", worst),
        ("median defective images", median),
        ("best: defective images with the highest scores", best),
        (f"good images with the highest scores ({rejects.rejected} of {rejects.decided} falsely rejected)", alarming),
    ]
    about = report.subject
    title = f"{about.product}   bundle {about.bundle_digest[:12]}   {about.engine}   "
    title += f"image threshold {report.image_threshold:.2f}   map threshold {report.map_threshold:.2f}"
    return draw_sheet(title, [(name, [cell(one) for one in row]) for name, row in rows], report.map_threshold, LEGEND)


def worst_median_best(ascending: Sequence[Item], count: int = COLUMNS) -> tuple[list[Item], list[Item], list[Item]]:
    """The first, the middle and the last `count` items, none twice; worst first, best first in the last list."""
    worst, rest = list(ascending[:count]), list(ascending[count:])
    best, middle = rest[-count:][::-1], rest[:-count]
    start = max(0, (len(middle) - count) // 2)
    return worst, middle[start : start + count], best
