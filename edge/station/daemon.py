"""serve(settings): startup → inspect_loop → shutdown; signals and exit codes.

Three threads, two hand-offs: capture (live sources only) → this loop → delivery. The loop never waits
for a sink and never lets a frame pass uncounted. A part's way: `Source.read` → `Inspector.inspect` → `AlertGate.update`
→ `Delivery.put_inspection` here; then, in the delivery thread (`edge.delivery.thread`), `Announcer.announce`, which has
it numbered and committed by `Journal` before `Publisher.publish` tells it, and last the sinks. Rejected: asyncio
(native calls block it anyway) and processes (frames would be pickled; nothing is shared that needs isolating).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from edge.core.errors import (
    BuildStopped,
    EdgeError,
    EngineError,
    SettingsError,
    SinkError,
    SourceEnded,
    SourceLost,
    Unavailable,
)
from edge.core.types import Gap, Reason, Verdict
from edge.station.last_resort import last_resort
from edge.station.refusals import is_news
from edge.station.settings import Settings
from edge.station.startup import Station, open_station

log = structlog.get_logger()

STOPPED, BAD_FLAG, RUNTIME_FAILURE, TRY_AGAIN, BAD_CONFIGURATION = 0, 2, 70, 75, 78
READ_TIMEOUT_S = 1.0
DELIVERY_S, END_S = 3.5, 4.8  # from a signal: to hand over what is decided; to the end, whatever a thread does
REPEATED_FAILURES = 10


def inspect_loop(station: Station, should_stop: Callable[[], bool], deadline_ms: float | None = None) -> str:
    """Grab, inspect, decide, deliver, until it should stop or the source ends; returns which of the two.

    EngineError when the engine has failed on REPEATED_FAILURES frames in a row: one is a frame's fate, ten are its own.
    """
    source, gate, delivery, health = station.source, station.gate, station.delivery, station.health
    failures = 0  # of the engine, in a row
    while not should_stop():
        if station.recipes is not None and station.recipes.is_ready:  # a frame boundary: the next one is the new one's
            station.take_recipe()
        if time.monotonic() >= station.stored.due_s:  # known pictures, now and then: does the engine judge as it did?
            station.stored.step(station.inspector)
        try:
            frame = source.read(READ_TIMEOUT_S)
        except SourceEnded:
            return "source ended"
        if frame is None:  # nothing new: a state, not a hang
            delivery.require_open()
            health.idle(source.state)
            delivery.look()
            _deliver_gaps(station, station.drops.due())
        elif isinstance(frame, Gap):  # frames that nobody will inspect are undecided, and counted
            health.missed(frame)
            _deliver_gaps(station, station.drops.add(frame))
        else:
            health.took(frame)
            inspection, anomaly_map = station.inspector.inspect(frame)  # an engine error is UNDECIDED, never "good"
            inspection = inspection.by_deadline(deadline_ms)
            verdict = station.judge(inspection)  # a piece of a challenge is no part, and never good
            if verdict.verdict is Verdict.DEFECTIVE and station.recipes is not None:
                station.recipes.rejected(verdict)
            health.decided(verdict)
            delivery.put_inspection(verdict, gate.update(verdict), frame, anomaly_map)
            failures = failures + 1 if inspection.reason is Reason.ENGINE_ERROR else 0
            if failures >= REPEATED_FAILURES:
                raise EngineError(f"the engine failed on {failures} frames in a row: {inspection.detail}")
    return "stopped"


def _deliver_gaps(station: Station, gaps: list[Gap]) -> None:
    for gap in gaps:
        station.delivery.put_gap(gap, station.gate.undecided(gap))


def serve(settings: Settings) -> int:
    """Run one daemon until it is told to stop or its source ends; returns the process's exit code."""
    try:
        with stop_on_signals() as should_stop, open_station(settings, should_stop) as station:
            return run(station, settings, should_stop)
    except (SourceLost, SinkError, Unavailable) as error:  # it may pass by itself: let the supervisor try again
        if is_news(str(error)):
            log.error("cannot start yet; tried again until it can", error=str(error))
        return TRY_AGAIN
    except BuildStopped as stopped:
        log.info("stopped", reason=str(stopped), exit_code=STOPPED)
        return STOPPED
    except EdgeError as error:
        log.error("cannot start", error=str(error))
        return BAD_CONFIGURATION
    except Exception:  # the daemon's top level, one of the project's two: an exit code a supervisor acts on
        log.exception("unexpected failure")
        return RUNTIME_FAILURE


def run(station: Station, settings: Settings, should_stop: Callable[[], bool]) -> int:
    """Startup's end, the loop, and shutdown; whatever happens, DEATH says why."""
    log.info("ready", **station.description)
    reason, code = "failed unexpectedly", RUNTIME_FAILURE
    station.delivery.start()
    try:
        station.stored.look_at_all(station.inspector)
        station.health.ready(f"inspecting {station.source.uri}")
        _await_subscriber(station, settings.sockets.wait_for_subscriber_s, should_stop)
        station.triggers.open()
        reason = inspect_loop(station, should_stop, settings.gate.deadline_ms)
        code = STOPPED
    except SourceLost as error:
        reason, code = str(error), TRY_AGAIN
    except SettingsError as error:  # a camera of another size than the bundle was made for
        reason, code = str(error), BAD_CONFIGURATION
    except EdgeError as error:
        reason = str(error)
    finally:
        station.health.stopping()
        with suppress(SinkError):  # a dead delivery thread shows below
            _deliver_gaps(station, station.drops.flush())
            _abandon_parts(station, reason)
        station.delivery.close(DELIVERY_S, reason)
        if code == STOPPED and not station.delivery.is_complete:
            reason, code = "the last records could not be delivered", RUNTIME_FAILURE
        _log_end(station, reason, code)
    return code


def _abandon_parts(station: Station, reason: str) -> None:
    """Parts that were triggered and that nobody will inspect are gaps by name."""
    for gap in station.triggers.close(f"the station stops: {reason}"):
        station.health.missed(gap)
        _deliver_gaps(station, [gap])


def _await_subscriber(station: Station, seconds: float, should_stop: Callable[[], bool]) -> None:
    """Hold the first part until somebody listens: for folders and demos, whose parts do not come again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not should_stop() and not station.publisher.subscribed.wait(0.1):
        station.health.idle()


def _log_end(station: Station, reason: str, code: int) -> None:
    snapshot, counts = station.health.snapshot(), station.health.counts
    say = log.info if code == STOPPED else log.error
    say(
        "stopped",
        reason=reason,
        exit_code=code,
        captured=snapshot.captured,
        inspected=snapshot.inspected,
        good=counts.good,
        defective=counts.defective,
        undecided=snapshot.undecided,
        skipped=snapshot.skipped,
        overflowed=station.delivery.overflowed,
        sink_failures=station.delivery.sink_failures,
    )


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT has come; a second signal changes nothing: END_S after the
    first the process ends, whatever its threads do.

    A list and not an Event: a signal's handler may interrupt another's, and an Event whose `set` is interrupted by
    its own `set` waits for its lock forever.
    """
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with last_resort(END_S, RUNTIME_FAILURE):
            yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
