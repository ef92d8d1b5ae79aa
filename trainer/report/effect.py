"""The effect of learning a line's false rejects as a page and as JSON beside the run: what changed for each."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path

import structlog

from edge.core.collected import PAGE
from edge.core.files import write_whole
from trainer.effect import Effect, PartEffect
from trainer.progress import say
from trainer.report.style import STYLE

log = structlog.get_logger()


def tell_effect(effect: Effect, page: Path) -> None:
    """Say it, and write `page` (HTML) and, beside it, the same as JSON; OutputError."""
    for line in effect.lines():
        say(line)
    log.info("also trained", page=str(page), beside=page.with_suffix(".json").name)
    parts = [
        {
            "image": one.image.name,
            "result_id": None if one.part is None else one.part.result_id,
            "part_id": None if one.part is None else one.part.part_id,
            "on_the_line": None if one.part is None else [one.part.score, one.part.threshold],
            "now": [one.score, one.threshold],
            "is_accepted": one.is_accepted,
        }
        for one in effect.parts
    ]
    body = {**effect.provenance(), "parts": parts, "why_not": effect.why_not}
    write_whole(page.with_suffix(".json"), f"{json.dumps(body, indent=1, allow_nan=False)}\n".encode())
    write_whole(page, effect_page(effect, page.parent).encode())


def effect_page(effect: Effect, folder: Path) -> str:
    """One page; folder: where it will lie, for links to the pages of the collections."""
    title = "What learning the false rejects did"
    columns = "<th>part</th><th>region that drove its reject</th><th>on the line</th><th>threshold</th>"
    told = "".join(f"<p>{escape(line)}</p>" for line in effect.lines())
    rows = "".join(_row(one, folder) for one in effect.parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{told}"
        "<p>Scores of two bundles are compared each with its own threshold. Each of these images was learned, so its "
        "score now says that the lesson took, and nothing of other parts; what was lost of the planted defects says "
        "what it cost. They were planted on good images that judge and were not learned; the bundle before may have "
        "learned some of them if its good images or its seed were others.</p>"
        f'<div class="wide"><table><thead><tr>{columns}<th>now</th><th>threshold</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></body></html>\n"
    )


def _row(one: PartEffect, folder: Path) -> str:
    link = escape(os.path.relpath(one.image.parent / PAGE, folder))
    name = f'<a href="{link}">{escape(one.name)}</a>'
    if one.part is None:
        before = "<td>–</td><td>–</td><td>–</td>"
    else:
        first = next(iter(one.part.regions), None)
        where = "–" if first is None else escape(f"{first.box_px} by {first.driven_by}")
        before = f"<td>{where}</td><td>{one.part.score:.3f}</td><td>{one.part.threshold:.3f}</td>"
    kind, word = ("right", "passes") if one.is_accepted else ("wrong", "still rejected")
    now = f'<td>{one.score:.3f}</td><td>{one.threshold:.3f}</td><td class="{kind}">{word}</td>'
    return f"<tr><th>{name}</th>{before}{now}</tr>"
