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
from edge.core.types import Inspection
from edge.delivery.delivery import Delivery
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from edge.security.trust import Trust
from edge.sockets.publisher import Publisher
from edge.sources import Source, is_live, open_source
from edge.sources.checked import CheckedSource
from edge.sources.damage import unseen_damage
from edge.sources.triggered import TriggeredFiles, TriggeredSource
from edge.sources.viewfinder import Viewfinder
from edge.station.batches import Batches
from edge.station.building import BuildReporter
from edge.station.challenges import Challenges
from edge.station.chosen import Chosen, choose
from edge.station.description import describe, origin_of
from edge.station.gate import AlertGate, DropMerger
from edge.station.golden import check_golden
from edge.station.health import Health
from edge.station.outlets import open_outlets
from edge.station.paired import open_paired
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
    triggers: Triggers | NoTriggers = field(default_factory=lambda: NoTriggers("none"))
    changed: Callable[[Inspector], None] = lambda inspector: None  # records say from now on what runs
    judge: Callable[[Inspection], Inspection] = lambda inspection: inspection  # what an open challenge makes of it
    stored: StoredPieces = field(default_factory=lambda: StoredPieces(lambda problem: None))  # pictures to look at

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
        about = describe(settings, inspector, drift, chosen.recipe.why)
        about |= {"source": source.uri, "trust": trust.description, "peers": settings.sockets.who_is_served}
        commanded = open_commanded(settings, inspector, source, trust, chosen.thresholds)
        yield _station_of(inspector, source, chosen, commanded, finder, about, stack)


def _station_of(
    inspector: Inspector,
    source: Source,
    chosen: Chosen,
    commanded: Commanded,
    finder: Viewfinder | None,
    about: dict[str, Any],
    stack: ExitStack,
) -> Station:
    """The station: what stands around its inspector and its source, opened on `stack`. about: those, to an operator."""
    settings, recipes = chosen.settings, commanded.recipes
    acquisition = settings.camera.acquisition_for(source.acquisition)
    rule = settings.gate.rule_for(acquisition)
    health = Health(lambda: source.camera_fps, (lambda: source.state) if source.is_live else lambda: None)
    stack.callback(health.close)

    def origin(runs: Inspector, choice: RecipeChoice) -> Origin:
        number, fit = commanded.table.number_of(runs.bundle.digest), chosen.thresholds.taken(runs)
        return origin_of(settings, runs, source, acquisition, choice, fit, number)

    see = None if finder is None or not source.is_live else seen_through(finder, lambda: recipes.current)
    outlets = open_outlets(settings, origin(inspector, chosen.recipe), health, commanded, see)
    stack.callback(outlets.delivery.close)
    stack.callback(recipes.close)
    return Station(
        source,
        inspector,
        AlertGate(rule, acquisition),
        DropMerger(acquisition),
        outlets.delivery,
        outlets.publisher,
        health,
        {**about, "acquisition": acquisition.value, "gate": f"{rule.k}/{rule.n}", **outlets.description},
        recipes,
        commanded.triggers,
        lambda inspector: outlets.delivery.change_origin(origin(inspector, chosen.changed_to(inspector.bundle))),
        commanded.challenges.judge,
        StoredPieces(commanded.challenges.note_stored),
    )


def open_commanded(
    settings: Settings, inspector: Inspector, source: Source, trust: Trust, thresholds: Thresholds
) -> Commanded:
    """What of the station can be commanded; the journal tells it later what it was."""
    table, batches, challenges = RecipeTable(settings.bundle.recipes), Batches(), open_challenges(settings)
    recipes = open_recipes(settings, inspector, source, trust, thresholds)
    triggers = open_triggers(settings, source, recipes, batches, challenges)
    return Commanded(triggers, recipes, table, batches, challenges, thresholds)


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
        previous=thresholds.previous(inspector),
    )


def open_challenges(settings: Settings) -> Challenges:
    """What knows of challenges; the journal tells it what was open."""
    every_h = settings.challenge.every_h
    return Challenges(None if every_h is None else 3600 * every_h, settings.challenge.overdue)


def open_triggers(
    settings: Settings, source: Source, recipes: Recipes, batches: Batches, challenges: Challenges
) -> Triggers | NoTriggers:
    """What takes TRIGGER, or says that parts are not asked for here."""
    if not isinstance(source, TriggeredSource):
        return NoTriggers(source.uri)
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
        paired = open_paired(settings, finder)
        stack.callback(paired.close)
        return paired
    source = open_source(settings.source, replace(settings.options, tap=finder))
    stack.callback(source.close)
    if settings.pairing.is_asked:
        return TriggeredFiles(source)
    return CheckedSource(source) if source.is_live else source


def _warn_of_source(inspector: Inspector, source: Source) -> None:
    if (unseen := unseen_damage(source.uri)) is not None:
        log.warning("damage in transfer", why=unseen)
    commissioning = inspector.bundle.commissioning
    if commissioning is not None and commissioning.source != source.uri:
        why = "its promise is for parts as that source shows them"
        log.warning("commissioned on another source", commissioned=commissioning.source, source=source.uri, why=why)
