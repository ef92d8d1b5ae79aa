"""The forecast as a page and as JSON beside a run: what to expect of a bundle before its first defective part."""

from __future__ import annotations

import json
from html import escape
from itertools import pairwise
from pathlib import Path

from edge.core.files import write_whole
from edge.core.forecast import CONTRASTS, SIZES, Cell, Forecast, forecast_to_json
from edge.core.manifest import Manifest
from trainer.report.style import STYLE


def write_forecast(manifest: Manifest, page: Path) -> None:
    """Write `page` (HTML) and, beside it, the same as JSON; nothing where the bundle has no forecast."""
    if manifest.forecast is None:
        return
    bound = manifest.calibration(manifest.reference_variant).bound
    body = {"product": manifest.product, "promise": str(bound), **forecast_to_json(manifest.forecast)}
    write_whole(page.with_suffix(".json"), f"{json.dumps(body, indent=1, allow_nan=False)}\n".encode())
    write_whole(page, forecast_page(manifest.forecast, manifest.product, str(bound)).encode())


def forecast_page(forecast: Forecast, product: str, promise: str) -> str:
    """One self-contained page."""
    *told, verdict = forecast.lines()
    title = f"{product}: what to expect"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="promise"><b>{escape(verdict)}</b></p>'
        + "".join(f"<p>{escape(line)}</p>" for line in (*told, f"Promise: {promise}"))
        + f"<h2>Planted defects found, by size and contrast</h2>{forecast_table(forecast)}"
        "<p>Planted on unused good images by a generator that nothing was fitted on; sizes are a defect's longer side, "
        "contrasts a change's root mean square in deviations of the part's surface around it. Real defects may be "
        "harder or easier: give some with --defects.</p></body></html>\n"
    )


def forecast_table(forecast: Forecast) -> str:
    """Found of planted: a row a band of sizes, a column a band of contrasts."""
    cells = {(cell.size, cell.contrast): cell for cell in forecast.cells}
    head = "".join(f"<th>{low:g} to {high:g}×</th>" for low, high in pairwise(CONTRASTS))
    rows = []
    for low, high in pairwise(SIZES):
        px = f"{low * forecast.short_side_px:.0f} to {high * forecast.short_side_px:.0f} px"
        own = "".join(_cell(cells.get((low, contrast))) for contrast in CONTRASTS[:-1])
        rows.append(f"<tr><th>{px}</th>{own}</tr>")
    return (
        f'<div class="wide"><table><thead><tr><th>longer side</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _cell(cell: Cell | None) -> str:
    if cell is None or not cell.planted:
        return "<td>–</td>"
    share = cell.found / cell.planted
    return f'<td style="background:rgba(60,160,90,{0.6 * share:.2f})">{cell.found} of {cell.planted}</td>'
