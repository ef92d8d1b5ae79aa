"""Figures are a recount of the records, by a second way; what is shown, printed and downloaded is one table."""

from __future__ import annotations

import csv
import io
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from edge.client.history import history
from edge.client.replay_link import ReplayLink
from edge.core.binomial import binomial_upper_bound
from edge.core.words import Reason
from edge.page.model.filling import Filling
from edge.page.model.questions import Questions
from edge.page.model.rows import milliseconds
from edge.page.model.schema import connect, open_model
from edge.page.shifts import Shift, read_shifts, shift_at
from edge.page.tables import FalseRejects, Row, Table, latency_within, upper_bound, wilson
from edge.page.tallying import GROUPS, tally
from edge.page.words import words_in
from edge.wire.messages import Message
from edge.wire.recording import result_record
from tests.edge import samples
from tests.page.conftest import Served
from tests.page.test_read_model import ORIGIN, message, said, stamp
from tests.patience import WAIT_S

SHIFTS = read_shifts("06:00 14:00 22:00")
EVER = Shift(0, 1 << 42)
T = words_in("en")


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    open_model(tmp_path / "page.db").close()
    db = connect(tmp_path / "page.db")
    yield Filling(db, "top")
    db.close()


def result(seq: int, inspection: Any, **changes: Any) -> Message:
    """A record of this inspection, some facts of it changed."""
    told = message(result_record(ORIGIN, stamp(seq), inspection))
    told.body.update(changes)
    return told


def tables(filling: Filling, tmp_path: Path, by: str = "batch") -> dict[str, Table]:
    found = tally(Questions(tmp_path / "page.db"), filling.station, EVER, by, (SHIFTS[0],), T)
    return {one.key: one for one in found.tables}


def values(table: Table, *columns: str) -> dict[str, tuple[Any, ...]]:
    return {row.name: tuple(row.values[table.columns.index(one)] for one in columns) for row in table.rows}


def test_parts_are_counted_by_batch_and_a_known_piece_is_no_part(filling: Filling, tmp_path: Path) -> None:
    late = samples.undecided(4, reason=Reason.LATE)
    piece = {"run_id": stamp(9).result_id, "piece": "scratch", "expected": 2, "evaluation": 2}
    filling.take(
        [
            result(1, samples.good(1), batch_id="A"),
            result(2, samples.defective(2), batch_id="A"),
            result(3, samples.good(3), batch_id="B"),
            result(4, late, batch_id="B"),
            result(5, samples.undecided(5, reason=Reason.REVIEW), challenge=piece),
            said(6, 2, '{"disposition":"accept","label":"false_reject"}'),
        ]
    )
    found = tables(filling, tmp_path)

    counts = values(found["yield"], "parts", "ok", "rejected", "undecided")
    assert counts == {"A": (2, 1, 1, 0), "B": (2, 1, 0, 1), "All": (4, 2, 1, 1)}
    assert values(found["cause"], "parts") == {"late": (1,)}
    assert values(found["label"], "parts") == {"False reject": (1,)}
    (row,) = values(found["false"], "ok", "said_false", "not_known", "share_false").values()
    assert row == (2, 1, 0, pytest.approx(1 / 3))


def test_wilson_and_the_bound_are_what_the_books_say() -> None:
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0) and wilson(10, 10)[1] == 1.0 and wilson(0, 10)[0] == 0.0
    assert upper_bound(0, 59) == binomial_upper_bound(0, 59) == pytest.approx(0.0495, abs=1e-4)
    assert upper_bound(51, 5000) == pytest.approx(binomial_upper_bound(51, 5000), rel=0.01)


@pytest.mark.parametrize(
    ("found", "judged"),
    [
        (FalseRejects(1000, 2, 1, 0.05), "kept"),
        (FalseRejects(1000, 2, 100, 0.05), "not_shown"),  # nobody has looked at a hundred of them
        (FalseRejects(10, 0, 0, 0.05), "not_shown"),
        (FalseRejects(100, 40, 0, 0.05), "broken"),
        (FalseRejects(100, 0, 0, None), "no_promise"),
    ],
)
def test_a_promise_is_kept_only_where_the_bound_shows_it(found: FalseRejects, judged: str) -> None:
    assert found.judged == judged


def test_latency_is_told_by_steps_that_it_does_not_exceed() -> None:
    steps = {2: 50, 4: 49, 9: 1}
    assert [latency_within(steps, share, T) for share in (0.5, 0.51, 0.99, 1.0)] == [
        "≤ 3 ms",
        "≤ 7 ms",
        "≤ 7 ms",
        "≤ 50 ms",
    ]
    assert latency_within({21: 1}, 0.5, T) == "> 10,000 ms" and latency_within({}, 0.5, T) == "–"


def test_no_cell_is_a_formula_and_numbers_are_plain() -> None:
    table = Table("yield", ("parts", "share_ok"), (Row('=HYPERLINK("x")', (1234, 0.5)), Row("a,b", (0, None))))
    assert list(csv.reader(io.StringIO(table.csv(words_in("de")))))[1:] == [
        ['\'=HYPERLINK("x")', "1234", "0.500000"],
        ["a,b", "0", ""],
    ]


# --- on the screen, of a station that runs ---


def recount(page: Served) -> list[dict[str, Any]]:
    """Every result, from the station's own replay socket."""
    with closing(ReplayLink(page.replay, "recount", WAIT_S)) as link:
        return [one.body for one in history(link, link.hello("earliest")) if one.kind == "result"]


def shown(page: Served, key: str, by: str = "shift") -> tuple[list[list[str]], list[list[str]]]:
    """The rows of a table, as its CSV has them and as the screen has them."""
    query = f"period=week&by={by}"
    status, text, headers = page.ask("GET", f"/s/top/figures/{key}.csv?{query}", "vera")
    assert (
        status == 200
        and headers["content-type"].startswith("text/csv")
        and "attachment" in headers["content-disposition"]
    )
    html = page.ask("GET", f"/s/top/figures?{query}", "vera")[1].partition(f'id="t-{key}"')[2].partition("</table>")[0]
    rows = [
        [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2], re.DOTALL)
        if 'class="none"' not in row
    ]
    return list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))[1:], rows


def test_every_figure_is_a_recount_of_the_stations_records(page: Served) -> None:
    until_s = time.monotonic() + WAIT_S
    while True:  # the station goes on, and the page reads it in order
        before, table, after = recount(page), shown(page, "yield")[0], recount(page)
        if len(before) <= (told := int(table[-1][1])) <= len(after):
            after = after[:told]
            break
        assert time.monotonic() < until_s, (table, len(before), len(after))
    by_evaluation = Counter(one["result_evaluation"] for one in after)
    assert [int(one) for one in table[-1][2:5]] == [
        by_evaluation[1],
        by_evaluation[2],
        len(after) - by_evaluation[1] - by_evaluation[2],
    ]
    by_shift = Counter(shift_at(SHIFTS, milliseconds(one["created"])).since_ms for one in after)
    assert [int(row[1]) for row in table[:-1]] == [parts for _, parts in sorted(by_shift.items())]
    assert abs(float(table[-1][5]) - by_evaluation[1] / len(after)) < 1e-6


@pytest.mark.parametrize("key", ["yield", "cause", "region", "size", "driver", "label", "false", "latency"])
def test_a_download_has_the_rows_of_the_screen(page: Served, key: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while True:
        plain, seen = shown(page, key)
        if [[_machine(cell) for cell in row[:-1]] for row in seen] == [
            [_rounded(cell) for cell in row] for row in plain
        ]:
            return
        assert time.monotonic() < until_s, (plain, seen)


def _machine(cell: str) -> str:
    """A cell of the screen as the file writes it, shares to a hundredth of a percent."""
    if cell.endswith(" %"):
        return f"{float(cell[:-2].replace(',', '')):.2f} %"
    return {"–": ""}.get(cell, cell.replace(",", "") if re.fullmatch(r"[\d,]+", cell) else cell)


def _rounded(cell: str) -> str:
    return f"{100 * float(cell):.2f} %" if re.fullmatch(r"\d\.\d{6}", cell) else cell


def test_there_is_no_other_table_and_nonsense_in_the_address_is_left_out(page: Served) -> None:
    assert page.ask("GET", "/s/top/figures/users.csv", "vera")[0] == 404
    status, text, _ = page.ask("GET", "/s/top/figures?period=%3Cb%3E&by=../x", "vera")
    assert status == 200 and "<b>" not in text
    for by in GROUPS:
        assert page.ask("GET", f"/s/top/figures?period=month&by={by}", "vera")[0] == 200


def test_markup_in_a_batch_is_text(filling: Filling, tmp_path: Path) -> None:
    from edge.page.templating import _environment

    filling.take([result(1, samples.good(1), batch_id="<img src=x onerror=alert(1)>")])
    macros = _environment().get_template("tally.html").module
    text = str(macros.tally_table(tables(filling, tmp_path)["yield"], T))  # type: ignore[attr-defined]
    assert "&lt;img src=x" in text and "<img" not in text
