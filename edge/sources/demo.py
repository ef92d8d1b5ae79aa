"""`demo:` parts from the deterministic conveyor, as if a triggered camera had photographed them.

A slow reader delays parts and never loses one: the truth of a run must not depend on the machine's speed.
Rejected: a rendering thread; parts are rendered ahead of their time within `read`, before the wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edge.core.errors import SettingsError, SourceEnded
from edge.core.types import Acquisition, Frame, Image
from edge.demo.parts import MATERIALS, TRAIN_DOMAIN, part_id, render_part


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `demo:MATERIAL?seed=…&parts=…&rate=…&size=…` says; parts 0 = endless, rate 0 = as fast as they are read."""

    material: str = MATERIALS[0]
    seed: int = 0
    parts: int = 200
    rate: float = 0.0  # parts a second
    size: int = 256  # side of the image in pixels; the truth of a part is always on 256 × 256


# name: type, lowest, highest
_LIMITS: dict[str, tuple[type[int] | type[float], float, float]] = {
    "seed": (int, 0, 10**9),
    "parts": (int, 0, TRAIN_DOMAIN),
    "rate": (float, 0, 1000),
    "size": (int, 64, 4096),
}


class DemoSource:
    """Parts 0, 1, 2, … of one conveyor as frames 1, 2, 3, …; SettingsError names a wrong option.

    now_ns and sleep are the clock; tests bring their own.
    """

    acquisition = Acquisition.TRIGGERED
    is_live = False
    state, camera_fps = "streaming", None

    def __init__(
        self,
        rest: str,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.uri = f"demo:{rest}"
        self.options = parse_options(rest)
        self._now_ns, self._sleep = now_ns, sleep
        self._period_ns = round(1e9 / self.options.rate) if self.options.rate else 0
        self._due_ns = now_ns()
        self._index = 0
        self._image: Image | None = None  # the next part, rendered ahead of its time
        self._is_closed = False

    def read(self, timeout_s: float) -> Frame | None:
        """The next part, or None when it is not due within `timeout_s`; SourceEnded after the last one."""
        if self._is_closed or (self.options.parts and self._index >= self.options.parts):
            raise SourceEnded(f"{self.uri}: {'closed' if self._is_closed else 'all parts shown'}")
        if self._image is None:
            self._image = self._render()
        wait_s = (self._due_ns - self._now_ns()) / 1e9
        if wait_s > 0:
            self._sleep(max(0.0, min(wait_s, timeout_s)))
        if wait_s > timeout_s:
            return None
        return self._hand_over(self._image)

    def close(self) -> None:
        """Nothing is held; later reads raise SourceEnded."""
        self._is_closed = True

    def _hand_over(self, image: Image) -> Frame:
        captured_ns = self._now_ns()
        # a late reader gets one part at once, then the conveyor's pace again: no burst makes up for lost time
        self._due_ns = max(self._due_ns + self._period_ns, captured_ns)
        self._image, self._index = None, self._index + 1
        return Frame(
            image=image,
            id=self._index,
            captured_ns=captured_ns,
            captured_at=datetime.now(timezone.utc),
            part_id=part_id(self.options.material, self.options.seed, self._index - 1),
            is_simulated=True,
        )

    def _render(self) -> Image:
        image = render_part(self.options.material, self.options.seed, self._index).image
        size = self.options.size
        if size == image.shape[0]:
            return image
        how = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def parse_options(rest: str) -> DemoOptions:
    """Read `MATERIAL?name=value&…`; SettingsError names the option and what it may be."""
    material, _, query = rest.partition("?")
    material = material or MATERIALS[0]
    if material not in MATERIALS:
        raise SettingsError(f"--source demo:{rest}: no material {material!r}; there are {', '.join(MATERIALS)}")
    chosen: dict[str, float] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _LIMITS:
            raise SettingsError(f"--source demo:{rest}: no option {name!r}; there are {', '.join(_LIMITS)}")
        if name in chosen:
            raise SettingsError(f"--source demo:{rest}: {name} is given twice; give it once")
        chosen[name] = _number(rest, name, text)
    whole = {name: int(value) for name, value in chosen.items() if name != "rate"}
    return DemoOptions(material, rate=chosen.get("rate", 0.0), **whole)


def _number(rest: str, name: str, text: str) -> float:
    kind, lowest, highest = _LIMITS[name]
    try:
        value = float(kind(text))
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        what = "a whole number" if kind is int else "a number"
        raise SettingsError(f"--source demo:{rest}: {name}={text} must be {what} from {lowest} to {highest}")
    return value
