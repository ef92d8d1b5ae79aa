"""A gate's two sockets to one station, and the rule by which a result opens it; nothing here waits.

`Gate` waits on it for one part at a time; a gateway turns it beside its other sockets. Rejected: a thread for each
station, which would have to be told when to give up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from edge.client.connection import Connection
from edge.client.feed import Subscription
from edge.core.errors import SettingsError
from edge.wire.messages import Message, WireError, dump_object, load_object

OK = 1
CLOCK_DRIFT = 200e-6  # of the time since the station's clock was heard: two quartzes
_MAX_ANSWER_BYTES = 64 * 1024
Answer = tuple[str, str, dict[str, Any]]  # verb, request id, facts


class GateLink:
    """The live feed and the control socket of one station. SettingsError for a bad endpoint. Used from one thread.

    Where nothing is heard of the station both are connected anew, and the control socket alone where it was refused.
    reconnections: how often that was; what was asked before has no answer then.
    """

    def __init__(
        self, live: str, control: str, keys: Path | None = None, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._clock_ns = clock_ns
        self.reconnections = 0
        self._station: tuple[int, int] | None = None  # its clock as last heard, and ours then
        self._live = Subscription(live, keys)
        try:
            self._control = Connection(zmq.DEALER, control, keys, MAXMSGSIZE=_MAX_ANSWER_BYTES)
        except SettingsError:
            self._live.close()
            raise
        self._ask_clock()

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """To be polled, until the next `receive`: something came."""
        return self._live.socket, self._control.socket

    def ask(self, verb: str, request_id: str, facts: dict[str, Any] | None = None) -> bool:
        """Send a command; False where the station cannot be reached."""
        return self._control.send([verb.encode(), request_id.encode(), dump_object(facts or {})])

    def trigger(
        self, part_id: str, trigger_id: str, deadline_s: float, recipe: str | None, since_ns: int | None = None
    ) -> bool:
        """Send TRIGGER; since_ns: the earliest moment at which the part can have been there, our clock; None: now."""
        facts: dict[str, Any] = {"part_id": part_id, "trigger_id": trigger_id, "valid_for_ms": _ms(deadline_s)}
        if recipe is not None:
            facts["recipe"] = recipe
        if (station_ns := self.station_ns(self._clock_ns() if since_ns is None else since_ns)) is not None:
            facts["not_before_ns"] = station_ns
        return self.ask("TRIGGER", trigger_id, facts)

    def receive(self, timeout_s: float = 0.0) -> Message | None:
        """The next live message, None when there was none in time; WireError for one that is malformed."""
        before = self._live.reconnections
        try:
            message = self._live.receive(timeout_s)
        finally:
            if self._live.reconnections != before:
                self._control.reconnect()
                self._connected_anew()
            elif self._control.reconnect_if_refused():
                self._connected_anew()
        if message is not None and not message.is_historical and message.body["kind"] == "heartbeat":
            self._note_clock(message.body)
        return message

    def renew(self) -> None:
        """Have the station say again what it runs."""
        self._live.renew()

    def answers(self) -> list[Answer]:
        """What the control socket has answered."""
        found = []
        while self._control.socket.poll(0):
            frames = self._control.socket.recv_multipart()
            try:
                facts = load_object("answer", frames[2], _MAX_ANSWER_BYTES) if len(frames) == 3 else {}
            except WireError:
                continue
            self._note_clock(facts)
            found.append((frames[0].decode("ascii", "replace"), frames[1].decode("ascii", "replace"), facts))
        return found

    def station_ns(self, at_ns: int) -> int | None:
        """The station's clock when ours was at_ns, at the least; None while nothing was heard of it."""
        if self._station is None:
            return None
        heard_ns, then_ns = self._station
        passed_ns = at_ns - then_ns
        return max(0, heard_ns + passed_ns - round(abs(passed_ns) * CLOCK_DRIFT))

    def close(self) -> None:
        """Disconnect."""
        self._live.close()
        self._control.close()

    def _connected_anew(self) -> None:
        self.reconnections += 1
        self._ask_clock()

    def _ask_clock(self) -> None:
        self.ask("STATUS", "clock")

    def _note_clock(self, facts: dict[str, Any]) -> None:
        if isinstance(facts.get("clock_ns"), int):
            self._station = facts["clock_ns"], self._clock_ns()


def is_result_of(message: Message, trigger_id: str) -> bool:
    """Whether it is a live result of this trigger."""
    body = message.body
    return not message.is_historical and body["kind"] == "result" and body.get("trigger_id") == trigger_id


def why_not_ok(result: dict[str, Any], part_id: str, recipe: str | None, accepts_simulated: bool) -> str | None:
    """Why the first live result of our own trigger is no OK; None where it is one.

    part_id: that was triggered, and must be named again. recipe: a hash or its beginning.
    """
    if result.get("part_id") != part_id:
        return "it names another part"
    if result["result_evaluation"] != OK:
        return str(result.get("result_evaluation_details", "NotOK" if result["defects"] else "not OK"))
    if result["late"]:
        return "it is late"
    if result["is_simulated"] and not accepts_simulated:
        return "it is simulated: not a picture of this part"
    if recipe is not None and not result["internal_recipe"]["hash"].startswith(recipe):
        return "it was judged by another recipe"
    return None


def _ms(seconds: float) -> int:
    return max(1, min(60_000, round(1000 * seconds)))
