"""What a bundle will find, said before the first defective part is seen: of defects planted on unused good images.

One number is the mean over a mix that is the same for every product, written down here before any labelled defect was
looked at: sizes log-uniform from 2 to 40 % of the short side, contrasts uniform from 1 to 6 local deviations. It is an
estimate, for nobody knows a product's real defects beforehand; so it ends in a word that a person can act on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge.core.binomial import interval
from edge.core.words import Advice

SIZES = tuple(0.02 * 20 ** (step / 5) for step in range(6))  # edges of bands, shares of the short side: 2 … 40 %
CONTRASTS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # edges of bands, in local deviations
MOST = 0.9  # "9 of 10"
USE_FROM = 0.7  # share of planted defects found; the estimate may be off by .15
# Half of the mix is smaller than a twelfth of the part, and whether such defects come up only a product's maker knows:
# what misses them may still be of use. What misses half of those from an eighth of the part on is not.
LARGE, LARGE_FOUND = SIZES[3], 0.5
REAL_FOUND = 0.4  # share of labelled defects below which a bundle is of no use
REAL_ENOUGH = 10  # labelled defects from which on they say more than planted ones
WEAK_PROMISE, NO_PROMISE = 0.08, 0.25  # promised rate of false rejects: fewer than 36 and 11 unused good parts
SOME_UNLIKE, MANY_UNLIKE = 0.05, 0.2  # share of good images that look unlike the others


@dataclass(frozen=True, slots=True)
class Cell:
    """Planted defects of one band of sizes and one of contrasts, and how many are found. size: its lower edge, a share
    of the short side; contrast: its lower edge, in local deviations."""

    size: float
    contrast: float
    planted: int
    found: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """Real defects that were given to be looked at, never to be learned from: one kind, and how many are found."""

    kind: str
    images: int
    found: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is found of planted defects at the shipped threshold, and what to make of it.

    short_side_px: of what is inspected, in pixels of the frame. mm_per_px: where it is known. promised: the bound of
    false rejects as if parts were independent. unlike: share of the good images that look unlike the others. sessions:
    how many capture sessions the promise counts, None where it counts parts.
    """

    cells: tuple[Cell, ...]
    short_side_px: float
    mm_per_px: float | None = None
    promised: float = 0.0
    unlike: float = 0.0
    sessions: int | None = None
    labelled: tuple[Labelled, ...] = ()

    @property
    def share(self) -> float:
        """The one number: the mean share found over the mix, each cell alike; 0 where nothing could be planted."""
        shares = [cell.found / cell.planted for cell in self.cells if cell.planted]
        return math.fsum(shares) / len(shares) if shares else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval: of planting, not of how far planted defects are from real ones."""
        planted = sum(cell.planted for cell in self.cells)
        return interval(self.share * planted, planted)

    def share_from(self, size: float, contrast: float) -> tuple[int, int]:
        """(found, planted) of the cells of this size and contrast, and above."""
        chosen = [cell for cell in self.cells if cell.size >= size and cell.contrast >= contrast]
        return sum(cell.found for cell in chosen), sum(cell.planted for cell in chosen)

    def statement(self) -> str:
        """From which size and contrast on most are found, and how many of all."""
        low, high = self.interval
        everything = f"{self.share:.0%} of all planted ones ({low:.0%} to {high:.0%})"
        if (first := self._most_found_from()) is None:
            largest, strongest = SIZES[-2], CONTRASTS[-2]
            found, planted = self.share_from(largest, strongest)
            best = (
                f"of defects from {self._length(largest)} and {strongest:.0f}× local contrast on {found} of {planted}"
            )
            return f"finds nowhere 9 of 10: {best}; {everything}"
        size, contrast = first
        smaller = [f"{_tenths(*pair)} from {self._length(one)}" for one, pair in self._below(size, contrast)]
        less = f"; {smaller[-1]}" if smaller else ""
        return (
            f"finds 9 of 10 defects from {self._length(size)} and {contrast:.0f}× local contrast on{less}; {everything}"
        )

    def advice(self) -> tuple[Advice, str]:
        """A word, and why and what to do in one line."""
        concerns = [concern for concern in self._concerns() if concern is not None]
        for word in (Advice.DO_NOT, Advice.CARE):
            if reasons := [text for of, text in concerns if of is word]:
                return word, "; ".join(reasons)
        return (
            Advice.USE,
            "enough unused good images, and most defects are found; watch the first hundred parts",
        )

    def lines(self) -> list[str]:
        """For people: the statement, real defects apart, the word."""
        word, why = self.advice()
        kinds = ", ".join(f"{one.kind} {one.found} of {one.images}" for one in self.labelled)
        images, found = (sum(getattr(one, name) for one in self.labelled) for name in ("images", "found"))
        real = [f"of your labelled defects {found} of {images}: {kinds}"] if self.labelled else []
        return [f"{self.statement()} (estimate)", *real, f"{_SAID[word]}: {why}"]

    def _concerns(self) -> tuple[tuple[Advice, str] | None, ...]:
        more = "add good images of parts that nobody has seen (--more-good)"
        few = f"too few good images: only {self.promised:.0%} of false rejects can be promised; {more}"
        unlike = f"{self.unlike:.0%} of the good images look unlike the others; see look.png, remove what is not good"
        sessions = f"the promise counts {self.sessions} capture sessions; add sessions"
        return (
            _graded(self.promised, WEAK_PROMISE, NO_PROMISE, few),
            _graded(self.unlike, SOME_UNLIKE, MANY_UNLIKE, unlike),
            self._too_little(),
            (Advice.CARE, sessions) if self.sessions is not None and self.sessions < 10 else None,
        )

    def _too_little(self) -> tuple[Advice, str] | None:
        """Whether enough is found: of labelled defects where there are enough of them, else of planted ones."""
        images, found = (sum(getattr(one, name) for one in self.labelled) for name in ("images", "found"))
        large_found, large = self.share_from(LARGE, CONTRASTS[0])
        of_large = large_found / large if large else 0.0
        if images >= REAL_ENOUGH:
            share, is_useless = found / images, found < REAL_FOUND * images
            told = f"{share:.0%} of your labelled defects"
        else:
            share, is_useless = self.share, of_large < LARGE_FOUND
            told = f"{share:.0%} of planted defects, {of_large:.0%} of those from {self._length(LARGE)} on"
        advice = (
            f"finds too little: {told}; see judges.png, remove what is not good; bring the part closer to the camera "
            "or inspect less of it (--roi), raise --input-size, light it evenly, add good images"
        )
        if is_useless:
            return Advice.DO_NOT, advice
        return (Advice.CARE, advice) if share < USE_FROM else None

    def _most_found_from(self) -> tuple[float, float] | None:
        """The size and contrast from which on most are found, of all such the ones that hold the most cells."""
        cells = [(one.size, one.contrast) for one in self.cells if one.planted]
        held = [at for at in cells if self._is_found_from(*at)]
        return max(held, key=lambda at: (self.share_from(*at)[1], at[1]), default=None)

    def _is_found_from(self, size: float, contrast: float) -> bool:
        found, planted = self.share_from(size, contrast)
        return planted > 0 and found >= MOST * planted

    def _below(self, size: float, contrast: float) -> list[tuple[float, tuple[int, int]]]:
        """Of the sizes below `size`, ascending: (size, (found, planted)) of that band at this contrast and above."""
        bands = sorted({cell.size for cell in self.cells if cell.size < size})
        counts = [
            (band, [cell for cell in self.cells if cell.size == band and cell.contrast >= contrast]) for band in bands
        ]
        return [(band, (sum(c.found for c in own), sum(c.planted for c in own))) for band, own in counts if own]

    def _length(self, size: float) -> str:
        px = size * self.short_side_px
        return f"{px:.0f} px" if self.mm_per_px is None else f"{px:.0f} px ({px * self.mm_per_px:.2g} mm)"


_SAID = {Advice.USE: "USE IT", Advice.CARE: "USE IT WITH CARE", Advice.DO_NOT: "DO NOT USE IT"}


def _graded(value: float, some: float, much: float, text: str) -> tuple[Advice, str] | None:
    if value > much:
        return Advice.DO_NOT, text
    return (Advice.CARE, text) if value > some else None


def _tenths(found: int, planted: int) -> str:
    return f"{round(10 * found / planted)} of 10" if planted else "none of 10"


def forecast_to_json(forecast: Forecast) -> dict[str, Any]:
    """As JSON's types: what `forecast_from_json` reads, and for other readers what follows from it."""
    word, why = forecast.advice()
    low, high = forecast.interval
    told = {"share": forecast.share, "low": low, "high": high, "statement": forecast.statement()}
    return {**asdict(forecast), **told, "advice": word.value, "why": why}


def forecast_from_json(body: Mapping[str, Any]) -> Forecast:
    """What `forecast_to_json` gave; KeyError, TypeError or ValueError where it is something else."""
    return Forecast(
        tuple(
            Cell(float(c["size"]), float(c["contrast"]), int(c["planted"]), int(c["found"]))
            for c in _list(body, "cells")
        ),
        float(body["short_side_px"]),
        None if body["mm_per_px"] is None else float(body["mm_per_px"]),
        float(body["promised"]),
        float(body["unlike"]),
        None if body["sessions"] is None else int(body["sessions"]),
        tuple(Labelled(str(one["kind"]), int(one["images"]), int(one["found"])) for one in _list(body, "labelled")),
    )


def _list(body: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = body[name]
    if not isinstance(found, list):
        raise TypeError(f"{name} is no list")
    return found
