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
from dataclasses import asdict, dataclass
from typing import Any

from edge.core.arrays import write_local_stats
from edge.core.errors import BundleError
from edge.core.image_health import HealthBands, bands_from_json, bands_to_json
from edge.core.manifest import Bound, Calibration, calibration_json, parse_calibration

SCHEMA = "edge-inspect.commissioning/1"
ADVICE = "commission again (edge-deploy commission), go back (--rollback), or start with --commissioning none"


@dataclass(frozen=True, slots=True)
class Moved:
    """An image threshold that was moved while the line ran, and nothing else of what was fitted.

    bundle: its digest. over: the digest of its commissioning, empty for the bundle's own calibration. variant: of the
    engine. fitted: the threshold that came with the statistics. bound: what it promises, counted from recorded parts,
    of which so many were left_out as bad. why, by: for whoever asks later.
    """

    bundle: str
    over: str
    variant: str
    engine: str
    source: str
    created: str
    fitted: float
    threshold: float
    bound: Bound
    left_out: int
    why: str
    by: str


def moved_text(moved: Moved) -> str:
    """As JSON; the same for the same change, and its SHA-256 is the digest that records have."""
    return json.dumps(asdict(moved), allow_nan=False)


def read_moved(text: str) -> Moved:
    """What `moved_text` gave; BundleError where it is something else."""
    try:
        body = json.loads(text)
        return Moved(**{**body, "bound": Bound(**body["bound"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"a threshold that was moved: damaged or foreign ({error!r}); {ADVICE}") from error


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
    moved: Moved | None = None
    fitted: Commissioning | None = None

    @property
    def fit(self) -> str:
        """The digest of the commissioning whose statistics these are; empty where they are the bundle's own."""
        return self.digest if self.moved is None else self.moved.over

    def calibration_of(self, variant: str) -> Calibration:
        """The calibration, if it was made through `variant`; BundleError otherwise."""
        if variant != self.variant:
            advice = ADVICE if self.moved is None else "commission again (edge-deploy commission)"
            raise BundleError(
                f"commissioning {self.where}: made through {self.variant} ({self.engine}), but the engine runs "
                f"{variant}; start with --variant {self.variant}, or {advice}"
            )
        return self.calibration

    def __str__(self) -> str:
        what = "good" if self.moved is None else "recorded"
        return f"{self.parts} {what} parts of {self.source}, {self.engine} ({self.variant}), {self.created}"


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


def read_commissioning(raw: bytes, where: str) -> tuple[Commissioning, bytes | None]:
    """What `write_commissioning` wrote, and its packed statistics of each place, where it has such; BundleError."""
    try:
        body = json.loads(raw)
        if (schema := body["schema"]) != SCHEMA:
            raise BundleError(f"commissioning {where}: it is {schema!r}, this version reads {SCHEMA!r}; {ADVICE}")
        packed = base64.b64decode(body["local_stats"], validate=True) if "local_stats" in body else None
        return _parse(body, hashlib.sha256(raw).hexdigest(), where), packed
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleError(f"commissioning {where}: damaged or foreign ({error!r}); {ADVICE}") from error


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
