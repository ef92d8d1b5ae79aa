"""One picture of what the demo found and missed: the part with its truth, and the daemon's overlay beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.types import Image
from edge.demo.report import Outcome

CELL, CAPTION, COLUMNS = 256, 34, 4
GREEN, INK, PAPER = (60, 200, 60), (30, 30, 30), 245


def write_sheet(outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write out/demo.png: every wrong verdict first, then the smallest defects found; 8 pairs at most."""
    wrong = [o for o in outcomes if not o.is_right]
    found = sorted((o for o in outcomes if o.truth.defect is not None and o.is_right), key=_size)
    spread = [found[round(i)] for i in np.linspace(0, len(found) - 1, 8)] if found else []
    chosen = [*wrong[:3], *spread][:8]
    cells = [_pair(outcome, out / "overlays" / f"{outcome.part_id}.jpg") for outcome in chosen]
    blank = np.full_like(cells[0], PAPER) if cells else np.full((CELL, CELL, 3), PAPER, np.uint8)
    columns = COLUMNS // 2
    rows = [
        np.hstack([*cells[i : i + columns], *[blank] * (columns - len(cells[i : i + columns]))])
        for i in range(0, len(cells), columns)
    ] or [blank]
    path = out / "demo.png"
    out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows))
    return path


def _size(outcome: Outcome) -> float:
    return outcome.truth.defect.size_px if outcome.truth.defect else 0.0


def _pair(outcome: Outcome, overlay_file: Path) -> Image:
    """Part with the truth's outline | what the daemon drew, over a caption."""
    part = outcome.truth.image.copy()
    defect = outcome.truth.defect
    if defect is not None:
        around = cv2.dilate(defect.mask.astype(np.uint8), np.ones((9, 9), np.uint8))
        contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(part, contours, -1, GREEN, 1, cv2.LINE_AA)
    drawn = cv2.imread(str(overlay_file)) if overlay_file.exists() else outcome.truth.image
    strip = np.full((CAPTION, 2 * CELL, 3), PAPER, np.uint8)
    truth = "good" if defect is None else f"{defect.kind}, {defect.size_px:.0f} px, {defect.contrast:.1f}x"
    text = f"truth: {truth}"
    said = f"{outcome.evaluation.name}  score {outcome.score:.1f} / {outcome.threshold:.1f}"
    cv2.putText(strip, text, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    cv2.putText(strip, said, (CELL + 6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    below = part.shape[0]  # where the daemon's own caption begins
    return np.vstack([np.hstack([part, np.asarray(drawn)[:below]]), strip]).astype(np.uint8)
