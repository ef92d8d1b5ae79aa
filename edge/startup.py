"""Everything a daemon needs, opened and proved in order, before the first frame: bundle, engine, source, sinks.

Nothing half-open survives a failure: what was opened is closed in reverse. The golden sample is run
through the engine on this machine before any part is, so an engine that computes something else is
refused at startup and not at the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

import edge
from edge.building import BuildReporter
from edge.core.bundle import Bundle, load_bundle
from edge.core.errors import EdgeError, EngineError, SettingsError
from edge.core.facts import Origin
from edge.core.scoring import fuse
from edge.core.types import Acquisition, Frame, Gap
from edge.core.vocabulary import RecipeRecord, SoftwareRecord
from edge.engines import Engine, EngineOptions, open_engine
from edge.gate import AlertGate, DropMerger
from edge.health import Health
from edge.inspector import Inspector
from edge.outlets import NO_JOURNAL, open_control, open_evidence, open_replay, open_sequence
from edge.recipes import Recipes
from edge.settings import Settings
from edge.sinks import Sink
from edge.sinks.delivery import Delivery
from edge.sinks.evidence import EvidenceWriter
from edge.sinks.overlays import OverlayWriter
from edge.sinks.publisher import Publisher
from edge.sources import Source, open_source
from edge.sources.triggered import TriggeredSource

log = structlog.get_logger()

# Standard deviations the fused map may differ. float32 on other CPUs stays below 0.001. Half precision is at 0.01 on
# screws and at 0.08 with the statistics of each place, on a CPU, whose sums are float32; a GPU may sum in half. This
# only has to tell an engine that computes something else: whether verdicts change is `edge-deploy verify`'s to say.
GOLDEN_DRIFT, GOLDEN_DRIFT_REDUCED = 0.05, 0.5


@dataclass(slots=True, eq=False)
class Station:
    """An opened daemon: what `inspect_loop` works with; only `inspector` ever changes, and only in the loop."""

    source: Source
    inspector: Inspector
    gate: AlertGate
    drops: DropMerger
    delivery: Delivery
    publisher: Publisher
    health: Health
    description: dict[str, Any]
    recipes: Recipes | None = None
    adopt: Callable[[Inspector], None] = lambda inspector: None  # tells the sinks

    def take_recipe(self) -> None:
        """At a frame boundary: run another bundle from the next frame on, if one is ready."""
        if self.recipes is not None and (change := self.recipes.due()) is not None:
            self.inspector = change.inspector
            self.adopt(change.inspector)
            self.recipes.taken(change)


@contextmanager
def open_station(settings: Settings, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Station]:
    """Open everything; EdgeError (what, where, what to do) where something cannot be. Closes on exit.

    should_stop: asked while engines are built, which takes minutes.
    """
    with ExitStack() as stack:
        inspector, drift = open_inspector(settings, stack, should_stop)
        source = open_checked_source(settings, inspector, stack)
        acquisition = settings.acquisition_for(source.acquisition)
        rule = settings.gate_for(acquisition)
        health = Health(lambda: source.camera_fps)
        stack.callback(health.close)
        origin, sinks = _origin(settings, inspector, source, acquisition), open_sinks(settings, inspector)
        publisher = Publisher(settings.publish)
        try:
            sequence = open_sequence(settings, origin)
        except EdgeError:
            publisher.close()
            raise
        delivery = Delivery(origin, publisher, sinks, health_snapshot=health.snapshot, sequence=sequence)
        stack.callback(delivery.close)
        replay = open_replay(settings, delivery)
        evidence = open_evidence(settings, delivery, inspector)
        recipes = Recipes(inspector, partial(open_bundle, settings), is_live=source.is_live)
        stack.callback(recipes.close)
        control = open_control(settings, delivery, recipes, source, evidence)
        description = describe(settings, inspector, drift) | {
            "source": source.uri,
            "acquisition": acquisition.value,
            "publish": publisher.endpoint,
            "journal": NO_JOURNAL if settings.journal is None else str(settings.journal),
            "replay": replay,
            "control": control,
            "epoch": sequence.epoch.hex(),
            "gate": f"{rule.k}/{rule.n}",
        }
        yield Station(
            source,
            inspector,
            AlertGate(rule, acquisition),
            DropMerger(acquisition),
            delivery,
            publisher,
            health,
            description,
            recipes,
            partial(_adopt, settings, source, acquisition, delivery, [*sinks, evidence]),
        )


def _adopt(
    settings: Settings,
    source: Source,
    acquisition: Acquisition,
    delivery: Delivery,
    sinks: Sequence[Sink | None],
    inspector: Inspector,
) -> None:
    """Tell everything behind the loop that another bundle runs."""
    delivery.change_origin(_origin(settings, inspector, source, acquisition))
    for sink in sinks:
        if isinstance(sink, OverlayWriter | EvidenceWriter):
            sink.use(inspector.to_frame, inspector.map_threshold)


def open_bundle(settings: Settings, bundle: Bundle) -> Inspector:
    """An inspector on another bundle, proved by its golden sample; EngineError if that fails."""
    engine = open_engine(settings.engine, bundle, _engine_options(settings))
    try:
        check_golden(bundle, engine)
    except EngineError:
        engine.close()
        raise
    return Inspector(bundle, engine)


def _engine_options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        threads=settings.threads,
        variant=settings.variant,
        folder=settings.engines,
        cuda_graph=settings.cuda_graph,
        say=lambda reason: log.info("engine", chosen=reason),
    )


def open_inspector(
    settings: Settings, stack: ExitStack, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Inspector, float]:
    """The inspector on the bundle and engine of `settings`, and the golden sample's drift in deviations."""
    bundle = load_bundle(settings.bundle)
    reporter = BuildReporter()
    stack.callback(reporter.close)
    engine = open_engine(
        settings.engine, bundle, replace(_engine_options(settings), report=reporter, should_stop=should_stop)
    )
    stack.callback(engine.close)
    return Inspector(bundle, engine), check_golden(bundle, engine)


def check_golden(bundle: Bundle, engine: Engine) -> float:
    """Run the golden sample; the largest difference of the fused map in deviations; EngineError if too large.

    It is the engine's warm-up as well.
    """
    reference = bundle.manifest.calibration(bundle.manifest.reference_variant)
    own = bundle.manifest.calibration(engine.variant)  # each variant's deviations are its own
    maps = engine.infer(bundle.golden.image)
    for size, golden in bundle.golden.maps.items():
        shapes = maps[size].regression_error.shape, golden.regression_error.shape
        if shapes[0] != shapes[1]:
            raise EngineError(
                f"golden sample: the {engine.name} engine gives a map of {shapes[0]} for patch size {size}, "
                f"the bundle says {shapes[1]}; re-export {bundle.where}"
            )
    got = fuse(maps, own.stats, own.fusion).scores
    expected = fuse(bundle.golden.maps, reference.stats, reference.fusion).scores
    drift = float(np.abs(got - expected).max())
    allowed = GOLDEN_DRIFT if engine.variant == bundle.manifest.reference_variant else GOLDEN_DRIFT_REDUCED
    if not drift <= allowed:
        raise EngineError(
            f"golden sample: the {engine.name} engine {engine.version} differs by {drift:.3g} deviations from what "
            f"{bundle.where} was calibrated with (allowed {allowed}); use another --engine or re-export"
        )
    return drift


def open_checked_source(settings: Settings, inspector: Inspector, stack: ExitStack) -> Source:
    """The source; a live one is wrapped so that a camera of another size is refused."""
    source = open_source(settings.source, lost_after_s=settings.source_lost_s)
    stack.callback(source.close)
    checked = CommissionedSource(source, inspector.geometry.frame_size) if source.is_live else source
    return TriggeredSource(checked) if settings.trigger == "control" else checked


class CommissionedSource:
    """A live source whose frames must have the size the bundle was fitted on.

    Files and folders are resized; a camera of another size was set up wrongly, and its verdicts would
    look right while the part fills another share of the picture.
    """

    is_live = True

    def __init__(self, source: Source, frame_size: tuple[int, int]) -> None:
        self._source, self._frame_size = source, frame_size
        self.uri, self.acquisition = source.uri, source.acquisition

    @property
    def state(self) -> str:
        """As the wrapped source."""
        return self._source.state

    @property
    def camera_fps(self) -> float | None:
        """As the wrapped source."""
        return self._source.camera_fps

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """As the wrapped source; SettingsError for a frame of another size."""
        frame = self._source.read(timeout_s)
        if isinstance(frame, Frame) and frame.image.shape[:2] != self._frame_size:
            height, width = frame.image.shape[:2]
            raise SettingsError(
                f"{self.uri}: the camera gives {width}×{height} px, the bundle was made for "
                f"{self._frame_size[1]}×{self._frame_size[0]}; set the camera to that, or fit a bundle on its images"
            )
        return frame

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()


def describe(settings: Settings, inspector: Inspector, drift: float) -> dict[str, Any]:
    """What an operator wants to see at start and in `--check`."""
    manifest = inspector.bundle.manifest
    calibration = manifest.calibration(inspector.engine.variant)
    return {
        "bundle": str(settings.bundle),
        "product": manifest.product,
        "sha256": inspector.bundle.digest,
        "patch_sizes": list(manifest.patch_sizes),
        "engine": f"{inspector.engine.name} {inspector.engine.version} ({inspector.engine.variant})",
        "golden_drift": round(drift, 6),
        "image_threshold": round(calibration.image_threshold, 3),
        **({} if calibration.review is None else {"review": str(calibration.review)}),
        "statistics": "of each place" if calibration.is_local else "of the whole map",
        "promise": str(calibration.bound),
    }


def _origin(settings: Settings, inspector: Inspector, source: Source, acquisition: Acquisition) -> Origin:
    manifest, engine = inspector.bundle.manifest, inspector.engine
    return Origin(
        station=settings.station,
        software=SoftwareRecord(version=edge.__version__, engine=engine.name, engine_version=engine.version),
        recipe=RecipeRecord(id=manifest.product, version=str(manifest.version), hash=inspector.bundle.digest),
        camera_uri=source.uri,
        acquisition=acquisition,
        image_threshold=inspector.image_threshold,
        map_threshold=inspector.map_threshold,
        review_threshold=inspector.review_threshold,
        deadline_ms=settings.deadline_ms,
        boot_id=_boot_id(),
        product_id=manifest.product,
    )


def open_sinks(settings: Settings, inspector: Inspector) -> list[Sink]:
    """The sinks beside the publisher."""
    if settings.overlays is None:
        return []
    return [OverlayWriter(settings.overlays, to_frame=inspector.to_frame, map_threshold=inspector.map_threshold)]


def _boot_id() -> str | None:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else None
