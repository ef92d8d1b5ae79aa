"""Commands to one station, and its answers: for a page, a gateway, a script; `edge-control` is it at a terminal.

    with Control("ipc:///run/edge-inspect/top/control.sock") as station:
        answer, facts = station.ask("BATCH", {"batch_id": "B-7", "actor": "anna"})

What was not answered in time is not left behind in a queue, to be carried out when nobody expects it any more: the
connection is made anew. Rejected: one method for each verb, which a newer station would outdate.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from edge.client.connection import Connection
from edge.core.errors import EdgeError
from edge.wire.messages import WireError, dump_object, load_object

MAX_ANSWER_BYTES = 64 * 1024


class NoAnswer(EdgeError):
    """The station did not answer in time; it may have done what was asked all the same: look at its audit records."""


class Control:
    """One connection to a control socket, one command after the other; used from one thread. SettingsError.

    keys: a folder as in `edge.security.client_keys`, for a station that asks for keys.
    """

    def __init__(self, endpoint: str, keys: Path | None = None) -> None:
        self.endpoint = endpoint
        self._ids = itertools.count(1)
        self._link = Connection(zmq.DEALER, endpoint, keys, MAXMSGSIZE=MAX_ANSWER_BYTES)

    def ask(self, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0) -> tuple[str, Any]:
        """(DONE, REFUSED, DENIED, STATUS, FOUND, RECIPES or CONSUMERS; its facts). NoAnswer."""
        own_id = str(next(self._ids)).encode()
        self._link.request([verb.encode(), own_id, dump_object(facts or {})])
        until_s = time.monotonic() + timeout_s
        while self._link.socket.poll(max(0, round(1000 * (until_s - time.monotonic())))):
            answer, answered_id, content = (*self._link.socket.recv_multipart(), b"", b"", b"")[:3]
            if answered_id != own_id:
                continue  # to a request that was given up
            try:
                return answer.decode("ascii", "replace"), load_object("answer", content, MAX_ANSWER_BYTES)
            except WireError as error:
                raise NoAnswer(
                    f"{self.endpoint}: its answer makes no sense: {error}; is it a control socket?"
                ) from error
        self._link.reconnect()
        raise NoAnswer(
            f"{self.endpoint}: no answer to {verb} within {timeout_s:g} s; is the station running, and our key allowed?"
        )

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask(
    endpoint: str, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0, keys: Path | None = None
) -> tuple[str, Any]:
    """One command over a connection of its own; as `Control` and its `ask`."""
    with Control(endpoint, keys) as control:
        return control.ask(verb, facts, timeout_s)
