"""Each record as a POST: in order, one in flight, signed; what is not taken is sent again until it is.

Standard library only. The body is the record as on the wire. A receiver checks the signature over the bytes it got,
stores by `result_id`, and answers 2xx; then the station hears that it has it. Whatever else it answers is no answer: a
record that were skipped because of a 400 would be gone. Nothing here may open a gate: it may be late by any time.
Rejected: a queue of our own (the journal is one), several in flight (order), following redirects (to whom?).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from edge.core.errors import SettingsError
from edge.log import is_rarely
from edge.wire.messages import Message, dump_object

ANSWER_S = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LEAST_SECRET = 16  # bytes
MOST_ANSWER = 64 * 1024
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SIGNATURE = "X-Edge-Inspect-Signature"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where records are sent. url: https, or http on this machine (anywhere with `is_insecure`); SettingsError.

    secret: LEAST_SECRET bytes or more, that the receiver knows too. ca: a file of certificates that it is trusted by.
    """

    url: str
    secret: bytes
    ca: str | None = None
    is_insecure: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise SettingsError(f"{self.url}: give a receiver as https://HOST/PATH, without a password in it")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK and not self.is_insecure:
            raise SettingsError(
                f"{self.url}: anybody on the way could read it; use https, or --insecure-plaintext where that is meant"
            )
        if len(self.secret) < LEAST_SECRET:
            raise SettingsError(f"the secret has {len(self.secret)} bytes; give {LEAST_SECRET} or more")

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it, not yet open."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S)
        context = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=ANSWER_S, context=context)

    @property
    def path(self) -> str:
        """What is asked for there."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def signature(secret: bytes, body: bytes) -> str:
    """What the header says of this very body: `sha256=` and HMAC-SHA256 in hexadecimal digits."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


class Webhook:
    """Sends records to `target`; `wait` waits so many seconds, or less, and returns whether it is to stop."""

    def __init__(self, target: Target, wait: Callable[[float], bool]) -> None:
        self._target, self._wait = target, wait
        self._connection: http.client.HTTPConnection | None = None
        self.refused = 0  # attempts that were not answered 2xx

    def send(self, message: Message) -> bool:
        """Return True once the receiver has taken it; False where it is to stop before."""
        body = dump_object(message.body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "edge-gateway webhook",
            "X-Edge-Inspect-Kind": message.kind,
            "X-Edge-Inspect-Result-Id": str(message.body["result_id"]),
            SIGNATURE: signature(self._target.secret, body),
        }
        wait_s, began_s, in_a_row = FIRST_WAIT_S, time.monotonic(), 0
        while (problem := self._attempt(body, headers)) is not None:
            self.refused, in_a_row = self.refused + 1, in_a_row + 1
            if is_rarely(in_a_row):
                log.warning("not taken; it is sent again", why=problem, seq=message.seq, attempts=in_a_row)
            if self._wait(wait_s):
                return False
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
        if in_a_row:
            log.info("taken again", seq=message.seq, after_s=round(time.monotonic() - began_s, 1))
        return True

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, body: bytes, headers: dict[str, str]) -> str | None:
        """None where it was taken, else why not."""
        try:
            if self._connection is None:
                self._connection = self._target.connect()
            self._connection.request("POST", self._target.path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read(MOST_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:  # TLS errors are OSErrors
            self.close()
            return f"{type(error).__name__}: {error}"
        if len(content) > MOST_ANSWER:
            self.close()
        return None if 200 <= answer.status < 300 else f"the receiver answered {answer.status} {answer.reason}"
