"""`edge-deploy grab`: the first pictures of a new part, taken by the camera that will inspect it.

What a bundle learns from is what the daemon will see: the same source, the same gate for pictures that are none, and
no part twice, since a copy promises twice. Each call is a capture session, a folder of its own, which `fit` keeps
together. Rejected: a video to cut pictures from (compressed, and hundreds of one part).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import click
import cv2
import numpy as np

from deploy.terminal import FOLDER, ProgressLine
from edge.core.errors import SourceEnded, SourceError
from edge.core.files import require_room, write_whole
from edge.core.health_bands import fit_bands
from edge.core.image_health import HealthBands
from edge.core.image_measures import Sketch, sketch
from edge.core.types import Acquisition, Frame, Image, Map
from edge.sources import CameraOptions, Source, open_source
from edge.sources.camera_settings import parse_settings

STREAM_INTERVAL_S = 1.0
LEARNT_ON = 20  # pictures; from then on the gate knows what is usual here
MEASURED_PX = 512  # a longer side is measured at this size
FLAT_LEVELS = 2.0  # of deviation: below it there is nothing to see
SAME_LEVELS = 3.0  # of the most different hundredth of a thumbnail; noise of one still part reaches 1, other parts 11
MOST_LEFT_OUT = 100  # in a row


@dataclass(slots=True)
class Gate:
    """Which pictures are worth keeping. is_stream: frames are no parts, so that a part may be seen twice."""

    is_stream: bool
    bands: HealthBands | None = None
    _sketches: list[Sketch] = field(default_factory=list)
    _digests: set[bytes] = field(default_factory=set)

    def problem_with(self, image: Image) -> str | None:
        """Why the picture is left out: cause and what to do; None where it is kept, and then it is known."""
        digest = hashlib.sha256(image.tobytes()).digest()
        if digest in self._digests:
            return "a copy: the very pixels of an earlier one; is the camera frozen?"
        small = _at_most(image, MEASURED_PX)
        if float(small.std()) < FLAT_LEVELS:
            return f"blank: grey levels deviate by {small.std():.1f}; check the lamp, the lens cap and the exposure"
        seen = sketch(small, full=image)
        if self.is_stream and any(_is_same(seen.thumb, one.thumb) for one in self._sketches):
            return "a copy: the same part as before, but for noise; show another"
        if self.bands is not None and (problem := self.bands.problem_with(small, full=image)) is not None:
            return problem
        self._digests.add(digest)
        self._sketches.append(seen)
        if len(self._sketches) % LEARNT_ON == 0:
            self.bands = _usual(self._sketches)
        return None


def _usual(sketches: Sequence[Sketch]) -> HealthBands:
    """The daemon's bands, and no farther than half as dark, or blurred, as anything seen: few pictures extrapolate far.

    A picture left out here is taken again; one that the daemon leaves out is a part.
    """
    bands = fit_bands(sketches)
    light = [one.brightness for one in sketches]
    return replace(
        bands,
        darkest=max(bands.darkest, 0.5 * min(light)),
        brightest=min(bands.brightest, 255 - 0.5 * (255 - max(light))),
        least_sharp=max(bands.least_sharp, 0.5 * min(one.sharpness for one in sketches)),
    )


def grab(
    source: Source,
    folder: Path,
    count: int,
    interval_s: float,
    told: Callable[[str], None],
    now_s: Callable[[], float] = time.monotonic,
) -> Counter[str]:
    """Write `count` pictures of parts into `folder`; how many were left out, by cause.

    SourceError where the source ends before, frames change their size, or only what is left out comes; OutputError.
    told: what is said of each picture.
    """
    gate, left_out, in_a_row, kept, due_s = Gate(source.acquisition is Acquisition.FREE), Counter[str](), 0, 0, now_s()
    size: tuple[int, ...] | None = None
    while kept < count:
        if (frame := _read(source, kept, count)) is None or now_s() < due_s:
            continue
        if size is None:
            size = frame.image.shape
            require_room(folder, count * frame.image.nbytes, f"{count} pictures")
        if frame.image.shape != size:
            raise SourceError(f"{source.uri}: frame {frame.id} is of another size than those before it; sort them out")
        if (problem := frame.flaw or gate.problem_with(frame.image)) is not None:
            left_out[problem.partition(":")[0]] += 1
            in_a_row += 1
            told(f"left out: {problem}")
            if in_a_row >= MOST_LEFT_OUT:
                raise SourceError(f"{source.uri}: {in_a_row} pictures in a row were left out; the last: {problem}")
            continue
        kept, in_a_row, due_s = kept + 1, 0, now_s() + interval_s
        write_whole(folder / f"{kept:04}.png", cv2.imencode(".png", frame.image)[1].tobytes())
        told(f"{kept} of {count} pictures in {folder}")
    return left_out


def _read(source: Source, kept: int, count: int) -> Frame | None:
    """The next frame; None for a gap, or when nothing new came."""
    try:
        frame = source.read(timeout_s=1.0)
    except SourceEnded as error:
        raise SourceError(f"{source.uri}: it ended after {kept} pictures of {count}; those are kept") from error
    return frame if isinstance(frame, Frame) else None


def _at_most(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_same(a: Map, b: Map) -> bool:
    return float(np.percentile(np.abs(a - b), 99)) < SAME_LEVELS


def _session(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    name = value or f"{datetime.now(timezone.utc):%Y-%m-%d_%H%M%S}"
    if not re.fullmatch(r"[\w.-]{1,64}", name) or name.startswith("."):
        raise click.BadParameter("use letters, digits, _ . and -")
    return name


@click.command("grab")
@click.option("--source", metavar="URI", required=True, help="The camera, as for edge-inspect: v4l2:0, aravis:NAME, …")
@click.option("--camera-set", multiple=True, metavar="NAME=VALUE", help="Force this on the camera, as edge-inspect.")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="How many pictures to keep.")
@click.option("--out", type=FOLDER, required=True, help="The folder of good images; the session is one in it.")
@click.option("--session", callback=_session, metavar="NAME", help="Its name.  [default: the time, UTC]")
@click.option("--interval-s", type=click.FloatRange(0), help="Seconds between two pictures.  [default: 1 of a stream]")
def grab_command(
    source: str, camera_set: tuple[str, ...], count: int, out: Path, session: str, interval_s: float | None
) -> None:
    """Take the first pictures of a new part: show good parts, each once; edge-train fit OUT learns from them.

    Left out are copies, also the same part seen again in a stream, and what is no picture of a part: blank ones, and
    from 20 on those much darker, brighter, more blurred or elsewhere than the others. Take at least three sessions
    (days, batches), so that the promise holds for a session never seen. Stop the daemon first, it has the camera.

    \b
    edge-deploy grab --source v4l2:0 --count 200 --out parts/good
    """
    folder = out / session
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"--session {session}: {folder} holds pictures; give another name")
    require_room(out, 1)
    progress = ProgressLine()
    with closing(open_source(source, CameraOptions(settings=parse_settings(camera_set)))) as opened:
        if interval_s is None:
            interval_s = STREAM_INTERVAL_S if opened.acquisition is Acquisition.FREE else 0.0
        try:
            left_out = grab(opened, folder, count, interval_s, progress)
        finally:
            progress.end()
    causes = ", ".join(f"{number} {cause}" for cause, number in left_out.most_common())
    click.echo(f"{count} pictures in {folder}" + (f"; left out: {causes}" if causes else ""))
