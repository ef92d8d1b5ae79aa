"""Every source passes the same contract suite; a new one is a class here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import SourceError, SourceLost
from edge.sources import Source, open_source
from edge.sources.folder import FolderSource
from edge.sources.latest import LatestFrameSource
from edge.sources.opencv import VideoFileSource
from tests.edge.sources.cameras import HandClock, ScriptedCamera, Shelf
from tests.edge.sources.contract import SourceContract


class TestFolderSource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for level in range(4):
            cv2.imwrite(str(tmp_path / f"part{level}.png"), np.full((5, 7, 3), level, np.uint8))
        (tmp_path / "part4.jpg").write_bytes(b"this is no image")
        return FolderSource(str(tmp_path))


class TestVideoFileSource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        path = tmp_path / "clip.avi"
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
        for level in range(0, 250, 50):
            video.write(np.full((48, 64, 3), level, np.uint8))
        video.release()
        source = VideoFileSource(str(path))
        yield source
        source.close()


class TestLatestFrameSource(SourceContract):
    end = SourceLost

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        first, second = ScriptedCamera(), ScriptedCamera(40, 50, SourceError("unplugged"))
        source = LatestFrameSource(
            Shelf(first, second), uri="fake:camera", lost_after_s=1.0, open_timeout_s=5.0, clock=HandClock(step_s=0.01)
        )
        first.give(10, 20, 30)
        first.fail(SourceError("unplugged"))
        yield source
        source.close()


class TestDemoSource(SourceContract):
    @pytest.fixture
    def source(self) -> Iterator[Source]:
        source = open_source("demo:?parts=3&size=64")
        yield source
        source.close()
