"""The read model has each record once, whatever comes twice, and a part's last word; it may be deleted at any time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.core.words import Reason, Term
from edge.page.model.filling import Filling
from edge.page.model.questions import Filter, Part, Questions
from edge.page.model.schema import connect, open_model
from edge.wire.encoding import to_frames
from edge.wire.messages import Message, decode
from edge.wire.recording import audit_record, result_record
from edge.wire.vocabulary import Outcome
from tests.edge import samples

ORIGIN = samples.origin()


def stamp(seq: int) -> Any:
    return replace(samples.stamp(seq), result_id=f"0195610c-3c83-7000-8000-{seq:012x}")


def message(record: Any) -> Message:
    return decode(to_frames(record))


def good(seq: int) -> Message:
    return message(result_record(ORIGIN, stamp(seq), samples.good(seq)))


def rejected(seq: int) -> Message:
    return message(result_record(ORIGIN, stamp(seq), samples.defective(seq)))


def said(seq: int, about: int, arguments: str, command: str = "feedback") -> Message:
    facts = {"command": command, "outcome": Outcome.DONE, "arguments": arguments, "actor": "page/otto", "details": ""}
    return message(audit_record(ORIGIN, stamp(seq), **facts, about_result_id=stamp(about).result_id))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_model(tmp_path / "page.db").close()
    return tmp_path / "page.db"


@pytest.fixture
def filling(path: Path) -> Iterator[Filling]:
    db = connect(path)
    yield Filling(db, "top")
    db.close()


def test_what_comes_twice_is_in_once_and_counted_once(filling: Filling, path: Path) -> None:
    records = [good(1), rejected(2), good(3)]
    filling.take(records)
    filling.take(records[1:])

    asked = Questions(path)
    assert sum(asked.counts(filling.station, 0, 1 << 42).values()) == 3
    assert [one.part_id for one in asked.rejected(filling.station, Filter())] == ["P2"]
    cursor = filling.cursor
    assert cursor is not None and (cursor.seq, cursor.epoch) == (3, samples.EPOCH)


def test_a_batch_that_fails_leaves_neither_rows_nor_the_place(filling: Filling, path: Path) -> None:
    filling.take([good(1)])
    broken = good(3)
    del broken.body["is_simulated"]
    with pytest.raises(KeyError):
        filling.take([rejected(2), broken])

    assert filling.cursor is not None and filling.cursor.seq == 1
    assert Questions(path).count_rejected(filling.station, Filter()) == 0
    filling.take([rejected(2), good(3)])  # and the same again goes well
    assert Questions(path).count_rejected(filling.station, Filter()) == 1


def test_the_last_word_about_a_part_counts_and_can_be_taken_back(filling: Filling, path: Path) -> None:
    filling.take([rejected(1), rejected(2), said(3, 1, '{"disposition":"accept","label":"false_reject"}')])
    asked = Questions(path)
    assert [one.part_id for one in asked.rejected(filling.station, Filter(label="open"))] == ["P2"]
    (first,) = asked.rejected(filling.station, Filter(label="false_reject"))
    assert (first.part_id, first.labelled_by) == ("P1", "page/otto")

    filling.take([said(4, 1, '{"disposition":"unknown","label":"undone"}')])
    assert asked.count_rejected(filling.station, Filter(label="open")) == 2


def test_an_mes_says_it_by_disposition_alone(filling: Filling, path: Path) -> None:
    filling.take([rejected(1), said(2, 1, '{"disposition":"rework"}')])
    assert [one.label for one in Questions(path).rejected(filling.station, Filter())] == ["rework"]


def test_a_region_is_a_ninth_of_what_is_inspected_where_the_station_says_it(filling: Filling, path: Path) -> None:
    record = rejected(1)
    record.body["defects"][0]["roi_ninth"] = 8  # in the frame it lies top left
    filling.take([record])
    kept = Questions(path).part(filling.station, record.body["result_id"])
    assert kept is not None and kept.region == 8


def test_a_rejected_part_keeps_its_whole_record(filling: Filling, path: Path) -> None:
    record = rejected(1)
    filling.take([record, good(2)])
    asked = Questions(path)
    kept = asked.part(filling.station, record.body["result_id"])
    assert kept is not None and kept.body == record.body and kept.region == 0 and kept.term == "regression_error"
    fine = asked.part(filling.station, stamp(2).result_id)
    assert fine is not None and fine.body is None and fine.score == 1.0


def test_another_history_is_read_anew(filling: Filling, path: Path) -> None:
    filling.take([rejected(1), said(2, 1, '{"disposition":"rework"}')])
    filling.forget_all()
    assert filling.cursor is None and Questions(path).count_rejected(filling.station, Filter()) == 0
    filling.take([rejected(1)])
    assert Questions(path).counts(filling.station, 0, 1 << 42) == {(2, ""): 1}


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "page.db").write_bytes(b"no database at all" * 1000)
    db = open_model(tmp_path / "page.db")
    assert db.execute("SELECT count(*) FROM parts").get == 0
    db.close()


def test_reasons_are_counted_apart(filling: Filling, path: Path) -> None:
    late = message(result_record(ORIGIN, stamp(1), samples.undecided(1, reason=Reason.LATE)))
    filling.take([late, good(2)])
    assert Questions(path).counts(filling.station, 0, 1 << 42) == {(3, "late"): 1, (1, ""): 1}


FILTERS: dict[str, tuple[Filter, set[str]]] = {
    "label": (Filter(label="rework"), {"P1"}),
    "not looked at": (Filter(label="open"), {"P2", "P3", "P4"}),
    "reason": (Filter(reason="late"), {"P4"}),
    "rejected": (Filter(reason="rejected"), {"P1", "P2", "P3"}),
    "region": (Filter(region=8), {"P2"}),
    "size": (Filter(size=2000), {"P2"}),
    "driver": (Filter(driver=Term.PREDICTIVE_UNCERTAINTY.value), {"P3"}),
    "recipe": (Filter(recipe=2), {"P3"}),
    "shift": (Filter(since_ms=2000, until_ms=3000), {"P2"}),
    "two at once": (Filter(reason="rejected", region=0), {"P1", "P3"}),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_of_review_finds_what_it_says_and_counts_it(filling: Filling, path: Path, name: str) -> None:
    large = replace(samples.defect(), centroid_px=(619.0, 439.0), area_px=5000.0)
    other = replace(samples.defect(), driven_by=replace(samples.defect().driven_by, term=Term.PREDICTIVE_UNCERTAINTY))
    another = samples.origin(recipe=replace(samples.origin().recipe, hash="cd" * 32))
    parts = [
        samples.defective(1),
        samples.defective(2, defects=(large,)),
        samples.defective(3, defects=(other,)),
        samples.undecided(4, reason=Reason.LATE),
    ]
    records = [
        message(
            result_record(
                another if seq == 3 else ORIGIN,
                replace(stamp(seq), created=datetime.fromtimestamp(seq, timezone.utc)),
                one,
            )
        )
        for seq, one in enumerate(parts, 1)
    ]
    filling.take([*records, good(5), said(6, 1, '{"disposition":"rework","label":"rework"}')])
    chosen, expected = FILTERS[name]
    asked = Questions(path)
    assert {one.part_id for one in asked.rejected(filling.station, chosen)} == expected
    assert asked.count_rejected(filling.station, chosen) == len(expected)
    oldest = replace(chosen, is_oldest_first=True)
    assert asked.rejected(filling.station, oldest) == asked.rejected(filling.station, chosen)[::-1]


def test_the_table_has_the_columns_that_a_part_has(path: Path) -> None:
    columns = [row[1] for row in connect(path).execute("PRAGMA table_info(parts)")]
    assert columns == [one.name for one in fields(Part) if one.name not in ("files", "body")]
