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

from edge.client.gate_link import GateLink, is_result_of, why_not_ok
from edge.wire.messages import WireError


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
        self._link = GateLink(live, control, keys, clock_ns)

    def verdict(self, part_id: str, deadline_s: float) -> GateAnswer:
        """Trigger this part, which is there now, and wait for its result for `deadline_s` seconds at most.

        Never raises for what the station or the network does: that is no OK, and `why` says what it was.
        """
        began_ns = self._clock_ns()  # the part is there now, however long all this takes
        end_ns = began_ns + round(1e9 * deadline_s)
        trigger_id = next(self._ids)
        self._link.answers()  # to earlier parts: they say what the station's clock was
        if not self._link.trigger(part_id, trigger_id, deadline_s, self._recipe, began_ns):
            return GateAnswer(False, "the station cannot be reached")
        return self._await(part_id, trigger_id, end_ns)

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, part_id: str, trigger_id: str, end_ns: int) -> GateAnswer:
        while (left_ns := end_ns - self._clock_ns()) > 0:
            if (refusal := self._refusal(trigger_id)) is not None:
                return GateAnswer(False, refusal)
            try:
                message = self._link.receive(min(left_ns / 1e9, 0.02))
            except WireError as error:
                return GateAnswer(False, f"a message makes no sense: {error}")
            if message is not None and is_result_of(message, trigger_id):
                if self._clock_ns() >= end_ns:  # this process stood still: the part is out of the gate's reach
                    return GateAnswer(False, "no result by the deadline", message.body)
                why = why_not_ok(message.body, part_id, self._recipe, self._accepts_simulated)
                return GateAnswer(why is None, why, message.body)
        return GateAnswer(False, "no result by the deadline")

    def _refusal(self, trigger_id: str) -> str | None:
        """Why the station refused this trigger; None while it has not."""
        for verb, request_id, facts in self._link.answers():
            if request_id == trigger_id and verb != "DONE":
                return f"refused: {facts.get('reason', verb)}"
        return None
