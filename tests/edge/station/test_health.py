"""What systemd is told, on a real notification socket."""

import socket
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge.core.types import Gap, GapCause, Inspection, Reason, Verdict
from edge.station.health import Health
from tests.edge.fakes import a_frame


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listener


def test_systemd_hears_ready_then_a_feed_while_something_moves_then_stopping(notified: socket.socket) -> None:
    with notified, closing(Health()) as health:
        health.ready("inspecting folder:/parts")
        frame = a_frame()
        health.took(frame)
        health.decided(Inspection(1, frame.captured_ns, frame.captured_at, Verdict.GOOD))
        health.idle()
        health.missed(Gap(2, 3, GapCause.CAMERA_LOST, datetime.now(timezone.utc)))
        health.stopping()
        heard = [notified.recv(200).decode() for _ in range(5)]
    assert heard == ["READY=1\nSTATUS=inspecting folder:/parts", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_without_systemd_nothing_is_sent_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Health().ready("x")


def test_a_full_notification_socket_does_not_stop_inspection(notified: socket.socket) -> None:
    with notified, closing(Health()) as health:
        for _ in range(5000):
            health.idle()


def test_a_notification_socket_that_nobody_reads_does_not_keep_the_station_from_starting(
    notified: socket.socket, tmp_path: Path
) -> None:
    notified.close()
    with closing(Health()) as health:
        health.ready("x")
        (tmp_path / "notify").unlink()
        health.idle()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
            again.bind(str(tmp_path / "notify"))
            health.idle()
            assert again.recv(200) == b"WATCHDOG=1"


def test_a_frame_in_flight_is_counted_until_its_verdict() -> None:
    health = Health()
    health.took(a_frame())
    snapshot = health.snapshot()
    assert (snapshot.captured, snapshot.in_flight, snapshot.inspected) == (1, 1, 0)
    assert snapshot.frame_age_s is not None and snapshot.frame_age_s >= 0


def test_a_camera_whose_frames_cannot_be_inspected_is_degraded_and_a_silent_one_keeps_its_own_state() -> None:
    camera = "starting"
    health = Health(camera_state=lambda: camera)
    assert health.snapshot().camera == "starting"
    camera, frame = "streaming", a_frame()
    health.took(frame)
    blind = Inspection(1, frame.captured_ns, frame.captured_at, Verdict.UNDECIDED, reason=Reason.HEALTH_GATE)
    health.decided(blind)
    assert (health.snapshot().camera, health.snapshot().state) == ("degraded", "degraded")
    camera = "stalled"
    health.idle(camera)
    assert (health.snapshot().camera, health.snapshot().state) == ("stalled", "critical")
    camera = "streaming"
    health.took(frame)
    health.decided(Inspection(2, frame.captured_ns, frame.captured_at, Verdict.GOOD))
    assert (health.snapshot().camera, health.snapshot().state) == ("streaming", "running")
