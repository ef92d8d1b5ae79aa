"""What any engine is: one method, and its end."""

from __future__ import annotations

from typing import Protocol

from edge.core.types import Image, PatchMaps


class Engine(Protocol):
    """Runs every patch size's graph on one image; owned by the thread that calls `infer`."""

    name: str
    version: str
    variant: str

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(H, W, 3) uint8 BGR of the bundle's input size -> maps by patch size, those of neighbours among them.

        EngineError on failure.
        """
        ...

    def close(self) -> None:
        """Release the runtime; `infer` must not be called afterwards."""
        ...
