"""The first pictures of a part: each once, none that is no picture of one, and a folder for each session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from deploy.cli import cli
from deploy.grab import Gate, grab
from edge.core.errors import OutputError, SourceError
from edge.core.image_files import find_images
from edge.core.images import read_image
from edge.core.types import Image
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.sources import CameraOptions, open_source


def a_part(number: int) -> Image:
    return render_part("machined", 0, TRAIN_DOMAIN + number, defective=False).image


def noisy(image: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A copy, a dark picture and a blank one among good parts."""
    folder = tmp_path / "shown"
    folder.mkdir()
    pictures = [a_part(number) for number in range(24)]
    pictures[3:3] = [pictures[2], np.full_like(pictures[0], 7)]
    pictures.insert(24, (pictures[-1] * 0.08).astype(np.uint8))
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:02}.png"), picture)
    return folder


def test_what_is_kept_is_the_very_pixels_and_copies_blank_and_dark_pictures_are_named(
    shown: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    with closing(open_source(f"folder:{shown}", CameraOptions())) as source:
        left_out = grab(source, tmp_path / "out", 24, 0.0, said.append)
    assert left_out == {"a copy": 1, "blank": 1, "dark": 1}
    kept = [read_image(path) for path in find_images(tmp_path / "out").images]
    assert all((one == a_part(number)).all() for number, one in enumerate(kept)) and len(kept) == 24
    assert any("left out: dark: mean grey level" in text and "check the lamp" in text for text in said)


def test_a_part_that_a_stream_sees_again_is_a_copy_and_a_triggered_one_is_not() -> None:
    for is_stream in (True, False):
        gate = Gate(is_stream)
        assert gate.problem_with(a_part(1)) is None
        again = gate.problem_with(noisy(a_part(1), 1))
        assert (again is not None and "the same part as before" in again) if is_stream else again is None
        assert gate.problem_with(a_part(2)) is None


class Frozen:
    """A camera that gives one picture for ever."""

    def __init__(self, source: Any) -> None:
        self._frame = source.read(1.0)
        self.uri, self.acquisition = source.uri, source.acquisition

    def read(self, timeout_s: float) -> Any:
        return self._frame


def test_a_frozen_camera_and_one_that_ends_are_said(shown: Path, tmp_path: Path) -> None:
    with closing(open_source(f"folder:{shown}", CameraOptions())) as source:
        with pytest.raises(SourceError, match="100 pictures in a row were left out; the last: a copy: .*frozen"):
            grab(Frozen(source), tmp_path / "a", 5, 0.0, lambda text: None)  # type: ignore[arg-type]
        with pytest.raises(SourceError, match="ended after 23 pictures of 99; those are kept"):
            grab(source, tmp_path / "b", 99, 0.0, lambda text: None)
    assert len(find_images(tmp_path / "b").images) == 23


def test_pictures_come_one_each_interval(shown: Path, tmp_path: Path) -> None:
    clock: Iterator[int] = itertools.count()
    with closing(open_source(f"folder:{shown}", CameraOptions())) as source:
        grab(source, tmp_path / "out", 5, 4.0, lambda text: None, lambda: float(next(clock)))
    first, second = (read_image(path) for path in find_images(tmp_path / "out").images[:2])
    assert (first == a_part(0)).all() and not (second == a_part(1)).all()


def test_each_call_is_a_session_of_its_own(shown: Path, tmp_path: Path) -> None:
    arguments = ["grab", "--source", f"folder:{shown}", "--out", str(tmp_path / "good"), "--count", "3"]
    for name in ("monday", "tuesday"):
        done = CliRunner().invoke(cli, [*arguments, "--session", name], catch_exceptions=False)
        assert done.exit_code == 0 and f"3 pictures in {tmp_path / 'good' / name}" in done.output, done.output
    assert "give another name" in CliRunner().invoke(cli, [*arguments, "--session", "monday"]).output
    assert "use letters" in CliRunner().invoke(cli, [*arguments, "--session", "../x"]).output
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert len(list((tmp_path / "good").iterdir())) == 3
    (tmp_path / "file").touch()
    arguments[4] = str(tmp_path / "file" / "below")
    assert isinstance(CliRunner().invoke(cli, arguments).exception, OutputError)
