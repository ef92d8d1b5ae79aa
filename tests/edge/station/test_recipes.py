"""Another bundle under load: no part lost, swapped between two frames, every result names its own (row 23)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.client import Subscription
from edge.client.control import ask
from edge.core.archive import pack_archive
from edge.core.bundle import Bundle
from edge.core.errors import BundleError, EngineError
from edge.inspector import Inspector
from edge.security.trust import Trust
from edge.station.daemon import inspect_loop
from edge.station.recipes import Recipes
from tests.edge.fakes import BrightnessEngine, ScriptedSource, a_bundle, a_frame
from tests.edge.security.bundles import sound_members, trust_of
from tests.edge.station.test_loop import CollectingDelivery, never, station_of
from tests.edge.stub import Stub, end, hear, parts_of_runs
from tests.patience import WAIT_S, wait_until

WIDE = (32, 64)


def inspector(bundle: Bundle) -> Inspector:
    return Inspector(bundle, BrightnessEngine())


def named(name: str, **changes: object) -> Bundle:
    bundle = a_bundle(**changes)  # type: ignore[arg-type]
    return replace(bundle, digest=name * 64, where=name)


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipes]:
    """Bundles b, c (and w, for wide frames) to change to; e breaks the engine, m is no bundle."""

    def load(path: Path) -> Bundle:
        if path.name == "m":
            raise BundleError("bundle m: not a whole zip file; copy it again")
        return named(path.name, frame_size=WIDE) if path.name == "w" else named(path.name)

    def open_bundle(bundle: Bundle) -> Inspector:
        if bundle.where == "e":
            raise EngineError("golden sample: the engine differs")
        return inspector(bundle)

    trust = Trust()
    monkeypatch.setattr(trust, "load", load)
    opened = Recipes(inspector(named("a")), open_bundle, trust, is_live=True)
    yield opened
    opened.close()


def take(recipes: Recipes) -> Inspector:
    done = threading.Event()
    for _ in range(2000):
        if (change := recipes.due()) is not None:
            recipes.taken(change)
            return change.inspector
        done.wait(0.01)
    raise AssertionError("it was never ready")


def test_a_bundle_is_taken_when_the_loop_comes_to_it_and_told_then(recipes: Recipes) -> None:
    told = recipes.change(Path("b"))
    assert take(recipes).bundle.where == "b"
    assert told.result(WAIT_S) == "bolt version 1 from the next frame on"
    assert recipes.due() is None


def test_going_back_takes_the_bundle_from_before_whatever_became_of_its_file(recipes: Recipes) -> None:
    with pytest.raises(BundleError, match="no bundle to go back to"):
        recipes.roll_back().result(WAIT_S)
    recipes.change(Path("b"))
    take(recipes)
    recipes.roll_back()
    assert take(recipes).bundle.where == "a"
    recipes.roll_back()
    assert take(recipes).bundle.where == "b"


@pytest.mark.parametrize(("name", "why"), [("m", "not a whole zip"), ("e", "golden sample"), ("w", "64×32 px")])
def test_what_cannot_run_is_refused_and_nothing_changes(recipes: Recipes, name: str, why: str) -> None:
    with pytest.raises((BundleError, EngineError), match=why):
        recipes.change(Path(name)).result(WAIT_S)
    assert recipes.due() is None


def test_a_recipe_comes_through_the_same_door_as_the_bundle_of_the_start(tmp_path: Path) -> None:
    unsigned = tmp_path / "b.bundle"
    unsigned.write_bytes(pack_archive(sound_members(tmp_path)))
    guarded = Recipes(inspector(named("a")), inspector, trust_of(tmp_path / "trusted"), is_live=False)
    with pytest.raises(BundleError, match="not signed"):
        guarded.change(unsigned).result(WAIT_S)
    guarded.close()


def test_the_old_engine_is_closed_and_the_new_one_is_not(recipes: Recipes) -> None:
    old = recipes._current.engine
    recipes.change(Path("b"))
    new = take(recipes).engine
    recipes.close()
    assert (old.is_closed, new.is_closed) == (True, False)  # type: ignore[attr-defined]


def test_a_change_that_another_overtook_is_told_so(recipes: Recipes) -> None:
    first, second = recipes.change(Path("b")), recipes.change(Path("c"))
    with pytest.raises(BundleError, match="another change came"):
        first.result(WAIT_S)
    assert take(recipes).bundle.where == "c" and second.result(WAIT_S)


def test_a_change_that_nobody_takes_any_more_is_told_so(recipes: Recipes) -> None:
    told = recipes.change(Path("b"))
    recipes.close()
    assert told.exception(WAIT_S) is not None


def test_the_loop_changes_between_two_frames(recipes: Recipes) -> None:
    station = station_of(ScriptedSource(*[a_frame(number + 1) for number in range(5)]))
    station.recipes, running = recipes, []
    station.changed = lambda new: running.append(new.bundle.where)
    told = recipes.change(Path("b"))
    wait_until(lambda: recipes._ready is not None, "the bundle is not ready")
    inspect_loop(station, never)
    delivery: CollectingDelivery = station.delivery  # type: ignore[assignment]
    assert [inspection.frame_id for inspection in delivery.inspections] == [1, 2, 3, 4, 5]
    assert running == ["b"] and station.inspector.bundle.where == "b" and told.done()


def test_changing_the_bundle_loses_no_part_and_every_result_names_its_own(tmp_path: Path) -> None:
    stub = Stub(tmp_path, pause_s=0.01)
    control = stub.settings["control"]
    with Subscription(stub.live) as feed:
        process = stub.start()
        heard: dict[tuple[bytes, int], str] = {}
        hear(feed, heard, 20)
        assert ask(control, "RECIPE", {"bundle": "b"}, WAIT_S)[0] == "DONE"
        hear(feed, heard, 20)
        assert ask(control, "RECIPE", {"bundle": "missing"}, WAIT_S)[0] == "REFUSED"
        assert ask(control, "ROLLBACK", {}, WAIT_S)[0] == "DONE"
        status = ask(control, "STATUS", {}, WAIT_S)[1]
        hear(feed, heard, 20)
        history = stub.history()
        assert end(process, signal.SIGTERM)[0] == 0

    parts = [number for run in parts_of_runs(history) for number in run]
    assert parts == list(range(1, len(parts) + 1))
    results = [message for message in history if message.kind == "result"]
    hashes = [message.body["internal_recipe"]["hash"][0] for message in results]
    assert "".join(dict.fromkeys(hashes)) == "0b" and hashes == sorted_runs(hashes)
    assert status["hash"][0] == "0" and status["state"] in {
        "running",
        "critical",
    }  # critical: results wait for the disk
    outcomes = [(m.body["command"], m.body["outcome"]) for m in history if m.kind == "audit"]
    assert outcomes == [("recipe", "done"), ("recipe", "refused"), ("rollback", "done")]
    births = [message.body["internal_recipe"]["hash"][0] for message in history if message.kind == "birth"]
    assert births == ["0", "b", "0"]


def sorted_runs(hashes: list[str]) -> list[str]:
    """The same list if it is old, then new, then old again."""
    first = hashes.index("b")
    last = len(hashes) - 1 - hashes[::-1].index("b")
    return ["0"] * first + ["b"] * (last - first + 1) + ["0"] * (len(hashes) - last - 1)
