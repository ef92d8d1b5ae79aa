"""Commands to a station: one asked, one answered, over a connection of its own.

Rejected: a connection that stays, whose answers to what was given up on would have to be told apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from edge.core.errors import EdgeError, SettingsError
from edge.security.client_keys import apply_keys
from edge.wire.messages import WireError, dump_object, load_object

_MAX_ANSWER_BYTES = 64 * 1024


class NoAnswer(EdgeError):
    """The station did not answer in time; it may have done what was asked all the same: look at its audit records."""


class Control:
    """A station's control socket at `endpoint`; keys: as in `edge.security.client_keys`, if it asks for any."""

    def __init__(self, endpoint: str, keys: Path | None = None) -> None:
        self.endpoint, self._keys = endpoint, keys

    def ask(self, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0) -> tuple[str, Any]:
        """As `ask`."""
        return ask(self.endpoint, verb, facts, timeout_s, self._keys)


def ask(
    endpoint: str, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0, keys: Path | None = None
) -> tuple[str, Any]:
    """(DONE, REFUSED, DENIED, STATUS, FOUND or CONSUMERS; its facts); NoAnswer, or SettingsError for a bad endpoint."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, _MAX_ANSWER_BYTES)
        socket.set(zmq.IPV6, "[" in endpoint)
        apply_keys(socket, keys)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(f"{endpoint}: cannot be connected to: {error}; see `control` in its log") from error
        socket.send_multipart([verb.encode(), b"1", dump_object(facts or {})])
        if not socket.poll(round(1000 * timeout_s)):
            raise NoAnswer(
                f"{endpoint}: no answer to {verb} within {timeout_s:g} s; is the station running, and our key allowed?"
            )
        answer, _, content = (*socket.recv_multipart(), b"", b"", b"")[:3]
        try:
            return answer.decode("ascii", "replace"), load_object("answer", content, _MAX_ANSWER_BYTES)
        except WireError as error:
            raise NoAnswer(f"{endpoint}: its answer makes no sense: {error}; is it a control socket?") from error
