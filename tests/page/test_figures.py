"""A few samples of what `make faults` measures of the page in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge.stub import Stub
from tests.page import figures

pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")


def test_the_page_killed_again_and_again_knows_every_part_once(tmp_path: Path) -> None:
    try:
        held, found = figures.kills(tmp_path, 1.0, times=3, parts=200)
    finally:
        Stub.end_all()
    assert held, found


def test_a_read_model_counts_what_a_recount_of_the_journal_counts(tmp_path: Path) -> None:
    _, found = figures.million(tmp_path, 1.0, records=3000)
    assert found["counts equal a recount"], found


def test_a_cost_is_shown_only_where_two_equal_measures_differ_by_less_than_the_bound() -> None:
    def round_of(before: float, watched: float, after: float) -> tuple[figures.Cost, ...]:
        return tuple(figures.Cost(one, 20.0) for one in (before, watched, after))

    assert figures._compared_costs([round_of(1.0, 1.03, 1.02)] * 5)[0]  # type: ignore[list-item]
    assert not figures._compared_costs([round_of(1.0, 1.08, 1.02)] * 5)[0]  # type: ignore[list-item]
    assert not figures._compared_costs([round_of(1.0, 1.05, 1.3)] * 5)[0]  # type: ignore[list-item]
    slower = [(figures.Cost(1, 20.0), figures.Cost(1, 30.0), figures.Cost(1, 21.0))] * 5
    assert not figures._compared_costs(slower)[0]
