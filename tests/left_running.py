"""A daemon that a failed test leaves running is ended, and its log goes into the report.

Else the next tests meet its lock on the journal, and nothing says why the first one failed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator

import pytest

started: list[subprocess.Popen[str]] = []  # by the test that runs; those of fixtures live on


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """End what it has left, where it failed."""
    started.clear()
    try:
        return (yield)
    except BaseException:
        for daemon in started:
            if daemon.stderr is not None and not daemon.stderr.closed:
                daemon.kill()
                item.add_report_section("call", "log of a daemon that was left running", daemon.communicate()[1])
        raise
