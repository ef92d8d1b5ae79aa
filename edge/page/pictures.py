"""Evidence as a browser may have it: only files that the station has told of, and only when they are what it told of.

The read model knows each file's name and SHA-256; a name that is not in it is never looked for on the disk, and a file
that was changed is not served. Rejected: serving the folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import structlog

from edge.core.image_measures import thumbnail, to_grey
from edge.core.opencv import cv2
from edge.core.types import Map
from edge.page.frames import LONGEST_PX, as_jpeg
from edge.page.model.questions import Part, Questions
from edge.page.stations import StationSettings

_HOT = 0.7  # of the way from a map's middle to its peak
ALIKE_AMONG = 24  # pictures of good parts that are compared
MOST_BYTES = 256 << 20
URI = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.(png|jpg|npz)")
TYPES = {"png": "image/png", "jpg": "image/jpeg"}

log = structlog.get_logger(__name__)


class NotServed(Exception):
    """This file is not there, or not what the station wrote; the message says which."""


def evidence(folder: Path, uri: str, sha256: str) -> bytes:
    """The content of a file of evidence; NotServed."""
    if not URI.fullmatch(uri):
        raise NotServed("no name of evidence")
    try:
        descriptor = os.open(folder / uri, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MOST_BYTES)
    except OSError as error:
        raise NotServed(f"cannot be read ({error.strerror}); may user {os.geteuid()} read {folder}?") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        log.warning("evidence is not what was written", uri=uri)
        raise NotServed("not what the station wrote: its SHA-256 differs")
    return content


def for_screen(content: bytes) -> bytes | None:
    """A picture's file as JPEG, its longer side LONGEST_PX; None where it is no longer as it is. NotServed: none."""
    if max(size_of(content)) <= LONGEST_PX:
        return None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise NotServed("no picture: it cannot be decoded")
    return as_jpeg(np.asarray(image, np.uint8))


def map_png(content: bytes) -> bytes:
    """A map's npz -> a picture of it, dark where nothing is odd; NotServed where it is none."""
    scores = _scores_of(content)
    low, high = float(np.quantile(scores, 0.5)), float(scores.max())
    levels = np.clip((scores - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    done, png = cv2.imencode(".png", cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))
    if not done:
        raise NotServed("no map: it cannot be drawn")
    return bytes(png.tobytes())


def hottest(content: bytes) -> tuple[float, float, float, float]:
    """Where a map is highest: x, y, width and height of the region around it, as shares of the picture; NotServed."""
    scores = _scores_of(content)
    height, width = scores.shape
    middle, peak = float(np.quantile(scores, 0.5)), float(scores.max())
    is_hot = (scores >= middle + _HOT * (peak - middle)).astype(np.uint8)
    _, labels = cv2.connectedComponents(is_hot)
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    rows, columns = np.nonzero(labels == labels[y, x])
    left, top = int(columns.min()), int(rows.min())
    return (
        left / width,
        top / height,
        (int(columns.max()) - left + 1) / width,
        (int(rows.max()) - top + 1) / height,
    )


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a picture, as its head says; NotServed where it is no PNG."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise NotServed("no picture")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def most_alike(questions: Questions, station: int, settings: StationSettings, part: Part) -> tuple[str, str] | None:
    """result_id and uri of the kept good part of the same recipe that looks most like this one; None: there is none."""
    if "image" not in part.files:
        return None
    best: tuple[float, str, str] | None = None
    try:
        wanted = _thumb(settings.evidence, *part.files["image"])
        for result_id, uri, sha256 in questions.good_pictures(station, part.recipe, ALIKE_AMONG):
            likeness = -float(np.abs(_thumb(settings.evidence, uri, sha256) - wanted).mean())
            if best is None or likeness > best[0]:
                best = likeness, result_id, uri
    except NotServed:
        pass
    return None if best is None else best[1:]


def _scores_of(content: bytes) -> Map:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            scores = np.asarray(arrays["scores"], np.float32)
        if scores.ndim != 2 or not scores.size:
            raise ValueError(f"a map has two axes, not the shape {scores.shape}")
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise NotServed(f"no map: {error}") from error
    return np.nan_to_num(scores)


@lru_cache(maxsize=512)
def _thumb(folder: Path, uri: str, sha256: str) -> Map:
    image = cv2.imdecode(np.frombuffer(evidence(folder, uri, sha256), np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    if image is None:
        raise NotServed("no picture")
    return thumbnail(to_grey(np.asarray(image, np.uint8)))
