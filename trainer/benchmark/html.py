"""The outcomes as one page: the tables, and of each material the pictures of its first seed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2

from edge.core.images import read_image
from trainer.benchmark.outcome import Outcome
from trainer.benchmark.table import DECIMALS, FIGURES, Failures, mean, summary
from trainer.report.style import STYLE

_LONGEST_PX = 1400


def page(outcomes: Sequence[Outcome], failures: Failures, reports: Mapping[tuple[str, int], Path], base: Path) -> str:
    """One self-contained page; reports: of each (material, seed) the folder of its report, linked from `base`."""
    title = f"Benchmark: {len({one.material for one in outcomes})} materials, {len(outcomes)} runs"
    parts = [f"<h1>{title}</h1>", "".join(f"<p>{escape(line)}</p>" for line in summary(outcomes))]
    parts += [f'<p class="wrong">FAILED {escape(name)}: {escape(why)}</p>' for name, why in failures.items()]
    parts += [f"<h2>Figures</h2>{_figures(outcomes, reports, base)}", f"<h2>Shipped threshold</h2>{_decided(outcomes)}"]
    parts += [f"<h2>References</h2>{_references(outcomes)}", _notes(outcomes)]
    for material in dict.fromkeys(one.material for one in outcomes):
        seed = min(one.seed for one in outcomes if one.material == material)
        parts.append(f"<h2>{escape(material)}, seed {seed}</h2>{_picture(reports[material, seed] / 'sheet.png')}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _figures(outcomes: Sequence[Outcome], reports: Mapping[tuple[str, int], Path], base: Path) -> str:
    rows = []
    for one in outcomes:
        link = (reports[one.material, one.seed] / "report.html").relative_to(base).as_posix()
        name = f'<a href="{escape(link)}">{escape(one.material)} {one.seed}</a>'
        rows.append((name, [_cell(value(one), key) for key, value in FIGURES.items()]))
    means = [_cell(mean(value(one) for one in outcomes), key) for key, value in FIGURES.items()]
    return _table(["material, seed", *FIGURES], [*rows, ("mean", means)])


def _decided(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (
            f"{escape(one.material)} {one.seed}",
            [
                f"{one.found} of {one.bad} ({one.real:.0%})",
                f"{one.rejected} of {one.good}",
                f"{one.promised:.1%}{' <b>contradicted</b>' if one.is_contradicted else ''}",
                "–" if one.expected is None else f"{one.expected:.0%}",
                escape(one.advice),
            ],
        )
        for one in outcomes
    ]
    return _table(["", "found", "rejected", "promised at most", "expected to find", "advice"], rows)


def _references(outcomes: Sequence[Outcome]) -> str:
    names = list(dict.fromkeys(name for one in outcomes for name in one.references))
    rows = [
        (
            f"{escape(one.material)} {one.seed}",
            [_pair((one.image_auroc, one.pb2)), *(_pair(one.references.get(name, (None, None))) for name in names)],
        )
        for one in outcomes
    ]
    return _table(["image AUROC, PB2", "fused", *map(escape, names)], rows)


def _notes(outcomes: Sequence[Outcome]) -> str:
    told = dict.fromkeys(f"{one.material}: {note}" for one in outcomes for note in one.notes)
    return "".join(f"<p>Note: {escape(note)}</p>" for note in told)


def _picture(sheet: Path) -> str:
    if not sheet.exists():
        return "<p>No picture.</p>"
    image = read_image(sheet)
    scale = min(1.0, _LONGEST_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
    return f'<img style="width:100%" src="{source}" alt="worst, median and best parts">'


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Cells are ours, or escaped already."""
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: float | None, key: str) -> str:
    return "–" if value is None else f"{value:.{DECIMALS.get(key, 3)}f}"


def _pair(pair: tuple[float | None, float | None]) -> str:
    return ", ".join("–" if value is None else f"{value:.3f}" for value in pair)
