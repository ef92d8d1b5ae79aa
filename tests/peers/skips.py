"""Which tests may skip where every peer is installed: EDGE_REQUIRE_PEERS=1, as in CI; any other skip ends in failure.

A skip is right on a user's machine and wrong in CI, where it is a test that silently stopped being run. Rejected: a
number of skips that is allowed, which one new skip and one that is gone leave as it was.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec

import pytest

ALLOWED = {  # a pattern that the skip's whole reason matches: why no package helps
    "root may write everywhere": "CI is root, and then no folder refuses to be written; everyone else runs it",
    "frames of this source are not parts": "one rule of the contract is for sources that are triggered",
    "EDGE_TEST_DATA is not set.*": "the images are not ours to hand out; .ci/run's first line says whether it has any",
    "needs 3000 descriptors for the strangers": "the shell's hard limit, which only root raises; CI's is higher",
    "there is a GPU here": "it is about a machine without one",
    "a real TensorRT is here": "it is about a machine without one",
    "torchvision imports here": "it is about a machine without one",
    "this machine has no IPv6": "the kernel's doing; a container often has none",
}
ALLOWED_WITHOUT_TORCH = {  # in the devices' environments, which `make test` tests after the one that has everything
    "OpenVINO is not installed.*": "an extra of 180 MB, tested in .venv-test",
    ".*TensorRT for RTX is installed by `make`.*": "220 MB, tested in .venv-test",
    "no TensorRT .* bindings in .*": "beside .venv-test, and compared there",
    "no CUDA .* runtime in .*": "beside .venv-test, and called there",
}


def not_allowed(reasons: dict[str, str], allowed: dict[str, str]) -> dict[str, str]:
    """Of the skips (test: reason), those that no pattern allows."""
    return {test: reason for test, reason in reasons.items() if not any(re.fullmatch(p, reason) for p in allowed)}


def _skips_that_fail(config: pytest.Config) -> dict[str, str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("EDGE_REQUIRE_PEERS", "0") in ("", "0") or reporter is None:
        return {}
    allowed = ALLOWED if find_spec("torch") else ALLOWED | ALLOWED_WITHOUT_TORCH
    reports = reporter.stats.get("skipped", [])
    return not_allowed({one.nodeid: one.longrepr[2].removeprefix("Skipped: ") for one in reports}, allowed)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run that is well but for such a skip has failed."""
    if exitstatus == pytest.ExitCode.OK and _skips_that_fail(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Each such test, its reason, and what to do."""
    if failing := _skips_that_fail(config):
        terminalreporter.section("skips that EDGE_REQUIRE_PEERS=1 does not allow", red=True)
        for test, reason in failing.items():
            terminalreporter.line(f"{test}: {reason}")
        terminalreporter.line("Install what is missing (make peers), or say in tests/peers/skips.py why it may skip.")
