"""MJPEG over HTTP: whole frames arrive as they were sent; a frame of which bytes are missing is never inspected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from edge.core.errors import SourceError
from edge.sources.capture import Shot
from edge.sources.mjpeg import MjpegCamera, NotMjpeg
from tests.patience import WAIT_S

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
JPEG = cv2.imencode(".jpg", NOISE, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
SEEN = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR)
Send = Callable[[bytes], None]


def part(content: bytes, stated: int | None = None, head: bytes = b"--frame\r\nContent-Type: image/jpeg") -> bytes:
    length = b"" if stated is None else b"\r\nContent-Length: %d" % stated
    return head + length + b"\r\n\r\n" + content + b"\r\n"


@contextmanager
def served(
    *chunks: bytes | Iterator[bytes], content_type: str = "multipart/x-mixed-replace; boundary=frame"
) -> Iterator[str]:
    """A server that sends these, and closes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.server.wanted and self.headers.get("Authorization") != "Basic dXNlcjpwQHNz":  # type: ignore[attr-defined]
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            for chunk in chunks:
                for piece in [chunk] if isinstance(chunk, bytes) else chunk:
                    self.wfile.write(piece)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.wanted = content_type.endswith("secret")  # type: ignore[attr-defined]
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/cam"
    server.shutdown()
    serving.join()
    server.server_close()


def shots(url: str) -> list[Shot | None]:
    """All there are."""
    got = []
    with pytest.MonkeyPatch.context() as patient:  # the server is of this process, which may stand still
        patient.setattr("edge.sources.mjpeg.READ_TIMEOUT_S", WAIT_S)
        camera = MjpegCamera(url)
        with suppress(SourceError):  # the stream has ended
            while True:
                got.append(camera.grab(WAIT_S))
        camera.close()
    return got


def is_whole(shot: Shot | None) -> bool:
    return shot is not None and shot.flaw is None and np.array_equal(shot.image, SEEN)


@pytest.mark.parametrize(
    "stream",
    [
        [part(JPEG, len(JPEG))] * 3,
        [part(JPEG)] * 3 + [b"--frame--\r\n"],
        [b"\r\n" + part(JPEG, len(JPEG))] * 3,
        [part(JPEG, len(JPEG)).replace(b"\r\n\r\n", b"\n\n", 1)] * 3,
        [bytes([byte]) for byte in part(JPEG, len(JPEG)) * 3],
        [b"".join([part(JPEG)] * 3)],
    ],
    ids=["with lengths", "without", "blank lines between", "bare newlines", "byte by byte", "in one piece"],
)
def test_whole_frames_arrive_as_they_were_sent(stream: list[bytes]) -> None:
    with served(*stream) as url:
        assert [is_whole(shot) for shot in shots(url)] == [True] * 3


@pytest.mark.parametrize("sent", [0.0, 0.02, 0.5, 0.85, 0.95, 0.999])
@pytest.mark.parametrize("says", ["its own length", "the whole length", "nothing"])
def test_a_frame_of_which_bytes_are_missing_is_grey_and_says_so(sent: float, says: str) -> None:
    cut = JPEG[: int(sent * len(JPEG))]
    stated = {"its own length": len(cut), "the whole length": len(JPEG), "nothing": None}[says]
    whole = part(JPEG, len(JPEG))
    with served(whole, part(cut, stated), whole, whole) as url:
        first, damaged, *rest = shots(url)
    assert is_whole(first)
    assert damaged is not None and damaged.flaw is not None
    assert damaged.flaw.startswith("damaged in transfer: ")
    assert (damaged.image == 127).all() and damaged.image.shape == SEEN.shape
    assert [is_whole(shot) for shot in rest] == [True, True]  # and none is lost behind it


def test_what_is_damaged_before_the_size_is_known_is_passed_over() -> None:
    with served(part(JPEG[:100], 100), part(JPEG, len(JPEG))) as url:
        first, second = shots(url)
    assert first is None
    assert is_whole(second)


def test_a_stream_of_another_kind_is_told_apart_by_its_first_bytes() -> None:
    with served(b"G" + bytes(187), content_type="video/mp2t") as url, pytest.raises(NotMjpeg):
        MjpegCamera(url)


def test_user_and_password_are_given_as_the_server_asks_for_them_and_in_no_message() -> None:
    with served(part(JPEG, len(JPEG)), content_type="multipart/secret") as url:
        assert is_whole(shots(url.replace("http://", "http://user:p%40ss@"))[0])
        with pytest.raises(SourceError, match="401.*check address, user and password") as refused:
            MjpegCamera(url.replace("http://", "http://user:wrong@"))
    assert "wrong" not in str(refused.value)


def test_a_head_that_comes_long_before_its_frame_says_nothing_of_when_that_arrived() -> None:
    """Some servers end each frame with the next one's head: then a line that is triggered may pause."""
    go = [threading.Event(), threading.Event()]
    sent_ns: list[int] = []

    def stream() -> Iterator[bytes]:
        yield part(b"")[:-2] + JPEG
        for event in go:
            yield b"\r\n" + part(b"")[:-2]
            assert event.wait(WAIT_S)
            sent_ns.append(time.monotonic_ns())
            yield JPEG
        yield b"\r\n--frame--\r\n"

    with served(stream()) as url:
        camera = MjpegCamera(url)
        assert is_whole(camera.grab(0.1))
        for event in go:
            assert camera.grab(2.0) is None  # longer than a read may take
            event.set()
            shot = camera.grab(WAIT_S)
            assert is_whole(shot) and shot is not None and shot.received_ns >= sent_ns[-1]
        camera.close()


def test_what_comes_between_frames_and_never_ends_is_refused() -> None:
    with served(part(JPEG, len(JPEG)), b"--frame\r\n" + b"x" * 400_000) as url:
        camera = MjpegCamera(url)
        assert is_whole(camera.grab(0.5))
        with pytest.raises(SourceError, match="without an end to its head|has ended"):
            camera.grab(0.5)
        camera.close()


def test_what_never_ends_is_refused() -> None:
    with served(b"--frame\r\n" + b"x" * 40_000) as url, pytest.raises(SourceError, match="without an end to its head"):
        MjpegCamera(url)
