"""Frames of H.264 and H.265 that came damaged are told and never shown; those behind them neither, to the next key."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.core.images import BACKDROP
from edge.core.types import Frame
from edge.sources import damage, network
from edge.sources.damage import unseen_damage
from edge.sources.opencv import VideoFileSource
from tests.edge.sources.contract import take

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'edge-inspect[streams]'")

FRAMES, KEY_EVERY, SIZE = 50, 10, (96, 128)


def write_stream(path: Path, codec: str = "libx264") -> list[np.ndarray]:
    """A moving texture; what a decoder makes of it when nothing is wrong, BGR."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (*SIZE, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.gop_size = "yuv420p", KEY_EVERY
        keys = f"keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:scenecut=0:bframes=0:log-level=none"
        stream.options = {"x265-params": keys} if codec == "libx265" else {"x264-params": keys.rpartition(":")[0]}
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(texture, 3 * number, 1), format="bgr24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def overwritten(content: bytes, seed: int, count: int = 200) -> bytes:
    """Some bytes behind the first frames are other ones."""
    rng = random.Random(seed)
    at = rng.randrange(len(content) // 5, len(content) - len(content) // 5 - count)
    return content[:at] + rng.randbytes(count) + content[at + count :]


def without_packets(content: bytes, seed: int) -> bytes:
    """An MPEG-TS of which one to eight packets in a row are missing."""
    rng = random.Random(seed)
    at = rng.randrange(len(content) // 188 // 5, len(content) // 188 - len(content) // 188 // 5)
    return content[: 188 * at] + content[188 * (at + rng.randint(1, 8)) :]


def frames_of(path: Path) -> Iterator[Frame]:
    return (item for item in take(VideoFileSource(str(path)), 1000) if isinstance(item, Frame))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_whole_stream_is_read_whole_and_as_opencv_reads_it(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    usual = write_stream(path, codec)
    frames = list(frames_of(path))
    monkeypatch.setattr("edge.sources.opencv.has_libav", lambda: False)
    by_opencv = list(frames_of(path))
    assert [frame.flaw for frame in frames] == [None] * FRAMES
    assert [frame.id for frame in frames] == list(range(FRAMES))
    for frame, plain, image in zip(frames, by_opencv, usual, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        np.testing.assert_array_equal(frame.image, plain.image)


@pytest.mark.parametrize(
    ("codec", "damaged"), [("libx264", without_packets), ("libx265", without_packets), ("libx264", overwritten)]
)
def test_what_was_damaged_in_transfer_is_grey_and_says_so(
    tmp_path: Path, codec: str, damaged: Callable[[bytes, int], bytes]
) -> None:
    whole, path = tmp_path / "whole.ts", tmp_path / "clip.ts"
    usual = {image.tobytes() for image in write_stream(whole, codec)}
    told = 0
    for seed in range(12):
        path.write_bytes(damaged(whole.read_bytes(), seed))
        for frame in frames_of(path):
            if frame.flaw is None:
                assert frame.image.tobytes() in usual, f"seed {seed}: frame {frame.id} is not as it was sent"
            else:
                told += 1
                assert frame.flaw.startswith("damaged in transfer: ") and "check the camera" in frame.flaw
                assert frame.image.shape == (*SIZE, 3) and (frame.image == BACKDROP).all()
    assert told > 12


def test_a_file_has_no_sums_so_not_all_of_its_damage_is_seen(tmp_path: Path) -> None:
    """What decodes as well is seen by nobody: deploy/FIGURES.md says how much that is."""
    whole, path = tmp_path / "whole.mp4", tmp_path / "clip.mp4"
    usual = {image.tobytes() for image in write_stream(whole)}
    told = 0
    for seed in range(12):
        path.write_bytes(overwritten(whole.read_bytes(), seed))
        frames = list(frames_of(path))
        assert all(frame.flaw or frame.image.tobytes() in usual for frame in frames[:KEY_EVERY])  # it was behind them
        told += any(frame.flaw for frame in frames)
    assert told >= 6


def test_the_next_key_frame_is_whole_again(tmp_path: Path) -> None:
    write_stream(tmp_path / "whole.mp4")
    path = tmp_path / "clip.mp4"
    content = (tmp_path / "whole.mp4").read_bytes()
    path.write_bytes(overwritten(content, seed=3))
    flaws = [frame.flaw is not None for frame in frames_of(path)]
    assert len(flaws) == FRAMES and 0 < sum(flaws) <= KEY_EVERY
    first = flaws.index(True)
    assert all(flaws[first : first + sum(flaws)]) and (first + sum(flaws)) % KEY_EVERY == 0


def test_a_stream_of_a_camera_is_read_by_it_too(tmp_path: Path) -> None:
    path = tmp_path / "live.ts"
    write_stream(path)
    path.write_bytes(without_packets(path.read_bytes(), seed=1))
    camera = network.open_stream(str(path))
    shots = [camera.grab(1.0) for _ in range(FRAMES - 8)]
    camera.close()
    assert {shot.flaw is None for shot in shots if shot is not None} == {True, False}


def test_without_it_one_line_says_what_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unseen_damage("rtsp://camera/a") is None
    monkeypatch.setattr(damage, "find_spec", lambda name: None)
    assert "pip install 'edge-inspect[streams]'" in str(unseen_damage("rtsp://camera/a"))
    assert unseen_damage("v4l2:0") is None
