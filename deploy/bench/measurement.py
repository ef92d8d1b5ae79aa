"""What every measurement is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.bench.rows import Row
from deploy.bench.timing import Tell
from edge.core.bundle import Bundle
from edge.engines import Engine, EngineOptions, open_engine


@dataclass(frozen=True, slots=True)
class Bench:
    """file, bundle: what is measured, as it lies on disk and loaded. engine, options: what runs it.

    quick: a few rounds in place of many, for a first look. tell: takes how far the measurement is.
    """

    file: Path
    bundle: Bundle
    engine: str
    options: EngineOptions
    is_quick: bool
    tell: Tell

    def rounds(self, whole: int, quick: int) -> int:
        """How often to measure."""
        return quick if self.is_quick else whole

    def opened(
        self,
        bundle: Bundle | None = None,
        engine: str | None = None,
        variant: str | None = None,
        only_counted: bool = False,
    ) -> closing[Engine]:
        """An engine in a `with`; what is not given is the benchmark's own. EngineError as `open_engine`."""
        options = replace(self.options, variant=variant or self.options.variant, only_counted=only_counted)
        return closing(open_engine(engine or self.engine, bundle or self.bundle, options))

    def daemon_flags(self) -> list[str]:
        """The same choices as flags of `edge-inspect`."""
        flags = ["--engine", self.engine, "--threads", str(self.options.threads)]
        flags += [] if self.options.variant is None else ["--variant", self.options.variant]
        return flags + ([] if self.options.folder is None else ["--engines", str(self.options.folder)])


@dataclass(frozen=True, slots=True)
class Measurement:
    """One part of the benchmark. title: what is timed. seconds: whole and quick, roughly, on two cores."""

    name: str
    title: str
    seconds: tuple[float, float]
    run: Callable[[Bench], list[Row]]
