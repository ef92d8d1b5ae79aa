"""What a person sees of an inspection: heat where the anomaly map is high, outlines where defects are.

Heat is relative to the map threshold, never to the image's own extremes, so that a good part looks untouched and
two pictures compare. Rejected: a min-max colour map over the whole image (every good part glows somewhere, and
blue drowns what is being looked at). Amber to red leaves green to ground truth and white to outlines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.core.opencv import cv2
from edge.core.threshold import unit_of
from edge.core.types import Defect, Image, Map

BELOW, ABOVE = 0.5, 1.0  # of the map threshold: how far from it heat begins, and where it grows no stronger
MAX_ALPHA = 0.7  # the part stays visible below the strongest heat
AMBER, RED = np.array([0, 200, 255], np.float32), np.array([50, 0, 255], np.float32)  # BGR
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def draw_overlay(image: Image, scores: Map | None, map_threshold: float, defects: Sequence[Defect]) -> Image:
    """A copy of `image` with heat and defect outlines drawn on it; `image` itself is left alone.

    image: (H, W, 3) uint8 BGR. scores: (H, W) float32 on the same pixels, or None to draw outlines only; NaN draws
    nothing, nor does -inf, where nothing counts. Heat begins at half of `map_threshold` and saturates at twice it;
    around one near 0 or below, as far away as `unit_of` says. ValueError on other shapes or on a threshold that is not
    finite.
    """
    picture = image.copy()
    if scores is not None:
        if scores.shape != image.shape[:2] or not np.isfinite(map_threshold):
            raise ValueError(f"scores {scores.shape} over image {image.shape}, map threshold {map_threshold}")
        _draw_heat(picture, scores, map_threshold)
    polygons = [np.array(defect.polygon_px, np.int32) for defect in defects if defect.polygon_px]
    outlines = [_visible(polygon, min(image.shape[:2])) for polygon in polygons]
    width = max(1, round(min(image.shape[:2]) / 400))
    cv2.polylines(picture, outlines, True, BLACK, 3 * width, cv2.LINE_AA)  # a rim: legible on bright parts too
    cv2.polylines(picture, outlines, True, WHITE, width, cv2.LINE_AA)
    return picture


def caption(text: str, width: int, height: int) -> Image:
    """(h, width, 3) uint8 BGR: a line of text below a picture of (height, width), as large as it fits."""
    strip = np.full((max(16, height // 24), width, 3), 30, np.uint8)
    text = text.encode("ascii", "replace").decode()  # the only characters OpenCV can draw
    (drawn, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    size = min(0.5 * strip.shape[0] / max(tall, 1), (width - 8) / max(drawn, 1))
    place = (4, round((strip.shape[0] + size * tall) / 2))
    weight = max(1, round(1.4 * size))
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, WHITE, weight, cv2.LINE_AA)
    return strip


def _visible(polygon: NDArray[np.int32], side: int) -> NDArray[np.int32]:
    """The polygon, or a ring around one too small to be seen (a defect may be a single peak)."""
    radius = max(6, side // 40)
    (low_x, low_y), (high_x, high_y) = polygon.min(axis=0), polygon.max(axis=0)
    if max(high_x - low_x, high_y - low_y) >= radius:
        return polygon
    centre = (int(low_x + high_x) // 2, int(low_y + high_y) // 2)
    return np.array(cv2.ellipse2Poly(centre, (radius, radius), 0, 0, 360, 15), np.int32)


def _draw_heat(picture: Image, scores: Map, map_threshold: float) -> None:
    unit = unit_of(map_threshold)
    onset = map_threshold - BELOW * unit
    hot = (scores > onset).astype(np.uint8)  # NaN compares false
    x, y, width, height = cv2.boundingRect(hot)
    if not width:
        return
    part, above = picture[y : y + height, x : x + width], scores[y : y + height, x : x + width] - onset
    severity = np.clip(np.nan_to_num(above, nan=0.0) / ((BELOW + ABOVE) * unit), 0.0, 1.0)[..., None]
    alpha = MAX_ALPHA * np.sqrt(severity)  # the root makes the threshold itself, a third of the way, plainly visible
    heat = AMBER + (RED - AMBER) * severity
    part[...] = np.rint(part + alpha * (heat - part)).astype(np.uint8)
