"""Build one engine from one ONNX graph: a process of its own, because a build takes minutes and gigabytes.

`python -m edge.engines.tensorrt_build` reads a request (one JSON line, then the timing cache and the graph) from its
input, prints progress as JSON lines, and writes the plan to the file the request names. A build that is killed, runs
out of memory or crashes inside the compiler takes no daemon with it. The graph comes through the pipe as the bytes that
were verified, never from a file somebody could exchange. Engines see tiles of at most 640 px, so 5 megapixels need no
more of the 1 GiB of workspace than 640×640.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from edge.core.bundle import INPUT, OUTPUTS
from edge.core.errors import EngineError
from edge.engines.tensorrt import collecting_logger, load_tensorrt

WORKSPACE_BYTES = 1 << 30  # TensorRT's own default is all memory, which a Jetson shares with everything else
LEVEL = 3  # TensorRT's own default optimisation level, 0..5: build time against speed


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build. profile: least, usual and largest input shape. The two counts are bytes that follow the line."""

    runtime: str
    profile: tuple[tuple[int, ...], ...]
    plan_file: str
    timing_file: str
    timing_bytes: int
    onnx_bytes: int
    workspace: int = WORKSPACE_BYTES
    level: int = LEVEL


@dataclass(slots=True)
class Phase:
    """One of the compiler's nested phases, and how far it is."""

    name: str
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """Turns the compiler's nested phases into one share from 0 to 1 that never falls."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report, self._phases, self._share = report, list[Phase](), 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins, inside `parent` where there is one."""
        self._phases = [*self._phases, Phase(name, parent, max(steps, 1))]

    def step(self, name: str, step: int) -> None:
        """Step number `step` of a phase is done; reported where the share grew by half a percent."""
        for phase in self._phases:
            if phase.name == name:
                phase.done = min(step + 1, phase.steps)
        if self._phases and (share := self._share_of(self._phases[0])) >= self._share + 0.005:
            self._share = share
            self._report(share)

    def finish(self, name: str) -> None:
        """A phase is over."""
        self._phases = [phase for phase in self._phases if phase.name != name]

    def _share_of(self, phase: Phase) -> float:
        inside = [self._share_of(child) for child in self._phases if child.parent == phase.name]
        return min(1.0, (phase.done + min(1.0, max(inside, default=0.0))) / phase.steps)


def build_plan(
    trt: Any,
    onnx: bytes,
    profile: Sequence[Sequence[int]],
    *,
    timing_cache: bytes = b"",
    workspace: int = WORKSPACE_BYTES,
    level: int = LEVEL,
    report: Callable[[float], None] = lambda share: None,
) -> tuple[bytes, bytes]:
    """The serialised engine of a graph, and the timing cache grown by it; EngineError with TensorRT's own reasons.

    The network is strongly typed: its precision is the graph's. profile: least, usual and largest (N, H, W, 3).
    timing_cache: of earlier builds with the same TensorRT and GPU; a foreign one is ignored.
    """
    logger = collecting_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, onnx, logger)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.builder_optimization_level = level
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and its 10 bits would make float32 no better than half
    monitor = _monitor(trt, Progress(report))
    config.progress_monitor = monitor
    shapes = builder.create_optimization_profile()
    shapes.set_shape(INPUT, *[tuple(shape) for shape in profile])
    if config.add_optimization_profile(shapes) < 0:
        raise EngineError(f"TensorRT refused the input shapes {profile}: {logger.take()}")
    has_timings = trt.__name__ == "tensorrt"  # TensorRT for RTX chooses kernels when it loads, and keeps no timings
    if has_timings:
        timings = config.create_timing_cache(timing_cache) or config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = logger.take()
        if "OutOfMemory" in reason or "workspace" in reason:
            reason += f"; allow it more than --workspace-mib {workspace >> 20}"
        raise EngineError(f"TensorRT {trt.__version__} could not build the graph: {reason}")
    return bytes(plan), bytes(config.get_timing_cache().serialize()) if has_timings else b""


def _parse(trt: Any, network: Any, onnx: bytes, logger: Any) -> None:
    """Fill the network. The parser says True to bytes that are no graph, so its outputs are counted too."""
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx) or network.num_outputs != len(OUTPUTS):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(
            f"TensorRT {trt.__version__} cannot read the graph ({errors or logger.take()}); "
            "re-export it with this version of edge-train"
        )


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the module is loaded while running
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return True  # False would cancel; a cancelled build is killed instead

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def serve_request(stdin: Any, say: Callable[[dict[str, Any]], None]) -> None:
    """Read one request, build, write the plan and the timing cache; `say` gets shares of progress."""
    request = BuildRequest(**json.loads(stdin.readline()))
    timing_cache, onnx = stdin.read(request.timing_bytes), stdin.read(request.onnx_bytes)
    if len(onnx) != request.onnx_bytes:
        raise EngineError("the graph did not arrive whole; the process that asked for it has ended")
    plan, timings = build_plan(
        load_tensorrt(request.runtime),
        onnx,
        request.profile,
        timing_cache=timing_cache,
        workspace=request.workspace,
        level=request.level,
        report=lambda share: say({"share": round(share, 4)}),
    )
    Path(request.plan_file).write_bytes(plan)
    Path(request.timing_file).write_bytes(timings)


def encode_request(request: BuildRequest, timing_cache: bytes, onnx: bytes) -> bytes:
    """What `serve_request` reads."""
    return json.dumps(asdict(request)).encode() + b"\n" + timing_cache + onnx


def main(stdout: TextIO = sys.stdout) -> int:
    """Entry point of the child process; an expected failure is its last line, and exit code 1."""

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=stdout, flush=True)

    try:
        serve_request(sys.stdin.buffer, say)
    except EngineError as error:
        say({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
