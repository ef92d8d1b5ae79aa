"""Everything a daemon needs, opened and proved in order, before the first frame: bundle, engine, source, sinks.

Nothing half-open survives a failure: what was opened is closed in reverse. Rejected: opening the camera while the
engine is built, which would show an operator a running camera and no verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from edge.core.bundle import Bundle
from edge.core.commissioned import commissioned
from edge.core.errors import BundleError, EngineError
from edge.core.types import Frame, Inspection
from edge.delivery.delivery import Delivery
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from edge.security.trust import Trust
from edge.sockets.publisher import Publisher
from edge.sources import Source, is_live, open_source
from edge.sources.checked import CheckedSource, FrozenCheck
from edge.sources.damage import unseen_damage
from edge.sources.pairing import FreeRunning, HardwareTriggered
from edge.sources.triggered import TriggeredCamera, TriggeredFiles, TriggeredSource
from edge.sources.viewfinder import Viewfinder
from edge.station.batches import Batches
from edge.station.building import BuildReporter
from edge.station.challenges import Challenges
from edge.station.chosen import choose
from edge.station.description import describe, origin_of
from edge.station.gate import AlertGate, DropMerger
from edge.station.golden import check_golden
from edge.station.health import Health
from edge.station.outlets import open_outlets
from edge.station.prove import Prover
from edge.station.recipe_table import RecipeTable
from edge.station.recipes import Recipes
from edge.station.settings import CameraSettings, EngineSettings, Settings
from edge.station.stored_pieces import StoredPieces
from edge.station.thresholds import Thresholds
from edge.station.triggers import VALID_MS, NoTriggers, TriggerRules, Triggers
from edge.station.verbs import Commanded
from edge.station.view import seen_through
from edge.wire.facts import Origin, RecipeChoice

log = structlog.get_logger()


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
    triggers: Triggers | None = None
    changed: Callable[[Inspector], None] = lambda inspector: None  # records say from now on what runs
    judge: Callable[[Inspection], Inspection] = lambda inspection: inspection  # what an open challenge makes of it
    stored: StoredPieces = field(default_factory=lambda: StoredPieces(lambda problem: None))

    def by_its_recipe(self, frame: Frame) -> Frame:
        """The frame; with a flaw where its part was promised another recipe than the one that runs now."""
        runs = self.inspector.bundle.digest
        if frame.recipe in (None, runs):
            return frame
        why = f"the recipe changed after its trigger: it was accepted under {frame.recipe}, and {runs} runs"
        return replace(frame, flaw=frame.flaw or why)

    def take_recipe(self) -> None:
        """At a frame boundary: run another bundle from the next frame on, if one is ready."""
        if self.recipes is not None and (change := self.recipes.due()) is not None:
            self.inspector = change.inspector
            self.stored.begin(change.inspector)
            self.changed(change.inspector)
            self.recipes.taken(change)


@contextmanager
def open_station(settings: Settings, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Station]:
    """Open everything; EdgeError (what, where, what to do) where something cannot be. Closes on exit.

    should_stop: asked while engines are built, which takes minutes.
    """
    with ExitStack() as stack:
        trust = open_trust(settings)
        chosen = choose(settings)
        settings = chosen.settings
        with chosen.or_say_why():
            inspector, drift = open_inspector(settings, stack, trust, should_stop, chosen.thresholds)
        # What a command changed to is no start's own: the one that --bundle names must stay acceptable.
        trust.ran(inspector.bundle, is_start=not chosen.is_last)
        finder = Viewfinder() if settings.sockets.frames is not None else None
        source = open_checked_source(settings.camera, stack, finder)
        _warn_of_source(inspector, source)
        acquisition = settings.camera.acquisition_for(source.acquisition)
        rule = settings.gate.rule_for(acquisition)
        health = Health(
            lambda: source.camera_fps,
            (lambda: source.state) if source.is_live else lambda: None,
        )
        stack.callback(health.close)
        table, batches = RecipeTable(settings.bundle.recipes), Batches()
        challenges = open_challenges(settings)
        recipes = open_recipes(settings, inspector, source, trust, chosen.thresholds)
        triggers = open_triggers(settings, source, recipes, batches, challenges)

        def origin(runs: Inspector, choice: RecipeChoice) -> Origin:
            fit = chosen.thresholds.taken(runs)
            return origin_of(settings, runs, source, acquisition, choice, fit, table.number_of(runs.bundle.digest))

        outlets = open_outlets(
            settings,
            origin(inspector, chosen.recipe),
            health,
            Commanded(triggers or NoTriggers(source.uri), recipes, table, batches, challenges, chosen.thresholds),
            None if finder is None or not source.is_live else seen_through(finder, lambda: recipes.current),
        )
        stack.callback(outlets.delivery.close)
        stack.callback(recipes.close)
        yield Station(
            source,
            inspector,
            AlertGate(rule, acquisition),
            DropMerger(acquisition),
            outlets.delivery,
            outlets.publisher,
            health,
            describe(settings, inspector, drift, chosen.recipe.why)
            | {"source": source.uri, "trust": trust.description, "peers": settings.sockets.who_is_served}
            | {"acquisition": acquisition.value, "gate": f"{rule.k}/{rule.n}", **outlets.description},
            recipes,
            triggers,
            lambda inspector: outlets.delivery.change_origin(origin(inspector, chosen.changed_to(inspector.bundle))),
            challenges.judge,
            StoredPieces(challenges.note_stored),
        )


def open_recipes(
    settings: Settings, inspector: Inspector, source: Source, trust: Trust, thresholds: Thresholds
) -> Recipes:
    """What can change the bundle while the station runs."""
    # A path names the commissioning of the first bundle; another bundle has its own beside it.
    file = "none" if settings.bundle.commissioning == "none" else None
    return Recipes(
        inspector,
        partial(open_bundle, settings.engine, resizes=settings.camera.is_resized),
        trust,
        is_live=source.is_live,
        prover=Prover(settings.engine),
        commission=lambda bundle: thresholds.moved(commissioned(bundle, file)),
        thresholds=thresholds,
    )


def open_challenges(settings: Settings) -> Challenges:
    """What knows of challenges; the journal tells it what was open."""
    every_h = settings.challenge.every_h
    return Challenges(None if every_h is None else 3600 * every_h, settings.challenge.overdue)


def open_triggers(
    settings: Settings, source: Source, recipes: Recipes, batches: Batches, challenges: Challenges
) -> Triggers | None:
    """What takes TRIGGER, where parts are asked for."""
    if not isinstance(source, TriggeredSource):
        return None
    pairing, control = settings.camera.pairing, settings.sockets.control or ""
    rules = TriggerRules(
        window_ms=pairing.window_ms or VALID_MS,  # of files, whose parts wait: nobody has to say
        valid_ms=settings.gate.deadline_ms or VALID_MS,
        must_be_dated=control.startswith("tcp:"),
    )
    return Triggers(
        source, rules, lambda: recipes.runs, lambda: recipes.why_busy, lambda: batches.current, challenges.admit
    )


def open_bundle(settings: EngineSettings, bundle: Bundle, resizes: bool = False) -> Inspector:
    """An inspector on another bundle, proved by its golden sample; BundleError or EngineError if that fails."""
    engine = open_engine(settings.name, bundle, _engine_options(settings))
    try:
        check_golden(bundle, engine)
        return Inspector(bundle, engine, resizes)
    except (BundleError, EngineError):
        engine.close()
        raise


def _engine_options(settings: EngineSettings) -> EngineOptions:
    return replace(settings.options, say=lambda reason: log.info("engine", chosen=reason))


def open_trust(settings: Settings) -> Trust:
    """The door for bundles; releases are remembered beside the journal."""
    journal, bundle = settings.journal.path, settings.bundle
    state = None if journal is None else journal.absolute().parent
    return Trust(bundle.trusted_keys, state, is_rollback_allowed=bundle.is_rollback_allowed)


def open_inspector(
    settings: Settings,
    stack: ExitStack,
    trust: Trust | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    thresholds: Thresholds | None = None,
    only_counted: bool = True,
) -> tuple[Inspector, float]:
    """The inspector on the bundle and engine of `settings`, and the golden sample's drift in deviations.

    trust: the door that the bundle comes through; None for the one of `settings`. thresholds: what people moved, and
    what may not have risen since; None where that is not asked. only_counted: see `EngineOptions`.
    """
    thresholds = thresholds or Thresholds()
    loaded = (trust or open_trust(settings)).load(settings.bundle.path)
    bundle = thresholds.moved(commissioned(loaded, settings.bundle.commissioning))
    reporter = BuildReporter()
    stack.callback(reporter.close)
    options = replace(
        _engine_options(settings.engine), report=reporter, should_stop=should_stop, only_counted=only_counted
    )
    engine = open_engine(settings.engine.name, bundle, options)
    stack.callback(engine.close)
    inspector = Inspector(bundle, engine, settings.camera.is_resized)
    thresholds.require_kept(inspector)
    return inspector, check_golden(bundle, engine)


def open_checked_source(settings: CameraSettings, stack: ExitStack, finder: Viewfinder | None = None) -> Source:
    """The source; a live one's frames are checked: whether they are frozen. finder: sees all of them, if given."""
    if settings.pairing.is_asked and is_live(settings.source):
        paired = _open_paired(settings, finder)
        stack.callback(paired.close)
        return paired
    source = open_source(settings.source, replace(settings.options, tap=finder))
    stack.callback(source.close)
    if settings.pairing.is_asked:
        return TriggeredFiles(source)
    return CheckedSource(source) if source.is_live else source


def _open_paired(settings: CameraSettings, finder: Viewfinder | None) -> TriggeredCamera:
    """A live camera's parts as TRIGGER asks for them; SettingsError where a picture could be another part's."""
    pairing, options = settings.pairing, settings.options
    pairing.require_known(settings.source, knows_exposure=False)
    assert pairing.window_ms is not None and pairing.latency is not None
    rule = HardwareTriggered if pairing.trigger == "hardware" else FreeRunning
    return TriggeredCamera(
        lambda tap: open_source(settings.source, replace(options, tap=finder.before(tap) if finder else tap)),
        rule(round(pairing.window_ms * 1e6), pairing.latency.most_ns, round(pairing.delay_ms * 1e6)),
        pairing.latency,
        has_rhythm=pairing.trigger == "control",
        flaw_of=FrozenCheck().flaw_of,
    )


def _warn_of_source(inspector: Inspector, source: Source) -> None:
    if (unseen := unseen_damage(source.uri)) is not None:
        log.warning("damage in transfer", why=unseen)
    commissioning = inspector.bundle.commissioning
    if commissioning is not None and commissioning.source != source.uri:
        why = "its promise is for parts as that source shows them"
        log.warning("commissioned on another source", commissioned=commissioning.source, source=source.uri, why=why)
