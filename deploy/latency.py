"""`edge-deploy latency`: how long a frame takes from its exposure to this station, for --camera-latency-ms.

Something in view changes at moments that are known (a lamp that a command switches, a line that says "now"), and the
stream is watched for the frame that shows it. What arrives first after a change was exposed within one frame's period
of it, so the least delay seen is the latency, and the least and the most of them bound it. Rejected: a clock held
before the camera (somebody must read it), and the latency that a stream declares (encoders and networks do not know
it).
"""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click
import cv2
import numpy as np

from edge.core.errors import EdgeError
from edge.core.types import Map
from edge.sources import CameraOptions, is_live, open_source
from edge.sources.capture import Shot

SEEN_SHARE = 0.6  # of all changes, at one and the same delay: fewer may be chance
AMBIGUOUS_SHARE = 0.8  # of the best delay's count, at another one: the changes are too regular
MOST_MS = 5000.0
CLEAR = 6.0  # a change stands out so many times above what differs from frame to frame otherwise
SIDE = 32


class NotMeasured(EdgeError):
    """The latency could not be found; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """In ms. latency: the best estimate. least, most: what to declare. seen, of: changes that were found in the
    stream.
    """

    latency_ms: float
    least_ms: float
    most_ms: float
    period_ms: float
    seen: int
    of: int

    def __str__(self) -> str:
        return (
            f"latency {self.latency_ms:.0f} ms, from {self.seen} of {self.of} changes, a frame each "
            f"{self.period_ms:.1f} ms; declare --camera-latency-ms {self.least_ms:.0f}-{self.most_ms:.0f}"
        )


class Watch:
    """A tap that keeps when each frame came, and how much it differs from the one before."""

    def __init__(self) -> None:
        self.arrived_ns: list[int] = []
        self.changes: list[float] = []
        self._before: Map | None = None

    def opened(self) -> None:
        """A new connection: the next frame differs from nothing."""
        self._before = None

    def take(self, shot: Shot) -> None:
        """One frame."""
        small = cv2.resize(shot.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        change = 0.0 if self._before is None else float(np.abs(small - self._before).mean())
        self._before = small
        self.arrived_ns.append(shot.received_ns)
        self.changes.append(change)


def find_latency(events_ns: Sequence[int], arrived_ns: Sequence[int], changes: Sequence[float]) -> Measured:
    """From when something changed, and when frames came that differ from the one before; NotMeasured."""
    if len(events_ns) < 8 or len(arrived_ns) < 8:
        raise NotMeasured(f"{len(events_ns)} changes and {len(arrived_ns)} frames; both should be 8 at least")
    arrived = np.array(arrived_ns, np.float64) / 1e6
    events = np.array(events_ns, np.float64) / 1e6
    period = float(np.median(np.diff(arrived)))
    changed = np.array(changes)
    shown = arrived[changed > max(1.0, CLEAR * float(np.median(changed)))]
    if len(shown) == 0:
        raise NotMeasured("no frame differs clearly from the one before; is the lamp in view, and is it switched?")
    delays = np.sort([delay for at in events for delay in shown - at if 0 <= delay <= MOST_MS])
    width = 1.5 * period + 20.0  # a frame's period, and some jitter
    counts = np.searchsorted(delays, delays + width, side="right") - np.arange(len(delays))
    best = int(np.argmax(counts))
    apart = np.abs(delays - delays[best]) > width
    others = int(counts[apart].max(initial=0))
    found = np.array([_first_within(shown - at, delays[best], width) for at in events])
    found = found[~np.isnan(found)]
    if len(found) < SEEN_SHARE * len(events):
        raise NotMeasured(f"{len(found)} of {len(events)} changes were seen at one delay; make them clearer or slower")
    if others > AMBIGUOUS_SHARE * counts[best]:
        raise NotMeasured("the changes are so regular that several delays fit; make them at irregular times")
    # Exposed up to a period after its change: the least delay is nearest to the truth, and the truth lies no deeper
    # than a period below any of them.
    least, most = float(found.min()), float(found.max())
    return Measured(least, max(0.0, least - period), most + 0.1 * period, period, len(found), len(events))


def _first_within(delays: np.ndarray, start: float, width: float) -> float:
    inside = delays[(delays >= start - 1e-6) & (delays <= start + width)]
    return float(inside.min()) if len(inside) else float("nan")


def measure(source: str, events: Iterator[int], say: Callable[[str], None] = lambda text: None) -> Measured:
    """Watch `source` while `events` gives the moments (monotonic ns) of changes in its view. NotMeasured."""
    if not is_live(source):
        raise NotMeasured(f"{source}: a live camera has a latency, files and the demo have none")
    watch = Watch()
    camera = open_source(source, CameraOptions(tap=watch))
    reader = threading.Thread(target=_keep_reading, args=(camera, done := threading.Event()), daemon=True)
    reader.start()
    moments: list[int] = []
    try:
        until_s = time.monotonic() + 10.0
        while len(watch.arrived_ns) < 10:
            if time.monotonic() > until_s:
                raise NotMeasured(f"{source}: no frames came within 10 s; look at the camera")
            time.sleep(0.05)
        for moment in events:
            moments.append(moment)
            say(f"{len(moments)} changes, {len(watch.arrived_ns)} frames")
        time.sleep(MOST_MS / 1000 if not moments else 1.5)
    finally:
        done.set()
        reader.join(5.0)
        camera.close()
    return find_latency(moments, list(watch.arrived_ns), list(watch.changes))


def _keep_reading(camera: object, done: threading.Event) -> None:
    while not done.is_set():
        camera.read(0.2)  # type: ignore[attr-defined]


def switched(command: Sequence[str], count: int, chance: random.Random) -> Iterator[int]:
    """Run the command that switches a lamp, `count` times at irregular moments; NotMeasured when it fails."""
    for _ in range(count):
        time.sleep(chance.uniform(0.3, 0.9))
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotMeasured(f"--switch: {shlex.join(command)} failed: {error}") from error
        yield time.monotonic_ns()


def spoken(lines: Iterator[str], count: int) -> Iterator[int]:
    """The moment of each line, `count` at most."""
    for number, _ in enumerate(lines, 1):
        yield time.monotonic_ns()
        if number == count:
            return


@click.command()
@click.option("--source", required=True, help="The camera, as for edge-inspect.")
@click.option("--switch", metavar="COMMAND", help="Switches a lamp in view on or off, each time it is run.")
@click.option("--count", default=40, show_default=True, help="So many changes.")
def latency(source: str, switch: str | None, count: int) -> None:
    """Measure what --camera-latency-ms should say.

    Something in the camera's view must change at known moments: a lamp that --switch toggles, or else whatever you
    like: each line on standard input then means "it changes now", such as a PLC's script that toggles an output and
    prints. Make the changes irregular, half a second apart or more, and let nothing else move.
    """
    events = spoken(iter(sys.stdin.readline, ""), count)
    if switch is not None:
        events = switched(shlex.split(switch), count, random.Random())
    click.echo(str(measure(source, events, lambda text: click.echo(f"\r{text}", nl=False, err=True))))
