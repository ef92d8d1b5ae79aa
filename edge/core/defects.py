"""Anomaly map + threshold -> defects in frame pixels and millimetres.

Regions are found at input resolution and mapped to the frame by an affine, so the cost does not grow
with the camera. A defective part always reports at least its peak: a verdict without a place is of
no use to a person at the line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.core.opencv import cv2
from edge.core.preprocess import Geometry
from edge.core.scoring import driver, peak
from edge.core.types import AnomalyMap, Defect, Map

MAX_POLYGON_POINTS = 64


class Region(NamedTuple):
    """Which input pixels belong together: (h, w) bool, whose top left corner is input pixel (left, top).

    Cut out, so that measuring many regions costs their own area and not each time that of the image.
    """

    left: int
    top: int
    inside: NDArray[np.bool_]


def find_defects(
    anomaly_map: AnomalyMap, geometry: Geometry, map_threshold: float, min_area_px: float
) -> tuple[Defect, ...]:
    """Regions above `map_threshold` of at least `min_area_px` frame pixels, worst first (8-connected).

    The peak is always among them, as a single point where its region is too small. `geometry` must fit the frame.
    """
    scores = geometry.scores_to_input(anomaly_map.scores, anomaly_map.stride)
    sx, sy = geometry.scale()
    above = (scores > map_threshold).astype(np.uint8)
    mask = geometry.grid_mask(geometry.input_size, 1)
    if mask is not None:
        above[~mask] = 0
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    large = np.flatnonzero(boxes[1:, cv2.CC_STAT_AREA] * sx * sy >= min_area_px) + 1  # 0 is what lies around
    regions = [_cut_out(np.asarray(labels), boxes[label], int(label)) for label in large]
    defects = [_defect(region, scores, anomaly_map, geometry) for region in regions]
    highest = _peak_defect(anomaly_map, geometry, scores)
    if highest.score_max > max((defect.score_max for defect in defects), default=-np.inf):
        defects.append(highest)  # what tipped the verdict is too small to be drawn as a region
    return tuple(sorted(defects, key=lambda d: -d.score_max))


def _peak_defect(anomaly_map: AnomalyMap, geometry: Geometry, scores: Map) -> Defect:
    mask = geometry.grid_mask(anomaly_map.scores.shape, anomaly_map.stride)
    row, column = peak(anomaly_map.scores, mask)
    top = min(row * anomaly_map.stride, scores.shape[0] - 1)
    left = min(column * anomaly_map.stride, scores.shape[1] - 1)
    return _defect(Region(left, top, np.ones((1, 1), np.bool_)), scores, anomaly_map, geometry)


def _cut_out(labels: NDArray[Any], box: NDArray[Any], label: int) -> Region:
    """The region of one of `labels` (h, w); `box` begins with x, y, width, height; integers, as OpenCV gives them."""
    left, top, width, height = (int(side) for side in box[:4])
    return Region(left, top, labels[top : top + height, left : left + width] == label)


def _defect(region: Region, scores: Map, anomaly_map: AnomalyMap, geometry: Geometry) -> Defect:
    """Measure one region and move it into frame pixels."""
    rows, columns = np.nonzero(region.inside)
    rows, columns = rows + region.top, columns + region.left
    values = scores[rows, columns]
    worst = int(np.argmax(values))
    grid = anomaly_map.scores.shape
    row = min(round(rows[worst] / anomaly_map.stride), grid[0] - 1)
    column = min(round(columns[worst] / anomaly_map.stride), grid[1] - 1)
    polygon = _to_frame(_outline(region), geometry)
    # A region's extent is its pixel squares, not their centres: half an input pixel on each side.
    low, high = (
        _to_frame(
            np.array([[columns.min() - 0.5, rows.min() - 0.5], [columns.max() + 0.5, rows.max() + 0.5]]), geometry
        )
        + 0.5
    )
    sx, sy = geometry.scale()
    area = float(len(rows) * sx * sy)
    mm = geometry.mm_per_px
    (_, (length, width), _) = cv2.minAreaRect(polygon.astype(np.float32))
    (centre,) = _to_frame(np.array([[columns.mean(), rows.mean()]]), geometry)
    x, y = int(np.floor(low[0])), int(np.floor(low[1]))
    return Defect(
        box_px=(x, y, max(1, int(np.ceil(high[0])) - x), max(1, int(np.ceil(high[1])) - y)),
        centroid_px=(float(centre[0]), float(centre[1])),
        polygon_px=tuple((int(px), int(py)) for px, py in np.rint(polygon)),
        area_px=area,
        score_max=float(values[worst]),
        score_mean=float(values.mean()),
        driven_by=driver(anomaly_map, row, column),
        area_mm2=None if mm is None else area * mm * mm,
        length_mm=None if mm is None else (max(length, width) + max(sx, sy)) * mm,
        roi_ninth=_ninth(float(rows.mean()), float(columns.mean()), geometry),
    )


def _ninth(row: float, column: float, geometry: Geometry) -> int:
    """In which of 3 × 3 fields of the network's input, which the ROI's box fills, a pixel's centre lies."""
    down, right = (
        min(2, int(3 * (at + 0.5) / side)) for at, side in zip((row, column), geometry.input_size, strict=True)
    )
    return 3 * down + right


def _outline(region: Region) -> NDArray[np.float64]:
    """(k, 2) x, y of the region's outer contour, simplified to at most MAX_POLYGON_POINTS."""
    contours, _ = cv2.findContours(
        region.inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(region.left, region.top)
    )
    outline = max(contours, key=len)
    tolerance = 0.5
    while len(outline) > MAX_POLYGON_POINTS:
        outline = cv2.approxPolyDP(outline, tolerance, True)
        tolerance *= 1.5
    return outline.reshape(-1, 2).astype(np.float64)


def _to_frame(points: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """(k, 2) input pixel centres -> frame pixel centres."""
    affine = geometry.input_to_frame()
    moved: NDArray[np.float64] = points @ affine[:, :2].T + affine[:, 2]
    return moved
