"""A bundle with what was re-fitted for it at the line, from the file beside it or from the one that is named.

Apart from the file's own format (`edge.core.commissioning`), which a bundle knows, and which knows no bundle.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.core.arrays import read_local_stats
from edge.core.bundle import Bundle
from edge.core.calibration import problem_with
from edge.core.commissioning import ADVICE, Commissioning, read_commissioning
from edge.core.errors import BundleError


def commissioning_file(bundle: Path) -> Path:
    """Where a bundle's commissioning lies unless another place is named: beside it."""
    return bundle.with_name(f"{bundle.name}.commissioning.json")


def commissioned(bundle: Bundle, file: str | None = None) -> Bundle:
    """`bundle` with its commissioning.

    file: its path; `none` for the bundle as it was made; None for the file beside the bundle, if there is one.
    BundleError where it cannot be read, is damaged, or was made for another bundle.
    """
    path = commissioning_file(Path(bundle.where)) if file is None else Path(file)
    if file == "none" or (file is None and not path.exists()):
        return bundle
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"commissioning {path}: cannot be read ({error.strerror}); check --commissioning") from error
    return replace(bundle, commissioning=parse_commissioning(raw, bundle, str(path)))


def parse_commissioning(raw: bytes, bundle: Bundle, where: str) -> Commissioning:
    """Parse and check against the bundle; BundleError says what is wrong with it and what to do."""
    found, packed = read_commissioning(raw, where)
    if found.bundle != bundle.digest:
        raise BundleError(
            f"commissioning {where}: made for the bundle {found.bundle[:12]}…, but {bundle.where} is "
            f"{bundle.digest[:12]}…; {ADVICE}"
        )
    if what := problem_with(found.calibration, bundle.manifest.terms):
        raise BundleError(f"commissioning {where}: {what}; {ADVICE}")
    if packed is None:
        return found
    what = f"commissioning {where}: local_stats"
    stats = read_local_stats(packed, found.calibration.stats, bundle.golden, what, ADVICE)
    return replace(found, calibration=replace(found.calibration, stats=stats))
