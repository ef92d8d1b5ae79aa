"""In CI a test that skips is allowed to, or the run fails; elsewhere it skips and says what to do."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.skips import ALLOWED, not_allowed

ROOT = Path(__file__).resolve().parents[2]
ADVICE = re.compile(r"\b(apt|pip) install |`make\b")
SKIPS = ("pytest.skip", "pytest.mark.skip", "pytest.mark.skipif")
SKIPPING = """
import pytest

@pytest.mark.skipif(True, reason="{reason}")
def test_that_skips():
    pass

@pytest.mark.xfail(strict=True, reason="no fault of a package")
def test_that_fails_as_expected():
    assert False
"""


def run(tests: Path, requires_peers: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "tests.peers.skips", "-p", "no:cacheprovider", str(tests)]
    environment = {**os.environ, "EDGE_REQUIRE_PEERS": requires_peers, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=tests.parent, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("reason", "requires_peers", "code"),
    [
        ("no GStreamer: apt install it", "1", 1),
        ("no GStreamer: apt install it", "0", 0),
        ("no GStreamer: apt install it", "", 0),
        ("root may write everywhere", "1", 0),
        ("root may write everywhere, or so it is said", "1", 1),
    ],
)
def test_a_skip_that_is_not_allowed_fails_where_peers_are_required(
    tmp_path: Path, reason: str, requires_peers: str, code: int
) -> None:
    tests = tmp_path / "test_it.py"
    tests.write_text(SKIPPING.format(reason=reason), encoding="utf-8")

    ended = run(tests, requires_peers)

    assert ended.returncode == code, ended.stdout
    assert (f"test_it.py::test_that_skips: {reason}" in ended.stdout) == (code == 1)
    assert "1 skipped, 1 xfailed in" in ended.stdout


def test_a_module_that_skips_as_a_whole_fails_too(tmp_path: Path) -> None:
    tests = tmp_path / "test_it.py"
    tests.write_text("import pytest\npytest.importorskip('no_such_module')\n\ndef test_it(): pass\n", encoding="utf-8")
    well = tmp_path / "test_well.py"
    well.write_text("def test_well(): pass\n", encoding="utf-8")

    ended = run(tmp_path, "1")

    assert ended.returncode == 1, ended.stdout
    assert "could not import 'no_such_module'" in ended.stdout


def test_a_run_that_failed_anyway_keeps_its_own_code(tmp_path: Path) -> None:
    tests = tmp_path / "test_it.py"
    tests.write_text("import no_such_module\n", encoding="utf-8")

    assert run(tests, "1").returncode == pytest.ExitCode.INTERRUPTED


def constant_part(reason: ast.expr) -> str | None:
    """Of a reason in the source, what is literally there; None where that is nothing."""
    words = [str(node.value) for node in ast.walk(reason) if isinstance(node, ast.Constant)]
    return "".join(words) or None


def reasons() -> Iterator[tuple[str, str]]:
    """Where a test says that it skips, and why; reasons that are errors of ours have their own tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (call := ast.unparse(node.func)) in SKIPS:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                given += [] if call.endswith("if") else node.args
                assert given, f"{where}: say why it skips"
                if (reason := constant_part(given[0])) is not None:
                    yield where, reason


def test_every_skip_says_what_to_do_or_is_allowed() -> None:
    silent = not_allowed({where: reason for where, reason in reasons() if not ADVICE.search(reason)}, ALLOWED)
    assert not silent, "say what to install, or why nothing helps (tests/peers/skips.py)"


def test_whatever_a_skip_asks_for_ci_installs() -> None:
    lines = (ROOT / "tests" / "peers" / "debian.txt").read_text("utf-8").splitlines()
    listed = {line.partition("#")[0].strip() for line in lines} - {""}
    asked = {
        package
        for _, reason in reasons()
        for packages in re.findall(r"apt install ((?:[a-z0-9][a-z0-9.+-]+ ?)+)", reason)
        for package in packages.partition(" to ")[0].split()
    }
    assert asked and asked <= listed
