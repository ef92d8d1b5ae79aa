"""Input that makes sense in parts, invented from a seed: what a fuzzer needs to get behind the first check.

Everything is drawn from `random.Random`, so a seed says what it was. Hypothesis gives the seeds; drawing each value
through it took four milliseconds an input, forty times as long.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TEXTS = ["", "a", "Z", "gap", "late", "defect", "corrupt", "ab" * 16, "zz" * 16, "2026-03-04T05:06:07Z", "é\0"]
NUMBERS = [-1, 0, 1, 2, 3, 7, 1000, 1001, 2**31, 2**63, 2**64, 2**70, -0.5, 0.0, 1.0, 3.0, 0.5, 1e300, -1e-300]
NEW_NAMES = ["new", "gap", "history", "reason", "image", "review_threshold", "last_seq", "alert"]


class Inventor(random.Random):
    """Draws values, bodies, frames and requests."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._seed = seed

    def __repr__(self) -> str:
        return f"Inventor({self._seed})"

    def value(self, depth: int = 2) -> Any:
        """Any JSON value; mostly small, often nearly right."""
        kind = self.randrange(9 if depth else 6)
        if kind <= 1:
            return self.choice(TEXTS)
        if kind <= 3:
            return self.choice(NUMBERS)
        if kind <= 5:
            return self.choice([None, True, False])
        if kind <= 7:
            return [self.value(depth - 1) for _ in range(self.randrange(4))]
        return {self.choice(NEW_NAMES): self.value(depth - 1) for _ in range(self.randrange(3))}

    def changed(self, body: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A copy with up to three places replaced, taken out, doubled, added, or taken from another body."""
        result = copy.deepcopy(dict(body))
        for _ in range(self.randint(0, 3)):
            where, key = self.choice(list(_places(result)) or [(result, "new")])
            how = self.randrange(6)
            if how <= 1:
                where[key] = self.value()
            elif how == 2 and where:
                where.pop(key)
            elif how == 3 and isinstance(where, dict):
                where[self.choice(NEW_NAMES)] = self.value()
            elif how == 4 and isinstance(where, list):
                where.append(where[key])
            else:
                where[key] = copy.deepcopy(self.choice(others).get(key))
        return result

    def damaged(self, frames: Sequence[bytes], others: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Frames with one or two of them cut, flipped, exchanged, dropped or invented."""
        result = list(frames)
        for _ in range(self.randint(1, 2)):
            index = self.randrange(len(result)) if result else 0
            how = self.randrange(5)
            if how == 0 or not result:
                result.insert(index, self.randbytes(self.randrange(30)))
            elif how == 1:
                del result[index]
            elif how == 2:
                result[index] = self.choice(self.choice(others))
            else:
                at = self.randrange(max(1, len(result[index])))
                middle = b"" if how == 3 else self.randbytes(self.randint(1, 2))
                result[index] = result[index][:at] + middle + result[index][at + 1 :]
        return result

    def facts(self, sensible: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """An object with some of these names, mostly with values that make sense."""
        names = [name for name in sensible if self.random() < 0.6]
        return {name: self.choice(sensible[name]) if self.random() < 0.7 else self.value() for name in names}

    def request(self, request_id: bytes, verbs: Sequence[bytes], sensible: Mapping[str, Sequence[Any]]) -> list[bytes]:
        """The three frames of a request, or now and then something else."""
        if self.random() < 0.1:
            return [self.randbytes(self.randrange(30)) for _ in range(self.randint(1, 5))]
        return [self.choice(verbs), request_id, json.dumps(self.facts(sensible)).encode()]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield value, key
        yield from _places(one)
