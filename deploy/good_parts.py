"""Good parts as commissioning sees them: through the daemon's source, geometry and engine, and no farther.

The promise counts parts, so the same picture never counts twice, and from a stream one frame is taken now and then.
Rejected: keeping all pictures (a hundred of five megapixels are 1.5 GB; their maps are a fourth of that).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from edge.core.errors import SourceEnded, SourceError
from edge.core.image_measures import Sketch, sketch
from edge.core.preprocess import Geometry
from edge.core.tolerance import SCORED
from edge.core.types import Frame, Image, PatchMaps
from edge.inspector import Inspector
from edge.sources import Source

log = structlog.get_logger()

MOST_COPIES = 50  # in a row: a camera never gives the same picture twice, unless it is frozen


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One good part: its name for people, the engine's maps, its frame's geometry, and what its picture is like.

    picture: the network's input, of the first parts only.
    """

    name: str
    maps: Mapping[int, PatchMaps]
    geometry: Geometry
    sketch: Sketch
    picture: Image | None = None


def collect_parts(
    source: Source,
    inspector: Inspector,
    count: int,
    interval_s: float = 0.0,
    now_s: Callable[[], float] = time.monotonic,
) -> Iterator[Part]:
    """`count` distinct parts, one each `interval_s` seconds at most.

    SourceError where the source ends too early, frames change their size, or all show the same picture; EngineError
    where the engine fails.
    """
    known: set[bytes] = set()
    copies, due_s, size = 0, now_s(), None
    while len(known) < count:
        if (frame := _read(source, len(known), count)) is None or now_s() < due_s:
            continue
        size = size or frame.image.shape[:2]
        if frame.image.shape[:2] != size:
            raise SourceError(f"{source.uri}: {_name(frame)} is of another size than those before it; sort them out")
        digest = hashlib.sha256(frame.image.tobytes()).digest()
        copies = copies + 1 if digest in known else 0
        if copies:
            log.warning("left out: the same picture once more", part=_name(frame))
            if copies >= MOST_COPIES:
                raise SourceError(f"{source.uri}: the same picture {copies} times in a row; is the camera frozen?")
            continue
        if flaw := inspector.refusal(frame):
            raise SourceError(f"{source.uri}: {_name(frame)}: {flaw}")
        known.add(digest)
        due_s = now_s() + interval_s
        geometry = inspector.geometry.for_frame((size[0], size[1]))
        views = geometry.views(frame.image)
        kept = views.image if len(known) <= SCORED else None
        yield Part(_name(frame), inspector.engine.infer(views.image), geometry, sketch(*views), kept)


def _read(source: Source, have: int, wanted: int) -> Frame | None:
    """The next frame; None for a gap, or when nothing new came."""
    try:
        frame = source.read(timeout_s=1.0)
    except SourceEnded as error:
        raise SourceError(
            f"{source.uri}: it ended after {have} distinct parts of the {wanted} that --good asks for; show it more, "
            "or ask for fewer"
        ) from error
    return frame if isinstance(frame, Frame) else None


def _name(frame: Frame) -> str:
    return frame.part_id or f"frame {frame.id} ({frame.captured_at:%H:%M:%S} UTC)"
