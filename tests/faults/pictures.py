"""Pictures that must not be inspected, and pictures that must: the demo's bundle before an engine that finds all good.

So a faulty picture that the gate lets through is a silent OK. Rejected: the bundle's own engine, which would call many
faulty pictures defective and hide what the gate missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.core.bundle import Bundle, load_bundle
from edge.core.types import Frame, Image, PatchMaps, Reason, Verdict
from edge.demo.parts import render_part
from edge.demo.run import BUNDLE
from edge.inspector import Inspector
from edge.sources.checked import CheckedSource
from tests.edge.core.test_image_health import banded, interlaced, leaning
from tests.edge.fakes import NOW, ScriptedSource

PICTURES = 10_000
MOST_ALARMS = 0.002  # the outermost of 1,230 is where the gate stops if the threshold bears no more
SEED = 101  # a conveyor that nothing was fitted on
Rng = np.random.Generator


class AllGood:
    """An engine that never sees anything."""

    name, version, variant = "all good", "1", "fp32"

    def __init__(self, bundle: Bundle) -> None:
        self._maps = {
            size: PatchMaps(size, maps.stride, *(np.zeros_like(maps.regression_error) for _ in range(2)))
            for size, maps in bundle.golden.maps.items()
        }

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """Zeros, whatever the image."""
        return self._maps

    def close(self) -> None:
        """Nothing is held."""


def _shifted(image: Image, rng: Rng) -> Image:
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(16, 80)
    return np.roll(image, np.rint(distance * np.array([np.sin(angle), np.cos(angle)])).astype(int), (0, 1))


SPOILED: dict[str, Callable[[Image, Rng], Image]] = {
    "dark": lambda image, rng: (image * rng.uniform(0.0, 0.7)).astype(np.uint8),
    "bright": lambda image, rng: np.clip(image + rng.uniform(50, 90), 0, 249).astype(np.uint8),
    "saturated": lambda image, rng: np.clip(image * rng.uniform(1.7, 4.0), 0, 255).astype(np.uint8),
    "blurred": lambda image, rng: cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 6.0)),
    "shifted": _shifted,
    "redder": lambda image, rng: np.clip(image * [1, 1, rng.uniform(1.08, 1.5)], 0, 249).astype(np.uint8),
    "banded": lambda image, rng: banded(image, rng.uniform(0.1, 0.3)),
    "interlaced": lambda image, rng: interlaced(image, int(rng.integers(1, 9))),
    "leaning": lambda image, rng: leaning(image, int(rng.integers(6, 13))),
    "wrong size": lambda image, rng: cv2.resize(image, (320, 240)),
    "frozen": lambda image, rng: image,
}


def pictures(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """So many healthy pictures, each once more with a fault of random strength; the causes in turn."""
    bundle, rng = load_bundle(BUNDLE), np.random.default_rng(15)
    inspector = Inspector(bundle, AllGood(bundle), resizes=False)
    count = round(PICTURES * share)
    alarms, silent, named = 0, Counter[str](), Counter[str]()
    for index in range(count):
        image = render_part("machined", SEED, index, defective=False).image
        cause = list(SPOILED)[index % len(SPOILED)]
        frames = [Frame(one, i, i, NOW) for i, one in enumerate((image, SPOILED[cause](image, rng)), 1)]
        source = CheckedSource(ScriptedSource(*frames, live=True))  # type: ignore[arg-type]
        read = [source.read(0.0) for _ in range(2)]
        healthy, spoiled = (inspector.inspect(frame)[0] for frame in read if isinstance(frame, Frame))
        alarms += healthy.verdict is not Verdict.GOOD
        if spoiled.verdict is Verdict.GOOD:
            silent[cause] += 1
        elif spoiled.reason is Reason.HEALTH_GATE and str(spoiled.detail).startswith(cause):
            named[cause] += 1
    figures = {
        "faulty pictures": count,
        "silent OK": dict(silent) or 0,
        "named as what it is": f"{named.total()} ({', '.join(f'{cause} {n}' for cause, n in named.items())})",
        "healthy pictures": count,
        "false alarms": alarms,
    }
    return not silent and alarms <= max(1, MOST_ALARMS * count), figures
