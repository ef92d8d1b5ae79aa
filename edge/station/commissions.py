"""COMMISSION: another threshold while the line runs, by a proposal that is believed in nothing but what it names.

The rule is kept here, whoever asks: a threshold that rises is refused while anything drifts, and unless the proposal
names each recorded part that was rejected and would pass, each of them called good by FEEDBACK; more than forty are for
training. To lower it asks nothing. Parts are recounted from the journal; what was rejected since is looked at once more
by the loop when it takes the change. ROLLBACK to a higher threshold is a rise that names nobody. Rejected: a page that
keeps the rule (others may command, too).
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np
import structlog

from edge.core.calibration import Bound
from edge.core.commissioned import fit_key, with_moved
from edge.core.commissioning import Moved
from edge.core.errors import SettingsError
from edge.core.files import read_planted
from edge.core.promise import promise_at
from edge.history.journal import Journal
from edge.history.recount import Recount
from edge.inspector import Inspector
from edge.line.proposal import MOST_ACCEPTED, MOST_BYTES, MOST_PARTS, Proposal, ProposalRefused, read_proposal
from edge.sockets.requests import Request
from edge.sockets.rights import actor_of
from edge.station.recipes import Move, Recipes
from edge.station.thresholds import MOST_MOVES, Thresholds
from edge.station.watching import PartsWatch

FOLDER = "proposals"  # below the state folder, beside the journal
_FILE, _HASH = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", r"[0-9a-f]{64}"
_GOOD, _BAD = ("accept",), ("reject", "rework", "scrap")
_NAMED = 3  # in a refusal

Steps = Generator[None, None, Future[str]]

log = structlog.get_logger(__name__)


class Commissions:
    """Takes proposals, one at a time; the delivery thread's. source: where the parts come from, as the wire has it."""

    def __init__(
        self, journal: Journal, recipes: Recipes, thresholds: Thresholds, watch: PartsWatch, source: str
    ) -> None:
        self._journal, self._recipes, self._thresholds, self._watch = journal, recipes, thresholds, watch
        self._source = source
        self._is_busy = False
        self._folder = None if journal.is_in_memory else journal.path.absolute().parent / FOLDER
        if self._folder is not None:
            with suppress(OSError):  # where it is missing, a proposal is refused and says so
                self._folder.mkdir()
                self._folder.chmod(0o770)  # whoever is in the station's group may put one there

    def command(self, request: Request) -> Steps:
        """Read and check the proposal `file`, whose SHA-256 must be `sha256`; ProposalRefused."""
        name, digest = request.text("file", _FILE), request.text("sha256", _HASH)
        if self._folder is None:
            raise SettingsError("without a journal's file a restart would forget it; start with --journal PATH")
        try:
            raw = read_planted(self._folder, name, MOST_BYTES)
        except OSError as error:
            raise ProposalRefused(f"{self._folder / name}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(raw).hexdigest() != digest:
            raise ProposalRefused(f"{name}: its SHA-256 is another one; it was written anew, look at it again")
        return self._alone(self._commission(read_proposal(raw), actor_of(request) or "unknown"))

    def roll_back(self, request: Request) -> Steps | Future[str]:
        """Run what ran before: another bundle, or the same at the threshold before."""
        current, before = self._recipes.current, self._recipes.previous
        if before is None or before.digest != current.bundle.digest:
            return self._recipes.roll_back()
        variant = current.engine.variant
        keys = [fit_key(one.digest, variant, one.calibration(variant)) for one in (before, current.bundle)]
        if keys[0] != keys[1]:
            return self._recipes.roll_back()
        return self._alone(self._return_to(before.calibration(variant).image_threshold))

    def _alone(self, steps: Steps) -> Steps:
        if self._is_busy or self._recipes.why_busy:
            raise ProposalRefused("a recipe or its threshold is being changed; ask again when that is done")
        self._is_busy = True
        try:
            return (yield from steps)
        finally:
            self._is_busy = False

    def _commission(self, proposal: Proposal, actor: str) -> Steps:
        basis = self._basis(proposal)
        recount = self._recount(basis, proposal.threshold, proposal)
        yield from recount.go_on(self._journal)
        scores = _counted(proposal, recount)
        bound = yield from self._promised(scores, proposal.threshold)
        yield from recount.go_on(self._journal)  # what came meanwhile; from here on nothing comes between
        if proposal.threshold > basis.image_threshold:
            self._require_rule(recount, proposal.accepted)
        return self._move(basis, proposal, bound, actor)

    def _return_to(self, threshold: float) -> Steps:
        basis, before = self._recipes.current, self._recipes.previous
        assert before is not None, "roll_back has looked"
        recount = self._recount(basis, threshold)
        yield from recount.go_on(self._journal)
        if threshold > basis.image_threshold:
            self._require_rule(recount, ())
        says = f"threshold {threshold:.6g} again, after {basis.image_threshold:.6g}, from the next frame on"
        return self._recipes.move(before, Move(basis, self._watch.newest_id, says))

    def _basis(self, proposal: Proposal) -> Inspector:
        """What runs, if it is what the proposal is about."""
        basis = self._recipes.current
        there = basis.bundle.commissioning
        if (proposal.recipe_hash, proposal.commissioning_hash) != (basis.bundle.digest, there and there.digest):
            raise ProposalRefused("the proposal is for another recipe or threshold than runs now; make it anew")
        if proposal.threshold == basis.image_threshold:
            raise ProposalRefused(f"the threshold is {proposal.threshold:.6g} already")
        if proposal.last_seq > self._journal.head:
            raise ProposalRefused(f"there is no record {proposal.last_seq} yet, the last is {self._journal.head}")
        if len(self._hashes(basis)) >= MOST_MOVES:
            raise ProposalRefused(
                f"the threshold was moved {MOST_MOVES} times; fit it anew on good parts (edge-deploy commission)"
            )
        return basis

    def _hashes(self, basis: Inspector) -> Sequence[str]:
        stands = self._thresholds.standing(basis)
        return () if stands is None else stands.hashes

    def _recount(self, basis: Inspector, threshold: float, proposal: Proposal | None = None) -> Recount:
        there = basis.bundle.commissioning
        counted: dict[str, Any] = {}
        if proposal is not None:
            about = frozenset((*proposal.left_out, *proposal.accepted))
            counted = {"first": proposal.first_seq, "last": proposal.last_seq, "about": about}
        return Recount(
            recipe=basis.bundle.digest,
            commissioning=None if there is None else there.digest,
            fit=frozenset(self._hashes(basis)),
            above=basis.image_threshold,
            threshold=threshold,
            most=MOST_PARTS,
            **counted,
        )

    def _promised(self, scores: Sequence[float], threshold: float) -> Generator[None, None, Bound]:
        """Its arithmetic takes up to a second, so the loader's thread does it."""
        found = self._recipes.work(lambda: promise_at(np.array(scores), threshold))
        while not found.done():
            yield
        return found.result()

    def _require_rule(self, recount: Recount, accepted: Sequence[str]) -> None:
        if drifting := self._watch.drifting_now():
            raise ProposalRefused(
                f"{', '.join(drifting)} drifts, and while that stands no threshold is raised; mend it (BASELINE says "
                "that it is), then look at what is rejected still"
            )
        if recount.passing_count > MOST_ACCEPTED:
            raise ProposalRefused(
                f"{recount.passing_count} parts that were rejected would pass, and {MOST_ACCEPTED} is the most that "
                "people look at; retrain with them"
            )
        if missing := sorted(recount.passing.keys() - set(accepted)):
            raise ProposalRefused(
                f"{len(missing)} parts that were rejected would pass and are not among the accepted: {_some(missing)}; "
                "look at each of them, and propose it with them"
            )
        if foreign := sorted(set(accepted) - recount.rejected):
            raise ProposalRefused(f"accepted: {_some(foreign)}: no recorded part of this bundle that was rejected")
        _require_said(recount, accepted, _GOOD, "accepted", "accept")

    def _move(self, basis: Inspector, proposal: Proposal, bound: Bound, actor: str) -> Future[str]:
        before = basis.bundle.commissioning
        moved = before.moved if before is not None else None
        change = Moved(
            bundle=basis.bundle.digest,
            over="" if before is None else before.fit,
            variant=basis.engine.variant,
            engine=f"{basis.engine.name} {basis.engine.version}",
            source=self._source,
            created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            fitted=basis.image_threshold if moved is None else moved.fitted,
            threshold=proposal.threshold,
            bound=bound,
            left_out=len(proposal.left_out),
            why=proposal.why,
            by=actor,
        )
        says = (
            f"threshold {change.threshold:.6g} from the next frame on, {basis.image_threshold:.6g} before: {bound}; "
            f"{change.left_out} left out as bad, {len(proposal.accepted)} rejected ones accepted: {change.why}"
        )
        told = self._recipes.move(with_moved(basis.bundle, change), Move(basis, self._watch.newest_id, says))
        told.add_done_callback(partial(_log, change, basis.image_threshold))
        return told


def _counted(proposal: Proposal, recount: Recount) -> list[float]:
    """The scores that the promise counts."""
    if recount.has_more:
        raise ProposalRefused(f"more than {MOST_PARTS} parts lie between first_seq and last_seq; take fewer")
    if foreign := sorted(set(proposal.left_out) - recount.scores.keys()):
        raise ProposalRefused(f"left_out: {_some(foreign)}: no part of this recipe between first_seq and last_seq")
    _require_said(recount, proposal.left_out, _BAD, "left_out", " or ".join(_BAD))
    left_out = set(proposal.left_out)
    return [score for result_id, score in recount.scores.items() if result_id not in left_out]


def _require_said(recount: Recount, about: Sequence[str], said: Sequence[str], name: str, words: str) -> None:
    """The last FEEDBACK about each of them is one of these."""
    if lacking := sorted(one for one in about if recount.said.get(one) not in said):
        raise ProposalRefused(f"{name}: {_some(lacking)}: the last FEEDBACK on record is not {words}; look at it")


def _some(result_ids: Sequence[str]) -> str:
    more = len(result_ids) - _NAMED
    return ", ".join(result_ids[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _log(change: Moved, before: float, told: Future[str]) -> None:
    if told.exception() is None:
        log.warning("threshold moved", by=change.by, why=change.why, threshold=change.threshold, before=before)
