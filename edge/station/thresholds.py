"""Which threshold stands for what was fitted, over restarts; and that it never rises but through COMMISSION.

One door: whatever is to run next, by RECIPE, ROLLBACK or at a start, is looked at here, when the loop takes it. What a
person moved is kept in the journal, with the BIRTH that says so, and never as a file, which could be edited. Scores of
another fit are on another scale, so another fit begins anew: a fit takes fresh good parts and somebody at the machine.
Rejected: comparing thresholds of whatever files lie there (numbers of two scales).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge.core.bundle import Bundle
from edge.core.commissioned import fit_key, with_moved
from edge.core.commissioning import moved_text, read_moved
from edge.core.errors import BundleError
from edge.inspector import Inspector
from edge.wire.facts import Fit

MOST_MOVES = 256  # of one fit: each has a hash, under which its parts are found again


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one fit: its bundle and commissioning (as `Fit`), the threshold that stands, the change it is from, if any.

    hashes: of every commissioning that it ran under, the bundle's own as an empty one.
    """

    bundle: str
    over: str
    threshold: float
    moved: str | None = None
    hashes: tuple[str, ...] = ()


class Thresholds:
    """What stands, by fit. known: as the journal has it. `taken` is the loop's; the rest any thread may ask."""

    def __init__(self, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._standing = {
            key: Standing(**{**body, "hashes": tuple(body["hashes"])}) for key, body in (known or {}).items()
        }

    def standing(self, inspector: Inspector) -> Standing | None:
        """What stands for what this inspector was fitted with; None where it never ran."""
        return self._standing.get(_key(inspector))

    def moved(self, bundle: Bundle) -> Bundle:
        """`bundle`, as it comes from its files, with the threshold that somebody moved of it; BundleError."""
        over = "" if bundle.commissioning is None else bundle.commissioning.digest
        for one in self._standing.values():
            if (one.bundle, one.over) == (bundle.digest, over) and one.moved is not None:
                return with_moved(bundle, read_moved(one.moved))
        return bundle

    def require_kept(self, inspector: Inspector) -> None:
        """BundleError where its threshold is higher than the one that stands for this fit."""
        stands, asked = self.standing(inspector), inspector.image_threshold
        if stands is not None and asked > stands.threshold:
            raise BundleError(
                f"bundle {inspector.bundle.where}: its threshold {asked:.6g} is higher than the {stands.threshold:.6g} "
                "that stands for the same statistics; raise it with COMMISSION, which asks who looked at the parts, or "
                "fit anew on good parts (edge-deploy commission)"
            )

    def taken(self, inspector: Inspector) -> Fit:
        """It runs from now on, and its threshold stands; what is to be remembered of that."""
        bundle, key = inspector.bundle, _key(inspector)
        there = bundle.commissioning
        before = self._standing.get(key)
        own = "" if there is None else there.digest
        moved = None if there is None else there.moved
        stands = Standing(
            bundle.digest,
            "" if there is None else there.fit,
            inspector.image_threshold,
            None if moved is None else moved_text(moved),
            tuple(dict.fromkeys((*(before.hashes if before else ()), own))),
        )
        self._standing = {**self._standing, key: stands}
        return Fit(key, stands.over, inspector.image_threshold if moved is None else moved.fitted, asdict(stands))


def _key(inspector: Inspector) -> str:
    return fit_key(inspector.bundle.digest, inspector.engine.variant, inspector.calibration)
