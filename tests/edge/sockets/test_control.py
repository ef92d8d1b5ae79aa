"""The control socket, real: every command recorded before it is answered, nothing refused in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.commands.edge_control import NoAnswer, ask
from edge.core.errors import SettingsError
from edge.history.announcer import Announcer
from edge.sockets.control import ControlDesk
from edge.sockets.desk import Desk
from edge.sockets.endpoints import AddressInUse
from edge.sockets.requests import Request
from edge.wire.records import AuditRecord
from tests.edge.sockets.test_replay import Station
from tests.patience import WAIT_S

RESULT_ID = "0195610c-3c83-7000-8000-000000000001"


class Commanded(Station):
    """A station that can be told to jump, now or later."""

    def __init__(self, path: Path) -> None:
        self.later: Future[str] = Future()
        self.jumps: list[dict[str, Any]] = []
        super().__init__(path)

    def desks(self, announcer: Announcer) -> list[Desk]:
        actions: dict[str, Callable[[Request], str | Future[str]]] = {"JUMP": self.jump, "LATER": lambda _: self.later}
        where = f"ipc://{self.path.parent}/c.sock"
        self.desk = ControlDesk(where, announcer, actions, lambda: {"state": self.delivery.state})
        return [*super().desks(announcer), self.desk]

    def jump(self, request: Request) -> str:
        if "height" not in request.facts:
            raise SettingsError("height is missing; say how high")
        self.jumps.append(request.facts)
        return "jumped"

    def audits(self, count: int) -> list[AuditRecord]:
        return self.seen.wait_for(AuditRecord, count)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Commanded]:
    opened = Commanded(tmp_path / "journal.db")
    opened.delivery.start()
    yield opened
    opened.delivery.close()


def command(station: Commanded, verb: str, **facts: Any) -> tuple[str, Any]:
    return ask(station.desk.endpoint, verb, facts, WAIT_S)


def test_every_command_is_recorded_before_it_is_answered(station: Commanded) -> None:
    assert command(station, "JUMP", height=3, actor="anna") == ("DONE", {"details": "jumped"})
    in_journal = [row for row in station.journal.read(0, 100) if row.topic.endswith(b"/audit/")]
    body = json.loads(in_journal[0].body)
    assert (body["command"], body["outcome"], body["actor"], body["details"]) == ("jump", "done", "anna", "jumped")
    assert json.loads(body["arguments"]) == {"height": 3, "actor": "anna"}
    assert station.jumps == [{"height": 3, "actor": "anna"}]


def test_a_refused_command_is_recorded_too_with_the_reason(station: Commanded) -> None:
    assert command(station, "JUMP") == ("REFUSED", {"reason": "height is missing; say how high"})
    answer, facts = command(station, "FLY")
    assert answer == "REFUSED" and "there is no FLY" in facts["reason"] and "JUMP" in facts["reason"]
    assert [(record.command, record.outcome) for record in station.audits(2)] == [
        ("jump", "refused"),
        ("fly", "refused"),
    ]


def test_a_slow_command_is_answered_when_it_is_done_and_holds_up_nobody(station: Commanded) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(station.desk.endpoint)
        dealer.send_multipart([b"LATER", b"1", b"{}"])
        assert command(station, "STATUS") == ("STATUS", {"state": "running"})
        station.inspect(3)
        assert not dealer.poll(0)
        station.later.set_result("at last")
        assert dealer.poll(1000 * int(WAIT_S))
        assert dealer.recv_multipart() == [b"DONE", b"1", b'{"details":"at last"}']


def test_a_slow_command_that_fails_is_refused(station: Commanded) -> None:
    station.later.set_exception(SettingsError("no such bundle"))
    assert command(station, "LATER") == ("REFUSED", {"reason": "no such bundle"})


def test_status_leaves_no_record(station: Commanded) -> None:
    command(station, "STATUS")
    command(station, "JUMP", height=1)
    assert [record.command for record in station.audits(1)] == ["jump"]


def test_feedback_is_kept_with_the_part_it_is_about(station: Commanded) -> None:
    answer, _ = command(station, "FEEDBACK", about=RESULT_ID, disposition="scrap", actor="mes")
    (record,) = station.audits(1)
    assert (answer, record.about_result_id, record.details) == ("DONE", RESULT_ID, f"scrap for {RESULT_ID}")


@pytest.mark.parametrize(
    "facts",
    [{}, {"about": RESULT_ID}, {"about": "P7", "disposition": "scrap"}, {"about": RESULT_ID, "disposition": "burn"}],
)
def test_feedback_that_makes_no_sense_is_refused(station: Commanded, facts: dict[str, Any]) -> None:
    assert command(station, "FEEDBACK", **facts)[0] == "REFUSED"
    (record,) = station.audits(1)
    assert record.about_result_id is None


@pytest.mark.parametrize(
    "frames", [[b"x"], [b"jump", b"1", b"{}"], [b"JUMP", b"1", b"[]"], [b"JUMP", b"1", b"{" * 999]]
)
def test_what_is_no_request_is_denied(station: Commanded, frames: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(station.desk.endpoint)
        dealer.send_multipart(frames)
        assert dealer.poll(1000 * int(WAIT_S))
        assert dealer.recv_multipart()[0] == b"DENIED"
    assert station.jumps == []


def test_a_second_desk_does_not_take_over_the_socket(station: Commanded) -> None:
    with pytest.raises(AddressInUse, match="--control"):
        ControlDesk(station.desk.endpoint, station.line.announcer, {}, dict)


def test_no_answer_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="is the station running"):
        ask(f"ipc://{tmp_path}/nobody.sock", "STATUS", timeout_s=0.05)
    with pytest.raises(SettingsError):
        ask("nonsense://", "STATUS")


def test_edge_control_sends_one_command_and_tells_the_outcome_by_its_exit_code(station: Commanded) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "edge.commands.edge_control", station.desk.endpoint, *arguments],
            capture_output=True, text=True, timeout=3 * WAIT_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    assert run("jump", "height=2", "actor=anna") == (0, "jumped\n", "")
    assert run("JUMP")[0] == 1
    assert json.loads(run("STATUS")[1]) == {"state": "running"}
    assert run("JUMP", "height")[0] == 2
