"""Good parts in another light: GOOD, or UNDECIDED and the light is named; never DEFECTIVE for it (the demo bundle)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import cv2
import numpy as np
import pytest

from edge.core.bundle import load_bundle
from edge.core.types import Frame, Image, Verdict
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from tests.edge.core.test_image_health import interlaced, leaning
from tests.edge.fakes import NOW

PARTS, SEED = 6, 41


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    bundle = load_bundle(BUNDLE)
    with closing(open_engine("onnxruntime", bundle, EngineOptions(only_counted=True, threads=1))) as engine:
        yield Inspector(bundle, engine)


@pytest.fixture(scope="module")
def parts() -> list[Image]:
    return [render_part("machined", SEED, TRAIN_DOMAIN + index, defective=False).image for index in range(PARTS)]


def brighter(image: Image, index: int, gain: float) -> Image:
    return np.clip(image.astype(np.float32) * gain, 0, 255).astype(np.uint8)


def flickering(image: Image, index: int, swing: float) -> Image:
    rows = 1.7 * np.arange(len(image)) / len(image) + 0.37 * index
    return np.clip(image * (1 + swing * np.sin(2 * np.pi * rows))[:, None, None], 0, 255).astype(np.uint8)


def blurred(image: Image, index: int, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


CHANGES: dict[str, tuple[Callable[[Image, int], Image], tuple[str, ...]]] = {
    "as it is": (lambda image, index: image, ()),
    "10 % brighter": (partial(brighter, gain=1.10), ("bright",)),
    "15 % brighter": (partial(brighter, gain=1.15), ("bright",)),
    "bands of 3 %": (partial(flickering, swing=0.03), ("banded",)),
    "bands of 10 %": (partial(flickering, swing=0.10), ("banded",)),
    "bands of 15 %": (partial(flickering, swing=0.15), ("banded", "bright")),
    "fields 1 px apart": (lambda image, index: interlaced(image, 1), ("interlaced",)),
    "fields 2 px apart": (lambda image, index: interlaced(image, 2), ("interlaced",)),
    "fields 4 px apart": (lambda image, index: interlaced(image, 4), ("interlaced",)),
    "a shutter that rolls over 5 px": (lambda image, index: leaning(image, 5), ("leaning",)),
    "a lens out of focus by .9 px": (partial(blurred, sigma=0.9), ("blurred",)),
}


@pytest.mark.parametrize("light", CHANGES)
def test_a_good_part_is_never_defective_for_the_light(inspector: Inspector, parts: list[Image], light: str) -> None:
    change, causes = CHANGES[light]
    for index, image in enumerate(parts):
        frame = Frame(np.ascontiguousarray(change(image, index)), index, index, NOW)
        inspection, _ = inspector.inspect(frame)
        if inspection.verdict is not Verdict.GOOD:
            assert inspection.verdict is Verdict.UNDECIDED, f"part {index}: score {inspection.score}"
            assert str(inspection.detail).partition(":")[0] in causes, inspection.detail
