"""The recipe table: a PLC has a number, the station a bundle; a file says which is which, and by which digest.

    {"format": 1, "recipes": [{"number": 7, "bundle": "washer-4.bundle", "sha256": "…", "product": "washer", …}]}

`edge-deploy recipes` writes it. The digest makes a number mean one very bundle: a file that was replaced in silence is
refused, not run. The table is read again whenever somebody asks, so that a recipe is added without a restart. Rejected:
a folder of files named by numbers (no room for what is promised, and a copy is half there while it is written).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge.core.commissioned import commissioning_file
from edge.core.errors import SettingsError

FORMAT, LAST_NUMBER, MOST_BYTES = 1, 32767, 4 << 20
TOLD = 100  # recipes in one answer
ADVICE = "write it with edge-deploy recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One line of the table. bundle: a path, below the table's folder unless it is absolute; sha256: its digest.

    product, version, promise: as the bundle says them; text: for people.
    """

    number: int
    bundle: str
    sha256: str
    product: str
    version: int
    promise: str
    text: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= LAST_NUMBER:
            raise ValueError(f"number {self.number}: give one from 1 to {LAST_NUMBER}")


class RecipeTable:
    """What the file at `path` says; SettingsError where it cannot be read or makes no sense. None: there is none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.recipes: dict[int, Recipe] = {}
        self.read()

    @property
    def path(self) -> Path:
        """Where the table is; SettingsError where there is none."""
        if self._path is None:
            raise SettingsError("this station has no recipe table; start it with --recipes FILE, or give bundle=PATH")
        return self._path

    def read(self) -> None:
        """Look again; what was known stays known where that fails with SettingsError."""
        if self._path is not None:
            self.recipes = read_table(self._path)

    def bundle_of(self, number: int) -> tuple[Path, str]:
        """Path and digest of that recipe's bundle, by the file as it is now; SettingsError where there is none."""
        path = self.path
        self.read()
        if (recipe := self.recipes.get(number)) is None:
            raise SettingsError(f"recipe {number} is not in {path}; RECIPES lists what is")
        return path.parent / recipe.bundle, recipe.sha256

    def number_of(self, digest: str) -> int | None:
        """Under which number this bundle is; None where it has none."""
        return next((number for number, recipe in self.recipes.items() if recipe.sha256 == digest), None)

    def told(self, after: int = 0) -> dict[str, Any]:
        """The answer to RECIPES: those with a higher number, TOLD at most, and whether there are more."""
        folder = self.path.parent
        self.read()
        numbers = sorted(number for number in self.recipes if number > after)
        told = [
            {
                **asdict(recipe),
                "is_there": (folder / recipe.bundle).is_file(),
                "is_commissioned": commissioning_file(folder / recipe.bundle).is_file(),
            }
            for recipe in (self.recipes[number] for number in numbers[:TOLD])
        ]
        return {"recipes": told, "has_more": len(numbers) > TOLD}


def read_table(path: Path) -> dict[int, Recipe]:
    """By number; SettingsError says what is wrong and what to do."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"--recipes {path}: cannot be read ({error.strerror}); {ADVICE}") from error
    try:
        body = json.loads(raw[: MOST_BYTES + 1]) if len(raw) <= MOST_BYTES else None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError(f'it does not say "format": {FORMAT}')
        found = [_recipe(one) for one in body["recipes"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(f"--recipes {path}: is no recipe table: {error}; {ADVICE}") from error
    for name in ("number", "sha256"):
        values = [getattr(one, name) for one in found]
        if twice := [value for value in values if values.count(value) > 1]:
            raise SettingsError(f"--recipes {path}: {name} {twice[0]} is there twice; give each bundle one number")
    return {recipe.number: recipe for recipe in found}


def table_text(recipes: Iterable[Recipe]) -> str:
    """The file's text."""
    lines = [asdict(recipe) for recipe in sorted(recipes, key=lambda one: one.number)]
    return json.dumps({"format": FORMAT, "recipes": lines}, indent=1, ensure_ascii=False) + "\n"


def _recipe(body: Any) -> Recipe:
    if not isinstance(body, dict):
        raise TypeError(f"{body!r} is no recipe")
    for field in fields(Recipe):
        is_missing = field.name not in body and field.default is MISSING
        if is_missing or (field.name in body and type(body[field.name]).__name__ != field.type):
            raise ValueError(f"recipe {body.get('number')}: {field.name} must be {field.type}")
    return Recipe(**{field.name: body[field.name] for field in fields(Recipe) if field.name in body})
