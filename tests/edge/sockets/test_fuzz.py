"""Every socket under made-up input, structure-aware: what makes sense in parts goes deepest.

The schema is the oracle (through jsonschema, which the code itself does not use): what the client's decoder accepts is
what the schema calls valid, no less and no more. 20,000 inputs; `make faults` multiplies them.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge.client.replay_link import ReplayError, Welcome, _fetched, _welcome
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.told import Entry
from edge.sockets.control import ControlDesk
from edge.sockets.desk import Served
from edge.sockets.front import ControlFront
from edge.sockets.publisher import Publisher
from edge.sockets.replay import ReplayServer
from edge.sockets.requests import Request, read_request
from edge.station.triggers import NoTriggers
from edge.wire.encoding import to_frames
from edge.wire.messages import Message, WireError, decode
from edge.wire.recording import audit_record, evidence_record, history_gap_record, result_record
from edge.wire.schema import build_schema
from edge.wire.vocabulary import EvidenceFileRecord, HistoryRecord, LossCause, Outcome, schema_name
from tests.edge import samples
from tests.edge.history.records import write
from tests.edge.inventing import Inventor
from tests.edge.wire.test_schema import RECORDS_TO_CHECK, WHERE
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S

BATCH = 50  # inputs from one seed; through one socket at once
SEEDS = st.integers(0, 2**64).map(Inventor)


def inputs(count: int) -> settings:
    """So many inputs, multiplied."""
    return settings(
        max_examples=MULTIPLIER * count // BATCH,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


# --- the client's decoder: records ---

FILE = EvidenceFileRecord(uri="9f/9f.png", role="image", media_type="image/png", sha256="9f" * 32, bytes=7)
RECORDS = [
    *RECORDS_TO_CHECK,
    history_gap_record(WHERE, samples.stamp(), HistoryRecord(first_seq=1, cause=LossCause.RETENTION, last_seq=9)),
    evidence_record(WHERE, samples.stamp(), samples.RESULT_ID, (FILE,), "P1", 1),
    audit_record(WHERE, samples.stamp(), "recipe", Outcome.DONE, "{}", actor="anna"),
]
FRAMES = [to_frames(record) for record in RECORDS]
BODIES: list[dict[str, Any]] = [json.loads(frames[4]) for frames in FRAMES]


def oracle_of(kind: str) -> jsonschema.Draft202012Validator:
    """The schema's choices of this kind, with every reference replaced by what it refers to, which is faster."""
    schema = build_schema()
    choices = [inlined(one, schema["$defs"]) for one in schema["oneOf"]]
    own = [one for one in choices if one["properties"]["kind"]["const"] == kind]
    return jsonschema.Draft202012Validator({"oneOf": own} if len(own) > 1 else own[0])


def inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: inlined(one, definitions) for name, one in schema.items() if name != "description"}


ORACLES = {kind: oracle_of(kind) for kind in {body["kind"] for body in BODIES}}


def framed(body: dict[str, Any]) -> list[bytes]:
    """The body in frames that agree with it."""
    properties = {"content_type": "application/json", "schema": body["schema"]}
    topic = f"ei1/plant/line1/st4/{body['kind']}/".encode()
    stream = int(body["seq"]).to_bytes(8, "big"), bytes.fromhex(body["epoch"])
    return [topic, *stream, json.dumps(properties).encode(), json.dumps(body).encode()]


def accepted(frames: list[bytes]) -> Message | None:
    try:
        return decode(frames)
    except WireError:
        return None


@given(inventor=SEEDS)
@inputs(8000)
def test_the_decoder_accepts_what_the_schema_calls_valid_and_nothing_else(inventor: Inventor) -> None:
    for _ in range(BATCH):
        original = inventor.choice(BODIES)
        body = inventor.changed(original, BODIES)
        body |= {name: original[name] for name in ("schema", "kind", "seq", "epoch")}  # as the frames say
        is_accepted = accepted(framed(body)) is not None
        assert is_accepted is ORACLES[body["kind"]].is_valid(body), body


@given(inventor=SEEDS)
@inputs(3000)
def test_damaged_frames_are_refused_or_still_a_record(inventor: Inventor) -> None:
    for _ in range(BATCH):
        frames = inventor.damaged(inventor.choice(FRAMES), FRAMES)
        message = accepted(frames)
        if message is not None and message.kind in ORACLES:
            assert ORACLES[message.kind].is_valid({**message.body, "schema": schema_name(message.kind)})
            assert (message.body["seq"], message.body["epoch"]) == (message.seq, message.epoch.hex()), frames


# --- the client's decoder: answers ---

_EPOCHS = ["00" * 16, "ab" * 16, "00" * 15]
_CURSORS = [{"epoch": "ab" * 16, "seq": 5, "first_seq": 1, "last_seq": 4}, {"epoch": "ab" * 16, "first_seq": 2}, {}]
ANSWERS: dict[str, list[Any]] = {
    "cursor": _CURSORS,
    "gap": _CURSORS,
    "epoch": _EPOCHS,
    "head_epoch": _EPOCHS,
    "head_seq": [0, 9],
    "next": [0, 9],
}


@given(inventor=SEEDS)
@inputs(1000)
def test_any_answer_is_understood_or_refused_as_one(inventor: Inventor) -> None:
    for _ in range(BATCH):
        facts = inventor.changed(inventor.facts(ANSWERS), _CURSORS)
        for read in (lambda facts: _welcome(facts, "tcp://x"), lambda facts: _fetched((), facts, "tcp://x")):
            try:
                found = read(facts)
            except ReplayError:
                continue
            cursor = found.cursor if isinstance(found, Welcome) else found.next
            numbers = [found.head.seq, cursor.seq]
            if isinstance(found, Welcome) and found.lost is not None:
                numbers += [found.lost.first_seq, found.lost.last_seq or 0]
            assert all(type(number) is int and number >= 0 for number in numbers), facts


# --- requests: replay and control, through real sockets ---


class Fuzzed:
    """A desk on a journal of twenty records, and a peer."""

    def __init__(self, folder: Path, open_desk: Callable[[Journal, Announcer, Path], Served], stack: ExitStack) -> None:
        self.journal = stack.enter_context(closing(Journal(folder / "journal.db")))
        write(self.journal, 20, group=20)
        announcer = Announcer(samples.origin(), self.journal, lambda entry: None)
        self.desk = stack.enter_context(closing(open_desk(self.journal, announcer, folder)))
        context = stack.enter_context(zmq.Context())
        self.peer = stack.enter_context(context.socket(zmq.DEALER))
        self.peer.set(zmq.LINGER, 0)
        self.peer.connect(self.desk.endpoint)
        self._ids = itertools.count()

    def new_id(self) -> bytes:
        return b"%d" % next(self._ids)

    def exchange(self, batch: list[list[bytes]]) -> dict[bytes, list[list[bytes]]]:
        """Send the batch and a last STATUS, serve until that is answered; the answers by request id."""
        for frames in batch:
            self.peer.send_multipart(frames)
        end = self.new_id()
        self.peer.send_multipart([b"STATUS", end, b"{}"])
        answers: dict[bytes, list[list[bytes]]] = {}
        while end not in answers:
            self.desk.socket.poll(5)
            self.desk.service()
            while self.desk.turn():
                pass
            while self.peer.poll(0):
                verb, request_id, *rest = self.peer.recv_multipart()
                answers.setdefault(request_id, []).append([verb, *rest])
        return answers


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("replay")
        yield Fuzzed(folder, lambda journal, *_: ReplayServer("tcp://127.0.0.1:*", journal), stack)


@given(inventor=SEEDS)
@inputs(4000)
def test_any_request_to_replay_is_answered_or_refused_and_history_stays(replay: Fuzzed, inventor: Inventor) -> None:
    epoch = replay.journal.epoch.hex()
    resumes = ["earliest", "latest", *({"epoch": epoch, "seq": seq, "result_id": "x"} for seq in (-1, 5, 21))]
    sensible: dict[str, list[Any]] = {
        "consumer": ["a", "b", "c"],
        "resume": resumes,
        "after": [0, 5, 20, 21],
        "epoch": [epoch, "00" * 16],
        "seq": [0, 5, 20, 21],
        "result_id": ["x", samples.RESULT_ID],
        "max_messages": [1, 7, 1000],
        "max_bytes": [1, 3000, 1 << 20],
        "wait_ms": [0],
    }
    verbs = [b"HELLO", b"FETCH", b"FETCH", b"ACK", b"STATUS", b"BYE", b"DROP"]
    batch = [inventor.request(replay.new_id(), verbs, sensible) for _ in range(BATCH)]
    answers = replay.exchange(batch)
    for answer in (one for several in answers.values() for one in several):
        if answer[0] == b"EVENT":
            assert decode(answer[1:]).is_historical
        else:
            assert isinstance(json.loads(answer[1]), dict)
    for frames in batch:
        if isinstance(request := read_request([b"peer", *frames]), Request):
            final = [one for one in answers.get(request.id, []) if one[0] != b"EVENT"]
            assert len(final) == 1 or request.verb == "FETCH", request  # a newer FETCH replaces the one before
    assert [row.seq for row in replay.journal.read(0, 100)] == list(range(1, 21))


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    def open_desk(journal: Journal, announcer: Announcer, folder: Path) -> Served:
        jump = {"JUMP": lambda request: f"jumped {request.whole('height', 0, 9)}"}
        front = ControlFront(f"ipc://{folder}/c.sock", NoTriggers("x"), attempt=Isolation().run)
        return ControlDesk(front, announcer, jump, lambda: {"state": "running"}, attempt=Isolation().run)

    with ExitStack() as stack:
        yield Fuzzed(tmp_path_factory.mktemp("control"), open_desk, stack)


@given(inventor=SEEDS)
@inputs(2000)
def test_any_command_is_done_or_refused_and_each_that_can_be_read_is_recorded(
    control: Fuzzed, inventor: Inventor
) -> None:
    sensible: dict[str, list[Any]] = {
        "actor": ["anna", "x" * 64],
        "about": [samples.RESULT_ID],
        "disposition": ["scrap", "rework"],
        "height": [0, 9],
    }
    before = control.journal.head_position
    verbs = [b"JUMP", b"FEEDBACK", b"STATUS", b"X"]
    batch = [inventor.request(control.new_id(), verbs, sensible) for _ in range(BATCH)]
    answers = control.exchange(batch)
    asked = [one for frames in batch if isinstance(one := read_request([b"peer", *frames]), Request)]
    done = [answer for several in answers.values() for answer in several if answer[0] == b"DONE"]
    audits = [decode(row.frames(control.journal.epoch)).body for row in control.journal.read(before, 2 * BATCH)]
    assert len(audits) == sum(one.verb != "STATUS" for one in asked)
    assert sum(audit["outcome"] == "done" for audit in audits) == len(done)


# --- the live socket ---

RESULT = result_record(WHERE, samples.stamp(), samples.good())


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Publisher, zmq.Socket[bytes]]]:
    with (
        closing(Publisher("tcp://127.0.0.1:*")) as publisher,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as peer,
    ):
        peer.set(zmq.LINGER, 0)
        peer.connect(publisher.endpoint)
        yield publisher, peer


@given(inventor=SEEDS)
@inputs(2000 // 4)
def test_whatever_subscribers_send_others_still_hear(
    live: tuple[Publisher, zmq.Socket[bytes]], inventor: Inventor
) -> None:
    publisher, peer = live
    for _ in range(4 * BATCH):  # the other subscriber is what takes time
        known = inventor.choice([b"\x01ei1/", b"\x00ei1/", b"\x01", b"\x02\x00", b"\x01ei1/plant"])
        more = [inventor.randbytes(inventor.randrange(50)) for _ in range(inventor.randrange(3))]
        peer.send_multipart([known, *more])
    while publisher.socket.poll(1):
        publisher.service()
    with zmq.Context() as context, context.socket(zmq.SUB) as other:
        other.subscribe(b"ei1/")
        other.connect(publisher.endpoint)
        until_s = time.monotonic() + WAIT_S
        while not other.poll(5):  # it hears what is sent after its subscription came
            assert time.monotonic() < until_s, "somebody who subscribed hears nothing"
            publisher.service()
            publisher.publish(Entry(RESULT, to_frames(RESULT)))
        assert decode(other.recv_multipart()).kind == "result"
