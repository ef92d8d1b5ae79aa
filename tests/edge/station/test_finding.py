"""A part is found by its id or by when it was rejected, with its pictures, and commands may name it by its id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.history.journal import Journal
from edge.history.kept_files import KeptFile, keep
from edge.history.parts import find_part, find_rejected
from edge.history.retention import Limits
from edge.sockets.requests import Request, RequestError
from edge.station.finding import Finder
from edge.wire.recording import gap_record, result_record
from edge.wire.uuid7 import created_ms
from tests.edge import samples
from tests.edge.history.records import retain, tell_losses

ORIGIN = samples.origin()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def tell(journal: Journal, inspection: Any) -> str:
    entry = journal.assign(lambda stamp: result_record(ORIGIN, stamp, inspection))
    journal.commit()
    return entry.record.result_id


def asked(**facts: Any) -> Request:
    return Request(b"peer", "FIND", b"1", facts)


def test_a_part_is_found_by_its_id_with_what_was_said_and_its_pictures(journal: Journal, tmp_path: Path) -> None:
    tell(journal, samples.good(1))
    about = tell(journal, samples.defective(2))
    for suffix in ("png", "jpg"):
        keep(journal, KeptFile(f"ab/cd.{suffix}", about, 10), 0.0, is_good=False)
    journal.commit()
    (part,) = Finder(journal, tmp_path / "evidence").find(asked(part_id="P2"))["parts"]
    assert (part["result_id"], part["result_evaluation"], part["anomaly_score"], part["threshold"]) == (about, 2, 6, 3)
    folder = tmp_path / "evidence" / "ab"
    assert part["pictures"] == {"image": str(folder / "cd.png"), "overlay": str(folder / "cd.jpg")}
    assert Finder(journal).find(asked(part_id="P9")) == {"parts": []}


def test_a_part_that_nobody_inspected_is_found_in_its_gap(journal: Journal) -> None:
    missed = samples.gap(7, 8, part_ids=("P7", "P8"))
    entry = journal.assign(lambda stamp: gap_record(ORIGIN, stamp, missed))
    journal.commit()
    assert [part.result_id for part in find_part(journal, "P8", 5)] == [entry.record.result_id]


def test_rejected_parts_of_a_time_are_found_and_good_ones_are_not(journal: Journal) -> None:
    for number in range(1, 40):
        tell(journal, samples.good(number) if number % 4 else samples.defective(number))
    rows = journal.read(0, 100)
    since, until = created_ms(rows[9].result_id), created_ms(rows[29].result_id)
    found, has_more = find_rejected(journal, since, until, 20)
    inside = [row for row in rows if since <= created_ms(row.result_id) <= until]
    expected = [row.result_id for row in inside if b'"result_evaluation":2' in row.body]
    assert [part.result_id for part in found] == expected and expected and not has_more
    some, has_more = find_rejected(journal, since, until, 2)
    assert [part.result_id for part in some] == expected[:2] and has_more
    assert find_rejected(journal, until + 60_000, until + 120_000, 20) == ([], False)


def test_times_are_utc_unless_they_say_otherwise(journal: Journal) -> None:
    tell(journal, samples.defective(1))
    now = datetime.now(timezone.utc)
    finder = Finder(journal)
    here = timezone(timedelta(hours=5))
    earlier = now - timedelta(minutes=2)
    for before in (earlier.strftime("%Y-%m-%dT%H:%M"), earlier.astimezone(here).isoformat()):
        assert len(finder.find(asked(since=before))["parts"]) == 1
    assert finder.find(asked(since="2026-01-01", until="2026-01-02"))["parts"] == []
    for facts in ({}, {"since": "yesterday"}, {"since": "2026-13-01"}):
        with pytest.raises(RequestError):
            finder.find(asked(**facts))


def test_a_command_may_name_a_part_by_its_id_where_that_is_one_record(journal: Journal) -> None:
    finder, about = Finder(journal), tell(journal, samples.defective(1))
    assert finder.about(asked(part_id="P1", disposition="scrap")).facts["about"] == about
    assert finder.about(asked(about="x", part_id="P1")).facts["about"] == "x"  # what was said wins
    again = tell(journal, samples.good(1))
    with pytest.raises(RequestError, match=rf"several; say which: about={again} .*about={about}"):
        finder.about(asked(part_id="P1"))
    with pytest.raises(RequestError, match="P9: there is no record of it"):
        finder.about(asked(part_id="P9"))


def test_ids_go_with_their_records_and_stay_over_restarts_and_salvage(journal: Journal, tmp_path: Path) -> None:
    for number in range(20):
        tell(journal, samples.good(number))
    retain(journal, Limits(max_bytes=1, min_age_s=0.0))
    tell_losses(journal)
    kept = {value for (value,) in journal.query("SELECT part_id FROM parts")}
    results = [row for row in journal.read(0, 99) if row.topic.endswith(b"/result/")]
    assert "P0" not in kept and len(kept) == len(results)
    tell(journal, samples.good(77))
    journal.close()
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)  # a first page that is gone: everything is salvaged
    path.write_bytes(content)
    salvaged = Journal(path)
    assert len(find_part(salvaged, "P77", 5)) == 1
    salvaged.close()
