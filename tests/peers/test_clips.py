"""Clips as FFmpeg writes them: of variable rate, trimmed, turned, cut; a clip is cut short where bytes are missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge.core.errors import SourceError
from edge.core.types import Frame, Gap, GapCause
from edge.sources import open_source
from tests.edge.sources.contract import take
from tests.edge.sources.test_network import needs_ffmpeg
from tests.peers.test_streams import needs_encoder

pytestmark = [needs_ffmpeg, needs_encoder]
FRAMES = 40
SOURCE = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10", "-frames:v", str(FRAMES))
FORM = ("-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p")
VARIABLE = ("-vf", "setpts='if(lt(N,20),N,20+(N-20)*8)/10/TB'", "-fps_mode", "vfr")


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("even.mp4", "even.mkv", "even.ts", "even.avi"):
        index_first = ["-movflags", "+faststart"] if name.endswith("mp4") else []
        ffmpeg(*SOURCE, *FORM, *index_first, folder / name)
    ffmpeg(*SOURCE, *VARIABLE, *FORM, folder / "variable.mkv")
    ffmpeg("-i", folder / "variable.mkv", "-c", "copy", folder / "variable.ts")
    ffmpeg("-ss", "1.55", "-i", folder / "even.mp4", "-c", "copy", folder / "trimmed.mp4")
    ffmpeg("-i", folder / "even.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", folder / "turned.mp4")
    return folder


def read(path: Path) -> tuple[int, list[Gap]]:
    items = take(open_source(f"file:{path}"), 1000)
    return sum(isinstance(item, Frame) for item in items), [item for item in items if isinstance(item, Gap)]


def counted(path: Path) -> int:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    told = subprocess.run([*command, path], check=True, capture_output=True, text=True).stdout
    return int(told.split()[0].strip(","))


@pytest.mark.parametrize(
    "name", ["even.mp4", "even.mkv", "even.ts", "even.avi", "variable.mkv", "variable.ts", "trimmed.mp4"]
)
def test_a_whole_clip_has_no_gap_whatever_its_container_estimates(clips: Path, name: str) -> None:
    frames, gaps = read(clips / name)
    assert gaps == []
    assert frames == counted(clips / name)


@pytest.mark.parametrize("name", ["even.mp4", "even.mkv", "even.ts", "even.avi"])
def test_a_clip_whose_bytes_are_missing_ends_with_a_gap(clips: Path, tmp_path: Path, name: str) -> None:
    content = (clips / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(0.7 * len(content)) // 2 * 2 + 1])
    frames, gaps = read(tmp_path / name)
    assert 0 < frames < FRAMES
    (gap,) = gaps
    assert (gap.first_id, gap.cause) == (frames, GapCause.UNREADABLE)
    assert "cut short" in str(gap.detail)
    if name.endswith(("mp4", "avi")):
        assert gap.last_id == FRAMES - 1  # these have an index of frames


def test_a_clip_that_is_to_be_turned_is_refused_by_name(clips: Path) -> None:
    with pytest.raises(SourceError, match=r"turned by (90|270) degrees.*ffmpeg -i turned.mp4"):
        open_source(f"file:{clips / 'turned.mp4'}")
