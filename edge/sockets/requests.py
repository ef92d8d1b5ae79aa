"""Requests that come in through a ROUTER socket: `[peer][verb][request id][JSON]`, checked before anything is done.

Whatever is wrong with one is said in the answer, and costs nobody else anything. Rejected: trusting the routing id
(any peer may choose it), and closing the socket on nonsense (it serves all peers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from edge.security.station_keys import Role
from edge.wire.messages import WireError, dump_object, load_object

MAX_REQUEST_BYTES = 4096
MAX_VERB_BYTES = 16
MAX_ID_BYTES = 64


class RequestError(ValueError):
    """A request that cannot be met; the message goes to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: where it came from (routing id), what is wanted, the id to answer with, and its facts.

    user: whose key the peer has proved, roles: what that key may do; None where no key is asked for. as_json: the
    facts, for the record.
    """

    peer: bytes
    verb: str
    id: bytes
    facts: dict[str, Any]
    user: str | None = None
    as_json: str = "{}"
    roles: frozenset[Role] | None = None

    def text(self, name: str, pattern: str, default: str | None = None) -> str:
        """The fact as text that matches `pattern` wholly; RequestError if it does not, or is missing."""
        value = self.facts.get(name, default)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise RequestError(f"{name} must be text like {pattern}")
        return value

    def whole(self, name: str, lowest: int, highest: int, default: int | None = None) -> int:
        """The fact as a whole number in lowest..highest; RequestError if it is not, or is missing."""
        value = self.facts.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise RequestError(f"{name} must be a whole number from {lowest} to {highest}")
        return value


def receive_requests(
    router: zmq.Socket[bytes], at_most: int, *, is_guarded: bool = False
) -> Iterator[Request | Sequence[bytes]]:
    """Requests that wait, without waiting; one that is malformed comes as its frames."""
    for _ in range(at_most):
        try:
            frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        user = user_of(frames[0], is_guarded=is_guarded)
        yield read_request([frame.bytes for frame in frames], user)


def user_of(frame: zmq.Frame, *, is_guarded: bool) -> str | None:
    """Whose key the peer has proved that this frame came from; None where none is asked for."""
    user = frame.get("User-Id") if is_guarded else None
    return user if isinstance(user, str) else None


def read_request(frames: Sequence[bytes], user: str | None = None) -> Request | Sequence[bytes]:
    """The request of `user` in a ROUTER's four frames; the frames themselves when it is none."""
    if len(frames) != 4 or len(frames[1]) > MAX_VERB_BYTES or len(frames[2]) > MAX_ID_BYTES:
        return frames
    peer, verb, request_id, content = frames
    if not re.fullmatch(rb"[A-Z]+", verb):
        return frames
    try:
        facts = load_object("request", content, MAX_REQUEST_BYTES)
        as_json = dump_object(facts).decode()  # what no record could repeat, half a surrogate pair, is no request
    except (WireError, ValueError, RecursionError):
        return frames
    return Request(bytes(peer), verb.decode("ascii"), bytes(request_id), facts, user, as_json)


def answer_to(request: Request, verb: str, facts: Mapping[str, object]) -> list[bytes]:
    """The frames of an answer."""
    return [request.peer, verb.encode("ascii"), request.id, dump_object(facts)]


def refusal_of(frames: Sequence[bytes]) -> list[bytes] | None:
    """What to answer to a malformed request; None when not even that can be addressed."""
    if not frames:
        return None
    request_id = frames[2] if len(frames) > 2 and len(frames[2]) <= MAX_ID_BYTES else b""
    reason = "malformed: send [VERB][request id][JSON object], at most 4096 bytes"
    return [frames[0], b"DENIED", request_id, dump_object({"reason": reason})]
