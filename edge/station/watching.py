"""The watch over the parts, as the station has it: fed with what was told, kept in the journal, told by records.

It is a sink: what fails in it delays no verdict and is counted as any other sink's. Rejected: watching in the
inspection loop, which knows neither the journal nor which of its verdicts became history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import structlog

from edge.core.errors import SettingsError
from edge.core.threshold import times_threshold
from edge.core.types import Acquisition, Verdict
from edge.history.announcer import Announcer
from edge.history.remembered import remember, remember_newest, remembered
from edge.history.told import Told
from edge.line.blocks import Sample
from edge.line.drift import Change, Rules
from edge.line.watch import Watch
from edge.sockets.requests import Request
from edge.wire.facts import HealthSnapshot, Origin, Stamp
from edge.wire.recording import drift_record
from edge.wire.records import DriftRecord
from edge.wire.vocabulary import DriftState

FAMILY, RECIPES = "watch/", 32  # of names in the journal: a line that changes its recipe never sees a shift of one
KEPT_EVERY_S = 60.0  # a crash makes it forget so much of what was no news

log = structlog.get_logger(__name__)


class PartsWatch:
    """Watches the parts of the recipe that runs, each recipe by what was normal for it; the delivery thread's.

    rules: of its baselines.
    """

    def __init__(self, announcer: Announcer, rules: Rules | None = None) -> None:
        self._announcer, self._journal, self._rules = announcer, announcer.journal, rules or Rules()
        self._watch: Watch | None = None
        self._fit, self._runs = "", ("", "")  # what it is remembered by; and with the commissioning that runs
        self._kept_s = 0.0
        self.newest_id = 0  # of the frames whose parts were told in this run

    @property
    def drifting(self) -> tuple[str, ...]:
        """The measures whose drift was told and stands."""
        return () if self._watch is None else tuple(dict.fromkeys(one.measure for one in self._watch.standing))

    def drifting_now(self) -> tuple[str, ...]:
        """The same, also where no part has come since the start or since the recipe was changed."""
        self._watching(self._announcer.origin)
        return self.drifting

    def told(self, health: HealthSnapshot) -> HealthSnapshot:
        """With what drifts; degraded, if nothing worse is told, where rejects contradict the promise."""
        health = replace(health, drifting=self.drifting)
        trouble = None if self._watch is None else self._watch.trouble
        return health if trouble is None else health.troubled(trouble.cause, trouble.advice)

    def deliver(self, told: Told) -> None:
        """One more part that was told; as `Sink`."""
        inspection = told.inspection
        self.newest_id = self.newest_id if inspection is None else inspection.frame_id
        if inspection is None or inspection.is_simulated or inspection.verdict is Verdict.UNDECIDED:
            return
        origin = told.origin or self._announcer.origin
        watch, score = self._watching(origin), inspection.score
        fitted = inspection.threshold if origin.fit is None else origin.fit.threshold
        if watch is not None and score is not None and fitted is not None:
            now_s = self._journal.powered_s()
            sample = Sample(inspection.measures, times_threshold(score, fitted))
            changes, is_news = watch.decided(sample, inspection.verdict is Verdict.DEFECTIVE, now_s)
            if changes:
                self._tell(changes, now_s)
            elif is_news and now_s - self._kept_s >= KEPT_EVERY_S:
                self._keep()

    def close(self) -> None:
        """As `Sink`."""

    def asked(self, request: Request) -> str:
        """BASELINE: a person says that what comes is normal (a new baseline), or that what stood is mended."""
        is_mended = request.text("mended", "yes|no", "no") == "yes"
        watch, now_s = self._watching(self._announcer.origin), self._journal.powered_s()
        if watch is None:
            raise SettingsError("nothing is watched here: frames are no parts, or the recipe promises nothing")
        ended = watch.mended() if is_mended else watch.begin()
        self._tell(ended, now_s)
        self._keep()
        what = "watched on by the baseline there is" if is_mended else "a new baseline from the next part on"
        return f"{what}; ended: {', '.join(change.finding.measure for change in ended) or 'nothing, none stood'}"

    def _watching(self, origin: Origin) -> Watch | None:
        """The watch over that recipe's parts; another one's is kept first. None where frames are no parts.

        A threshold that was moved makes other verdicts and no other pictures: what was normal, and what drifts, stands.
        """
        if origin.acquisition is not Acquisition.TRIGGERED or origin.promise is None:
            return None
        commissioning = origin.recipe.commissioning_hash or ""
        runs = (origin.recipe.hash, commissioning)
        if self._watch is None or self._runs != runs:
            self._keep()
            self._journal.commit()
            fit = origin.fit
            self._runs, self._fit = runs, f"{runs[0]}.{commissioning if fit is None else fit.commissioning}"
            limit = 1.0 if fit is None else times_threshold(origin.image_threshold, fit.threshold)
            self._watch = Watch(origin.promise, origin.bands, self._rules, limit)
            if state := remembered(self._journal, FAMILY + self._fit):
                self._restore(self._watch, state)
        return self._watch

    def _restore(self, watch: Watch, state: dict[str, Any]) -> None:
        try:
            watch.restore(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # of another version
            log.warning("what was normal is not known any more; a new baseline begins", why=repr(error))
            watch.begin()

    def _keep(self) -> None:
        if self._watch is not None:
            remember(self._journal, FAMILY + self._fit, self._watch.to_json())
            remember_newest(self._journal, FAMILY, RECIPES)
            self._kept_s = self._journal.powered_s()

    def _tell(self, changes: Sequence[Change], now_s: float) -> None:
        for change in changes:
            finding = change.finding
            since = datetime.now(timezone.utc) - timedelta(seconds=now_s - finding.since_s)
            if change.has_begun:
                log.warning("drift", measure=finding.measure, cause=finding.cause, what_to_do=finding.advice)
            else:
                log.info("drift ended", measure=finding.measure, cause=finding.cause)
            self._announcer.later(self._record, change=change, since=since)

    def _record(self, origin: Origin, stamp: Stamp, change: Change, since: datetime) -> DriftRecord:
        """Its record, with which the watch's state is committed: neither is ever without the other."""
        finding = change.finding
        self._keep()
        return drift_record(
            origin,
            stamp,
            measure=finding.measure,
            cause=finding.cause,
            advice=finding.advice,
            state=DriftState.BEGUN if change.has_begun else DriftState.ENDED,
            baseline=finding.baseline,
            now=finding.now,
            limit=finding.limit,
            since=since,
            reaches_limit_s=finding.reaches_limit_s,
        )
