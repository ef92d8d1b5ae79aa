"""The control socket, real: every command recorded before it is answered, nothing refused in silence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
import zmq

from edge.client.control import NoAnswer, ask
from edge.core.errors import SettingsError
from edge.core.types import Interval
from edge.delivery.thread import Isolation
from edge.history.announcer import ENDED_MEANWHILE, Announcer
from edge.history.database import JournalError
from edge.history.intents import Intent, unsettled
from edge.history.journal import Journal
from edge.sockets.control import Action, ControlDesk, Question, Steps
from edge.sockets.desk import Served
from edge.sockets.endpoints import AddressInUse
from edge.sockets.front import ControlFront, TriggerTaker
from edge.sockets.requests import Request, RequestError
from edge.station.triggers import Accepted, NoTriggers
from edge.wire.records import AuditRecord, DeathRecord, StateRecord
from tests.edge.deliveries import Line
from tests.edge.history.disks import Disk, mounted
from tests.edge.sockets.test_replay import Station
from tests.patience import WAIT_S, wait_until

RESULT_ID = "0195610c-3c83-7000-8000-000000000001"


class Commanded(Station):
    """A station that can be told to jump, now or later."""

    def __init__(self, path: Path, vfs: str | None = None, triggers: TriggerTaker | None = None) -> None:
        self.triggers = triggers or NoTriggers("x")
        self.on_jump: Callable[[], object] = lambda: None
        self.later: Future[str] = Future()
        self.raises: Exception | None = None
        self.intended: list[Intent] = []
        self.jumps: list[dict[str, Any]] = []
        self.sliced = 0
        super().__init__(path, vfs)

    def desks(self, announcer: Announcer) -> list[Served]:
        actions: dict[str, Action] = {
            "JUMP": self.jump,
            "LATER": lambda _: self.later,
            "FAIL": self.fail,
            "SLICES": self.slices,
        }
        where = f"ipc://{self.path.parent}/c.sock"
        self.isolation = Isolation()
        self.desk = ControlDesk(
            ControlFront(where, self.triggers, attempt=Isolation().run),
            announcer,
            actions,
            self.tell_state,
            attempt=self.isolation.run,
        )
        return [*super().desks(announcer), self.desk]

    def tell_state(self) -> dict[str, Any]:
        if self.raises is not None:
            raise self.raises
        return {"state": self.delivery.state}

    def slices(self, request: Request) -> Steps:
        """As many as wanted, and then what is asked for: an end, a promise or an error."""
        for _ in range(int(request.facts["count"])):
            self.sliced += 1
            yield
        if self.raises is not None:
            raise self.raises
        return self.later if request.facts.get("later") else "in slices"

    def fail(self, request: Request) -> str:
        assert self.raises is not None
        raise self.raises

    def jump(self, request: Request) -> str:
        if "height" not in request.facts:
            raise SettingsError("height is missing; say how high")
        self.jumps.append(request.facts)
        assert not self.journal._db.in_transaction
        self.intended += unsettled(self.journal._db)
        self.on_jump()
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
    answer, said = ask(station.desk.endpoint, verb, facts, WAIT_S)
    assert answer == "DENIED" or isinstance(said.pop("clock_ns"), int)
    return answer, said


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
        verb, request_id, said = dealer.recv_multipart()
        assert (verb, request_id, json.loads(said)["details"]) == (b"DONE", b"1", "at last")


def test_a_slow_command_that_fails_is_refused(station: Commanded) -> None:
    station.later.set_exception(SettingsError("no such bundle"))
    assert command(station, "LATER") == ("REFUSED", {"reason": "no such bundle"})


def test_a_command_in_slices_ends_as_any_other_and_leaves_one_record(station: Commanded) -> None:
    assert command(station, "SLICES", count=3) == ("DONE", {"details": "in slices"}) and station.sliced == 3
    station.later.set_result("at last")
    assert command(station, "SLICES", count=1, later=True) == ("DONE", {"details": "at last"})
    station.raises = SettingsError("not so")
    assert command(station, "SLICES", count=2) == ("REFUSED", {"reason": "not so"})
    assert [one.outcome for one in station.audits(3)] == ["done", "done", "refused"]


def test_the_line_goes_on_between_two_slices(station: Commanded) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(station.desk.endpoint)
        dealer.send_multipart([b"SLICES", b"1", b'{"count": 1000000000}'])
        wait_until(lambda: station.sliced > 1, "it never began")
        station.inspect(3)
        assert command(station, "STATUS")[0] == "STATUS" and not dealer.poll(0)


# --- no action without a trace (row 33) ---

ANYTHING = [
    RuntimeError("can't start new thread"),
    MemoryError(),
    KeyError("\ud800"),
    zmq.ZMQError(24),
    OSError(28, "full"),
    StopIteration("of nothing"),  # which would end the slices of a command, if it came from one
]


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_a_command_that_raises_anything_at_all_is_refused_and_recorded(station: Commanded, error: Exception) -> None:
    station.raises = error
    answer, facts = command(station, "FAIL", actor="anna")
    assert answer == "REFUSED" and type(error).__name__ in facts["reason"]
    station.later.set_exception(error)
    answer, facts = command(station, "LATER")
    assert answer == "REFUSED" and type(error).__name__ in facts["reason"]
    assert command(station, "STATUS")[0] == "REFUSED"
    assert [(one.command, one.outcome) for one in station.audits(2)] == [("fail", "refused"), ("later", "refused")]
    assert command(station, "JUMP", height=1)[0] == "DONE"


class Failing(NoTriggers):
    """Whose TRIGGER meets an error that nobody foresaw."""

    def take(self, request: Request, at: Interval) -> Accepted:
        raise ZeroDivisionError("unforeseen")


def test_a_trigger_that_raises_anything_at_all_is_refused_and_recorded(tmp_path: Path) -> None:
    station = Commanded(tmp_path / "journal.db", triggers=Failing("x"))
    station.delivery.start()
    try:
        answer, facts = command(station, "TRIGGER", part_id="P1", actor="plc")
        assert answer == "REFUSED" and "ZeroDivisionError: unforeseen" in facts["reason"]
        (audit,) = station.audits(1)
        assert (audit.command, audit.outcome, audit.actor) == ("trigger", "refused", "plc")
        assert command(station, "JUMP", height=1)[0] == "DONE"
    finally:
        station.delivery.close()


def test_what_no_record_could_repeat_is_no_command(station: Commanded) -> None:
    """Half a surrogate pair, and brackets as deep as JSON can be read but not written."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(station.desk.endpoint)
        for depth in ('"\\ud800"', *("[" * depth + "]" * depth for depth in range(10, 1500, 7))):
            dealer.send_multipart([b"JUMP", b"1", b'{"height": 1, "x": %s}' % depth.encode()])
            assert dealer.poll(1000 * int(WAIT_S)), depth[:20]
            verb, _, content = dealer.recv_multipart()
            assert verb in (b"DENIED", b"DONE"), content
            assert verb == b"DENIED" or depth[0] == "["
    done = [row for row in station.journal.read(0, 10_000) if row.topic.endswith(b"/audit/")]
    assert len(done) == len(station.jumps) > 0


def test_what_is_to_be_done_is_durable_before_it_is_done(station: Commanded) -> None:
    command(station, "JUMP", height=3, actor="anna")
    (intent,) = station.intended
    asked = {"command": "jump", "arguments": '{"height":3,"actor":"anna"}', "actor": "anna"}
    assert (intent.kind, intent.request) == ("command", asked)
    assert unsettled(station.journal._db) == []


@contextmanager
def begun(station: Commanded) -> Iterator[zmq.Socket[bytes]]:
    """A slow command of anna's is being carried out; whoever waits for its answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(station.desk.endpoint)
        dealer.send_multipart([b"LATER", b"1", b'{"actor": "anna"}'])
        dealer.send_multipart([b"STATUS", b"2", b"{}"])
        assert dealer.poll(1000 * int(WAIT_S))
        assert dealer.recv_multipart()[1] == b"2"  # the command was taken before that
        yield dealer


def test_a_command_whose_station_was_killed_is_refused_by_a_record_of_the_next_start(
    station: Commanded, tmp_path: Path
) -> None:
    with begun(station):
        (tmp_path / "killed").mkdir()
        for file in tmp_path.glob("journal.db*"):
            shutil.copy(file, tmp_path / "killed")
    for expected in (1, 0):  # and it is said once
        line = Line(Journal(tmp_path / "killed" / "journal.db"))
        line.delivery.start()
        line.seen.wait_for(StateRecord)
        line.delivery.close()
        kinds = [one.record.KIND.value for one in line.seen.all if not one.record.IS_TRANSIENT]
        assert kinds == ["birth", *expected * ["audit"], "state", "state", "death"]
        told = [one.record for one in line.seen.all if isinstance(one.record, AuditRecord)]
        assert [(one.command, one.outcome, one.actor, one.details) for one in told] == expected * [
            ("later", "refused", "anna", ENDED_MEANWHILE)
        ]


def test_a_command_that_is_not_done_when_the_station_ends_is_refused_before_death(station: Commanded) -> None:
    with begun(station) as dealer:
        station.delivery.close()
        assert dealer.poll(1000 * int(WAIT_S))
        verb, request_id, said = dealer.recv_multipart()
        assert (verb, request_id, json.loads(said)["reason"]) == (b"REFUSED", b"1", "the station ended meanwhile")
    (audit,), (death,) = station.audits(1), station.seen.wait_for(DeathRecord)
    assert (audit.details, audit.seq) == (ENDED_MEANWHILE, death.seq - 1)


def test_nothing_is_done_that_cannot_be_recorded_and_what_was_done_is_recorded_when_that_is_possible_again(
    tmp_path: Path,
) -> None:
    class Beating(Commanded):
        HEARTBEAT_S = 0.05  # as often as a journal that failed is tried again

    disk = Disk(apsw.FullError)
    with mounted(disk) as vfs:
        station = Beating(tmp_path / "journal.db", vfs)
        station.delivery.start()
        station.seen.wait_for(StateRecord)
        disk.fails = range(10**9)
        answer, facts = command(station, "JUMP", height=1)
        assert answer == "REFUSED" and "FullError" in facts["reason"] and station.jumps == []
        disk.fails = range(0)

        def jump() -> None:
            station.journal.stage("INSERT INTO facts VALUES('jumped', 'high')")
            disk.fails = range(10**9)

        station.on_jump = jump
        answer, facts = command(station, "JUMP", height=2)
        assert answer == "DONE" and "could not be recorded" in facts["details"]
        disk.fails = range(0)
        (audit,) = station.audits(1)
        assert (audit.command, audit.outcome, json.loads(audit.arguments)) == ("jump", "done", {"height": 2})
        assert unsettled(station.journal._db) == []
        assert station.journal.query("SELECT value FROM facts WHERE name = 'jumped'") == [("high",)]
        station.delivery.close()


def test_status_leaves_no_record(station: Commanded) -> None:
    command(station, "STATUS")
    command(station, "JUMP", height=1)
    assert [record.command for record in station.audits(1)] == ["jump"]


def test_feedback_is_kept_with_the_part_it_is_about(station: Commanded) -> None:
    answer, _ = command(station, "FEEDBACK", about=RESULT_ID, disposition="scrap", actor="mes")
    (record,) = station.audits(1)
    assert (answer, record.about_result_id, record.details) == ("DONE", RESULT_ID, f"scrap for {RESULT_ID}")


def test_feedback_that_names_a_part_is_recorded_with_the_record_it_is_about(station: Commanded) -> None:
    def about(request: Request) -> Request:
        if request.facts["part_id"] != "P7":
            raise RequestError("there is no record of it")
        return replace(request, facts={**request.facts, "about": RESULT_ID})

    station.desk._about = about
    assert command(station, "FEEDBACK", part_id="P7", disposition="scrap")[0] == "DONE"
    assert command(station, "FEEDBACK", part_id="P8", disposition="scrap")[0] == "REFUSED"
    done, refused = station.audits(2)
    assert (done.about_result_id, refused.about_result_id) == (RESULT_ID, None)
    assert "no record" in refused.details


def test_a_question_is_answered_in_its_own_words_and_leaves_no_record(station: Commanded) -> None:
    def find(request: Request) -> dict[str, Any]:
        if "part_id" not in request.facts:
            raise RequestError("say which")
        return {"parts": [request.facts["part_id"]]}

    station.desk._questions["FIND"] = Question("FOUND", find)
    assert command(station, "FIND", part_id="P7") == ("FOUND", {"parts": ["P7"]})
    assert command(station, "FIND") == ("REFUSED", {"reason": "say which"})
    command(station, "JUMP", height=1)
    assert [record.command for record in station.audits(1)] == ["jump"]


@pytest.mark.parametrize(
    ("error", "failures"), [(SettingsError("there is no table"), 0), (JournalError("the disk is gone"), 1)]
)
def test_a_question_that_is_refused_on_purpose_is_no_failure_of_the_station(
    station: Commanded, error: Exception, failures: int
) -> None:
    station.raises = error
    station.desk._questions["FAIL"] = Question("FAILED", station.fail)  # type: ignore[arg-type]
    assert command(station, "FAIL") == ("REFUSED", {"reason": str(error)})
    assert station.isolation.failures == failures


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
        ControlFront(station.desk.endpoint, NoTriggers("x"), attempt=Isolation().run)


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
    assert json.loads(run("STATUS")[1])["state"] == "running"
    assert run("JUMP", "height")[0] == 2
