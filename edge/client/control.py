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

from edge.core.errors import EdgeError, SettingsError
from edge.security.client_keys import apply_keys
from edge.wire.messages import WireError, dump_object, load_object

MAX_ANSWER_BYTES = 64 * 1024


class NoAnswer(EdgeError):
    """The station did not answer in time; it may have done what was asked all the same: look at its audit records."""


class Control:
    """One connection to a control socket, one command after the other; used from one thread. SettingsError.

    keys: a folder as in `edge.security.client_keys`, for a station that asks for keys.
    """

    def __init__(self, endpoint: str, keys: Path | None = None) -> None:
        self.endpoint, self._keys = endpoint, keys
        self._ids = itertools.count(1)
        self._context = zmq.Context()
        try:
            self._socket = self._connected()
        except SettingsError:
            self._context.term()
            raise

    def ask(self, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0) -> tuple[str, Any]:
        """(DONE, REFUSED, DENIED, STATUS, FOUND, RECIPES or CONSUMERS; its facts). NoAnswer."""
        own_id = str(next(self._ids)).encode()
        self._socket.send_multipart([verb.encode(), own_id, dump_object(facts or {})])
        until_s = time.monotonic() + timeout_s
        while self._socket.poll(max(0, round(1000 * (until_s - time.monotonic())))):
            answer, answered_id, content = (*self._socket.recv_multipart(), b"", b"", b"")[:3]
            if answered_id != own_id:
                continue  # to a request that was given up
            try:
                return answer.decode("ascii", "replace"), load_object("answer", content, MAX_ANSWER_BYTES)
            except WireError as error:
                raise NoAnswer(
                    f"{self.endpoint}: its answer makes no sense: {error}; is it a control socket?"
                ) from error
        self._socket.close()
        self._socket = self._connected()
        raise NoAnswer(
            f"{self.endpoint}: no answer to {verb} within {timeout_s:g} s; is the station running, and our key allowed?"
        )

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        try:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
            socket.set(zmq.IPV6, "[" in self.endpoint)
            apply_keys(socket, self._keys)
            socket.connect(self.endpoint)
        except (SettingsError, zmq.ZMQError) as error:
            socket.close()
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(
                f"{self.endpoint}: cannot be connected to: {error}; see `control` in its log"
            ) from error
        return socket


def ask(
    endpoint: str, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0, keys: Path | None = None
) -> tuple[str, Any]:
    """One command over a connection of its own; as `Control` and its `ask`."""
    with Control(endpoint, keys) as control:
        return control.ask(verb, facts, timeout_s)
