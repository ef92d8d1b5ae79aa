"""`make wheelhouse`: everything that install.sh needs, in a folder to carry to a PC without internet.

The project's own wheel, every package it depends on in the versions of CI's constraints, and requirements.txt, which
names each file with its SHA-256: pip refuses what was changed on the way. What is fetched fits the Python that fetches,
unless another one and a platform are named. Rejected: a copy of a venv (its paths are those of one PC).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
REQUIREMENTS = "requirements.txt"


def requirements_of(folder: Path) -> str:
    """One line for each distribution in the folder, with the hash of each of its files; ValueError for two versions."""
    hashes: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        name = re.sub(r"[-_.]+", "-", name).lower()
        if versions.setdefault(name, version) != version:
            raise ValueError(f"{folder}: {name} is there as {versions[name]} and {version}; empty the folder")
        hashes.setdefault(name, []).append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    lines = [
        f"{name}=={versions[name]} " + " ".join(f"--hash=sha256:{digest}" for digest in digests)
        for name, digests in sorted(hashes.items())
    ]
    return "\n".join(lines) + "\n"


def fill(folder: Path, extras: str, where: Sequence[str]) -> None:
    """Build and fetch into `folder`; where: pip's options for another Python or platform. CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    own = next(folder.glob("edge_inspect-*.whl"))
    wanted = f"{own}[{extras}]" if extras else str(own)
    fetch = ["download", "-q", "--only-binary=:all:", "--dest", str(folder), "-c", str(CONSTRAINTS), *where]
    subprocess.run([*pip, *fetch, wanted], check=True)
    (folder / REQUIREMENTS).write_text(requirements_of(folder), encoding="utf-8")


def main() -> None:
    """Run `python deploy/wheelhouse.py FOLDER`."""
    parser = argparse.ArgumentParser(description="Fetch what install.sh --offline needs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extras", default="", help="such as openvino")
    parser.add_argument("--python-version", help="of the PC, such as 3.10, where it is another than this one's")
    parser.add_argument(
        "--platform", action="append", default=[], help="such as manylinux_2_28_x86_64; may be repeated"
    )
    asked = parser.parse_args()
    where = [f"--platform={one}" for one in asked.platform]
    if asked.python_version:
        where.append(f"--python-version={asked.python_version}")
    fill(asked.folder, asked.extras, where)
    size = sum(path.stat().st_size for path in asked.folder.iterdir()) >> 20
    sys.stdout.write(f"{asked.folder}: {size} MB; on the PC: sudo deploy/install.sh --offline {asked.folder}\n")


if __name__ == "__main__":
    main()
