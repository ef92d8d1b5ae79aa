"""What the engines' tests share: the bundle that ships, and the double of TensorRT."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edge.core.bundle import Bundle, load_bundle
from edge.core.errors import EngineError
from edge.demo.run import BUNDLE
from edge.engines import tensorrt as engine_module
from edge.engines.openvino import load_openvino

DOUBLE = Path(__file__).parent / "double"


def openvino_or_skip() -> None:
    """Skip where OpenVINO is not installed: devices run without it."""
    try:
        load_openvino()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(BUNDLE)


@pytest.fixture(scope="module")
def double() -> Iterator[ModuleType]:
    """The double where `import tensorrt` finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOUBLE)
        sys.modules.pop("tensorrt", None)
        engine_module._LOGGERS.clear()
        yield importlib.import_module("tensorrt")
        sys.modules.pop("tensorrt", None)
        engine_module._LOGGERS.clear()
