"""A bundle with what was re-fitted for it at the line, from the file beside it or from the one that is named.

Apart from the file's own format (`edge.core.commissioning`), which a bundle knows, and which knows no bundle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from edge.core.arrays import read_local_stats
from edge.core.bundle import Bundle
from edge.core.commissioning import ADVICE, Commissioning, Moved, moved_text, read_commissioning
from edge.core.errors import BundleError
from edge.core.manifest import Calibration, calibration_json, problem_with


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


def with_moved(bundle: Bundle, moved: Moved) -> Bundle:
    """`bundle`, which has the commissioning that `moved` is over, or one moved of that, with this threshold.

    Statistics, fusion and health bands stay. The review zone stays where it was fitted, as long as it lies below the
    threshold; else there is none, and all that lay in it is rejected. BundleError where it does not fit the bundle.
    """
    there = bundle.commissioning
    there = there.fitted if there is not None and there.moved is not None else there
    if (moved.bundle, moved.over) != (bundle.digest, "" if there is None else there.digest):
        raise BundleError(f"bundle {bundle.where}: a threshold was moved of something else; {ADVICE}")
    bundle = replace(bundle, commissioning=there)
    fitted = bundle.calibration(moved.variant)
    review = fitted.review if fitted.review is not None and fitted.review.threshold < moved.threshold else None
    calibration = replace(
        fitted,
        image_threshold=moved.threshold,
        map_threshold=min(fitted.map_threshold, moved.threshold),
        bound=moved.bound,
        review=review,
    )
    if what := problem_with(calibration, bundle.manifest.terms):
        raise BundleError(f"bundle {bundle.where}: a threshold that was moved: {what}; {ADVICE}")
    made = Commissioning(
        bundle=bundle.digest,
        variant=moved.variant,
        engine=moved.engine,
        source=moved.source,
        created=moved.created,
        parts=moved.bound.n,
        calibration=calibration,
        health=bundle.health,
        suspects=() if there is None else there.suspects,
        before=f"threshold {fitted.image_threshold:.6g}, {fitted.bound}",
        digest=hashlib.sha256(moved_text(moved).encode()).hexdigest(),
        where="in the journal",
        moved=moved,
        fitted=there,
    )
    return replace(bundle, commissioning=made)


def fit_key(digest: str, variant: str, calibration: Calibration) -> str:
    """Names what was fitted of a bundle, thresholds apart: scores can be compared exactly where this is the same."""
    body = calibration_json(calibration)
    key = hashlib.sha256(json.dumps([digest, variant, body["stats"], body["fusion"]]).encode())
    for local in (stats.local for stats in calibration.stats.values() if stats.local is not None):
        key.update(local.mean.tobytes() + local.deviation.tobytes())
    return key.hexdigest()
