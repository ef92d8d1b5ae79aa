"""What a run's time went into: seconds by folder, and the slowest tests; at the end of runs of several folders.

Rejected: pytest's --durations, which says nothing of folders.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from operator import itemgetter
from pathlib import PurePosixPath

import pytest

SLOWEST = 10
DEPTH = 3  # tests/edge/station; what is deeper counts there


def folder_of(nodeid: str) -> str:
    """The folder that a test's seconds are counted in: its own, or the one DEPTH parts down."""
    folder = PurePosixPath(nodeid.partition("::")[0]).parent
    return "/".join(folder.parts[:DEPTH])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The two tables."""
    seconds, tests = defaultdict[str, float](float), Counter[str]()  # by test, by folder
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):  # of set-up, call and teardown
                seconds[report.nodeid] += report.duration
    folders = defaultdict[str, float](float)
    for test, took in seconds.items():
        folders[folder_of(test)] += took
        tests[folder_of(test)] += 1
    if len(folders) > 1:
        terminalreporter.section("seconds by folder")
        for folder, took in sorted(folders.items(), key=itemgetter(1), reverse=True):
            terminalreporter.line(f"{took:7.1f}  {folder} ({tests[folder]} tests)")
        terminalreporter.section(f"the {SLOWEST} slowest tests")
        for test, took in sorted(seconds.items(), key=itemgetter(1), reverse=True)[:SLOWEST]:
            terminalreporter.line(f"{took:7.1f}  {test}")
