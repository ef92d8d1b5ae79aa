"""Picture sheets: rows of images, each beside its overlay and over a caption; of an evaluation, and of a first look.

Rejected: matplotlib (a large dependency for sixteen images), and one picture per image (nobody opens 160 files).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge.core.overlay import draw_overlay
from edge.core.types import Defect, Image, Map
from trainer.metrics import Mask

SIDE_PX, GAP_PX, LINE_PX = 232, 14, 26
PAIR_PX = 2 * SIDE_PX + 4  # the image, a seam, its overlay
COLUMNS = 4
BACKGROUND, PANEL, WRONG = (36, 32, 30), (58, 52, 48), (48, 40, 150)  # BGR
TEXT, FAINT, GREEN = (240, 240, 240), (185, 180, 175), (70, 230, 70)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One image of the sheet. image: (H, W, 3) uint8 BGR; scores: (H, W) float32 on it; mask: (h, w) bool of any
    size, or None for a good part; defects in image pixels. `wrong` marks a miss or a false reject."""

    image: Image
    scores: Map
    mask: Mask | None
    defects: tuple[Defect, ...]
    caption: str
    wrong: bool = False


def draw_sheet(title: str, rows: Sequence[tuple[str, Sequence[Cell]]], map_threshold: float, legend: str) -> Image:
    """(H, W, 3) uint8 BGR: the title, then each row's own title (if any) over its cells, then the legend.

    Rows without cells are left out. `map_threshold` (> 0) scales the heat, as in `draw_overlay`.
    """
    width = COLUMNS * (PAIR_PX + GAP_PX) + GAP_PX
    strips = [_strip(title, width, TEXT, BACKGROUND, 0.75, 2)]
    for row_title, cells in rows:
        if cells:
            if row_title:
                strips.append(_strip(row_title, width, TEXT, BACKGROUND, 0.6, 1))
            strips.append(_row(cells, width, map_threshold))
    strips.append(_strip(legend, width, FAINT, BACKGROUND, 0.5, 1))
    return np.vstack(strips)


def _row(cells: Sequence[Cell], width: int, map_threshold: float) -> Image:
    row = np.full((SIDE_PX + LINE_PX + GAP_PX, width, 3), BACKGROUND, np.uint8)
    for column, cell in enumerate(cells[:COLUMNS]):
        left = GAP_PX + column * (PAIR_PX + GAP_PX)
        row[: SIDE_PX + LINE_PX, left : left + PAIR_PX] = _draw_cell(cell, map_threshold)
    return row


def _draw_cell(cell: Cell, map_threshold: float) -> Image:
    """Image and overlay side by side over the caption; drawn at the cell's size, so that lines stay one pixel."""
    image = fitted(cell.image, SIDE_PX)
    size, scale = (image.shape[1], image.shape[0]), SIDE_PX / max(cell.image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scores = np.asarray(cv2.resize(cell.scores, size, interpolation=method), np.float32)
    overlay = draw_overlay(image, scores, map_threshold, [_scaled(defect, scale) for defect in cell.defects])
    if cell.mask is not None:
        _draw_truth(overlay, cell.mask)
    caption = _strip(cell.caption, PAIR_PX, TEXT, WRONG if cell.wrong else PANEL, 0.48, 1)
    seam = np.full((SIDE_PX, PAIR_PX - 2 * SIDE_PX, 3), BACKGROUND, np.uint8)
    return np.vstack([np.hstack([_centred(image), seam, _centred(overlay)]), caption])


def fitted(image: Image, side_px: int) -> Image:
    """`image` resized so that its longer side is `side_px`; (h, w, 3) uint8 BGR."""
    scale = side_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )


def _draw_truth(overlay: Image, mask: Mask) -> None:
    """Contours are scaled, not the mask: a region of few pixels must not vanish in a small cell."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scale = np.array([overlay.shape[1] / mask.shape[1], overlay.shape[0] / mask.shape[0]])
    moved = [np.rint((contour.reshape(-1, 2) + 0.5) * scale - 0.5).astype(np.int32) for contour in contours]
    cv2.polylines(overlay, moved, True, GREEN, 1)  # no rim: it would bury the heat of a small defect


def _scaled(defect: Defect, scale: float) -> Defect:
    polygon = tuple((round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5)) for x, y in defect.polygon_px)
    return replace(defect, polygon_px=polygon)


def _centred(image: Image) -> Image:
    square = np.full((SIDE_PX, SIDE_PX, 3), PANEL, np.uint8)
    top, left = (SIDE_PX - image.shape[0]) // 2, (SIDE_PX - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


def _strip(
    text: str, width: int, colour: tuple[int, int, int], ground: tuple[int, int, int], size: float, weight: int
) -> Image:
    """One line of text, its middle cut out where it is too long: names differ at their ends."""
    strip = np.full((LINE_PX if size < 0.6 else LINE_PX + 10, width, 3), ground, np.uint8)
    text = text.encode("ascii", "replace").decode()  # the only characters OpenCV can draw
    shown, kept = text, len(text)
    while kept > 8 and cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, size, weight)[0][0] > width - 2 * GAP_PX:
        kept -= 1
        shown = f"{text[: kept // 3]}..{text[-(kept - kept // 3) :]}"
    baseline = strip.shape[0] - 9
    cv2.putText(strip, shown, (8, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, colour, weight, cv2.LINE_AA)
    return strip
