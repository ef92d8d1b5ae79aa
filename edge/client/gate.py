"""The gate's side of a line: one part, one trigger, one answer; whatever is not surely an OK of this trigger rejects.

    with Gate(live="tcp://127.0.0.1:5556", control="ipc:///run/edge-inspect/line1/control.sock") as gate:
        answer = gate.verdict("P7", deadline_s=0.5)   # sends TRIGGER itself, when the part is there
        open_gate() if answer.is_ok else reject(answer.why)

Rejected: waiting for a part id, under which the late OK of an earlier pass may come.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from edge.client.feed import Subscription
from edge.core.errors import SettingsError
from edge.security.client_keys import apply_keys
from edge.wire.messages import Message, WireError, dump_object, load_object

OK = 1
CLOCK_DRIFT = 200e-6  # of the time since the station's clock was heard: two quartzes
_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """Whether this part may pass, why not (`why`, None for an OK), and the body of its result if one came."""

    is_ok: bool
    why: str | None = None
    result: dict[str, Any] | None = None


class Gate:
    """Triggers parts and waits for their own results. SettingsError for a bad endpoint. Used from one thread.

    live, control: the station's endpoints. keys: a folder as in `edge.security.client_keys`. recipe: the hash, or its
    beginning, under which parts have to be judged. accepts_simulated: an OK of a demo or of files counts too; never on
    a line.
    """

    def __init__(
        self,
        *,
        live: str,
        control: str,
        keys: Path | None = None,
        recipe: str | None = None,
        accepts_simulated: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._recipe, self._accepts_simulated, self._clock_ns = recipe, accepts_simulated, clock_ns
        self._ids = (f"{os.urandom(8).hex()}-{number}" for number in itertools.count())  # of this start alone
        self._station: tuple[int, int] | None = None  # its clock as last heard, and ours then
        self._live = Subscription(live, keys)
        self._context = zmq.Context()
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._control.set(zmq.LINGER, 0)
        self._control.set(zmq.IPV6, "[" in control)
        self._control.set(zmq.MAXMSGSIZE, _MAX_ANSWER_BYTES)
        try:
            apply_keys(self._control, keys)
            self._control.connect(control)
        except (SettingsError, zmq.ZMQError) as error:
            self.close()
            raise SettingsError(f"{control}: cannot be connected to: {error}") from error
        self._control.send_multipart([b"STATUS", b"clock", b"{}"], zmq.NOBLOCK)

    def verdict(self, part_id: str, deadline_s: float) -> GateAnswer:
        """Trigger this part, which is there now, and wait for its result for `deadline_s` seconds at most.

        Never raises for what the station or the network does: that is no OK, and `why` says what it was.
        """
        end_ns = self._clock_ns() + round(1e9 * deadline_s)
        trigger_id = next(self._ids)
        self._hear_clock()
        facts: dict[str, Any] = {"part_id": part_id, "trigger_id": trigger_id, "valid_for_ms": _ms(deadline_s)}
        if self._recipe is not None:
            facts["recipe"] = self._recipe
        if (since_ns := self._station_ns()) is not None:
            facts["not_before_ns"] = since_ns
        try:
            self._control.send_multipart([b"TRIGGER", trigger_id.encode(), dump_object(facts)], zmq.NOBLOCK)
        except zmq.Again:
            return GateAnswer(False, "the station cannot be reached")
        return self._await(trigger_id, end_ns)

    def close(self) -> None:
        """Disconnect."""
        self._live.close()
        self._control.close()
        self._context.term()

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, trigger_id: str, end_ns: int) -> GateAnswer:
        while (left_ns := end_ns - self._clock_ns()) > 0:
            if (refusal := self._refusal(trigger_id)) is not None:
                return GateAnswer(False, refusal)
            try:
                message = self._live.receive(min(left_ns / 1e9, 0.02))
            except WireError as error:
                return GateAnswer(False, f"a message makes no sense: {error}")
            if message is not None and not message.is_historical and message.body["kind"] == "heartbeat":
                self._note_clock(message.body)
            if message is not None and _is_result_of(message, trigger_id):
                return self._judged(message.body)
        return GateAnswer(False, "no result by the deadline")

    def _judged(self, result: dict[str, Any]) -> GateAnswer:
        """Of the first live result of our own trigger."""
        why = None
        if result["result_evaluation"] != OK:
            why = str(result.get("result_evaluation_details", "NotOK" if result["defects"] else "not OK"))
        elif result["late"]:
            why = "it is late"
        elif result["is_simulated"] and not self._accepts_simulated:
            why = "it is simulated: not a picture of this part"
        elif self._recipe is not None and not result["internal_recipe"]["hash"].startswith(self._recipe):
            why = "it was judged by another recipe"
        return GateAnswer(why is None, why, result)

    def _refusal(self, trigger_id: str) -> str | None:
        """Why the station refused this trigger; None while it has not."""
        for verb, request_id, facts in self._answers():
            if request_id == trigger_id and verb != "DONE":
                return f"refused: {facts.get('reason', verb)}"
        return None

    def _hear_clock(self) -> None:
        """What has been answered meanwhile, such as to STATUS: it says what the station's clock was."""
        for _ in self._answers():
            pass

    def _answers(self) -> list[tuple[str, str, dict[str, Any]]]:
        found = []
        while self._control.poll(0):
            frames = self._control.recv_multipart()
            try:
                facts = load_object("answer", frames[2], _MAX_ANSWER_BYTES) if len(frames) == 3 else {}
            except WireError:
                continue
            self._note_clock(facts)
            found.append((frames[0].decode("ascii", "replace"), frames[1].decode("ascii", "replace"), facts))
        return found

    def _note_clock(self, facts: dict[str, Any]) -> None:
        if isinstance(facts.get("clock_ns"), int):
            self._station = facts["clock_ns"], self._clock_ns()

    def _station_ns(self) -> int | None:
        """The station's clock now, at the least; None while nothing was heard of it."""
        if self._station is None:
            return None
        heard_ns, then_ns = self._station
        return heard_ns + round((self._clock_ns() - then_ns) * (1 - CLOCK_DRIFT))


def _is_result_of(message: Message, trigger_id: str) -> bool:
    body = message.body
    return not message.is_historical and body["kind"] == "result" and body.get("trigger_id") == trigger_id


def _ms(seconds: float) -> int:
    return max(1, min(60_000, round(1000 * seconds)))
