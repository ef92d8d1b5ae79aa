"""`--check` finds what was planted, names it and says what to do; on a sound station it finds nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.commands.checkup import Finding, check_journal
from edge.commands.doctor import check
from edge.core.bundle import load_bundle, save_bundle
from edge.core.forecast import CONTRASTS, SIZES, Cell, Forecast
from edge.core.image_health import HealthBands
from edge.core.image_measures import THUMB
from edge.core.words import Advice
from edge.history.database import open_database
from edge.station.description import origin_of
from edge.station.settings import settings_of
from edge.station.startup import open_checked_source, open_inspector
from edge.wire.facts import RecipeChoice
from tests.edge.small_bundle import small_bundle

BANDS = HealthBands(20.0, 240.0, 0.9, 0.0, None, bytes(THUMB * THUMB), 100)


Flags = dict[str, Any]  # what a test says on the command line, by the names of the flags


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = small_bundle(tmp_path_factory.mktemp("bundle") / "small.bundle", 9)
    whole = load_bundle(path)
    save_bundle(path, replace(whole.manifest, health=BANDS), whole.graphs, whole.golden)
    return path


@pytest.fixture
def settings(tmp_path: Path, bundle: Path) -> Flags:
    return {
        "source": "demo:machined",
        "bundle": bundle,
        "publish": "tcp://127.0.0.1:*",
        "replay": "tcp://127.0.0.1:*",
        "journal": tmp_path / "journal.db",
        "control": f"ipc://{tmp_path}/control.sock",
        "evidence": tmp_path / "evidence",
        "evidence_max_mb": 1,
        "journal_max_mb": 1,
    }


def report_on(settings: Flags, capsys: pytest.CaptureFixture[str]) -> tuple[bool, str]:
    is_well = check(settings_of(**settings))
    return is_well, capsys.readouterr().out


def test_a_sound_station_has_no_findings(settings: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    is_well, report = report_on(settings, capsys)
    assert is_well, report
    assert "WRONG" not in report
    for expected in ("golden sample within", "a sync takes", "addresses are free", "MB free", "clock", "first frame"):
        assert expected in report
    assert "light, clipping, sharpness and no place" in report


def test_what_the_bundle_will_find_is_told_and_a_word_of_care_is_a_note(
    settings: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_bundle(settings["bundle"])
    cells = tuple(Cell(size, contrast, 8, 8 if size > 0.1 else 1) for size in SIZES[:-1] for contrast in CONTRASTS[:-1])
    manifest = replace(whole.manifest, forecast=Forecast(cells, 256.0, promised=0.05))
    save_bundle(tmp_path / "told.bundle", manifest, whole.graphs, whole.golden)
    is_well, report = report_on({**settings, "bundle": tmp_path / "told.bundle"}, capsys)
    assert is_well, report
    assert "forecast: finds 9 of 10 defects from 31 px and 1× local contrast on" in report
    assert "note  forecast: USE IT WITH CARE: finds too little" in report


def test_birth_tells_the_forecast(settings: Flags, tmp_path: Path) -> None:
    whole = load_bundle(settings["bundle"])
    manifest = replace(whole.manifest, forecast=Forecast((Cell(SIZES[3], 1.0, 8, 8),), 256.0, promised=0.05))
    save_bundle(tmp_path / "told.bundle", manifest, whole.graphs, whole.golden)
    with ExitStack() as stack:
        asked = settings_of(**{**settings, "bundle": tmp_path / "told.bundle"})
        inspector, _ = open_inspector(asked, stack)
        source = open_checked_source(asked.camera, stack)
        chosen = RecipeChoice(path="told", why="named", flag_path="told", flag_digest=inspector.bundle.digest)
        told = origin_of(asked, inspector, source, source.acquisition, chosen).forecast
    assert told is not None and (told.advice, told.share) == (Advice.USE, 1.0) and told.high == 1.0 > told.low > 0


def taken(kind: str) -> Callable[[Flags, ExitStack], Flags]:
    def plant(settings: Flags, stack: ExitStack) -> Flags:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        return dict(settings, publish=endpoint) if kind == "publish" else dict(settings, replay=endpoint)

    return plant


def file_in_the_way(settings: Flags, stack: ExitStack) -> Path:
    path = settings["bundle"].parent / "a file"
    path.touch()
    return path


def damaged(settings: Flags, stack: ExitStack) -> Flags:
    path = settings["bundle"].parent / "damaged.bundle"
    path.write_bytes(settings["bundle"].read_bytes()[:-5000])
    return dict(settings, bundle=path)


def locked(settings: Flags, stack: ExitStack) -> Flags:
    assert settings["journal"] is not None
    stack.enter_context(closing(open_database(settings["journal"])))
    return settings


def foreign_journal(settings: Flags, stack: ExitStack) -> Flags:
    assert settings["journal"] is not None
    settings["journal"].write_bytes(b"this is a text of some other program\n" * 200)
    return settings


def pictures(image: np.ndarray | None) -> Callable[[Flags, ExitStack], Flags]:
    def plant(settings: Flags, stack: ExitStack) -> Flags:
        assert settings["journal"] is not None
        folder = settings["journal"].parent / "parts"
        folder.mkdir()
        if image is not None:
            cv2.imwrite(str(folder / "part.png"), image)
        return dict(settings, source=f"folder:{folder}")

    return plant


Plant = Callable[[Flags, ExitStack], Flags]
FAULTS: dict[str, tuple[Plant, str]] = {
    "the bundle is missing": (lambda s, _: dict(s, bundle=Path("/none.bundle")), r"none\.bundle: .*check --bundle"),
    "the bundle is damaged": (damaged, r"damaged\.bundle: .*copy it again or re-export"),
    "the engine is missing": (lambda s, _: dict(s, engine="tensorrt"), r"(?i)tensorrt"),
    "the variant is not in the bundle": (lambda s, _: dict(s, variant="int8-trt"), r"int8-trt"),
    "the live address is taken": (taken("publish"), r"--publish .*in use.*endpoint of its own"),
    "the replay address is taken": (taken("replay"), r"--replay .*in use"),
    "an address is open to the network": (
        lambda s, _: dict(s, publish="tcp://0.0.0.0:5556"),
        r"--publish .*network",
    ),
    "the control socket has no folder": (lambda s, _: dict(s, control="ipc:///none/c.sock"), r"--control .*make it"),
    "another daemon has the journal": (locked, r"journal\.db.*"),
    "the journal is another program's": (foreign_journal, r"journal\.db"),
    "evidence cannot be written": (lambda s, e: dict(s, evidence=file_in_the_way(s, e)), r"--evidence: .*chown"),
    "overlays cannot be written": (lambda s, e: dict(s, overlays=file_in_the_way(s, e)), r"--overlays: .*chown"),
    "the disk is too small": (
        lambda s, _: dict(s, evidence_max_mb=1 << 40),
        r"disk: .*MB free.*--evidence-max-mb",
    ),
    "the camera is not there": (lambda s, _: dict(s, source="v4l2:987"), r"/dev/video987.*v4l2-ctl --list-devices"),
    "the folder is empty": (pictures(None), r"parts.*"),
    "the lamp is off": (pictures(np.zeros((256, 256, 3), np.uint8)), r"dark: .*check the lamp"),
    "the deadline cannot be met": (lambda s, _: dict(s, deadline_ms=0.001), r"--deadline-ms .*faster --engine"),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_with_what_to_do(
    fault: str, settings: Flags, stack: ExitStack, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, finding = FAULTS[fault]
    is_well, report = report_on(plant(settings, stack), capsys)
    wrong = [line for line in report.splitlines() if line.startswith("WRONG")]
    assert not is_well
    assert len(wrong) == 1, report
    assert re.search(finding, wrong[0]), report


def test_a_clock_that_woke_up_in_the_past_is_found(settings: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    assert not check(settings_of(**settings), now=lambda: datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert "WRONG clock: 1970-01-01" in capsys.readouterr().out


def test_a_slow_disk_is_found(tmp_path: Path) -> None:
    with pytest.raises(Finding, match=r"a sync takes .* ms, and each verdict waits for one"):
        check_journal(tmp_path / "journal.db", slow_ms=-1.0)


def test_one_fault_does_not_hide_another(settings: Flags, stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    both = dict(taken("publish")(settings, stack), source="v4l2:987", deadline_ms=None)
    _, report = report_on(both, capsys)
    assert report.count("WRONG") == 2
    assert "note  v4l2:987: this number may change" in report


def test_of_an_older_bundle_it_is_said_what_is_not_checked(
    tmp_path: Path, settings: Flags, capsys: pytest.CaptureFixture[str]
) -> None:
    today = load_bundle(small_bundle(tmp_path / "today.bundle", 9))
    old = replace(today.manifest, health=None)
    save_bundle(tmp_path / "old.bundle", old, today.graphs, today.golden)
    _, report = report_on(dict(settings, bundle=tmp_path / "old.bundle"), capsys)
    assert "only frozen and wrongly sized ones are noticed" in report


def test_a_containers_share_of_the_processor_is_told_and_more_threads_than_it_are_a_note(
    settings: Flags, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("edge.core.processor.cpu_quota", lambda: 0.6)
    monkeypatch.setattr("edge.commands.checkup.cpu_quota", lambda: 0.6)
    told = "processor: 2 of its 8 cores may be used, and together no more than 0.6 of them (a control group's quota)"
    assert f"ok    {told}; threads of a CPU engine: 1" in report_on(settings, capsys)[1]
    assert f"note  {told}; --threads 4 makes them wait" in report_on(settings | {"threads": 4}, capsys)[1]
