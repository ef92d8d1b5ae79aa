"""What every test shares: where the real images are, logs that go to the test's own stderr, and two reports at the end:
which skips are not allowed, and what took how long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A neighbour that takes the processor is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = ("tests.peers.skips", "tests.durations", "tests.left_running")


@pytest.fixture(scope="session", autouse=True)
def _no_engines_of_whoever_runs_this(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `auto` means depends on engines and records in the user's cache; tests begin with an empty one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _the_environment_stays() -> Iterator[None]:
    """A command run within a test may take over an instance's environment (--instance), as it would for its process."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _logs_go_nowhere_else() -> Iterator[None]:
    """A command run within a test sends the logs to that test's stderr, which is closed when the next one logs."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, $EDGE_TEST_DATA; the test skips where it is not set, and fails where it is wrong."""
    value = os.environ.get("EDGE_TEST_DATA")
    if not value:
        pytest.skip("EDGE_TEST_DATA is not set: this test needs the real images, see tests in the README")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"EDGE_TEST_DATA={value}: no such folder; unset it to skip the tests on real images")
    return folder
