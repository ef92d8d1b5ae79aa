"""The shape of the house, measured and bounded: what a newcomer has to follow, and what a change has to keep.

Each test prints what it measured (pytest -s) and says why its bound is where it is.
"""

from __future__ import annotations

import ast
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import cv2
import pytest

from edge.core.types import Frame
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.station.daemon import inspect_loop
from edge.station.settings import settings_of
from edge.station.startup import Station, open_station
from tests.patience import WAIT_S

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edge", "trainer", "deploy")
PARTS = 8
# A person who follows one a minute is through in less than two hours. It was 125 and 35, and 75 and 20 at its least;
# since then a picture's file is obeyed in all that it says, its light, place and rows are measured one by one (16 of
# them), the journal has a witness, drift is watched and pieces of a challenge are kept apart.
MAX_FUNCTIONS = 101
MAX_FILES = 28
MAX_ENVELOPES = 2  # a part, and a record with its frames; it was 6
MAX_LINES = 40  # what fits a screen

Call = tuple[str, str]  # file, function


class Followed:
    """Which functions of edge/ each part enters, and what it is wrapped in behind the inspection."""

    def __init__(self) -> None:
        self.calls: list[set[Call]] = []
        self.envelopes: list[set[str]] = []

    def begin(self) -> None:
        """From here on it is another part."""
        self.calls.append(set())
        self.envelopes.append(set())

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or not self.calls or _is_aside(frame) or threading.current_thread().name == "control":
            return  # the control socket's thread looks for triggers, part or none
        code, file = frame.f_code, frame.f_code.co_filename
        if file.startswith(str(ROOT / "edge")) and not code.co_name.startswith("<"):
            owner = frame.f_locals.get("self")
            name = f"{type(owner).__name__}.{code.co_name}" if owner is not None else code.co_name
            self.calls[-1].add((str(Path(file).relative_to(ROOT)), name))
        elif code.co_name in ("__init__", "__new__"):  # a data class' or a named tuple's, which is generated
            made = frame.f_locals.get("_cls") or type(frame.f_locals.get("self"))
            if made.__module__.startswith(("edge.delivery", "edge.history", "edge.pictures", "edge.sockets")):
                self.envelopes[-1].add(made.__qualname__)


def _is_aside(frame: FrameType | None) -> bool:
    """Whether this is a heartbeat's work, or what is done when nothing waits, or this test's own."""
    while frame is not None:
        if frame.f_code.co_name in ("_beat", "_upkeep", "_settle"):
            return True
        frame = frame.f_back
    return False


def _settle(station: Station) -> None:
    """Return when the part has been told and the sinks have had it: then its picture is held no longer."""
    inbox, waiting = station.delivery._inbox, threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        waiting.wait(0.02)
        if not inbox._bytes:
            waiting.wait(0.1)
            return
    raise AssertionError("a part was never told")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """A real station on good parts, with a journal; what every part enters, so that heartbeats do not count."""
    folder, seen = tmp_path_factory.mktemp("shape"), Followed()
    (folder / "parts").mkdir()
    for number in range(PARTS):
        image = render_part("machined", 0, TRAIN_DOMAIN + number, defective=False).image
        cv2.imwrite(str(folder / "parts" / f"{number}.png"), image)
    settings = settings_of(
        source=f"folder:{folder / 'parts'}", bundle=BUNDLE, journal=folder / "journal.db", engine="onnxruntime",
        publish="tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*",
    )  # fmt: skip

    def next_part(station: Station) -> bool:
        _settle(station)
        seen.begin()
        return len(seen.calls) > PARTS

    threading.setprofile(seen.note)
    try:
        with open_station(settings) as station:
            station.delivery.start()
            sys.setprofile(seen.note)
            inspect_loop(station, lambda: next_part(station))
            sys.setprofile(None)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    seen.calls, seen.envelopes = seen.calls[1:-1], seen.envelopes[1:-1]  # the first fills caches; the last is no part
    return seen


def test_a_good_part_enters_few_functions_in_few_files(followed: Followed) -> None:
    calls = set.intersection(*followed.calls)
    files = sorted({file for file, _ in calls})
    print(f"\none good part: {len(calls)} functions (at most {MAX_FUNCTIONS}) in {len(files)} files ({MAX_FILES}):")
    print("\n".join(f"  {file}: {', '.join(sorted(name for at, name in calls if at == file))}" for file in files))
    assert "Inspector.inspect" in {name for _, name in calls}  # it was a part that was followed …
    assert "edge/sockets/publisher.py" in files  # … from the camera to the wire
    assert len(calls) <= MAX_FUNCTIONS and len(files) <= MAX_FILES


def test_a_part_travels_in_few_envelopes(followed: Followed) -> None:
    envelopes = set.intersection(*followed.envelopes)
    print(f"\nbehind the inspection a part travels in {', '.join(sorted(envelopes))} (at most {MAX_ENVELOPES})")
    assert 0 < len(envelopes) <= MAX_ENVELOPES


# --- what is written ---


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{file}:{function.lineno} {function.name}: {length} lines"
        for file, tree in modules()
        for function in functions(tree)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_LINES
    ]
    print(f"\nfunctions of over {MAX_LINES} lines: {len(long)} (none)", *long, sep="\n  ")
    assert long == []


def test_whatever_is_public_is_described_and_annotated() -> None:
    """No newcomer should have to read a body to know what goes in and what comes out."""
    lacking = [
        f"{file}:{function.lineno} {function.name}: {', '.join(lacks)}"
        for file, tree in modules()
        for function in _public(tree.body)
        if (lacks := list(_lacks(function)))
    ]
    print(f"\npublic functions without a docstring or an annotation: {len(lacking)} (none)")
    assert lacking == []


def _public(body: list[ast.stmt]) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body)
        elif isinstance(node, Function) and not node.name.startswith("_") and not _is_overload(node):
            yield node


def _is_overload(function: Function) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in function.decorator_list)


def _lacks(function: Function) -> Iterator[str]:
    if ast.get_docstring(function) is None:
        yield "docstring"
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    named = [one for one in arguments if one.arg not in ("self", "cls")]
    named += [one for one in (function.args.vararg, function.args.kwarg) if one is not None]
    yield from (one.arg for one in named if one.annotation is None)
    if function.returns is None:
        yield "what it returns"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too: a circle that is broken by hiding it is a circle."""
    names = {".".join(Path(file).with_suffix("").parts).removesuffix(".__init__"): tree for file, tree in modules()}
    graph = {name: {one for one in _imported(tree, names) if one != name} for name, tree in names.items()}
    circles = [sorted(circle) for circle in _strongly_connected(graph) if len(circle) > 1]
    print(f"\ncircles: {len(circles)} (none) among {len(graph)} modules")
    assert circles == []


def _imported(tree: ast.Module, names: dict[str, ast.Module]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            below = [f"{node.module}.{one.name}" for one in node.names]
            yield from (one if one in names else str(node.module) for one in below)


def _strongly_connected(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Tarjan's algorithm."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[set[str]]:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                yield from visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            circle = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            yield circle

    for node in graph:
        if node not in order:
            yield from visit(node)


def test_the_journal_is_asked_in_verbs_and_sql_stays_with_history() -> None:
    speaks_sql = re.compile(r"\b(SELECT .* FROM|INSERT (OR \w+ )?INTO|DELETE FROM|UPDATE \w+ SET) ")
    spoken = {
        file
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and speaks_sql.search(node.value)
    }
    assert "edge/history/journal.py" in spoken  # it would be found
    elsewhere = {file for file in spoken if not file.startswith(("edge/history/", "edge/page/model/"))}
    assert elsewhere == {"deploy/bench/wire_station.py"}


def test_the_measures_can_fail() -> None:
    """A measure that finds nothing anywhere would pass all the same."""
    tree = ast.parse("def f(a):\n    pass\nclass A:\n    def b(self) -> None:\n        pass\n")
    assert [list(_lacks(function)) for function in _public(tree.body)] == [
        ["docstring", "a", "what it returns"],
        ["docstring"],
    ]
    assert {"a", "b"} in list(_strongly_connected({"a": {"b"}, "b": {"a"}, "c": {"a"}}))
    assert Frame.__doc__
