"""The version that the next bundle of a product bears: one more than any before, as far as this workstation knows.

What a station runs is named by product and version, and where releases are signed the version is the release, of which
no older one runs. Rejected: the time (two workstations' clocks), and a digest (nobody knows which is the newer).
"""

from __future__ import annotations

import json
from pathlib import Path

from edge.core.archive import MANIFEST, Archive, read_file
from edge.core.errors import BundleError
from edge.core.files import write_whole

_REMEMBERED = "version"


def next_version(run: Path, bundle: Path, product: str) -> int:
    """One more than the highest of the run's bundles before, and of the product's in the folder of `bundle`."""
    beside = [_version_of(path, product) for path in bundle.parent.glob("*.bundle")]
    return 1 + max(_remembered(run), _version_of(bundle, product), *beside, 0)


def remember_version(run: Path, version: int) -> None:
    """A bundle of the run was written as this one; it may be moved away."""
    write_whole(run / _REMEMBERED, str(version).encode())


def _remembered(run: Path) -> int:
    try:
        return int((run / _REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _version_of(path: Path, product: str) -> int:
    """What a bundle of this product says; 0 for one of another, or what is none."""
    try:
        manifest = json.loads(Archive(read_file(path), str(path)).read(MANIFEST))
    except (BundleError, ValueError):
        return 0
    is_ours = isinstance(manifest, dict) and manifest.get("product") == product
    version = manifest["version"] if is_ours else 0
    return version if isinstance(version, int) else 0
