"""What a process may use of the processor: a container's limits as the kernel tells them, and instructions by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.core.processor import cpu_quota, missing_instructions, require_instructions, thread_limit

V2 = "fpu sse2 ssse3 cx16 sse4_1 sse4_2 popcnt"


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        (V2, []),
        (f"{V2} avx avx2", []),
        ("fpu sse2 pni ssse3 cx16", ["popcnt", "sse4_1", "sse4_2"]),  # QEMU's core2duo, where NumPy ended with SIGILL
        ("fpu sse2 cx16", ["popcnt", "sse4_1", "sse4_2", "ssse3"]),  # kvm64: a virtual machine that nobody set up
    ],
)
def test_instructions_that_are_missing_are_named_in_one_line(
    tmp_path: Path, flags: str, missing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nflags\t\t: {flags}\nvmx flags\t: ept\n\nprocessor\t: 1\nflags\t\t: {V2}\n")
    assert missing_instructions(told) == missing
    if not missing:
        require_instructions(told)
        return
    with pytest.raises(SystemExit) as ended:
        require_instructions(told)
    said = capsys.readouterr().err
    assert ended.value.code == 78 and said.count("\n") == 1 and f"lacks {', '.join(missing)} " in said


def test_where_the_kernel_names_no_instructions_none_is_missing(tmp_path: Path) -> None:
    arm = tmp_path / "cpuinfo"
    arm.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert missing_instructions(arm) == missing_instructions(tmp_path / "nothing") == []


def test_a_command_looks_before_anything_imports_numpy() -> None:
    """NumPy is what ends with SIGILL, so nothing may import it before."""
    program = "import sys; import edge.core.processor as p; assert 'numpy' not in sys.modules; p.NEEDED |= {'x'}; "
    command = [sys.executable, "-c", f"{program}import edge.commands.edge_inspect"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 78 and run.stderr.startswith("this processor lacks x ") and "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/system.slice/x.service", {"system.slice/x.service/cpu.max": "60000 100000"}, 0.6),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000"}, 2.5),
        ("0::/a/b", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/docker/1", {"cpu.max": "150000 100000"}, 1.5),  # the container's own group is its top
        ("0::/", {}, None),
        ("3:cpu,cpuacct:/x\n2:cpuset:/", {"cpu/x/cpu.cfs_quota_us": "60000", "cpu/x/cpu.cfs_period_us": "100000"}, 0.6),
        ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("2:cpuset:/\n9:name=systemd:/", {"cpu/cpu.cfs_quota_us": "1"}, None),
        ("0::/a", {"a/cpu.max": "nonsense"}, None),
    ],
)
def test_the_quota_of_a_control_group_is_read_in_both_versions(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    told = tmp_path / "cgroup"
    told.write_text(f"{groups}\n")
    for name, content in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    assert cpu_quota(told, tmp_path / "root") == quota


def test_threads_are_limited_where_cores_or_time_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, allowed, quota, limit in (
        (8, 8, None, None),
        (8, 1, None, 1),
        (8, 8, 0.6, 1),
        (8, 8, 2.5, 3),
        (8, 2, 4.0, 2),
    ):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, allowed=allowed: set(range(allowed)))
        monkeypatch.setattr("edge.core.processor.cpu_quota", lambda quota=quota: quota)
        assert thread_limit() == limit
