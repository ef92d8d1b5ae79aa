"""What a command changed to runs again after a crash, or the station says why not: never another product in silence."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edge.client import Subscription
from edge.client.control import ask
from edge.commands.doctor import check
from edge.core.archive import pack_archive
from edge.core.bundle import load_bundle, save_bundle
from edge.core.errors import BundleError
from edge.history.database import copy_database
from edge.history.last_recipe import Before, LastRecipe, before_start
from edge.security.trust import RELEASES, Trust
from edge.station import startup
from edge.station.chosen import choose
from edge.station.settings import settings_of
from tests.edge.security.bundles import OURS, signed, sound_members, trust_of
from tests.edge.small_bundle import small_bundle
from tests.edge.station.test_daemon import Daemon, end, receive_until, start
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S

FLAG, OTHER = "flag.bundle", "other.bundle"


@dataclass
class Line:
    """A station in a process of its own, killed and started again on one journal."""

    folder: Path
    live: str = field(default_factory=free_endpoint)

    def __post_init__(self) -> None:
        small_bundle(self.folder / FLAG, 9)
        self.save_as(OTHER, "other", 2)

    def save_as(self, name: str, product: str, version: int) -> None:
        made = load_bundle(self.folder / FLAG)
        manifest = replace(made.manifest, product=product, version=version)
        save_bundle(self.folder / name, manifest, made.graphs, made.golden)

    @property
    def control(self) -> str:
        return f"ipc://{self.folder}/control"

    @property
    def flags(self) -> dict[str, Any]:
        return {
            "source": "demo:machined?parts=0&rate=5", "bundle": self.folder / FLAG, "publish": self.live,
            "journal": self.folder / "journal.db", "control": self.control, "engine": "onnxruntime",
        }  # fmt: skip

    def start(self, *more: str) -> Daemon:
        return start(*(str(part) for name, value in self.flags.items() for part in (f"--{name}", value)), *more)

    def born(self, feed: Subscription) -> tuple[str, str]:
        """The product of the next BIRTH, and why it runs."""
        body = receive_until(feed, "birth")[-1].body
        return body["internal_recipe"]["id"], body["recipe_reason"]

    def change(self, name: str) -> None:
        assert ask(self.control, "RECIPE", {"bundle": str(self.folder / name)}, WAIT_S)[0] == "DONE"


def kill(daemon: Daemon) -> None:
    daemon.send_signal(signal.SIGKILL)
    end(daemon)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A line that ran the flag's bundle, was changed to the other, and was killed."""
    line = Line(tmp_path_factory.mktemp("line"))
    with Subscription(line.live) as feed:
        daemon = line.start()
        assert line.born(feed) == ("machined", "--bundle names it, and nothing is remembered of an earlier run")
        line.change(OTHER)
        while (born := line.born(feed))[0] == "machined":  # who has just subscribed may be told it again
            pass
        assert born == ("other", "a command changed it")
        kill(daemon)
    return line


def test_what_a_command_changed_to_runs_again_after_a_crash(changed: Line, capsys: pytest.CaptureFixture[str]) -> None:
    with Subscription(changed.live) as feed:
        assert check(settings_of(**changed.flags)), capsys.readouterr().out
        report = capsys.readouterr().out
        daemon = changed.start()
        product, why = changed.born(feed)
        status = ask(changed.control, "STATUS", {}, WAIT_S)[1]
        daemon.terminate()
        code, log = end(daemon)
    assert code == 0 and product == "other", log
    assert why == "a command changed to it before this start, and --bundle names the same file as then"
    assert why in log and str(changed.folder / OTHER) in log
    assert f"{changed.folder / OTHER} runs: {why}" in report
    assert status["recipe_reason"] == why


def test_the_flag_wins_where_it_was_asked_to_or_names_another_file(changed: Line, tmp_path: Path) -> None:
    assert choose(settings_of(**changed.flags)).settings.bundle.path == changed.folder / OTHER
    start_with = choose(settings_of(**changed.flags, recipe="start"))
    assert (start_with.settings.bundle.path, start_with.is_last) == (changed.folder / FLAG, False)

    elsewhere = tmp_path / FLAG
    elsewhere.write_bytes((changed.folder / FLAG).read_bytes())
    moved = choose(settings_of(**{**changed.flags, "bundle": elsewhere}))
    assert moved.settings.bundle.path == elsewhere and "another file" in moved.recipe.why

    before = (changed.folder / FLAG).read_bytes()
    changed.save_as(FLAG, "machined", 9)
    replaced = choose(settings_of(**changed.flags))
    (changed.folder / FLAG).write_bytes(before)
    assert replaced.settings.bundle.path == changed.folder / FLAG and "another file" in replaced.recipe.why


@pytest.mark.parametrize("fault", ["gone", "another", "damaged engine"])
def test_what_ran_and_cannot_run_any_more_stops_the_start(changed: Line, fault: str) -> None:
    other = changed.folder / OTHER
    before = other.read_bytes()
    flags = []
    if fault == "gone":
        other.unlink()
    elif fault == "another":
        changed.save_as(OTHER, "third", 1)
    else:
        flags = ["--variant", "int8-trt"]
    try:
        daemon = changed.start(*flags)
        code, log = end(daemon)
    finally:
        other.write_bytes(before)
    assert code == 78 and "ran before this start and cannot run now" in log and "--recipe start" in log


def test_what_ran_and_is_not_trusted_any_more_is_refused(changed: Line, tmp_path: Path) -> None:
    trust = trust_of(tmp_path / "trusted")
    chosen = choose(settings_of(**changed.flags))
    with (
        pytest.raises(BundleError, match="ran before this start and cannot run now: .* not signed"),
        chosen.or_say_why(),
    ):
        trust.load(chosen.settings.bundle.path)


def test_a_damaged_journal_still_says_what_ran_and_a_check_mends_nothing(tmp_path: Path, changed: Line) -> None:
    journal = tmp_path / "journal.db"
    copy_database(changed.folder / "journal.db", journal)
    content = bytearray(journal.read_bytes())
    content[-4096:] = b"\xff" * 4096  # the last page
    journal.write_bytes(content)
    settings = settings_of(**{**changed.flags, "journal": journal})
    check(settings)
    assert not list(tmp_path.glob("*.corrupt-*"))
    found = before_start(journal, may_salvage=True).recipe
    assert list(tmp_path.glob("*.corrupt-*"))
    assert found is None or found.path == str(changed.folder / OTHER)


def test_a_release_that_a_command_ran_does_not_keep_the_flags_own_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The highest release is written down for what --bundle names: a restart with the command's must not raise it."""
    members = sound_members(tmp_path)
    for name, version in ((FLAG, 3), (OTHER, 4)):
        (tmp_path / name).write_bytes(pack_archive(signed(members, OURS, version=version)))
    trust = trust_of(tmp_path / "trusted", state=tmp_path)
    flags = {"source": "demo:machined", "bundle": tmp_path / FLAG, "trusted_keys": tmp_path / "trusted"}
    settings = settings_of(**flags, journal=tmp_path / "journal.db")
    trust.ran(trust.load(tmp_path / FLAG), is_start=True)

    class Opened(Exception):
        """So far and no further."""

    def until_it_ran(self: Trust, bundle: object, *, is_start: bool = False) -> None:
        ran(self, bundle, is_start=is_start)  # type: ignore[arg-type]
        raise Opened

    ran = Trust.ran
    monkeypatch.setattr(Trust, "ran", until_it_ran)
    bundle = load_bundle(tmp_path / OTHER)
    monkeypatch.setattr(startup, "open_inspector", lambda *_: (type("I", (), {"bundle": bundle}), 0.0))
    first = choose(settings).recipe
    monkeypatch.setattr(
        "edge.station.chosen.before_start",
        lambda *_: Before(LastRecipe(str(tmp_path / OTHER), bundle.digest, first.flag_path, first.flag_digest)),
    )
    with pytest.raises(Opened), startup.open_station(settings):
        pass
    assert (tmp_path / RELEASES).read_text() == '{"bolt": 3}'
    assert trust_of(tmp_path / "trusted", state=tmp_path).load(tmp_path / FLAG).manifest.version == 3
