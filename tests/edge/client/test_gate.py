"""A gate opens for a live, first, timely, unsimulated OK of its own trigger, and for nothing else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.client import Gate, GateAnswer
from edge.core.errors import SettingsError
from edge.core.types import Inspection
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.publisher import Publisher
from edge.wire.messages import as_historical
from edge.wire.recording import result_record
from tests.edge import samples
from tests.patience import WAIT_S, wait_until

Answer = Callable[[dict[str, Any]], "list[Inspection] | str"]
STATION_AHEAD_NS = 10**15


class Station:
    """Answers each TRIGGER as it is told to: with inspections that it publishes, or with why it refuses."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(f"ipc://{folder}/live")
        self.control_at = f"ipc://{folder}/control"
        self.control = zmq.Context.instance().socket(zmq.ROUTER)
        self.control.bind(self.control_at)
        self.sequence, self.asked = Journal(IN_MEMORY), list[dict[str, Any]]()
        self.answer: Answer = lambda facts: []
        self.is_historical, self.is_ended = False, False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def end(self) -> None:
        self.is_ended = True
        self.thread.join()
        self.control.close(0)
        self.publisher.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        for one in (self.control, self.publisher.socket):
            poller.register(one, zmq.POLLIN)
        while not self.is_ended:
            ready = dict(poller.poll(20))
            if self.publisher.socket in ready:
                self.publisher.service()
            if self.control in ready:
                self._serve()

    def _serve(self) -> None:
        peer, verb, request_id, content = self.control.recv_multipart()
        facts = json.loads(content)
        clock = {"clock_ns": STATION_AHEAD_NS}
        if verb == b"STATUS":
            self.control.send_multipart([peer, b"STATUS", request_id, json.dumps(clock).encode()])
            return
        self.asked.append(facts)
        answer = self.answer(facts)
        told = {"reason": answer} if isinstance(answer, str) else {"details": "taken"}
        word = b"REFUSED" if isinstance(answer, str) else b"DONE"
        self.control.send_multipart([peer, word, request_id, json.dumps(told | clock).encode()])
        for inspection in () if isinstance(answer, str) else answer:
            build = lambda stamp, one=inspection: result_record(samples.origin(), stamp, one)  # noqa: E731
            frames = self.sequence.assign(build).frames
            self.publisher.socket.send_multipart(as_historical(frames) if self.is_historical else frames)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path)
    station.start()
    yield station
    station.end()


def asks(station: Station, deadline_s: float = WAIT_S, **options: Any) -> GateAnswer:
    """What a gate hears of part P1, once it is subscribed and knows the station's clock."""
    station.publisher.subscribed.clear()  # by a gate before
    with Gate(live=station.publisher.endpoint, control=station.control_at, **options) as gate:
        assert station.publisher.subscribed.wait(WAIT_S)
        while gate._link.station_ns(0) is None:
            gate._link.answers()
        return gate.verdict("P1", deadline_s)


def with_id(*inspections: Callable[[str], Inspection]) -> Answer:
    return lambda facts: [make(facts["trigger_id"]) for make in inspections]


def test_an_ok_of_its_own_trigger_opens(station: Station) -> None:
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own))
    answer = asks(station)
    assert answer.is_ok and answer.why is None and answer.result is not None
    assert station.asked[0]["not_before_ns"] >= STATION_AHEAD_NS
    assert station.asked[0]["not_before_ns"] < STATION_AHEAD_NS + WAIT_S * 1e9


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda own: samples.defective(1, trigger_id=own), "NotOK"),
        (lambda own: samples.undecided(1, trigger_id=own), None),
        (lambda own: samples.good(1, trigger_id=own, is_simulated=True), "simulated"),
    ],
    ids=["not ok", "undecided", "simulated"],
)
def test_anything_else_of_its_own_trigger_does_not(
    station: Station, make: Callable[[str], Inspection], why: str | None
) -> None:
    station.answer = with_id(make, lambda own: samples.good(1, trigger_id=own))  # the first one counts
    answer = asks(station)
    assert not answer.is_ok and answer.result is not None
    assert why is None or why in (answer.why or "")


def test_an_ok_without_its_trigger_id_opens_nothing(station: Station) -> None:
    station.answer = with_id(
        lambda own: samples.good(1), lambda own: samples.good(1, trigger_id="x"), lambda own: samples.good(2)
    )
    answer = asks(station, deadline_s=0.5)
    assert (answer.is_ok, answer.why) == (False, "no result by the deadline")


def test_an_ok_of_its_own_trigger_that_names_another_part_opens_nothing(station: Station) -> None:
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own, part_id="P10"))
    answer = asks(station)
    assert (answer.is_ok, answer.why) == (False, "it names another part")


def test_old_news_open_nothing(station: Station) -> None:
    station.is_historical = True
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own))
    assert not asks(station, deadline_s=0.5).is_ok


def test_a_refusal_is_an_answer_at_once(station: Station) -> None:
    station.answer = lambda facts: "not_ready: the camera is lost"
    answer = asks(station)
    assert (answer.is_ok, answer.why) == (False, "refused: not_ready: the camera is lost")


def test_another_recipe_opens_nothing(station: Station) -> None:
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own))
    assert asks(station, recipe="abab").is_ok
    answer = asks(station, recipe="cdcd")
    assert not answer.is_ok and "another recipe" in (answer.why or "")
    assert station.asked[-1]["recipe"] == "cdcd"


def test_each_start_and_each_part_has_a_trigger_id_of_its_own(station: Station) -> None:
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own))
    for _ in range(3):
        assert asks(station).is_ok
    assert len({facts["trigger_id"] for facts in station.asked}) == 3


def test_an_ok_that_is_read_after_the_deadline_opens_nothing_and_a_part_is_dated_by_when_it_was_there(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks stands still: before it sends TRIGGER, and again with the OK in its socket."""
    stood_s = [0, 1_000]
    station.answer = with_id(lambda own: samples.good(1, trigger_id=own))
    clock_ns = lambda: time.monotonic_ns() + 10**9 * stood_s[0]  # noqa: E731
    with Gate(live=station.publisher.endpoint, control=station.control_at, clock_ns=clock_ns) as gate:
        link = gate._link
        wait_until(lambda: link.answers() or link.station_ns(0) is not None, "its clock never came")
        answers, receive = link.answers, link.receive

        def stands_still() -> Any:
            stood_s[:] = [sum(stood_s), 0]
            return answers()

        def stands_still_again(timeout_s: float) -> Any:
            if (message := receive(timeout_s)) is not None and message.kind == "result":
                stood_s[0] += 100_000
            return message

        monkeypatch.setattr(link, "answers", stands_still)
        monkeypatch.setattr(link, "receive", stands_still_again)
        answer = gate.verdict("P1", 10_000.0)
    assert (answer.is_ok, answer.why) == (False, "no result by the deadline") and answer.result is not None
    assert station.asked[0]["not_before_ns"] < STATION_AHEAD_NS + 500 * 10**9


def test_a_station_that_is_not_there_is_no_ok(tmp_path: Path) -> None:
    with Gate(live=f"ipc://{tmp_path}/nobody", control=f"ipc://{tmp_path}/nobody-either") as gate:
        answer = gate.verdict("P1", 0.2)
    assert not answer.is_ok


def test_an_endpoint_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be connected"):
        Gate(live=f"ipc://{tmp_path}/x", control="nonsense")
