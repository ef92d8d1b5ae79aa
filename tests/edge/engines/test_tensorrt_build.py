"""Engines are built in a child process, kept by what they were built from and for, and never trusted blindly."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from edge.core.bundle import Bundle, GraphSet
from edge.core.errors import BuildStopped, EngineError
from edge.engines.tensorrt_build import Progress, build_plan
from edge.engines.tensorrt_cache import BuildProgress, EngineCache
from edge.engines.tensorrt_file import default_folder, private_folder, read_engine, write_engine
from tests.edge.engines.conftest import DOUBLE
from tests.edge.engines.fake_cuda import ORIN

SIZE = (64, 48)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def graphs(bundle: Bundle) -> GraphSet:
    whole = bundle.graph_set("fp32")
    return GraphSet("fp32", {17: whole.graphs[17]}, whole.strides, "here")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    environment = {**os.environ, "PYTHONPATH": f"{DOUBLE}{os.pathsep}{ROOT}"}
    return EngineCache(tmp_path / "engines", "10.3.0", ORIN, environment=environment)


def a_plan(cache: EngineCache, graphs: GraphSet) -> Path:
    """An engine in the cache, written by hand: no build needed."""
    key = cache.key(graphs, 17, SIZE)
    private_folder(cache.folder)
    write_engine(cache.folder / key.file_name, key, b"plan" * 100, {})
    return cache.folder / key.file_name


def test_a_missing_engine_is_built_in_a_child_process_and_found_the_next_time(
    cache: EngineCache, graphs: GraphSet
) -> None:
    seen: list[BuildProgress] = []
    (plan,) = replace(cache, report=seen.append).plans(graphs, SIZE).values()
    assert plan.startswith(b"DOUBLE") and graphs.graphs[17] in plan
    assert [p.share for p in seen] == sorted(p.share for p in seen) and seen[-1].share > 0.4
    assert {p.what for p in seen} == {"building p17.fp32"}
    _, header = read_engine(cache.folder / cache.key(graphs, 17, SIZE).file_name, cache.key(graphs, 17, SIZE))
    assert header["build_s"] > 0 and header["key"]["gpu"]["name"] == "Orin"
    never = replace(cache, environment={"PYTHONPATH": "/nowhere"})
    assert never.plans(graphs, SIZE) == {17: plan}
    assert [f.stat().st_mode & 0o077 for f in cache.folder.glob("*.engine")] == [0]
    assert not list(cache.folder.glob(".build-*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: replace(cache, version="10.13.3"),
        lambda cache: replace(cache, gpu=replace(ORIN, multiprocessors=16)),
        lambda cache: replace(cache, runtime="tensorrt_rtx"),
    ],
)
def test_an_engine_of_another_tensorrt_or_gpu_is_not_taken_but_counts_as_built_once(
    cache: EngineCache, graphs: GraphSet, change: Callable[[EngineCache], EngineCache]
) -> None:
    a_plan(cache, graphs)
    other = change(cache)
    assert other.missing(graphs, SIZE) == [17] and other.has_any(graphs, SIZE)
    assert not cache.missing(graphs, SIZE)


def test_another_graph_or_input_size_needs_an_engine_of_its_own(cache: EngineCache, graphs: GraphSet) -> None:
    a_plan(cache, graphs)
    changed = replace(graphs, graphs={17: graphs.graphs[17] + b"\0"})
    assert cache.missing(changed, SIZE) == [17] and not cache.has_any(changed, SIZE)
    assert cache.missing(graphs, (64, 64)) == [17]


def test_a_build_drops_the_engine_it_supersedes(cache: EngineCache, graphs: GraphSet) -> None:
    old = a_plan(replace(cache, version="9.0"), graphs)
    cache.plans(graphs, SIZE)
    assert not old.exists() and len(list(cache.folder.glob("*.engine"))) == 1


@pytest.mark.parametrize("damage", [lambda raw: raw[:-7], lambda raw: raw[:-1] + b"?", lambda raw: raw + b"!"])
def test_a_damaged_engine_is_refused_and_the_message_names_it(
    cache: EngineCache, graphs: GraphSet, damage: Callable[[bytes], bytes]
) -> None:
    path = a_plan(cache, graphs)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EngineError, match=rf"{path.name}.*damaged.*delete it"):
        cache.plans(graphs, SIZE)


@pytest.mark.parametrize("content", [b"", b"ELF", b"edge-inspect engine/1\n[]\n", b"edge-inspect engine/1\n{}\nplan"])
def test_a_file_that_is_no_engine_is_refused(cache: EngineCache, graphs: GraphSet, content: bytes) -> None:
    a_plan(cache, graphs).write_bytes(content)
    with pytest.raises(EngineError, match="no engine of ours"):
        cache.plans(graphs, SIZE)


def test_an_engine_renamed_to_look_right_is_refused_by_its_header(cache: EngineCache, graphs: GraphSet) -> None:
    foreign = a_plan(replace(cache, version="10.2"), graphs)
    foreign.rename(cache.folder / cache.key(graphs, 17, SIZE).file_name)
    with pytest.raises(EngineError, match="another version"):
        cache.plans(graphs, SIZE)


def test_a_folder_that_others_can_write_to_is_refused(cache: EngineCache, graphs: GraphSet) -> None:
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    with pytest.raises(EngineError, match="chmod go-w"):
        cache.plans(graphs, SIZE)


def test_an_engine_that_may_not_be_read_says_who_may(
    cache: EngineCache, graphs: GraphSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    a_plan(cache, graphs)
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything, so a real file would not do
    with pytest.raises(EngineError, match="build them as the daemon's user"):
        cache.plans(graphs, SIZE)


def test_a_full_disk_is_an_engine_error(cache: EngineCache, graphs: GraphSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.engines.tensorrt_cache.tempfile.TemporaryDirectory", full)
    with pytest.raises(EngineError, match="No space left"):
        cache.plans(graphs, SIZE)


def test_services_keep_engines_in_their_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    assert default_folder() == tmp_path / "a" / "engines"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "edge-inspect" / "engines"


def test_a_build_that_fails_says_why_and_leaves_nothing_behind(cache: EngineCache, graphs: GraphSet) -> None:
    wrong = replace(graphs, graphs={17: b"no graph"})
    with pytest.raises(EngineError, match=r"p17\.fp32.*cannot read the graph.*re-export"):
        cache.plans(wrong, SIZE)
    assert not list(cache.folder.glob("*.engine")) and not list(cache.folder.glob(".build-*"))


def test_a_builder_that_crashes_is_an_error_with_its_last_words(cache: EngineCache, graphs: GraphSet) -> None:
    broken = {**os.environ, "PYTHONPATH": str(cache.folder)}
    cache.folder.mkdir(mode=0o700)
    (cache.folder / "tensorrt.py").write_text("import os; os.write(2, b'out of memory'); os.kill(os.getpid(), 9)")
    with pytest.raises(EngineError, match="out of memory"):
        replace(cache, environment={**broken, "PYTHONPATH": f"{cache.folder}:{ROOT}"}).plans(graphs, SIZE)


def test_a_build_stops_when_it_is_told_to(cache: EngineCache, graphs: GraphSet) -> None:
    stop = threading.Event()
    (cache.folder).mkdir(mode=0o700)
    (cache.folder / "tensorrt.py").write_text("import time; time.sleep(600)")
    endless = {**os.environ, "PYTHONPATH": f"{cache.folder}{os.pathsep}{ROOT}"}
    stopping = replace(cache, environment=endless, report=lambda progress: stop.set(), should_stop=stop.is_set)
    with pytest.raises(BuildStopped, match="stopped"):
        stopping.plans(graphs, SIZE)


def test_a_second_process_waits_for_the_first_and_takes_its_engines(cache: EngineCache, graphs: GraphSet) -> None:
    said: list[str] = []

    def tell(progress: BuildProgress) -> None:
        said.append(progress.what)

    first = threading.Thread(target=replace(cache, report=tell).plans, args=(graphs, SIZE), daemon=True)
    first.start()
    plans = replace(cache, report=tell).plans(graphs, SIZE)
    first.join()
    assert plans[17] and len(list(cache.folder.glob("*.engine"))) == 1


def test_the_parser_saying_true_to_no_graph_at_all_is_still_an_error(double: ModuleType) -> None:
    with pytest.raises(EngineError, match="cannot read the graph"):
        build_plan(double, b"hello world", [(1, *SIZE, 3)] * 3)


def test_the_timing_cache_grows_from_build_to_build(double: ModuleType, graphs: GraphSet) -> None:
    _, first = build_plan(double, graphs.graphs[17], [(1, *SIZE, 3)] * 3)
    _, second = build_plan(double, graphs.graphs[17], [(1, *SIZE, 3)] * 3, timing_cache=first)
    assert second.startswith(first) and len(second) > len(first)


def test_progress_follows_nested_phases_and_never_falls() -> None:
    shares: list[float] = []
    progress = Progress(shares.append)
    progress.start("engine", None, 4)
    progress.step("engine", 0)
    progress.start("tactics", "engine", 10)
    for step in range(5):
        progress.step("tactics", step)
    assert shares[-1] == pytest.approx((1 + 0.5) / 4)
    progress.finish("tactics")
    progress.step("engine", 1)
    progress.step("nobody", 9)
    assert shares[-1] == pytest.approx(0.5) and shares == sorted(shares)


def test_time_left_is_told_only_when_it_means_something() -> None:
    assert "left" not in str(BuildProgress("building p17.fp16", 0.0, 5.0))
    assert str(BuildProgress("building p17.fp16", 0.25, 60.0)) == "building p17.fp16: 25 %, 60 s, about 3 min left"


def test_a_key_is_read_back_as_it_was_written(cache: EngineCache, graphs: GraphSet) -> None:
    key = cache.key(graphs, 17, SIZE)
    raw = a_plan(cache, graphs).read_bytes()
    header = json.loads(raw.splitlines()[1])
    assert key.differences(header["key"]) == []
