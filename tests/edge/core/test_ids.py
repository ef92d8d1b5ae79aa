"""Row 44: ids that differ only in what the wire or a file's name cannot carry stay different."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.core.types import Frame
from edge.history.told import Told
from edge.pictures.overlays import OverlayWriter
from edge.sources.folder import FolderSource
from edge.wire.encoding import to_frames
from edge.wire.messages import decode
from edge.wire.recording import evidence_record, gap_record, result_record
from tests.edge import samples
from tests.faults import MULTIPLIER

NAMES = (b"P\x01", b"P\x02", b"P?", b"P\xff", b"a" * 130 + b"1", b"a" * 130 + b"2", b"\x1b[2JOK", b"?[2JOK")
# What an id may hold, with few different characters, so that those that differ in little are often drawn.
IDS = st.text(st.sampled_from("ab?…-_0f\n\x00\x1b\ud800\u202e "), max_size=140) | st.text(max_size=200)


def as_told(part_id: str) -> list[str]:
    """How a result, an evidence record and a gap name this part, as a consumer reads them."""
    stamp, origin = samples.stamp(), samples.origin()
    gap = samples.gap(1, 1, part_ids=(part_id,))
    bodies = [
        decode(to_frames(record)).body
        for record in (
            result_record(origin, stamp, samples.good(part_id=part_id)),
            evidence_record(origin, stamp, stamp.result_id, (), part_id),
            gap_record(origin, stamp, gap),
        )
    ]
    return [bodies[0]["part_id"], bodies[1]["part_id"], bodies[2]["gap"]["part_ids"][0]]


@settings(max_examples=200 * MULTIPLIER, deadline=None)
@given(st.sets(IDS, min_size=2, max_size=6))
@example({"P\x01", "P\x02", "P?"})
@example({"a" * 128, "a" * 129, "a" * 130})
def test_different_part_ids_are_told_differently_and_alike_in_every_record(ids: set[str]) -> None:
    told = {part_id: as_told(part_id) for part_id in ids}
    assert len({names[0] for names in told.values()}) == len(ids)
    for names in told.values():
        assert len(set(names)) == 1 and len(names[0]) <= 128 and names[0].isprintable()
    again = {as_told(names[0])[0] for names in told.values() if names[0] not in told}
    assert not again & {names[0] for names in told.values()}, "what an id became passes for no other"


def test_an_id_that_can_stand_is_told_as_it_is() -> None:
    for part_id in ("P-7", "a" * 128, "Teil 7/3 grün", "x…y", "x…0123456789abcdeg"):
        assert as_told(part_id)[0] == part_id


def test_parts_of_a_folder_keep_different_ids_and_pictures_whatever_their_files_are_called(tmp_path: Path) -> None:
    parts, overlays = tmp_path / "parts", tmp_path / "overlays"
    parts.mkdir()
    picture = cv2.imencode(".png", np.full((8, 8, 3), 128, np.uint8))[1].tobytes()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(parts) + b"/" + name + b".png")).write_bytes(picture)
    source, writer, told = FolderSource(str(parts)), OverlayWriter(overlays), Counter[str]()
    for _ in NAMES:
        frame = source.read(0.0)
        assert isinstance(frame, Frame) and frame.part_id is not None
        told[as_told(frame.part_id)[0]] += 1
        inspection = samples.defective(part_id=frame.part_id)
        writer.deliver(Told(inspection=inspection, frame=samples.frame(), anomaly_map=samples.anomaly_map()))
    assert set(told.values()) == {1} and len(told) == len(NAMES)
    assert len(list(overlays.iterdir())) == len(NAMES)
