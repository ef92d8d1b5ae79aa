"""H.264, H.265 and whatever else FFmpeg decodes, through PyAV (an extra), which tells what OpenCV keeps to itself.

A frame that libav calls corrupt, or a packet that it cannot decode, is damage; and so is every frame behind it up to
the next key frame, for they are built on each other. Bytes overwritten by others that decode as well are seen by
nobody: deploy/FIGURES.md has figures. Rejected: the damaged picture itself (what the decoder makes of it looks like a
part), and libav's threads (an error then belongs to no frame).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import av
import av.error
import numpy as np

from edge.core.errors import SourceError
from edge.core.images import as_bgr
from edge.core.types import Image
from edge.sources.capture import Shot
from edge.sources.damage import StandIn

OPEN_TIMEOUT_S, READ_TIMEOUT_S = 3.0, 1.5
CODECS = ("h264", "hevc")  # of files: others' frames do not hang on each other, and OpenCV reads them as ever
# Errors end the packet in place of being painted over; RTSP comes over TCP, as OpenCV asks for it.
_DECODER = {"err_detect": "crccheck+bitstream+buffer+explode"}
_TRANSPORT = {"rtsp_transport": "tcp"}


class Damage:
    """Which frames of a stream are whole, by the presentation times (pts) of packets and frames."""

    def __init__(self) -> None:
        self._since: int | None = None  # the latest time at which something was wrong
        self._lost: list[int] = []

    def failed(self, pts: int | None) -> None:
        """A packet could not be decoded; its frame may come all the same."""
        self.seen(-1 if pts is None else pts)
        if pts is not None:
            self._lost.append(pts)

    def seen(self, pts: int) -> None:
        """Something was wrong with the frame of that time."""
        self._since = pts if self._since is None else max(self._since, pts)

    def lost_before(self, pts: int) -> int:
        """How many frames in front of this one never came; each is told once."""
        lost = sum(one < pts for one in self._lost)
        self._lost = [one for one in self._lost if one > pts]
        return lost

    def is_whole(self, pts: int, is_key: bool) -> bool:
        """Whether nothing was wrong since the last key frame."""
        if self._since is not None and is_key and pts > self._since:
            self._since = None
        return self._since is None


class Decoder:
    """The pictures of one stream or file, in order: (image, None), or grey of its size and what is wrong.

    SourceError where nothing can be opened, or what is there has no video.
    """

    def __init__(self, where: str, name: str) -> None:
        """where: URL or path; name: what it is called in messages."""
        try:
            self._container = av.open(where, options=_TRANSPORT, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except av.error.FFmpegError as error:
            raise SourceError(
                f"{name}: no stream there ({error.strerror}); check address, user and password"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{name}: there is no video in it; check the address")
        self._video, self._name = self._container.streams.video[0], name
        context = self._video.codec_context
        self.codec, context.thread_type, context.options = context.name, "NONE", _DECODER
        self._stand_in, self._damage = StandIn(), Damage()
        if context.width and context.height:
            self._stand_in.seen(np.zeros((context.height, context.width, 3), np.uint8))
        self.received_ns, self.received_at = time.monotonic_ns(), datetime.now(timezone.utc)
        self.pictures = self._pictures()

    def next_picture(self) -> tuple[Image | None, str | None]:
        """The next; (None, None) at the end, or where no more can be read."""
        with suppress(av.error.FFmpegError):
            return next(self.pictures, (None, None))
        return None, None

    def close(self) -> None:
        """Close the connection, or the file."""
        self._container.close()

    def _pictures(self) -> Iterator[tuple[Image | None, str | None]]:
        was_corrupt = False  # a packet that the demuxer put together may carry the flag of the one that ended it
        for packet in self._container.demux(self._video):
            self.received_ns, self.received_at = time.monotonic_ns(), datetime.now(timezone.utc)
            if (packet.is_corrupt or was_corrupt) and packet.pts is not None:
                self._damage.seen(packet.pts)
            was_corrupt = packet.is_corrupt
            try:
                frames = self._video.codec_context.decode(packet if packet.size else None)
            except av.error.FFmpegError:
                self._damage.failed(packet.pts)
                continue
            for frame in frames:
                yield from self._told(frame)

    def _told(self, frame: av.VideoFrame) -> Iterator[tuple[Image | None, str | None]]:
        pts = frame.pts or 0
        for _ in range(self._damage.lost_before(pts)):
            yield self._stand_in.instead("a frame that libav could not decode")
        if frame.is_corrupt:
            self._damage.seen(pts)
        if self._damage.is_whole(pts, frame.key_frame):
            yield self._stand_in.seen(as_bgr(frame.to_ndarray(format="bgr24"), self._name))
        else:
            yield self._stand_in.instead("libav found bytes of it, or of one that it is built on, wrong or missing")


class LibavCamera:
    """A live stream for `LatestFrameSource`; SourceError where there is none."""

    def __init__(self, url: str, name: str) -> None:
        self._name, self._decoder = name, Decoder(url, name)

    def grab(self, timeout_s: float) -> Shot | None:
        """Block for the next frame, for READ_TIMEOUT_S at most; SourceError when none came.

        A frame that is not whole is a grey one with its flaw.
        """
        try:
            image, flaw = next(self._decoder.pictures)
        except av.error.FFmpegError as error:
            raise SourceError(
                f"{self._name}: the stream gave no frame ({error.strerror}); check the camera and the network"
            ) from error
        except StopIteration:
            raise SourceError(f"{self._name}: the stream has ended; check the camera and the network") from None
        if image is None:
            return None
        return Shot(image, self._decoder.received_ns, self._decoder.received_at, flaw=flaw)

    def close(self) -> None:
        """Close the connection."""
        self._decoder.close()


def open_clip(path: Path, name: str) -> Decoder | None:
    """A file's pictures where its frames hang on each other (CODECS); None for another, or one libav cannot open."""
    with suppress(SourceError):
        decoder = Decoder(str(path), name)
        if decoder.codec in CODECS:
            return decoder
        decoder.close()
    return None
