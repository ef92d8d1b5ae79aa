"""What is carried to a PC without internet is installed by its hashes there, and refused where it was changed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.wheelhouse import requirements_of


def a_wheel(folder: Path, name: str, version: str = "1.0", text: str = "") -> Path:
    """A package of one module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"# {text}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def install(house: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--find-links",
        str(house),
        "--require-hashes",
    ]
    command += ["-r", str(house / "requirements.txt"), "--target", str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_pip_installs_what_is_listed_and_refuses_what_was_changed(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    first, _ = a_wheel(house, "one_thing"), a_wheel(house, "another", "2.5")
    text = requirements_of(house)
    (house / "requirements.txt").write_text(text, encoding="utf-8")
    assert [line.split()[0] for line in text.splitlines()] == ["another==2.5", "one-thing==1.0"]
    done = install(house, tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "one_thing.py").is_file()
    first.unlink()
    a_wheel(house, "one_thing", text="changed on the way")
    changed = install(house, tmp_path / "b")
    assert changed.returncode != 0 and "DO NOT MATCH THE HASHES" in changed.stderr


def test_two_versions_of_one_thing_are_refused(tmp_path: Path) -> None:
    a_wheel(tmp_path, "one_thing", "1.0"), a_wheel(tmp_path, "one_thing", "2.0")
    with pytest.raises(ValueError, match=r"one-thing is there as 1\.0 and 2\.0; empty the folder"):
        requirements_of(tmp_path)
