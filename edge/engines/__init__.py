"""Engines run a bundle's graphs. A new one is a file here and a line in `_ENGINES`.

`auto` takes what is present; it never times anything (`edge-deploy choose` does that, and records the winner), and it
never starts a build of minutes that nobody asked for: TensorRT is taken where its engines were built once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.bundle import NEIGHBOURS, Bundle, GraphSet, graph_name
from edge.core.errors import EngineError
from edge.core.preprocess import Size
from edge.core.tiles import TILE_PX, WIDE_TILE_PX, Tiling, tiling_for
from edge.engines.choice import read_choice, require_verification
from edge.engines.protocol import Engine as Engine
from edge.engines.tiled import in_tiles, side_by_side

if TYPE_CHECKING:  # opening a CPU engine loads nothing of TensorRT's
    from edge.engines.tensorrt_cache import EngineCache, Report


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open an engine; what one engine does not know it ignores.

    threads: of a CPU engine, 0 means one a core. variant: None means the engine's own choice. folder: of TensorRT's
    engines, None means the default one. only_counted: leave out the patch sizes that can change no score, as the
    daemon does (`Bundle.graph_set`). cuda_graph: replay one recording instead of many calls. report and should_stop: of
    a build, see `EngineCache`. say: told once which engine was chosen, and why.
    """

    threads: int = 0
    variant: str | None = None
    folder: Path | None = None
    only_counted: bool = False
    cuda_graph: bool = False
    report: Report = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda reason: None


def _onnxruntime(share: Share, options: EngineOptions) -> Engine:
    from edge.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(share.graphs, options.threads)


def _openvino(share: Share, options: EngineOptions) -> Engine:
    from edge.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(share.graphs, share.tiling.tile_size, options.threads)


def _tensorrt(share: Share, options: EngineOptions) -> Engine:
    from edge.engines.cuda import Cuda
    from edge.engines.tensorrt import TensorRtEngine, load_tensorrt

    trt, cuda, graphs, input_size = load_tensorrt(), Cuda(), share.graphs, share.tiling.tile_size
    plans = engine_cache(options).plans(graphs, input_size)
    return TensorRtEngine(plans, graphs.variant, graphs.layout, input_size, trt, cuda, options.cuda_graph)


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """Graphs that run on pieces of one size, and the pieces of the input that they run on."""

    graphs: GraphSet
    tiling: Tiling


def shares_of(graphs: GraphSet, size: Size) -> list[Share]:
    """Graphs and the tiles that they run in, for an input of (height, width).

    All in one, unless that is large: neighbours see much farther than patches, so in common tiles the halo of theirs
    would be computed for all networks.
    """
    strides = {p: stride for p, stride in graphs.strides.items() if p not in graphs.neighbours.values()}
    kinds = [(graphs.only(patches=True), strides, TILE_PX)]
    if NEIGHBOURS in graphs.graphs:
        wide = {p: graphs.strides[p] for p in graphs.neighbours.values()}
        kinds.append((graphs.only(patches=False), wide, WIDE_TILE_PX))
    shares = [Share(own, tiling_for(size, grids, longest)) for own, grids, longest in kinds if own.graphs]
    if all(share.tiling.tile_size == size for share in shares):
        return [Share(graphs, shares[0].tiling)]
    return shares


def engine_cache(options: EngineOptions) -> EngineCache:
    """The folder of engines for the TensorRT and GPU of this machine; EngineError where one of them is not there."""
    from edge.engines.cuda import Cuda
    from edge.engines.tensorrt import load_tensorrt
    from edge.engines.tensorrt_cache import EngineCache
    from edge.engines.tensorrt_file import default_folder

    return EngineCache(
        folder=options.folder or default_folder(),
        version=str(load_tensorrt().__version__),
        gpu=Cuda().gpu(),
        report=options.report,
        should_stop=options.should_stop,
    )


def tensorrt_variant(bundle: Bundle, variant: str | None) -> str:
    """The variant for TensorRT: the one asked for, else half precision where the bundle has it."""
    first = (*bundle.manifest.patch_sizes, NEIGHBOURS)[0]
    has_half = "fp16" in bundle.manifest.calibrations and graph_name(first, "fp16") in bundle.graphs
    return variant or ("fp16" if has_half else bundle.manifest.reference_variant)


def bundle_shares(bundle: Bundle, variant: str, only_counted: bool = False) -> list[Share]:
    """`shares_of` the bundle's graphs of a variant, for its input; only_counted: see `Bundle.graph_set`."""
    return shares_of(bundle.graph_set(variant, only_counted), bundle.manifest.geometry.input_size)


def engine_input_size(bundle: Bundle) -> Size:
    """(height, width) that one run of an engine takes: the bundle's input, or the largest tile of it."""
    shares = bundle_shares(bundle, bundle.manifest.reference_variant)
    return max((share.tiling.tile_size for share in shares), key=lambda size: size[0] * size[1])


def _choose(bundle: Bundle, options: EngineOptions) -> tuple[str, str | None, str]:
    """The engine and variant `auto` stands for, and why. Engines of another TensorRT count: they are rebuilt."""
    try:
        cache = engine_cache(options)
    except EngineError as error:
        return _choose_for_cpu(bundle, options, str(error))
    shares = bundle_shares(bundle, tensorrt_variant(bundle, options.variant))
    if all(cache.has_any(share.graphs, share.tiling.tile_size) for share in shares):
        return "tensorrt", options.variant, f"engines of this bundle are in {cache.folder}"
    return _choose_for_cpu(
        bundle,
        options,
        f"TensorRT {cache.version} is here, but no engines of this bundle in {cache.folder}: "
        "build them with edge-deploy engines, or once with --engine tensorrt",
    )


def _choose_for_cpu(bundle: Bundle, options: EngineOptions, no_gpu: str) -> tuple[str, str | None, str]:
    """What was recorded as the fastest here, where it still holds; else the engine that always works."""
    from edge.engines.tensorrt_file import default_folder

    try:
        folder = options.folder or default_folder()
        choice = read_choice(folder, bundle.digest, options.threads)
        wanted = options.variant or (bundle.commissioning.variant if bundle.commissioning else choice.variant)
        if wanted != choice.variant:
            raise EngineError(f"{wanted} is asked for or commissioned, and {choice.variant} was recorded")
        if choice.variant != bundle.manifest.reference_variant:
            require_verification(folder, bundle.digest, choice.engine, choice.version, choice.variant)
    except EngineError as error:
        return "onnxruntime", options.variant, f"{no_gpu}; no recorded choice holds: {error}"
    return choice.engine, choice.variant, f"recorded as the fastest on this machine ({choice.variant})"


_ENGINES: dict[str, Callable[[Share, EngineOptions], Engine]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
}
CPU_ENGINES = ("onnxruntime", "openvino")  # the first is always there
ENGINE_NAMES = ("auto", *_ENGINES)
DEFAULTS = EngineOptions()


def open_engine(name: str, bundle: Bundle, options: EngineOptions = DEFAULTS) -> Engine:
    """Open the named engine on the bundle's graphs of the variant it prefers.

    TensorRT's engines are built first where they are missing, which takes minutes. Large inputs run in tiles.
    EngineError names the engines there are, or says why the runtime refused a graph.
    """
    if name == "auto":
        name, variant, reason = _choose(bundle, options)
        options = replace(options, variant=variant)
        options.say(f"{name}: {reason}")
    if name not in _ENGINES:
        raise EngineError(f"--engine {name}: no such engine; choose one of {', '.join(ENGINE_NAMES)}")
    usual = tensorrt_variant(bundle, None) if name == "tensorrt" else bundle.manifest.reference_variant
    with ExitStack() as on_failure:
        engines = []
        for share in bundle_shares(bundle, options.variant or usual, options.only_counted):
            engines.append(in_tiles(_ENGINES[name](share, options), share.tiling))
            on_failure.callback(engines[-1].close)
        on_failure.pop_all()
    return side_by_side(engines)
