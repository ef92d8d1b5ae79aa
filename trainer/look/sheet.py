"""The picture sheet of a look: findings by kind with their names, then the images least like the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.files import write_whole
from edge.core.images import read_image
from edge.core.types import Image, Map
from trainer.look.findings import Look
from trainer.sheets import COLUMNS, Cell, draw_sheet

SHOWN = {"copy": 4, "near copy": 8, "exposure": 8, "blur": 8}
SUSPECTS = 12
HEAT = 3.0  # robust deviations of a place's distance; heat begins at half of it and saturates at twice
LEGEND = "left: image    right: heat where no other image looks alike    the least alike are always shown: look at them"


def look_sheet(look: Look) -> Image:
    """(H, W, 3) uint8 BGR. Copies stand beside what they are copies of; suspects come worst first."""
    rows: list[tuple[str, Sequence[Cell]]] = []
    for kind, most in SHOWN.items():
        found = [finding for finding in look.findings if finding.kind == kind]
        cells: list[Cell] = []
        for finding in found[:most]:
            cells.append(_cell(look, finding.path, f"{_name(look, finding.path)}: {finding.detail}", True))
            if finding.of is not None:
                cells.append(_cell(look, finding.of, f"of {_name(look, finding.of)}", False))
        rows += _in_rows(f"{kind}: {len(found)} of {len(look.paths)} images", cells)
    flagged = {finding.path for finding in look.findings if finding.kind == "unlike"}
    worst = np.argsort(-look.unlike)[:SUSPECTS]
    suspects = [
        _cell(look, look.paths[i], f"{_name(look, look.paths[i])}: {look.unlike[i]:+.1f}", look.paths[i] in flagged)
        for i in worst
    ]
    rows += _in_rows(f"least like the others, in robust deviations: {len(flagged)} flagged (red)", suspects)
    title = f"{len(look.paths)} good images before training: {len(look.findings)} findings"
    return draw_sheet(title, rows, HEAT, LEGEND)


def write_sheet(look: Look, path: Path) -> None:
    """Write the sheet as a PNG; the folder is made."""
    write_whole(path, cv2.imencode(".png", look_sheet(look))[1].tobytes())


def _in_rows(title: str, cells: Sequence[Cell]) -> list[tuple[str, Sequence[Cell]]]:
    return [(title if start == 0 else "", cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]


def _name(look: Look, path: Path) -> str:
    same = [other for other in look.paths if other.name == path.name]
    return path.name if len(same) < 2 else f"{path.parent.name}/{path.name}"


def _cell(look: Look, path: Path, caption: str, flagged: bool) -> Cell:
    image = read_image(path)
    return Cell(image, _heat(look, path, image), None, (), caption, flagged)


def _heat(look: Look, path: Path, image: Image) -> Map:
    """(H, W) float32: how foreign each place is, in robust deviations over all images; 0 for a copy left out."""
    if path not in look.paths:
        return np.zeros(image.shape[:2], np.float32)
    compared = look.maps[look.maps > 0].astype(np.float64)
    if not compared.size:
        return np.zeros(image.shape[:2], np.float32)
    middle, own = float(np.median(compared)), look.maps[look.paths.index(path)]
    unit = 1.4826 * float(np.median(np.abs(compared - middle))) or 1.0
    deviations = np.where(own > 0, (own - middle) / unit, 0).astype(np.float32)
    stride = look.geometry.input_size[0] // own.shape[0]
    here = look.geometry.for_frame((image.shape[0], image.shape[1]))
    return here.scores_to_frame(np.maximum(deviations, 0), max(1, stride))
