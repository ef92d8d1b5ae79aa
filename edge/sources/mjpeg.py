"""MJPEG over HTTP, read as bytes and decoded here, so that a frame of which bytes are missing is known as such.

FFmpeg's decoder fills what is missing with what its buffers held before, and OpenCV says nothing of it: good parts
were called defective, and defective ones could look good. A part of the stream is whole where it has the length that
its head states and JPEG's own end marker. Rejected: FFmpeg for the transport too (its demuxer hands over cut parts).
"""

from __future__ import annotations

import http.client
import select
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from edge.core.errors import SourceError
from edge.core.redaction import without_credentials
from edge.sources.capture import Shot
from edge.sources.damage import StandIn

READ_TIMEOUT_S = 1.5  # of each wait, that for the connection too
CHUNK = 1 << 16
MOST_BYTES = 64 << 20  # of one frame; beyond it something else is sent
MOST_HEAD = 1 << 14


class NotMjpeg(SourceError):
    """What is served there is something else; nothing more of it was read than its first bytes."""


class Piece(NamedTuple):
    """The bytes of one frame, and when the first of them was there; stated: the length that its head promised."""

    content: bytes
    received_ns: int
    captured_at: datetime
    stated: int | None

    @property
    def flaw(self) -> str | None:
        """Why it is not whole; None where its head promised what came."""
        if self.stated is None or len(self.content) == self.stated:
            return None
        return f"{len(self.content)} of {self.stated} bytes came"


class MjpegCamera:
    """A live stream for `LatestFrameSource`; NotMjpeg where it is of another kind, SourceError where there is none."""

    def __init__(self, url: str) -> None:
        self._where = without_credentials(without_credentials(url).partition("?")[0])
        with ExitStack() as opened:  # a connection that gives no frame is closed again
            try:
                self._response = opened.enter_context(_open(url))
                self._parts = _Parts(self._response)
                self._pieces = pieces_of(self._parts)
                self._ahead: Piece | None = next(self._pieces)
            except (OSError, http.client.HTTPException, ValueError, StopIteration) as error:
                if isinstance(error, HTTPError):  # it is the server's answer, and open
                    opened.callback(error.close)
                why = str(error) or "it has ended"
                raise SourceError(
                    f"{self._where}: no stream there: {why}; check address, user and password, and try it in ffplay"
                ) from error
            opened.pop_all()
        self._stand_in = StandIn()

    def grab(self, timeout_s: float) -> Shot | None:
        """Block for the next frame; None when none begins in time. SourceError when one stops, for READ_TIMEOUT_S.

        A frame that is not whole is a grey one with its flaw; before the first whole one it is passed over.
        """
        piece, self._ahead = self._ahead or self._next(timeout_s), None
        if piece is None:
            return None  # whether silence is a fault the supervisor knows: not where the line triggers the camera
        image, flaw = self._stand_in.decoded(piece.content, self._where, piece.flaw)
        if image is None:
            return None
        return Shot(image, piece.received_ns, piece.captured_at, flaw=flaw)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def _is_readable(self, timeout_s: float) -> bool:
        if self._response.chunked or self._response.isclosed():  # its reader may hold what the connection has no more
            return True
        return bool(select.select([self._response.fileno()], [], [], timeout_s)[0])

    def _next(self, timeout_s: float) -> Piece | None:
        try:
            while self._parts.has_to_wait:
                if not self._is_readable(timeout_s):
                    return None
                if not self._parts.more():
                    break
            return next(self._pieces)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError(f"{self._where}: the stream failed: {error}; check the camera and the network") from error
        except StopIteration:
            raise SourceError(f"{self._where}: the stream has ended; check the camera and the network") from None


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Closes the refusal when it asks again, which urllib leaves to chance."""

    def http_error_401(self, req: Any, fp: Any, *rest: Any) -> Any:
        """As urllib's."""
        with closing(fp):
            return super().http_error_401(req, fp, *rest)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """As `_Basic`."""

    def http_error_401(self, req: Any, fp: Any, *rest: Any) -> Any:
        """As urllib's."""
        with closing(fp):
            return super().http_error_401(req, fp, *rest)


def _open(url: str) -> http.client.HTTPResponse:
    """The answer to a GET; users and passwords in the URL are given as the server asks for them."""
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        known.add_password(None, plain, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(  # a camera is in the line's own network: behind no proxy
        urllib.request.ProxyHandler({}),
        _Basic(known),
        _Digest(known),
    )
    response: http.client.HTTPResponse = opener.open(plain, timeout=READ_TIMEOUT_S)
    return response


def pieces_of(parts: _Parts) -> Iterator[Piece]:
    """The frames of a multipart stream, whole or not; ends with it. NotMjpeg before the first, ValueError later."""
    if not parts.begins():
        raise NotMjpeg("it is no multipart stream")
    while (head := parts.head()) is not None and parts.has_content():
        arrived, stated = (time.monotonic_ns(), datetime.now(timezone.utc)), _stated_length(head)
        yield Piece(parts.content(stated), *arrived, stated)


class _Parts:
    """Takes a multipart stream to pieces: `head`, `content`, `head` …; what is out of step is passed over."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response, self._buffer = response, bytearray()
        self._boundary = b""

    @property
    def has_to_wait(self) -> bool:
        """Whether nothing of the next frame is here: a server may send its head long before it."""
        end = self._end_of_head()
        return len(self._buffer) <= MOST_HEAD if end is None else end == len(self._buffer)

    def begins(self) -> bool:
        """Whether a boundary is the first thing there is."""
        while not (line := self._buffer.lstrip()).startswith(b"--") or b"\n" not in line:
            if (len(line) >= 2 and not line.startswith(b"--")) or len(line) > MOST_HEAD or not self.more():
                return False
        self._boundary = bytes(line.split(None, 1)[0])
        return True

    def head(self) -> bytes | None:
        """The lines between the next boundary and its content, which comes next; None at the stream's end."""
        while not self._is_in_step():
            if not self.more():
                return None
        while (end := self._end_of_head()) is None:
            if len(self._buffer) > MOST_HEAD:
                raise ValueError("a part without an end to its head")
            if not self.more():
                return None
        return self._take(end)

    def has_content(self) -> bool:
        """Whether the first byte of what the head stands before has come, waiting for it; not at the stream's end."""
        return bool(self._buffer) or self.more()

    def _end_of_head(self) -> int | None:
        ends = [at + len(n) for n in (b"\r\n\r\n", b"\n\n") if (at := self._buffer.find(n)) >= 0]
        return min(ends, default=None)

    def content(self, stated: int | None) -> bytes:
        """As many bytes as were stated, fewer where the next boundary comes earlier; without a number, up to it."""
        seen = 0
        while not self._has_content(stated, seen):
            seen = max(0, len(self._buffer) - len(self._boundary) - 1)
            if len(self._buffer) > MOST_BYTES:
                raise ValueError(f"a frame of over {MOST_BYTES >> 20} MB")
            if not self.more():
                break
        end = self._buffer.find(b"\n" + self._boundary)
        if stated is not None and (end < 0 or end >= stated):
            return self._take(stated)
        return self._take(end if end >= 0 else len(self._buffer)).removesuffix(b"\r")

    def _has_content(self, stated: int | None, seen: int) -> bool:
        if stated is not None:
            return len(self._buffer) >= stated
        return self._buffer.find(b"\n" + self._boundary, seen) >= 0

    def _is_in_step(self) -> bool:
        """Whether the buffer begins with a boundary; what comes before the next one is dropped."""
        self._take(len(self._buffer) - len(self._buffer.lstrip(b"\r\n")))
        if len(self._buffer) >= len(self._boundary) and not self._buffer.startswith(self._boundary):
            at = self._buffer.find(b"\n" + self._boundary)
            self._take(at + 1 if at >= 0 else len(self._buffer) - len(self._boundary))
        return self._buffer.startswith(self._boundary)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def more(self) -> bool:
        """Read what has come, waiting for it; False at the stream's end."""
        got = self._response.read1(CHUNK)
        self._buffer.extend(got)
        return bool(got)


def _stated_length(head: bytes) -> int | None:
    for line in head.splitlines():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
