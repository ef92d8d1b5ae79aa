"""What computes the networks, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edge.core.bundle import VARIANTS
from edge.core.errors import SettingsError
from edge.engines import ENGINE_NAMES, EngineOptions
from edge.station.settings.flags import Flag, Flags

FLAGS = [
    Flag(
        "--engine",
        "Engine",
        type=click.Choice(ENGINE_NAMES),
        default="auto",
        help="auto: TensorRT where its engines of this bundle were built once, else ONNX Runtime. tensorrt: builds "
        "them first where they are missing, which takes minutes.",
    ),
    Flag("--threads", "Engine", type=int, default=0, help="Threads of the CPU engine; 0 means one a core."),
    Flag(
        "--variant",
        "Engine",
        type=click.Choice(VARIANTS.split("|")),
        help="Precision of the graphs.  [default: fp16 on TensorRT where the bundle has it, else fp32]",
    ),
    Flag(
        "--engines",
        "Engine",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where TensorRT's engines are kept.  [default: $STATE_DIRECTORY/engines, else "
        "~/.cache/edge-inspect/engines]",
    ),
    Flag(
        "--cuda-graph",
        "Engine",
        is_flag=True,
        default=False,
        help="TensorRT: replay one recorded sequence instead of many calls.",
    ),
]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """threads: of a CPU engine, 0: one a core. variant None: the engine's own choice. folder: of TensorRT's engines."""

    name: str = "auto"
    threads: int = 0
    variant: str | None = None
    folder: Path | None = None
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        if self.name not in ENGINE_NAMES:
            raise SettingsError(f"--engine {self.name}: choose one of {', '.join(ENGINE_NAMES)}")
        if self.threads < 0:
            raise SettingsError(f"--threads {self.threads}: give 0 (one a core) or more")

    @property
    def options(self) -> EngineOptions:
        """How the daemon opens an engine."""
        return EngineOptions(
            threads=self.threads,
            variant=self.variant,
            folder=self.folder,
            only_counted=True,
            cuda_graph=self.cuda_graph,
        )


def engine_settings(flags: Flags) -> EngineSettings:
    """Of the command line; SettingsError."""
    return EngineSettings(flags["engine"], flags["threads"], flags["variant"], flags["engines"], flags["cuda_graph"])
