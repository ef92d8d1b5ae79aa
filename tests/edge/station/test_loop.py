"""inspect_loop: every frame and every gap is counted and delivered, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from edge.core.errors import EngineError, SourceLost
from edge.core.types import Acquisition, Alert, AlertKind, AnomalyMap, Frame, Gap, GapCause, Inspection, Reason, Verdict
from edge.inspector import Inspector
from edge.sources.checked import CheckedSource
from edge.station.daemon import REPEATED_FAILURES, inspect_loop
from edge.station.gate import AlertGate, DropMerger, GateRule
from edge.station.health import Health
from edge.station.startup import Station
from tests.edge.fakes import BrightnessEngine, ScriptedSource, a_bundle, a_frame
from tests.patience import WAIT_S


class CollectingDelivery:
    """What the loop handed over, in order."""

    def __init__(self) -> None:
        self.inspections: list[Inspection] = []
        self.gaps: list[Gap] = []
        self.alerts: list[Alert] = []

    def put_inspection(
        self,
        inspection: Inspection,
        alerts: Sequence[Alert] = (),
        frame: Frame | None = None,
        scores: AnomalyMap | None = None,
    ) -> None:
        self.inspections.append(inspection)
        self.alerts.extend(alerts)

    def require_open(self) -> None:
        """It always is."""

    def look(self) -> None:
        """Nobody tells a state here."""

    def put_gap(self, gap: Gap, alerts: Sequence[Alert] = ()) -> None:
        self.gaps.append(gap)
        self.alerts.extend(alerts)


def never() -> bool:
    return False


def station_of(source: ScriptedSource | CheckedSource, acquisition: Acquisition = Acquisition.TRIGGERED) -> Station:
    """A station with a real inspector, gate and health around a fake engine, source and delivery."""
    rule = GateRule() if acquisition is Acquisition.TRIGGERED else GateRule(2, 3)
    return Station(
        source,
        Inspector(a_bundle(), BrightnessEngine(), resizes=False),
        AlertGate(rule, acquisition),
        DropMerger(acquisition, period_s=3600),
        CollectingDelivery(),
        None,
        Health(),
        {},
    )  # type: ignore[arg-type]


def run(
    source: ScriptedSource | CheckedSource, deadline_ms: float | None = None
) -> tuple[str, CollectingDelivery, Health]:
    station = station_of(source)
    reason = inspect_loop(station, never, deadline_ms)
    return reason, station.delivery, station.health  # type: ignore[return-value]


def red(frame_id: int) -> Frame:
    frame = a_frame(frame_id)
    frame.image[0, 0, 2] = 255
    return frame


def test_every_frame_and_gap_is_delivered_and_the_counts_balance() -> None:
    gap = Gap(3, 5, GapCause.OVERWRITTEN, datetime.now(timezone.utc))
    reason, delivery, health = run(ScriptedSource(a_frame(1), None, a_frame(2, spot=200), gap, red(6), a_frame(7)))
    assert reason == "source ended"
    assert [i.verdict for i in delivery.inspections] == [
        Verdict.GOOD,
        Verdict.DEFECTIVE,
        Verdict.UNDECIDED,
        Verdict.GOOD,
    ]
    assert delivery.gaps == [gap]
    assert [a.kind for a in delivery.alerts] == [AlertKind.DEFECT, AlertKind.UNDECIDED, AlertKind.UNDECIDED]
    snapshot = health.snapshot()
    assert (snapshot.captured, snapshot.inspected, snapshot.skipped, snapshot.undecided, snapshot.in_flight) == (
        7,
        3,
        3,
        1,
        0,
    )


def test_one_engine_failure_is_a_frames_fate_but_ten_in_a_row_are_the_engines() -> None:
    source = ScriptedSource(*[red(i + 1) for i in range(REPEATED_FAILURES - 1)], a_frame(99), red(100))
    run(source)
    with pytest.raises(EngineError, match="10 frames in a row"):
        run(ScriptedSource(*[red(i + 1) for i in range(REPEATED_FAILURES)]))


def test_a_stop_ends_the_loop_before_the_next_frame() -> None:
    station = station_of(ScriptedSource(a_frame(1)))
    assert inspect_loop(station, lambda: True) == "stopped"
    assert station.health.counts.captured == 0


SIGNALLED = """
import sys, threading
import edge.station.daemon
from edge.station.daemon import stop_on_signals
edge.station.daemon.END_S = 600.0
with stop_on_signals() as should_stop:
    last = threading.Thread(target=sys.stdin.read)
    last.start()
    print("up", flush=True)
    while last.is_alive():
        pass
    assert should_stop()
"""


def test_a_signal_that_interrupts_a_signals_handler_hangs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", SIGNALLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as told:
        try:
            assert told.stdin is not None and told.stdout is not None and told.stdout.readline() == b"up\n"
            for _ in range(100):
                for _ in range(20):
                    told.send_signal(signal.SIGTERM)
                    told.send_signal(signal.SIGINT)
                time.sleep(0.01)
            told.stdin.close()
            assert told.wait(WAIT_S) == 0
        finally:
            told.kill()


def test_a_camera_faster_than_the_engine_is_no_flood_and_hides_no_defect() -> None:
    script: list[Frame | Gap] = []
    for i in range(0, 40, 2):
        script += [
            Gap(i, i, GapCause.OVERWRITTEN, datetime.now(timezone.utc)),
            a_frame(i + 1, spot=200 if i > 20 else 0),
        ]
    station = station_of(ScriptedSource(*script), Acquisition.FREE)
    inspect_loop(station, never)
    delivery: CollectingDelivery = station.delivery  # type: ignore[assignment]
    assert [alert.kind for alert in delivery.alerts] == [AlertKind.DEFECT]
    merged = [*delivery.gaps, *station.drops.flush()]
    assert len(merged) == 2 and sum(gap.count for gap in merged) == 20
    assert station.health.counts.captured == 40 == station.health.counts.skipped + 20


def test_a_lost_camera_makes_the_station_critical_until_frames_come_again() -> None:
    source = ScriptedSource(a_frame(1), None, live=True)
    source.state = "lost"
    station = station_of(source)
    inspect_loop(station, never)
    assert station.health.snapshot().state == "critical"
    station.health.took(a_frame(2))
    assert station.health.snapshot().state == "running"


def test_a_lost_source_ends_the_loop_as_an_error() -> None:
    with pytest.raises(SourceLost):
        run(ScriptedSource(a_frame(1), SourceLost("v4l2:0: no frame for 30 s")))


def test_an_ok_that_comes_after_its_deadline_is_not_ok() -> None:
    fresh = Inspector(a_bundle(), BrightnessEngine()).inspect(replace(a_frame(1), captured_ns=time.monotonic_ns()))[0]
    old = replace(fresh, captured_ns=fresh.captured_ns - 10**12)
    assert fresh.by_deadline(60_000.0) is fresh and old.by_deadline(None) is old
    late = old.by_deadline(50.0)
    assert (late.verdict, late.reason, late.late) == (Verdict.UNDECIDED, Reason.LATE, True)
    defective = replace(old, verdict=Verdict.DEFECTIVE).by_deadline(50.0)
    assert defective.verdict is Verdict.DEFECTIVE and defective.late


def live(*frames: Frame) -> CheckedSource:
    return CheckedSource(ScriptedSource(*frames, live=True))


def test_a_live_camera_of_another_size_than_the_bundles_decides_nothing() -> None:
    _, delivery, health = run(live(a_frame(1), a_frame(2, size=(48, 64))))
    good, wrong = delivery.inspections
    assert (good.verdict, wrong.verdict, wrong.reason) == (Verdict.GOOD, Verdict.UNDECIDED, Reason.HEALTH_GATE)
    assert "wrong size: the picture has 64×48 px, the bundle was made for 32×32" in str(wrong.detail)
    assert health.snapshot().state == "degraded"


def test_so_does_a_file_unless_it_is_to_be_resized() -> None:
    frames = a_frame(1), a_frame(2, size=(48, 64)), a_frame(3, size=(64, 64))
    _, delivery, _ = run(ScriptedSource(*frames))
    assert [one.verdict for one in delivery.inspections] == [Verdict.GOOD, Verdict.UNDECIDED, Verdict.UNDECIDED]
    assert "the picture has 64×64 px, the bundle was made for 32×32" in str(delivery.inspections[2].detail)
    resized = Inspector(a_bundle(), BrightnessEngine(), resizes=True)
    assert [resized.inspect(frame)[0].verdict for frame in frames] == [Verdict.GOOD] * 3


def test_a_frozen_camera_is_never_good_and_is_degraded_until_it_moves_again() -> None:
    script = [a_frame(1, spot=10), a_frame(2, spot=10), a_frame(3, spot=10), a_frame(4, spot=11)]
    _, delivery, health = run(live(*script))
    verdicts = [inspection.verdict for inspection in delivery.inspections]
    assert verdicts == [Verdict.GOOD, Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.GOOD]
    assert "frozen: 3 frames in a row" in str(delivery.inspections[2].detail)
    assert health.snapshot().state == "running"


def test_copies_in_a_folder_are_parts_and_not_a_frozen_camera() -> None:
    _, delivery, _ = run(ScriptedSource(a_frame(1), a_frame(2)))
    assert [inspection.verdict for inspection in delivery.inspections] == [Verdict.GOOD] * 2


def test_a_part_is_judged_by_the_recipe_of_its_trigger_or_not_at_all() -> None:
    runs, ran = "0" * 64, "1" * 64
    frames = [replace(a_frame(number), recipe=recipe) for number, recipe in enumerate((None, runs, ran), 1)]
    _, delivery, _ = run(ScriptedSource(*frames))
    assert [one.verdict for one in delivery.inspections] == [Verdict.GOOD, Verdict.GOOD, Verdict.UNDECIDED]
    assert "recipe changed after its trigger" in (delivery.inspections[2].detail or "")
