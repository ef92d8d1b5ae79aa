"""Figures: what a shift, a day, a batch or a recipe came to, and why parts were rejected; each table also as CSV."""

from __future__ import annotations

import time

from starlette.responses import Response

from edge.page.pages.line import banner_facts
from edge.page.shifts import Shift
from edge.page.tallying import GROUPS, PERIODS, Tally, span_of, tally
from edge.page.visits import Visit

_DEFAULT = {"period": "week", "by": "shift"}


def figures(visit: Visit) -> Response:
    """The screen."""
    period, by, span, found = _asked(visit)
    return visit.show(
        "figures.html",
        **banner_facts(visit.page, visit.at, visit.t),
        tally=found,
        span=span,
        periods=PERIODS,
        groups=GROUPS,
        period=period,
        by=by,
        book=visit.at.book.progress,
    )


def figures_csv(visit: Visit) -> Response:
    """One table as a file; 404 for one that there is not."""
    period, _, _, found = _asked(visit)
    table = next((one for one in found.tables if one.key == visit.request.path_params["table"]), None)
    if table is None:
        return Response("no such table", 404, media_type="text/plain")
    name = f"{visit.at.name}-{table.key}-{period}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + table.csv(visit.t), media_type="text/csv; charset=utf-8", headers=headers)


def _asked(visit: Visit) -> tuple[str, str, Shift, Tally]:
    query, settings = visit.request.query_params, visit.page.settings
    period, by = (query.get(name, "") for name in _DEFAULT)
    period, by = period if period in PERIODS else _DEFAULT["period"], by if by in GROUPS else _DEFAULT["by"]
    span = span_of(period, settings.shifts, int(1000 * time.time()))
    number = visit.page.questions.station(visit.at.name)
    return period, by, span, tally(visit.page.questions, number, span, by, settings.shifts, visit.t)
