"""Before training: look once, write a sheet, a page and a record, warn, and refuse where that was asked for.

The record makes a run that goes on warn again without looking again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from edge.core.errors import TrainingError
from edge.core.files import write_whole
from edge.core.preprocess import Geometry
from trainer.good_images import MEANT_ADVICE, GoodImages
from trainer.look.findings import COPY, FOLDER, Finding, look_at
from trainer.look.page import write_page
from trainer.look.sheet import write_sheet
from trainer.resizing import is_costly, resizing_cost

log = structlog.get_logger()

NAMED = 8  # of a kind, in one text; all of them are in the record


def look_first(
    found: GoodImages, geometry: Geometry, sheet: Path, *, strict: bool = False, meant: Collection[str] = ()
) -> list[str]:
    """Look at the images unless that was done before; write `sheet`, its page and its record; warn.

    Returns what was found: each kind in one text, with the names. TrainingError with `strict` where anything was found,
    and without it for a folder that is plainly unlike the others, unless it is `meant`.
    """
    size = _tell_resizing(geometry)
    findings = _recorded(found, geometry, sheet)
    if findings is None:
        look = look_at(found.paths, found.copies, geometry)
        write_sheet(look, sheet)
        write_page(look, sheet)
        findings = list(look.findings)
        record = {"images": _named(found), "geometry": str(geometry), "findings": [_written(one) for one in findings]}
        write_whole(sheet.with_suffix(".json"), json.dumps(record, indent=1).encode())
    findings = [one for one in findings if one.kind != FOLDER or not set(one.path.parts) & set(meant)]
    beside = [] if found.left_out is None else [f"files: {found.left_out}"]
    told = [*size, *beside, *in_kinds(findings, len(found.paths))]
    for text in told:
        log.warning("look at these good images", why=text)
    log.info("looked at the good images", images=len(found.paths), kinds_of_findings=len(told), sheet=str(sheet))
    foreign = [one for one in findings if one.kind == FOLDER]
    if foreign:
        named = "; ".join(f"{one.path}: {one.detail}" for one in foreign)
        raise TrainingError(f"{named}; look at {sheet}, take the folder away, or {MEANT_ADVICE}")
    if strict and told:
        raise TrainingError(
            f"--strict: {len(told)} kinds of findings among the good images: {'; '.join(told)}; look at {sheet}, "
            "remove what is not good, or leave out --strict"
        )
    return told


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


def in_kinds(findings: Sequence[Finding], of: int) -> list[str]:
    """One text for each kind, naming the first few: a folder that was copied twice is one finding, not hundreds.

    of: how many distinct images there are.
    """
    texts = []
    for kind in dict.fromkeys(finding.kind for finding in findings):
        these = [finding for finding in findings if finding.kind == kind]
        named = "; ".join(f"{finding.path}: {finding.detail}" for finding in these[:NAMED])
        more = f"; and {len(these) - NAMED} more" if len(these) > NAMED else ""
        count = (
            ""
            if len(these) == 1
            else f"{len(these)} beside {of} distinct images: "
            if kind == COPY
            else (f"{len(these)} of {of} images: ")
        )
        texts.append(f"{kind}: {count}{named}{more}")
    return texts


def _recorded(found: GoodImages, geometry: Geometry, sheet: Path) -> list[Finding] | None:
    """What an earlier look at the same images found; None where there was none."""
    record = _read(sheet)
    if not sheet.exists() or record.get("images") != _named(found) or record.get("geometry") != str(geometry):
        return None
    return _findings(record)


def recorded_findings(sheet: Path) -> list[Finding]:
    """What the look found that wrote `sheet`; nothing where none did."""
    return _findings(_read(sheet)) or []


def _read(sheet: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(sheet.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _findings(record: Mapping[str, Any]) -> list[Finding] | None:
    try:
        return [Finding(one["kind"], Path(one["path"]), one["detail"]) for one in record["findings"]]
    except (TypeError, KeyError):  # of an earlier version
        return None


def _written(finding: Finding) -> dict[str, str]:
    return {"kind": finding.kind, "path": str(finding.path), "detail": finding.detail}


def _named(found: GoodImages) -> list[str]:
    return [*map(str, found.paths), *(str(copy) for copy, _ in found.copies)]
