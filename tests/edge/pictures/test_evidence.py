"""Evidence on real files: after the verdict, named by content, announced, and dropped again in the right order."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import structlog

from edge.core.errors import SettingsError, SinkError
from edge.core.types import Inspection
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.told import Told
from edge.pictures.evidence import PERIOD_S, EvidenceLimits, EvidenceWriter
from edge.sockets.publisher import Publisher
from edge.wire.records import EvidenceRecord, ResultRecord
from edge.wire.vocabulary import RecipeRecord
from tests.edge import samples
from tests.edge.deliveries import Line
from tests.patience import WAIT_S


class Kept:
    """A station that keeps evidence in `folder`; time goes on as a test wants."""

    def __init__(self, root: Path, limits: EvidenceLimits, block: int = 1) -> None:
        self.folder, self.hours, self.free, self.block = root / "evidence", 0.0, 1 << 50, block
        self.journal = Journal(root / "journal.db")
        with ExitStack() as on_failure:
            on_failure.enter_context(closing(self.journal))
            publisher = on_failure.enter_context(closing(Publisher("tcp://127.0.0.1:*")))
            self.line = Line(self.journal, publisher, sinks=lambda announcer: [self.a_writer(announcer, limits)])
            on_failure.pop_all()
        self.delivery, self.seen = self.line.delivery, self.line.seen

    def a_writer(self, announcer: Announcer, limits: EvidenceLimits) -> EvidenceWriter:
        self.writer = EvidenceWriter(
            self.folder,
            announcer,
            limits,
            now_s=lambda: 3600 * self.hours,
            clock_s=lambda: 3600 * self.hours,
            free_bytes=lambda folder: self.free,
            block_bytes=lambda folder: self.block,
        )
        return self.writer

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def inspect(self, *inspections: Inspection) -> list[EvidenceRecord]:
        """The evidence records of these parts, written by a delivery that then ends."""
        self.delivery.start()
        for inspection in inspections:
            frame = samples.frame(inspection.frame_id)
            frame.image[0, 0] = inspection.frame_id  # each picture another one
            anomaly_map = samples.anomaly_map()
            anomaly_map.scores[0, 0] = inspection.frame_id
            self.delivery.put_inspection(inspection, (), frame, anomaly_map)
        self.seen.wait_for(ResultRecord, len(inspections))
        self.delivery.close(WAIT_S)
        return [one.record for one in self.seen.all if isinstance(one.record, EvidenceRecord)]


Keep = Callable[..., Kept]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """A station with no evidence of good parts but what a test wants; closed with the test, whether it began or not."""
    opened: list[Kept] = []

    def open_one(**limits: Any) -> Kept:
        opened.append(Kept(tmp_path, EvidenceLimits(**{"good_share": 0.0, **limits})))
        return opened[-1]

    yield open_one
    for kept in opened:
        kept.delivery.close(WAIT_S)


class Synced:
    """What a power cut would leave: contents and names as they were when they were last synced."""

    def __init__(self) -> None:
        self.contents: dict[int, int] = {}  # bytes, by inode
        self.names: dict[Path, set[str]] = {}
        self._sync = os.fsync

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.names[path] = {one.name for one in path.iterdir()}
        else:
            self.contents[path.stat().st_ino] = path.stat().st_size
        self._sync(descriptor)

    def lacks(self, path: Path) -> bool:
        """True when this file, whole and under its name, would not be there."""
        is_named = path.name in self.names.get(path.parent, ())
        is_reached = path.parent.name in self.names.get(path.parent.parent, ())
        return not (is_named and is_reached and self.contents.get(path.stat().st_ino) == path.stat().st_size)


def test_files_and_their_names_are_on_disk_before_their_record_is(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, synced, commit = keep(), Synced(), Journal.commit
    lacking: list[list[str]] = []

    def watched(journal: Journal) -> None:
        paths = [values[0] for sql, values in journal._staged if "INTO evidence" in sql]
        lacking.extend([path for path in paths if synced.lacks(kept.folder / path)] for _ in paths[:1])
        commit(journal)

    monkeypatch.setattr(os, "fsync", synced.fsync)
    monkeypatch.setattr(Journal, "commit", watched)
    assert len(kept.inspect(samples.defective(1), samples.defective(2))) == 2
    assert lacking == [[], []]


def test_a_rejected_part_leaves_image_map_and_overlay_and_a_record_after_its_verdict(keep: Keep) -> None:
    station = keep()
    (record,) = station.inspect(samples.good(1), samples.defective(2))

    verdict = next(one.record for one in station.seen.all if getattr(one.record, "part_id", "") == "P2")
    assert record.seq > verdict.seq and record.about_result_id == verdict.result_id
    assert [file.role for file in record.evidence] == ["image", "map", "overlay"]
    assert {file.uri for file in record.evidence} == station.files()
    for file in record.evidence:
        content = (station.folder / file.uri).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.bytes)
        assert file.uri.startswith(f"{file.sha256[:2]}/{file.sha256}.")


def test_the_image_is_the_very_pixels_and_the_map_the_very_scores(keep: Keep) -> None:
    station = keep()
    (record,) = station.inspect(samples.defective(7))
    by_role = {file.role: station.folder / file.uri for file in record.evidence}
    expected = samples.frame(7).image
    expected[0, 0] = 7
    assert np.array_equal(cv2.imread(str(by_role["image"])), expected)
    with np.load(by_role["map"], allow_pickle=False) as stored:
        assert stored["scores"][0, 0] == 7 and stored["scores"].shape == (12, 16) and stored["stride"] == 4


def test_undecided_parts_are_kept_too_and_good_ones_by_their_share(keep: Keep, tmp_path: Path) -> None:
    station = keep(good_share=0.5)
    records = station.inspect(samples.undecided(1), *[samples.good(number) for number in range(2, 62)])
    assert records[0].part_id == "P1" and 10 <= len(records) - 1 <= 50


def test_the_same_picture_twice_is_one_file(keep: Keep) -> None:
    station = keep()
    first, second = station.inspect(samples.defective(5), samples.defective(5))
    assert [file.uri for file in first.evidence] == [file.uri for file in second.evidence]
    assert len(station.files()) == 3


def passes(station: Kept, count: int = 1) -> None:
    for _ in range(count):
        station.hours += PERIOD_S / 3600
        station.writer.pass_over(station.journal)


def test_what_does_not_fit_goes_the_good_ones_first_and_a_record_says_so(keep: Keep, tmp_path: Path) -> None:
    good, bad = keep(good_share=1.0).inspect(samples.good(1), samples.defective(2))
    total = sum(file.bytes for file in (*good.evidence, *bad.evidence))
    again = Kept(tmp_path, EvidenceLimits(max_bytes=total - 1))
    again.hours = 1.0
    passes(again)
    told = again.seen.all[-1].record
    assert isinstance(told, EvidenceRecord) and told.is_dropped
    dropped = {file.uri for file in told.evidence}
    assert len(dropped) == 1 and dropped < {file.uri for file in good.evidence}, "no more than what makes it fit"
    assert len(again.files()) == 5 and again.files().isdisjoint(dropped)
    again.free = 0
    passes(again, 2)
    assert again.files() == set()
    again.delivery.close(WAIT_S)


def test_the_size_counts_in_blocks_of_the_disk(keep: Keep, tmp_path: Path) -> None:
    block = 1 << 16
    (bad,) = keep().inspect(samples.defective(1))
    assert 0 < sum(file.bytes for file in bad.evidence) < block, "by their bytes alone they would fit into one"
    for most, left in ((3 * block, 3), (3 * block - 1, 2), (block, 1), (block - 1, 0)):
        again = Kept(tmp_path, EvidenceLimits(max_bytes=most), block)
        again.hours = 1.0
        passes(again)
        assert len(again.files()) == left
        again.delivery.close(WAIT_S)


def test_a_real_disks_blocks_are_asked_for(tmp_path: Path) -> None:
    with closing(Line(sinks=lambda announcer: [EvidenceWriter(tmp_path, announcer, EvidenceLimits())]).delivery) as one:
        (writer,) = one._thread._sinks
        assert writer._block == os.statvfs(tmp_path).f_frsize  # type: ignore[attr-defined]


def test_without_room_no_evidence_is_kept_and_that_is_said_rarely_until_there_is_room(keep: Keep) -> None:
    station = keep(min_free_bytes=1 << 40)
    station.free = 0
    with structlog.testing.capture_logs() as said:
        assert station.inspect(*[samples.defective(number) for number in range(1, 10)]) == []
    assert station.files() == set()
    lines = [one for one in said if one["event"] == "no evidence is kept"]
    assert [one["parts"] for one in lines] == [1, 2, 4, 8]
    refusal = station.writer.refusal
    assert refusal is not None and "1048576 MB are free at" in refusal.cause
    assert "--evidence-min-free-mb" in refusal.advice
    assert station.line.isolation.failures == 0, "a limit is no failure"


def test_an_obstacle_that_is_gone_is_told_no_more(keep: Keep) -> None:
    station = keep(min_free_bytes=1 << 40)
    station.free = 0
    passes(station)
    assert station.writer.refusal is not None  # before a part is lost to it
    station.free = 1 << 50
    passes(station)
    assert station.writer.refusal is None
    station.delivery.close(WAIT_S)


def test_where_pinned_evidence_takes_all_nothing_is_written_over_the_limit(keep: Keep, tmp_path: Path) -> None:
    (first,) = keep().inspect(samples.defective(1))
    again = Kept(tmp_path, EvidenceLimits(max_bytes=10, good_share=0.0))
    again.hours = 1.0
    again.writer.pin(first.about_result_id, True)
    again.journal.commit()
    passes(again)
    assert again.writer.refusal is not None and "pinned" in again.writer.refusal.cause
    assert again.inspect(samples.defective(2)) == []
    assert again.files() == {file.uri for file in first.evidence}


def test_the_oldest_goes_before_the_newest_is_refused(keep: Keep, tmp_path: Path) -> None:
    (first,) = keep().inspect(samples.defective(1))
    again = Kept(tmp_path, EvidenceLimits(min_free_bytes=1 << 40, good_share=0.0))
    again.hours = 1.0
    again.writer._free_bytes = lambda folder: 0 if len(again.files()) >= 3 else 1 << 50
    records = again.inspect(samples.defective(2))
    assert records[0].is_dropped and {file.uri for file in records[0].evidence} == {file.uri for file in first.evidence}
    assert again.files() == {file.uri for file in records[1].evidence} and again.writer.refusal is None


def test_a_disk_that_refuses_a_file_is_told_too_until_it_takes_one(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    station = keep()
    errors = [OSError(errno.ENOSPC, "no space"), OSError(errno.EIO, "bad"), None]
    write, refusals = station.writer._files.write, []

    def fails(contents: dict[str, bytes]) -> None:
        refusals.append(station.writer.refusal)
        if (error := errors.pop(0)) is not None:
            raise error
        write(contents)

    monkeypatch.setattr(station.writer._files, "write", fails)
    station.inspect(*[samples.defective(number) for number in range(1, 4)])
    assert refusals[0] is None and refusals[1] is not None and refusals[1] == refusals[2]
    assert station.writer.refusal is None and len(station.files()) == 3


def test_a_file_that_two_parts_share_is_kept_for_the_one_that_is_pinned(keep: Keep, tmp_path: Path) -> None:
    first, second = keep().inspect(samples.defective(5), samples.defective(5))
    again = Kept(tmp_path, EvidenceLimits(min_free_bytes=1 << 40))
    again.hours, again.free = 1.0, 0
    again.writer.pin(first.about_result_id, True)
    again.journal.commit()
    passes(again, 2)
    assert again.files() == {file.uri for file in second.evidence}
    again.delivery.close(WAIT_S)


def test_pinned_evidence_stays_whatever_happens(keep: Keep, tmp_path: Path) -> None:
    first, second = keep().inspect(samples.defective(1), samples.defective(2))
    again = Kept(tmp_path, EvidenceLimits(min_free_bytes=1 << 40))
    assert again.writer.pin(first.about_result_id, True) == "3 files are kept until unpinned"
    again.journal.commit()
    again.hours, again.free = 1.0, 0
    passes(again, 3)
    assert again.files() == {file.uri for file in first.evidence}
    again.writer.pin(first.about_result_id, False)
    again.journal.commit()
    passes(again)
    assert again.files() == set()
    with pytest.raises(SinkError, match="no evidence"):
        again.writer.pin(second.about_result_id, True)
    again.delivery.close(WAIT_S)


def test_what_is_too_old_goes_and_what_is_not_stays(keep: Keep, tmp_path: Path) -> None:
    keep().inspect(samples.defective(1))
    again = Kept(tmp_path, EvidenceLimits(max_age_s=3600.0))
    again.hours = 0.9
    passes(again)
    assert len(again.files()) == 3
    again.hours = 1.1
    passes(again)
    assert again.files() == set()
    again.delivery.close(WAIT_S)


def test_a_folder_that_cannot_be_written_is_refused_by_name(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file")
    with pytest.raises(SettingsError, match="--evidence"):
        keep()
    with pytest.raises(SettingsError, match="good-share"):
        EvidenceLimits(good_share=2.0)
    with pytest.raises(SettingsError, match="min-free"):
        EvidenceLimits(min_free_bytes=-1)


def test_pictures_of_the_next_parts_are_kept_whatever_their_verdict(keep: Keep) -> None:
    """W104: of parts that were inspected; a picture that was not looked at is none of them."""
    kept = keep()
    kept.writer.keep_next(2)
    for part in (samples.undecided(1), *(samples.good(number) for number in (2, 3, 4))):
        tell(kept, part)
    assert [one.frame_id for one in evidence_of(kept)] == [1, 2, 3]
    assert kept.writer.due == 0


def test_another_recipe_ends_it_and_where_there_is_no_room_none_is_counted(keep: Keep) -> None:
    kept = keep()
    kept.free = 0
    kept.writer.keep_next(2)
    tell(kept, samples.good(1))
    assert evidence_of(kept) == [] and kept.writer.due == 2
    other = samples.origin(recipe=RecipeRecord(id="nut", version="1", hash="cd" * 32))
    kept.free, kept.line.announcer.origin = 1 << 50, other
    tell(kept, samples.good(2))
    assert evidence_of(kept) == [] and kept.writer.due == 0


def tell(kept: Kept, inspection: Inspection) -> None:
    """One part, in this thread."""
    part = Told(inspection=inspection, frame=samples.frame(inspection.frame_id), anomaly_map=samples.anomaly_map())
    (told,) = kept.line.announcer.announce([part])
    kept.writer.deliver(told)


def evidence_of(kept: Kept) -> list[EvidenceRecord]:
    return [one.record for one in kept.seen.all if isinstance(one.record, EvidenceRecord)]
