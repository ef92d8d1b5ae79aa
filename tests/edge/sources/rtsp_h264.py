"""An RTSP camera of H.264 that sends a frame when it is told to: what FFmpeg does with it then is the question."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np

RATE = 90_000  # of RTP's clock for video
WIDTH, HEIGHT = 64, 48
_SPS, _PPS = 7, 8  # kinds of NAL units
_MORE = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    "PLAY": "Session: 1\r\nRange: npt=0.000-\r\n",
}


class H264Camera:
    """Serves one client at a time at `url`."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/line"
        self._encoder = _encoder()
        self._opened: list[socket.socket] = []
        self._client: socket.socket | None = None  # that watches
        self._sequence = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, level: int) -> None:
        """A frame of this grey, now, where somebody watches."""
        at = round(time.monotonic() * RATE) & 0xFFFFFFFF
        units = _encoded(self._encoder, level)
        for number, unit in enumerate(units):
            self._sequence += 1
            last = 0x80 * (number == len(units) - 1)
            packet = struct.pack(">BBHII", 0x80, last | 96, self._sequence & 0xFFFF, at, 7) + unit
            with suppress(OSError):  # it has gone
                if self._client is not None:
                    self._client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)

    def close(self) -> None:
        """No more."""
        for one in (self._server, *self._opened):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._opened.append(client)
            with suppress(OSError):
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        for request in iter(lambda: client.recv(4096).decode("latin-1"), ""):
            verb, number = request.partition(" ")[0], re.search(r"CSeq: *(\d+)", request)
            if number is None:  # receiver reports
                continue
            body = self._described() if verb == "DESCRIBE" else ""
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else _MORE.get(verb, "")
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number[1]}\r\n{more}\r\n{body}".encode())
            if verb == "PLAY":
                self._client = client
                return

    def _described(self) -> str:
        sets = [unit for unit in _encoded(_encoder(), 0) if unit[0] & 31 in (_SPS, _PPS)]
        told = ",".join(base64.b64encode(unit).decode() for unit in sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={told}\r\na=control:track1\r\n"
        )


def _encoder() -> av.VideoCodecContext:
    """As a camera's: it holds no frame back itself."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.gop_size = Fraction(1, RATE), 1
    context.options = {"tune": "zerolatency", "preset": "ultrafast"}
    return context


def _encoded(encoder: av.VideoCodecContext, level: int) -> list[bytes]:
    frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8), format="bgr24")
    content = b"".join(bytes(packet) for packet in encoder.encode(frame))
    return [unit for unit in re.split(rb"\x00\x00\x00?\x01", content) if unit]
