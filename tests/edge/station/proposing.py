"""A station's side of COMMISSION without sockets and camera: a journal, what runs, and whoever proposes thresholds."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.core.bundle import Bundle
from edge.core.commissioned import commissioned
from edge.core.errors import EdgeError
from edge.core.types import Inspection, Measures
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.last_recipe import before_start
from edge.history.told import Told
from edge.inspector import Inspector
from edge.line.drift import Rules
from edge.line.proposal import Proposal, write_proposal
from edge.security.trust import Trust
from edge.sockets.requests import Request, RequestError
from edge.station.commissions import FOLDER, Commissions, Steps
from edge.station.description import bands_of, promise_of
from edge.station.recipes import Recipes
from edge.station.thresholds import Thresholds
from edge.station.watching import PartsWatch
from edge.wire.facts import Origin, RecipeChoice
from edge.wire.recording import audit_record
from edge.wire.records import BirthRecord, Record
from edge.wire.vocabulary import Outcome, RecipeRecord
from tests.edge import samples
from tests.edge.fakes import BrightnessEngine, a_bundle
from tests.patience import WAIT_S, wait_until

THRESHOLD = 100.0  # of the bundle
SOON = Rules(blocks=4, span_s=0.0)


class Line:
    """Runs one bundle (`bolt.bundle`, with a commissioning beside it if a test puts one there) on the fake engine."""

    def __init__(self, folder: Path, review: float | None = None) -> None:
        self.folder, self.review = folder, review
        self.commissioning: str | None = None  # as the flag
        self.told: list[Record] = []
        self.next_id = 1
        self.open()

    # --- its life ---

    def bundle(self, name: str = "bolt.bundle") -> Bundle:
        made = replace(a_bundle(review_threshold=self.review), where=str(self.folder / name))
        return commissioned(replace(made, digest=f"{ord(name[0]) % 16:x}" * 64), self.commissioning)

    def open(self) -> None:
        """A start."""
        path = self.folder / "journal.db"
        self.thresholds = Thresholds(before_start(path, may_salvage=True).fits)
        inspector = Inspector(self.thresholds.moved(self.bundle()), BrightnessEngine())
        self.thresholds.require_kept(inspector)
        self.journal = Journal(path)
        self.announcer = Announcer(self.origin(inspector), self.journal, lambda entry: self.told.append(entry.record))
        self.watch = PartsWatch(self.announcer, SOON)
        trust = Trust()
        trust.load = lambda path: replace(self.bundle(path.name))  # type: ignore[method-assign]
        self.recipes = Recipes(
            inspector, lambda bundle: Inspector(bundle, BrightnessEngine()), trust, is_live=False,
            commission=self.thresholds.moved, thresholds=self.thresholds,
        )  # fmt: skip
        self.commissions = Commissions(self.journal, self.recipes, self.thresholds, self.watch, "folder:/parts")
        self.announcer.begin()
        self.announcer.announce()

    def close(self) -> None:
        self.recipes.close()
        self.journal.close()

    def restart(self) -> Line:
        self.close()
        self.open()
        return self

    def origin(self, inspector: Inspector) -> Origin:
        bundle = inspector.bundle
        there = None if bundle.commissioning is None else bundle.commissioning.digest
        return samples.origin(
            recipe=RecipeRecord(id="bolt", version="1", hash=bundle.digest, commissioning_hash=there),
            image_threshold=inspector.image_threshold,
            map_threshold=inspector.map_threshold,
            review_threshold=inspector.review_threshold,
            promise=promise_of(inspector.calibration.bound),
            bands=bands_of(inspector.health),
            choice=RecipeChoice(path="a", why="a test", flag_path="a", flag_digest=""),
            fit=self.thresholds.taken(inspector),
        )

    @property
    def threshold(self) -> float:
        return self.recipes.current.image_threshold

    @property
    def births(self) -> list[BirthRecord]:
        return [one for one in self.told if isinstance(one, BirthRecord)]

    # --- parts ---

    def judged(self, score: float, **changes: Any) -> Inspection:
        """As the loop has it: counted there, and not told yet."""
        inspector = self.recipes.current
        verdict, reason, detail = inspector._decide(score)
        part = samples.good(
            self.next_id, verdict=verdict, reason=reason, detail=detail, score=score, threshold=self.threshold
        )
        self.next_id += 1
        measures = Measures(100.0 + score % 3, 0.0, 0.6, 0.95)
        part = replace(part, **{"measures": measures, **changes})
        if verdict.value == "defective":
            self.recipes.rejected(part)
        return part

    def tell(self, *parts: Inspection) -> list[str]:
        """Make them history; their result_ids."""
        told = self.announcer.announce([Told(inspection=part) for part in parts])
        for one in told:
            self.watch.deliver(one)
        self.announcer.announce()
        return [one.entries[0].record.result_id for one in told]

    def parts(self, *scores: float, **changes: Any) -> list[str]:
        return self.tell(*(self.judged(score, **changes) for score in scores))

    def good(self, count: int = 60, most: float = 20.0) -> list[str]:
        return self.parts(*np.linspace(1.0, most, count))

    def say(self, result_id: str, disposition: str = "accept", outcome: Outcome = Outcome.DONE) -> None:
        """FEEDBACK, as the control socket records it."""
        arguments = json.dumps({"about": result_id, "disposition": disposition})
        about = result_id if outcome is Outcome.DONE else None
        self.announcer.announce_now(
            audit_record, command="feedback", outcome=outcome, arguments=arguments, about_result_id=about
        )

    # --- commands ---

    def proposal(self, threshold: float, **changes: Any) -> Proposal:
        recipe = self.announcer.origin.recipe
        made = Proposal(
            recipe.hash, recipe.commissioning_hash, threshold, 1, self.journal.head, (), (), "as people saw them"
        )
        return replace(made, **changes)

    def put(self, raw: bytes, name: str = "p.json") -> dict[str, Any]:
        (self.folder / FOLDER / name).write_bytes(raw)
        return {"file": name, "sha256": hashlib.sha256(raw).hexdigest(), "actor": "anna"}

    def propose(self, threshold: float, **changes: Any) -> str:
        """DONE's details, or why it was refused."""
        return self.command(self.put(write_proposal(self.proposal(threshold, **changes))))

    def command(self, facts: dict[str, Any], verb: str = "COMMISSION") -> str:
        try:
            return self.taken(self.begin(facts, verb))
        except (EdgeError, RequestError) as refusal:
            return f"refused: {refusal}"

    def begin(self, facts: dict[str, Any], verb: str = "COMMISSION") -> Future[str]:
        """Until the loop may take it."""
        act = self.commissions.roll_back if verb == "ROLLBACK" else self.commissions.command
        steps = act(Request(b"", verb, b"1", facts))
        if isinstance(steps, Future):
            return steps
        return _end_of(steps)

    def taken(self, told: Future[str]) -> str:
        """The loop comes to a frame boundary."""
        wait_until(lambda: told.done() or self.recipes.is_ready, "it was never ready")
        if (change := self.recipes.due()) is not None:
            self.announcer.origin = self.origin(change.inspector)
            self.announcer.birth()
            self.recipes.taken(change)
            self.announcer.announce()
        return told.result(WAIT_S)

    def recipe(self, name: str = "bolt.bundle") -> str:
        try:
            return self.taken(self.recipes.change(Path(name)))
        except EdgeError as refusal:
            return f"refused: {refusal}"

    def roll_back(self) -> str:
        return self.command({}, "ROLLBACK")

    def drift(self) -> None:
        """Until a lamp has gone dim, by the bands of a bundle that has none: scores drift."""
        for score in (10.0,) * 6 + (60.0,) * 8:
            self.parts(*np.random.default_rng(1).normal(score, 1, 50))
        assert self.watch.drifting


def _end_of(steps: Steps) -> Future[str]:
    while True:
        try:
            next(steps)
            time.sleep(0.001)
        except StopIteration as end:  # noqa: PERF203 — it is how a generator says what it returns
            return end.value  # type: ignore[no-any-return]
