"""Engines run a bundle's graphs. A new one is a file here and a line in `_ENGINES`.

`auto` takes what is present; it never times anything (a benchmark does that, and records the winner).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge.core.bundle import Bundle, GraphSet
from edge.core.errors import EngineError
from edge.core.types import Image, PatchMaps


class Engine(Protocol):
    """Runs every patch size's graph on one image; owned by the thread that calls `infer`."""

    name: str
    version: str
    variant: str

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(H, W, 3) uint8 BGR of the bundle's input size -> maps by patch size; EngineError on failure."""
        ...

    def close(self) -> None:
        """Release the runtime; `infer` must not be called afterwards."""
        ...


def _onnxruntime(graphs: GraphSet, threads: int) -> Engine:
    from edge.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graphs, threads)


_ENGINES: dict[str, Callable[[GraphSet, int], Engine]] = {"onnxruntime": _onnxruntime}
ENGINE_NAMES = ("auto", *_ENGINES)


def open_engine(name: str, bundle: Bundle, threads: int = 0) -> Engine:
    """Open the named engine on the bundle's reference graphs; `threads` 0 means one a core.

    EngineError names the engines there are, or says why the runtime refused a graph.
    """
    if name == "auto":
        name = "onnxruntime"
    if name not in _ENGINES:
        raise EngineError(f"--engine {name}: no such engine; choose one of {', '.join(ENGINE_NAMES)}")
    return _ENGINES[name](bundle.graph_set(bundle.manifest.reference_variant), threads)
