"""A network camera on loopback: MJPEG over HTTP, of which a test says what each frame shows and what is sent of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from tests.edge.fakes import SIZE

PERIOD_S = 0.1


def jpeg(number: int, blue: int = 0) -> bytes:
    """For the stub's engine, which calls a part defective above 100 of blue: each frame differs in its noise."""
    image = np.random.default_rng(number).integers(0, 60, (*SIZE, 3), np.uint8)
    image[8:24, 8:24, 0] += np.uint8(blue)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


@contextmanager
def camera(sends: Callable[[int], bytes]) -> Iterator[str]:
    """Its URL; frame 1, 2, … is `sends(number)`, and says that this is all of it."""
    is_ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            with suppress(OSError):
                while not is_ended.wait(PERIOD_S):
                    number += 1
                    content = sends(number)
                    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
                    self.wfile.write(head + content + b"\r\n")
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/cam"
    finally:
        is_ended.set()
        server.shutdown()
        serving.join()
        server.server_close()
