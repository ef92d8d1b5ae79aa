"""`edge-deploy commission` from a camera whose light changed to a daemon that keeps its promise, and back again."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deploy.commission import keep, roll_back
from deploy.good_parts import MOST_COPIES, collect_parts
from edge.commands.edge_inspect import command as edge_inspect
from edge.core.bundle import Bundle, load_bundle, save_bundle
from edge.core.commissioned import commissioned
from edge.core.errors import BundleError, EngineError, PromiseError, SettingsError, SourceError
from edge.core.images import read_image
from edge.core.opencv import cv2
from edge.core.types import Frame, Gap, GapCause, Image
from edge.demo.parts import render_part
from edge.inspector import Inspector
from edge.station.settings import settings_of
from edge.station.startup import open_inspector
from tests.deploy.conftest import Run
from tests.edge.fakes import NOW, BrightnessEngine, ScriptedSource, a_bundle, a_frame

SHOWN, LATER = 20, 10


def in_other_light(image: Image) -> Image:
    return np.clip(np.rint(image * 1.3 + 12.0), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good parts in the light that the bundle knows and in another, to be shown and for later; and one bad one."""
    folder = tmp_path_factory.mktemp("line")
    for index in range(SHOWN + LATER):
        image = render_part("machined", 6, index, defective=False).image
        when = "shown" if index < SHOWN else "later"
        for light, seen in (("known", image), ("other", in_other_light(image))):
            (folder / light / when).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / light / when / f"part-{index}.png"), seen)
    return folder


@pytest.fixture
def station(bundle_file: Path, tmp_path: Path) -> Path:
    """A copy of the small bundle whose scores are compared with the whole map: 20 parts are enough for it."""
    whole = load_bundle(bundle_file)
    calibration = whole.manifest.calibration("fp32")
    stats = {key: replace(term, local=None) for key, term in calibration.stats.items()}
    manifest = replace(whole.manifest, calibrations={"fp32": replace(calibration, stats=stats)})
    save_bundle(tmp_path / "part.bundle", manifest, whole.graphs, whole.golden)
    return tmp_path / "part.bundle"


def verdicts_of(bundle: Path, folder: Path) -> list[tuple[str, float]]:
    """What the daemon's inspector says of each part, with its commissioning as the daemon finds it."""
    with ExitStack() as stack:
        inspector, _ = open_inspector(
            settings_of(source=f"folder:{folder}", bundle=bundle, engine="onnxruntime", threads=1), stack
        )
        frames = [Frame(read_image(path), 1, 0, NOW) for path in sorted(folder.iterdir())]
        found = [inspector.inspect(frame)[0] for frame in frames]
    return [(inspection.verdict.value, inspection.score or 0.0) for inspection in found]


def rejected(verdicts: list[tuple[str, float]]) -> int:
    return sum(verdict != "good" for verdict, _ in verdicts)


def test_another_light_rejects_good_parts_until_commissioned_and_rollback_brings_every_verdict_back(
    edge_deploy: Run, station: Path, line: Path
) -> None:
    flags = ("--good", SHOWN, "--threads", 1, "--engine", "onnxruntime")
    first = edge_deploy("commission", station, "--source", f"folder:{line / 'known' / 'shown'}", *flags)
    assert first.exit_code == 0, first.output
    assert rejected(verdicts_of(station, line / "known" / "later")) <= 0.139 * LATER  # promised from 20 parts
    before, bytes_before = verdicts_of(station, line / "other" / "later"), commissioning(station).read_bytes()
    assert rejected(before) > LATER / 2

    second = edge_deploy("commission", station, "--source", f"folder:{line / 'other' / 'shown'}", *flags)
    assert (
        "at most 13.9 % of good parts rejected at 95 % confidence if parts are independent, from 0 of 20"
        in second.stdout
    )
    assert f"{SHOWN} good parts of folder:{line / 'other' / 'shown'} on onnxruntime" in second.stdout
    assert rejected(verdicts_of(station, line / "other" / "later")) <= 0.139 * LATER

    assert edge_deploy("commission", station, "--rollback").exit_code == 0
    assert verdicts_of(station, line / "other" / "later") == before
    assert commissioning(station).read_bytes() == bytes_before
    assert "the bundle's own thresholds" in edge_deploy("commission", station, "--rollback").stdout
    assert not commissioning(station).exists()
    assert "nothing to go back from" in str(edge_deploy("commission", station, "--rollback").exception)


def commissioning(bundle: Path) -> Path:
    return bundle.with_name("part.bundle.commissioning.json")


def test_the_daemons_check_says_what_it_was_commissioned_on(edge_deploy: Run, station: Path, line: Path) -> None:
    source = f"folder:{line / 'known' / 'shown'}"
    edge_deploy("commission", station, "--source", source, "--good", SHOWN, "--threads", 1)
    flags = ["--bundle", str(station), "--source", source, "--publish", "tcp://127.0.0.1:*", "--check"]
    told = CliRunner().invoke(edge_inspect, flags).stdout
    assert f"commissioned: {SHOWN} good parts of {source}, onnxruntime" in told and "13.9 %" in told
    flags += ["--commissioning", "none"]
    assert "commissioned" not in CliRunner().invoke(edge_inspect, flags).stdout


def test_a_part_that_looks_defective_is_named_and_refused_when_asked(
    edge_deploy: Run, station: Path, line: Path, tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for path in sorted((line / "known" / "shown").iterdir())[:19]:
        (parts / path.name).write_bytes(path.read_bytes())
    dented = read_image(line / "known" / "shown" / "part-19.png")
    dented[100:120, 100:120] = 255 - dented[100:120, 100:120]
    cv2.imwrite(str(parts / "dented.png"), dented)
    flags = ("commission", station, "--source", f"folder:{parts}", "--good", 20, "--threads", 1)
    strict = edge_deploy(*flags, "--strict")
    assert "--strict: dented" in str(strict.exception) and not commissioning(station).exists()
    warned = edge_deploy(*flags)
    assert warned.exit_code == 0 and "look at dented: " in warned.stderr
    assert json.loads(commissioning(station).read_text())["suspects"] == ["dented"]


@pytest.mark.parametrize(
    ("flags", "error", "why"),
    [
        (["--good", 19], SettingsError, "--good 19: 20 are the least"),
        (["--good", 100, "--false-reject-rate", 0.01], SettingsError, "--good 100: 299 are the least"),
        (["--good", 20, "--review-rate", 0.05], PromiseError, "leave no room"),
        (["--good", 21], SourceError, "ended after 20 distinct parts of the 21"),
    ],
)
def test_what_cannot_be_promised_is_refused_and_nothing_is_written(
    edge_deploy: Run, station: Path, line: Path, flags: list[object], error: type[Exception], why: str
) -> None:
    source = f"folder:{line / 'known' / 'shown'}"
    run = edge_deploy("commission", station, "--source", source, "--threads", 1, *map(str, flags))
    assert isinstance(run.exception, error) and why in str(run.exception)
    assert not commissioning(station).exists()


def test_a_commissioning_that_cannot_hold_any_more_is_no_obstacle_to_a_new_one(
    edge_deploy: Run, station: Path, line: Path
) -> None:
    commissioning(station).write_text("of an older bundle")
    source = f"folder:{line / 'known' / 'shown'}"
    run = edge_deploy("commission", station, "--source", source, "--good", SHOWN, "--threads", 1)
    assert run.exit_code == 0 and "damaged or foreign" in run.stderr
    assert commissioned(load_bundle(station)).commissioning is not None


def test_the_daemon_does_not_start_on_a_commissioning_that_cannot_hold(station: Path) -> None:
    commissioning(station).write_text(json.dumps({"schema": "edge-inspect.commissioning/1"}))
    with pytest.raises(BundleError, match=r"part\.bundle\.commissioning\.json"), ExitStack() as stack:
        open_inspector(settings_of(source="folder:/", bundle=station, threads=1), stack)


def test_every_older_one_is_kept_and_comes_back_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "part.bundle.commissioning.json"
    for number in range(12):
        keep(file, f"{number}".encode())
    for number in reversed(range(11)):
        roll_back(file)
        assert file.read_text() == f"{number}"
    roll_back(file)
    assert not file.exists()
    keep(file, b"again")
    assert file.read_text() == "again"
    with pytest.raises(SettingsError, match="no such commissioning"):
        roll_back(tmp_path / "other.commissioning.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_any_part_is_shown(
    edge_deploy: Run, station: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    run = edge_deploy("commission", station, "--source", "demo:", "--commissioning", folder / "c.json")
    assert "may not write there" in str(run.exception)


@pytest.fixture
def bundle() -> Bundle:
    return a_bundle()


def names(bundle: Bundle, source: ScriptedSource, count: int, **times: object) -> list[str]:
    inspector = Inspector(bundle, BrightnessEngine())
    return [part.name for part in collect_parts(source, inspector, count, **times)]  # type: ignore[arg-type]


def test_the_same_picture_counts_once_and_gaps_do_not_count(bundle: Bundle) -> None:
    gap = Gap(7, 7, GapCause.UNREADABLE, NOW)
    frames = [a_frame(1, spot=1, part_id="A"), a_frame(2, spot=1, part_id="A again"), gap, None, a_frame(3, spot=2)]
    assert names(bundle, ScriptedSource(*frames), 2) == ["A", "frame 3 (00:00:00 UTC)"]


def test_a_frozen_camera_is_told_from_parts_that_happen_to_look_alike(bundle: Bundle) -> None:
    frozen = ScriptedSource(*[a_frame(number, spot=1) for number in range(MOST_COPIES + 2)])
    with pytest.raises(SourceError, match="is the camera frozen"):
        names(bundle, frozen, 2)


class OneASecond(ScriptedSource):
    """Each frame takes a second."""

    now_s = 0.0

    def read(self, timeout_s: float) -> Frame | Gap | None:
        self.now_s += 1.0
        return super().read(timeout_s)


def test_from_a_stream_one_frame_is_taken_in_each_interval(bundle: Bundle) -> None:
    stream = OneASecond(*[a_frame(number, spot=number) for number in range(1, 40)])
    taken = names(bundle, stream, 3, interval_s=8.0, now_s=lambda: stream.now_s)
    assert [int(name.split()[1]) for name in taken] == [1, 9, 17]


def test_frames_of_two_sizes_are_no_one_camera(bundle: Bundle) -> None:
    with pytest.raises(SourceError, match="B is of another size"):
        names(bundle, ScriptedSource(a_frame(1, spot=1), a_frame(2, size=(40, 32), part_id="B")), 2)


def test_frames_that_must_not_be_inspected_are_no_good_parts(bundle: Bundle) -> None:
    wrong = replace(a_frame(1), flaw="wrong size: the camera gives 64×48 px")
    with pytest.raises(SourceError, match="frame 1 .*: wrong size"):
        names(bundle, ScriptedSource(wrong), 1)


def test_an_engine_that_fails_ends_it(bundle: Bundle) -> None:
    red = a_frame()
    red.image[0, 0, 2] = 255
    with pytest.raises(EngineError, match="out of memory"):
        names(bundle, ScriptedSource(red), 1)
