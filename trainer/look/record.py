"""Before training: look once, write the sheet and a record beside it, warn, and refuse where that was asked for.

The record makes a run that goes on warn again without looking again.
"""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry
from trainer.good_images import GoodImages
from trainer.look.findings import look_at
from trainer.look.sheet import write_sheet
from trainer.resizing import is_costly, resizing_cost

log = structlog.get_logger()


def look_first(found: GoodImages, geometry: Geometry, sheet: Path, strict: bool) -> list[str]:
    """Look at the images unless that was done before; write `sheet` and its record; warn; return the findings.

    TrainingError with `strict` where anything was found.
    """
    size = _tell_resizing(geometry)
    findings = _recorded(found, geometry, sheet)
    if findings is None:
        look = look_at(found.paths, found.copies, geometry)
        write_sheet(look, sheet)
        findings = [f"{finding.kind}: {finding.path}: {finding.detail}" for finding in look.findings]
        record = {"images": _named(found), "geometry": str(geometry), "findings": findings}
        sheet.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    for finding in findings:
        log.warning("look at this good image", why=finding)
    findings = [*size, *findings]
    log.info("looked at the good images", images=len(found.paths), findings=len(findings), sheet=str(sheet))
    if strict and findings:
        shown = "; ".join(findings[:5]) + (f" and {len(findings) - 5} more" if len(findings) > 5 else "")
        raise TrainingError(
            f"--strict: {len(findings)} findings among the good images: {shown}; look at {sheet}, "
            "remove what is not good, or leave out --strict"
        )
    return findings


def _tell_resizing(geometry: Geometry) -> list[str]:
    """Say what the networks' input size costs; the finding, where it is much."""
    cost = resizing_cost(geometry)
    if cost is None:
        return []
    if not is_costly(geometry):
        log.info("resizing", what=cost)
        return []
    log.warning("resizing costs", what=cost)
    return [f"size: {cost}"]


def _recorded(found: GoodImages, geometry: Geometry, sheet: Path) -> list[str] | None:
    """What an earlier look at the same images found; None where there was none."""
    try:
        record = json.loads(sheet.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not sheet.exists() or record.get("images") != _named(found) or record.get("geometry") != str(geometry):
        return None
    return [str(finding) for finding in record["findings"]]


def _named(found: GoodImages) -> list[str]:
    return [*map(str, found.paths), *(str(copy) for copy, _ in found.copies)]
