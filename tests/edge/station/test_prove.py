"""A hostile graph is refused in a process of its own, and never comes into the one that judges parts (row 39)."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from edge.client import Subscription
from edge.client.control import ask
from edge.core.bundle import Bundle, graph_name, load_bundle, save_bundle
from edge.core.errors import BundleError, EngineError
from edge.station.prove import Prover
from edge.station.recipes import Recipes
from edge.station.settings import EngineSettings
from tests.edge.small_bundle import small_bundle
from tests.edge.station.test_daemon import end, receive_until, start
from tests.edge.station.test_recipes import inspector, named
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S, wait_until

SIZE = 9
ENGINE = EngineSettings("onnxruntime", threads=1)
_RUN = "regression_error"


def _looping(model: onnx.ModelProto, output: str) -> None:
    """Add what never ends before the output."""
    step = [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Neg", ["x"], ["y"])]
    body = helper.make_graph(
        step,
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(helper.make_tensor("turns", TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(helper.make_tensor("go_on", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["turns", "go_on", "kept"], [output], body=body))


def _bombing(model: onnx.ModelProto, output: str) -> None:
    """Add what asks for 64 GiB, by a size that no optimiser can know, before the output."""
    for name, value in (("zero", [0.0]), ("one", [1.0])):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [1], value))
    model.graph.initializer.append(helper.make_tensor("many", TensorProto.INT64, [1], [16 << 30]))
    full = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["kept"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["none"], to=TensorProto.INT64),
            helper.make_node("Add", ["none", "many"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["huge"], value=full),
            helper.make_node("ReduceMean", ["huge"], ["all"], keepdims=0),
            helper.make_node("Sub", ["all", "one"], ["same"]),
            helper.make_node("Add", ["kept", "same"], [output]),
        ]
    )


def hostile(path: Path, how: str) -> Bundle:
    """A sound small bundle whose graph `loops` or `bombs`."""
    whole = load_bundle(small_bundle(path, SIZE))
    name = graph_name(SIZE, "fp32")
    model = onnx.load_from_string(whole.graphs[name])
    for node in model.graph.node:
        node.output[:] = ["kept" if one == _RUN else one for one in node.output]
        node.input[:] = ["kept" if one == _RUN else one for one in node.input]
    {"loops": _looping, "bombs": _bombing}[how](model, _RUN)
    save_bundle(path, replace(whole.manifest), {**whole.graphs, name: model.SerializeToString()}, whole.golden)
    return load_bundle(path)


def test_a_sound_bundle_is_proved(tmp_path: Path) -> None:
    Prover(ENGINE).prove(load_bundle(small_bundle(tmp_path / "sound.bundle", SIZE)))


def test_a_graph_that_never_ends_is_refused_in_time(tmp_path: Path) -> None:
    bundle = hostile(tmp_path / "hostile.bundle", "loops")
    with pytest.raises(BundleError, match=r"did not come to an end within 4 s"):
        Prover(ENGINE, proof_s=4.0).prove(bundle)


def test_a_graph_that_asks_for_gigabytes_is_refused_and_says_so(tmp_path: Path) -> None:
    bundle = hostile(tmp_path / "hostile.bundle", "bombs")
    with pytest.raises(BundleError, match=r"memory|allocate|bad_alloc"):
        Prover(ENGINE).prove(bundle)


def test_what_is_being_proved_when_the_station_stops_is_refused_at_once(tmp_path: Path) -> None:
    prover = Prover(ENGINE)
    bundle = hostile(tmp_path / "hostile.bundle", "loops")
    threading.Timer(1.0, prover.close).start()
    with pytest.raises(BundleError):
        prover.prove(bundle)
    with pytest.raises(BundleError, match="the station stops"):
        prover.prove(bundle)


def test_closing_does_not_wait_for_a_library_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs there: the loader's thread is left behind."""
    hangs, held = threading.Event(), threading.Event()

    def load(bundle: Bundle) -> object:
        held.set()
        hangs.wait()
        raise EngineError("it came back")

    class Door:
        def load(self, path: Path) -> Bundle:
            return named(path.name)

    recipes = Recipes(inspector(named("a")), load, Door(), is_live=False)  # type: ignore[arg-type]
    told = recipes.change(Path("b"))
    assert held.wait(WAIT_S)
    closing = threading.Thread(target=recipes.close, daemon=True)
    closing.start()
    closing.join(WAIT_S)
    assert not closing.is_alive() and not told.done()
    hangs.set()
    assert isinstance(told.exception(WAIT_S), EngineError)


def is_proving(daemon: int) -> bool:
    """Whether a child of the daemon proves a bundle; one may end while it is looked at."""
    with suppress(psutil.NoSuchProcess):
        return any("edge.station.prove" in child.cmdline() for child in psutil.Process(daemon).children())
    return False


def test_a_hostile_recipe_is_refused_and_the_line_goes_on_and_ends_when_told(tmp_path: Path) -> None:
    """Both at once: RECIPE answers where it is a bomb; where it loops, SIGTERM does not wait for it."""
    small_bundle(tmp_path / "flag.bundle", SIZE)
    hostile(tmp_path / "loop.bundle", "loops")
    hostile(tmp_path / "bomb.bundle", "bombs")
    live, control = free_endpoint(), f"ipc://{tmp_path}/control"
    with Subscription(live) as feed:
        flags = ["--source", "demo:machined?parts=0&rate=5", "--bundle", str(tmp_path / "flag.bundle")]
        daemon = start(*flags, "--publish", live, "--engine", "onnxruntime", "--threads", "1", "--control", control)
        receive_until(feed, "result")
        verb, said = ask(control, "RECIPE", {"bundle": str(tmp_path / "bomb.bundle")}, WAIT_S)
        assert verb == "REFUSED" and ("memory" in said["reason"] or "alloc" in said["reason"])
        receive_until(feed, "result")
        asking = threading.Thread(
            target=ask, args=(control, "RECIPE", {"bundle": str(tmp_path / "loop.bundle")}, WAIT_S)
        )
        asking.start()
        wait_until(lambda: is_proving(daemon.pid), "nothing is being proved")
        children = psutil.Process(daemon.pid).children()
        told_s = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        code, log = end(daemon)
        took_s = time.monotonic() - told_s
        asking.join(WAIT_S)
    assert code == 0, log
    assert took_s < WAIT_S / 2  # not for as long as that bundle takes to prove
    assert not any(child.is_running() for child in children)
