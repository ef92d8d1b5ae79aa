"""What every case shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.stub import Stub


@pytest.fixture(autouse=True)
def _no_daemon_outlives_its_case() -> Iterator[None]:
    yield
    Stub.end_all()
