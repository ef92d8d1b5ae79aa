"""What a station says, as figures that Prometheus scrapes: from its live feed, without a name among its consumers.

Figures are for watching a line, not for booking parts: what the feed loses is counted (`records_missed`) and not
fetched, and counters begin at 0 when the exporter does, as Prometheus expects. A series never has a part's or a
record's id for a label: each would be a series for ever. Rejected: counting from the journal (a restart would show a
shift in one second), the client library's labelled counters (the station's name is known once it has spoken).
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.client import SequenceChecker
from edge.core.threshold import times_threshold
from edge.wire.messages import Message
from edge.wire.vocabulary import ResultEvaluation, StationState

PREFIX = "edge_inspect"
IDENTITY = ("site", "line", "station")
UNKNOWN = ("unknown",) * len(IDENTITY)  # until the station has spoken
LATENCY_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
SCORE_RATIO = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 5.0)
VERDICTS = {
    ResultEvaluation.OK: "ok",
    ResultEvaluation.NOT_OK: "not_ok",
    ResultEvaluation.NOT_DECIDABLE: "not_decidable",
}


class Histogram:
    """Counts of values by upper bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str, identity: Sequence[str]) -> HistogramMetricFamily:
        """As Prometheus has it: cumulative."""
        family = HistogramMetricFamily(f"{PREFIX}_{name}", text, labels=IDENTITY)
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family.add_metric(identity, buckets, self._sum)
        return family


class StationFigures(Collector):
    """Takes messages in one thread (`take`, `lag`), and is scraped in another (`collect`)."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s, self._lock = clock_s, threading.Lock()
        self._heard_s = clock_s()
        self._checker = SequenceChecker()
        self._identity: Sequence[str] = UNKNOWN
        self._info: dict[str, str] = {}
        self._parts: Counter[tuple[str, str, str]] = Counter()
        self._latency, self._score = Histogram(LATENCY_S), Histogram(SCORE_RATIO)
        self._missed = 0
        self._beat: dict[str, Any] = {}
        self._state: str | None = None
        self._drifted: set[str] = set()  # a measure that drifted once is told as 0 afterwards
        self._lag: dict[str, int] = {}

    def take(self, message: Message) -> None:
        """One message of the live feed, whatever its kind."""
        with self._lock:
            self._missed += len(self._checker.check(message).missed)
            body = message.body
            self._identity = tuple(str(body[name]) for name in IDENTITY)
            if message.kind in ("birth", "state"):
                self._note(message)
            if message.is_historical:
                return
            self._heard_s = self._clock_s()
            if message.kind == "heartbeat":
                self._beat, self._state = body, body["state"]
                self._drifted |= set(body.get("drifting", ()))
            elif message.kind == "result":
                self._count(body, 1)
                self._measure(body)
            elif message.kind == "gap" and "gap" in body:
                self._count(body, body["gap"]["count"])

    def lag(self, lag: dict[str, int]) -> None:
        """How many records each consumer has not acknowledged."""
        with self._lock:
            self._lag = lag

    def _note(self, message: Message) -> None:
        body = message.body
        if message.kind == "state":
            self._state = body["state"]
            return
        recipe, software = body["internal_recipe"], body["software"]
        self._info = {
            "version": software["version"],
            "engine": f"{software['engine']} {software['engine_version']}",
            "recipe": _name(recipe),
            "hash": recipe["hash"][:12],
            "commissioning": recipe.get("commissioning_hash", "none")[:12],
        }

    def _count(self, body: dict[str, Any], parts: int) -> None:
        verdict = VERDICTS.get(body["result_evaluation"], "undefined")
        self._parts[verdict, body.get("reason", "none"), _name(body["internal_recipe"])] += parts

    def _measure(self, body: dict[str, Any]) -> None:
        if "latency_ms" in body:
            self._latency.add(body["latency_ms"] / 1000)
        if "anomaly_score" in body and "threshold" in body:
            self._score.add(times_threshold(body["anomaly_score"], body["threshold"]))

    # --- scraped ---

    def collect(self) -> Iterator[Metric]:
        """All series, as they are now."""
        with self._lock:
            yield from (*self._counters(), *self._gauges())

    def _counters(self) -> Iterator[Metric]:
        yield _counter(
            "parts", "Parts by verdict; not_decidable with its reason.",
            self._identity, ("verdict", "reason", "recipe"), dict(self._parts),
        )  # fmt: skip
        yield _counter("records_missed", "Records that the live feed lost.", self._identity, (), {(): self._missed})
        if "frames_dropped" in self._beat:
            dropped = {(): self._beat["frames_dropped"]}
            yield _counter("frames_dropped", "Pictures a reader was too slow for.", self._identity, (), dropped)
        yield self._latency.family("latency_seconds", "From a part's picture to its verdict.", self._identity)
        yield self._score.family("score_ratio", "A part's score over its threshold.", self._identity)

    def _gauges(self) -> Iterator[Metric]:
        age = {(): max(0.0, self._clock_s() - self._heard_s)}
        yield _gauge("heartbeat_age_seconds", "Since the station was heard.", self._identity, (), age)
        states = {(one.value,): float(one.value == self._state) for one in StationState}
        yield _gauge("state", "1 for what the station says it is.", self._identity, ("state",), states)
        standing = set(self._beat.get("drifting", ()))
        drift = {(measure,): float(measure in standing) for measure in sorted(self._drifted)}
        yield _gauge("drift", "1 while this measure's drift stands.", self._identity, ("measure",), drift)
        lag = {(consumer,): float(records) for consumer, records in self._lag.items()}
        yield _gauge("journal_lag", "Records not yet acknowledged.", self._identity, ("consumer",), lag)
        if "challenge_due_s" in self._beat:
            due = {(): float(self._beat["challenge_due_s"])}
            yield _gauge("challenge_due_seconds", "Until a challenge is due.", self._identity, (), due)
        if self._info:
            info = {tuple(self._info.values()): 1.0}
            yield _gauge("info", "What runs.", self._identity, tuple(self._info), info)


def _name(recipe: dict[str, Any]) -> str:
    return f"{recipe['id']} {recipe['version']}"


Family = CounterMetricFamily | GaugeMetricFamily


def _family(
    kind: Callable[..., Family], name: str, text: str, identity: Sequence[str], labels: Sequence[str],
    values: Mapping[Any, float],
) -> Family:  # fmt: skip
    family = kind(f"{PREFIX}_{name}", text, labels=(*IDENTITY, *labels))
    for key, value in values.items():
        family.add_metric((*identity, *key), value)
    return family


_counter, _gauge = partial(_family, CounterMetricFamily), partial(_family, GaugeMetricFamily)
