"""Commissioning: score statistics and thresholds re-fitted on good parts that this camera and this engine saw.

A bundle is never changed after its release, so what was fitted at the line lies beside it, in one JSON file that names
the bundle by its digest and the variant it went through; for anything else it is refused. Statistics of each place
are in it as in a bundle, as npz in base64: one file is replaced at once or not at all. Rejected: a file that is
left aside when it does not fit (the line would run on other thresholds than it was released with, and nobody would
know).
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.core.arrays import read_local_stats, write_local_stats
from edge.core.bundle import Bundle
from edge.core.errors import BundleError
from edge.core.image_health import HealthBands, bands_from_json, bands_to_json
from edge.core.manifest import Calibration, calibration_json, parse_calibration, problem_with

SCHEMA = "edge-inspect.commissioning/1"
ADVICE = "commission again (edge-deploy commission), go back (--rollback), or start with --commissioning none"


@dataclass(frozen=True, slots=True, eq=False)
class Commissioning:
    """What holds in place of one variant's calibration, and of the health bands, in the bundle of digest `bundle`.

    source: where its good parts came from. engine: name and version. parts: how many good parts, statistics and
    threshold together. suspects: those among them that looked defective, by name. before: thresholds and promise that
    it took the place of. digest: SHA-256 of the file; where: its name.
    """

    bundle: str
    variant: str
    engine: str
    source: str
    created: str
    parts: int
    calibration: Calibration
    health: HealthBands | None = None
    suspects: tuple[str, ...] = ()
    before: str = ""
    digest: str = ""
    where: str = ""

    def calibration_of(self, variant: str) -> Calibration:
        """The calibration, if it was made through `variant`; BundleError otherwise."""
        if variant != self.variant:
            raise BundleError(
                f"commissioning {self.where}: made through {self.variant} ({self.engine}), but the engine runs "
                f"{variant}; start with --variant {self.variant}, or {ADVICE}"
            )
        return self.calibration

    def __str__(self) -> str:
        return f"{self.parts} good parts of {self.source}, {self.engine} ({self.variant}), {self.created}"


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
    try:
        body = json.loads(raw)
        if (schema := body["schema"]) != SCHEMA:
            raise BundleError(f"commissioning {where}: it is {schema!r}, this version reads {SCHEMA!r}; {ADVICE}")
        found = _parse(body, hashlib.sha256(raw).hexdigest(), where)
        packed = base64.b64decode(body["local_stats"], validate=True) if "local_stats" in body else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleError(f"commissioning {where}: damaged or foreign ({error!r}); {ADVICE}") from error
    if found.bundle != bundle.digest:
        raise BundleError(
            f"commissioning {where}: made for the bundle {found.bundle[:12]}…, but {bundle.where} is "
            f"{bundle.digest[:12]}…; {ADVICE}"
        )
    if what := problem_with(found.calibration, bundle.manifest.patch_sizes):
        raise BundleError(f"commissioning {where}: {what}; {ADVICE}")
    if packed is None:
        return found
    what = f"commissioning {where}: local_stats"
    stats = read_local_stats(packed, found.calibration.stats, bundle.golden, what, ADVICE)
    return replace(found, calibration=replace(found.calibration, stats=stats))


def write_commissioning(commissioning: Commissioning) -> bytes:
    """The file's bytes; the same for the same commissioning."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "bundle": commissioning.bundle,
        "variant": commissioning.variant,
        "engine": commissioning.engine,
        "source": commissioning.source,
        "created": commissioning.created,
        "parts": commissioning.parts,
        "suspects": list(commissioning.suspects),
        "before": commissioning.before,
        "calibration": calibration_json(commissioning.calibration),
        **({} if commissioning.health is None else {"health": bands_to_json(commissioning.health)}),
    }
    if commissioning.calibration.is_local:
        packed = write_local_stats(commissioning.calibration.stats)
        body["local_stats"] = base64.b64encode(packed).decode("ascii")
    return json.dumps(body, indent=1, allow_nan=False).encode()


def _parse(body: dict[str, Any], digest: str, where: str) -> Commissioning:
    return Commissioning(
        bundle=str(body["bundle"]),
        variant=str(body["variant"]),
        engine=str(body["engine"]),
        source=str(body["source"]),
        created=str(body["created"]),
        parts=int(body["parts"]),
        calibration=parse_calibration(body["calibration"]),
        health=bands_from_json(body["health"]) if "health" in body else None,
        suspects=tuple(map(str, body["suspects"])),
        before=str(body["before"]),
        digest=digest,
        where=where,
    )
