"""Three disjoint sets of good images: students; statistics and fusion; image threshold. The last two are unused ones.

Parts of one capture session look alike (light, fixture, batch), so a threshold set on the sessions that were
trained on promises too much; near copies of one picture are worse still, and stay on one side. Where
GOOD_DIR has sub-folders, each is a session, and the sets take whole ones; where sessions are too few or too unequal the
images are shuffled instead, and the run and the bundle say so and why. Rejected: a share of every session for each set,
which hides just the difference that the next session brings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.promise import images_to_spare_one

SHARES = {"train": 0.7, "stats": 0.1, "threshold": 0.2}
LEAST = {"train": 0.3, "stats": 0.05, "threshold": 0.1}  # whole sessions may stray from the shares so far, not farther
LEAST_IMAGES = {"train": 1, "stats": 2, "threshold": 4}
SESSIONS = 3
LARGEST_GROUP = 0.1  # of the images
MOST_UNUSED = 0.5  # of the images, where that spares the threshold from hanging on the highest score alone
_TRIALS = 400  # orders of sessions tried: all of five sessions many times, and of more the best of many good ones


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of good images, as ascending indices: training, statistics and fusion, threshold."""

    train: tuple[int, ...]
    stats: tuple[int, ...]
    threshold: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How images were split. by: "session" or "image"; why: a sentence for people.

    sessions: the sub-folders in each set, empty when split by image.
    """

    by: str
    why: str
    sessions: dict[str, tuple[str, ...]]


def session_of(path: Path, good: Path) -> str:
    """The first sub-folder of `good` that `path` lies in; "." for an image directly in it."""
    parts = path.relative_to(good).parts
    return parts[0] if len(parts) > 1 else "."


def split_good(sessions: Sequence[str], seed: int, copies: Sequence[int] | None = None) -> tuple[Splits, SplitRule]:
    """Split images, given each one's session: by whole sessions where they allow it, else by image.

    copies: of each image, the first that it is a near copy of, or itself (`groups_of_copies`). Split by image they stay
    in one set; whole sessions are kept, and near copies of unused images are not trained on.
    """
    groups = tuple(range(len(sessions))) if copies is None else tuple(copies)
    names = sorted(set(sessions))
    if len(names) < SESSIONS:
        why = "no sub-folders" if names == ["."] else f"{len(names)} capture sessions, and {SESSIONS} are the least"
        return split_images(groups, seed), SplitRule("image", f"split by image: {why}", {})
    sets = _best_sets(Counter(sessions), names, seed)
    chosen = {name: tuple(i for i, s in enumerate(sessions) if s in members) for name, members in sets.items()}
    if short := _too_small(chosen, len(sessions)):
        largest, most = Counter(sessions).most_common(1)[0]
        why = f"{short}; sessions are too unequal (the largest, {largest}, has {most} of {len(sessions)} images)"
        return split_images(groups, seed), SplitRule("image", f"split by image: whole sessions leave {why}", {})
    unused = {groups[i] for name in ("stats", "threshold") for i in chosen[name]}
    chosen["train"] = tuple(i for i in chosen["train"] if groups[i] not in unused)
    why = f"split by whole capture sessions ({len(names)} sub-folders)"
    return Splits(**chosen), SplitRule("session", why, {name: tuple(sorted(members)) for name, members in sets.items()})


def split_images(groups: Sequence[int], seed: int) -> Splits:
    """Shuffle good images into 70 % training, 10 % statistics, 20 % threshold (2 and 4 at least).

    More for the threshold, up to MOST_UNUSED, where one good image may then lie above it (`edge.core.promise`).
    groups: equal for near copies, which stay together. Groups of over a tenth of the images are how these parts look,
    and are shuffled like the rest.
    """
    count = len(groups)
    sizes = Counter(groups)
    group = [g if sizes[g] <= LARGEST_GROUP * count else count + i for i, g in enumerate(groups)]
    order = [int(i) for i in np.random.default_rng((seed, 7)).permutation(count)]
    place = {group[i]: at for at, i in reversed(list(enumerate(order)))}  # of the first of each group
    order.sort(key=lambda i: place[group[i]])
    stats = max(2, round(SHARES["stats"] * count))
    spared = images_to_spare_one() - stats
    is_spared = stats + spared <= MOST_UNUSED * count
    ends = [0]
    for size in (stats, max(4, round(SHARES["threshold"] * count), spared if is_spared else 0)):
        wanted = ends[-1] + size
        while wanted < count and group[order[wanted - 1]] == group[order[wanted]]:
            wanted += 1
        ends.append(wanted)
    return Splits(
        train=tuple(sorted(order[ends[2] :])),
        stats=tuple(sorted(order[: ends[1]])),
        threshold=tuple(sorted(order[ends[1] : ends[2]])),
    )


def _best_sets(counts: Counter[str], names: Sequence[str], seed: int) -> dict[str, set[str]]:
    """Whole sessions for each set, as near to SHARES as the orders tried allow."""
    rng, total = np.random.default_rng((seed, 8)), counts.total()
    best: tuple[float, dict[str, set[str]]] | None = None
    for _ in range(_TRIALS):
        sets = _fill([names[i] for i in rng.permutation(len(names))], counts)
        held = {name: sum(counts[s] for s in members) / total for name, members in sets.items()}
        strays = sum(abs(held[name] - share) / share for name, share in SHARES.items())
        if best is None or strays < best[0] - 1e-9:
            best = strays, sets
    assert best is not None
    return best[1]


def _fill(order: Sequence[str], counts: Counter[str]) -> dict[str, set[str]]:
    """Sessions in order: first statistics, then threshold, each until another would stray farther; the rest trains."""
    total, sets, place = counts.total(), {name: set[str]() for name in SHARES}, 0
    for name, left in (("stats", 2), ("threshold", 1)):
        held = 0
        while place < len(order) - left and (not sets[name] or held + counts[order[place]] / 2 <= SHARES[name] * total):
            held += counts[order[place]]
            sets[name].add(order[place])
            place += 1
    sets["train"].update(order[place:])
    return sets


def _too_small(chosen: dict[str, tuple[int, ...]], total: int) -> str:
    """Which set whole sessions leave too small, as words; empty where none is."""
    short = [
        f"{len(images)} images for {name}"
        for name, images in chosen.items()
        if len(images) < max(LEAST[name] * total, LEAST_IMAGES[name])
    ]
    return ", ".join(short)
