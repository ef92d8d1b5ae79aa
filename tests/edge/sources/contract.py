"""What every source promises, whatever it reads: subclass `SourceContract` and give it a `source` fixture.

The promises are those of `edge.sources.Source`; a source that breaks one makes the loop count wrongly.
Rejected: one parametrised list of sources, which could not hold the fixtures that each of them needs.
"""

from __future__ import annotations

import itertools
import re
from datetime import datetime, timedelta
from typing import ClassVar

import numpy as np
import pytest

from edge.core.errors import SourceEnded, SourceError
from edge.core.types import Acquisition, Frame, Gap
from edge.sources import Source


def take(source: Source, most: int) -> list[Frame | Gap]:
    """Up to `most` frames and gaps, fewer where the source ends or is lost; fails when it stays silent."""
    taken: list[Frame | Gap] = []
    for _ in range(2000):
        try:
            item = source.read(timeout_s=0.01)
        except SourceError:
            return taken
        if item is not None:
            taken.append(item)
        if len(taken) == most:
            return taken
    raise AssertionError(f"{source.uri} gave {len(taken)} of {most} and then neither a frame nor an end")


def id_range(item: Frame | Gap) -> tuple[int, int]:
    return (item.id, item.id) if isinstance(item, Frame) else (item.first_id, item.last_id)


def is_utc(moment: datetime) -> bool:
    return moment.utcoffset() == timedelta(0)


class SourceContract:
    most: ClassVar[int] = 50  # frames and gaps to look at; a source under test has fewer
    end: ClassVar[type[SourceError]] = SourceEnded  # what `read` raises at the end

    def test_it_says_what_it_is(self, source: Source) -> None:
        assert ":" in source.uri
        assert isinstance(source.acquisition, Acquisition)
        assert isinstance(source.is_live, bool)

    def test_ids_are_contiguous_over_frames_and_gaps(self, source: Source) -> None:
        ranges = [id_range(item) for item in take(source, self.most)]
        assert len(ranges) > 1
        assert all(first <= last for first, last in ranges)
        for (_, last), (first, _) in itertools.pairwise(ranges):
            assert first == last + 1

    def test_images_are_contiguous_bgr_bytes(self, source: Source) -> None:
        frames = [item for item in take(source, self.most) if isinstance(item, Frame)]
        assert frames
        for frame in frames:
            assert frame.image.dtype == np.uint8
            assert frame.image.ndim == 3
            assert frame.image.shape[2] == 3
            assert frame.image.flags.c_contiguous

    def test_a_frame_keeps_its_pixels_while_later_ones_are_read(self, source: Source) -> None:
        frames = [item for item in take(source, 1) + take(source, 1) if isinstance(item, Frame)][:1]
        before = [frame.image.copy() for frame in frames]
        take(source, self.most)
        for frame, image in zip(frames, before, strict=True):
            np.testing.assert_array_equal(frame.image, image)

    def test_capture_times_never_go_back_and_are_utc(self, source: Source) -> None:
        frames = [item for item in take(source, self.most) if isinstance(item, Frame)]
        stamps = [frame.captured_ns for frame in frames]
        assert stamps == sorted(stamps)
        assert all(is_utc(frame.captured_at) for frame in frames)

    def test_gaps_say_why_and_when(self, source: Source) -> None:
        for gap in take(source, self.most):
            if isinstance(gap, Gap):
                assert gap.detail
                assert is_utc(gap.noticed_at)

    def test_where_a_frame_is_a_part_every_part_has_its_own_id(self, source: Source) -> None:
        if source.acquisition is not Acquisition.TRIGGERED:
            pytest.skip("frames of this source are not parts")
        part_ids: list[str | None] = []
        for item in take(source, self.most):
            named = [item.part_id] if isinstance(item, Frame) else list(item.part_ids)
            assert len(named) == id_range(item)[1] - id_range(item)[0] + 1
            part_ids += named
        assert all(part_ids)
        assert len(set(part_ids)) == len(part_ids)

    def test_the_end_is_an_error_and_stays_one(self, source: Source) -> None:
        take(source, self.most)
        for _ in range(2):
            with pytest.raises(self.end, match=re.escape(source.uri)):
                source.read(timeout_s=0.01)

    def test_it_may_be_closed_twice_and_then_has_ended(self, source: Source) -> None:
        source.close()
        source.close()
        with pytest.raises(SourceEnded):
            source.read(timeout_s=0.01)
