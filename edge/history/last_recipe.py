"""What the station ran when it last told so, and what thresholds stand, for its next start: the verbs, the only SQL.

It is committed with the BIRTH that says what runs, so that the two never differ. Rejected: a file beside the journal,
which could say something else than history does after a power cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw

from edge.history.database import IN_MEMORY, JournalCorrupt, JournalError, close_anyway, open_database
from edge.history.journal import Journal
from edge.history.opening import open_or_salvage
from edge.history.salvage import finish

FITS = "fit/"  # of names in the journal: which threshold stands, by the key of what was fitted


class LastRecipe(NamedTuple):
    """Path (absolute) and digest of the bundle that ran, and of the file that --bundle named at that run's start."""

    path: str
    digest: str
    flag_path: str
    flag_digest: str


def remember_recipe(journal: Journal, last: LastRecipe) -> None:
    """Stage it, for the caller's commit."""
    journal.stage("INSERT OR REPLACE INTO facts VALUES('recipe', ?)", json.dumps(last))


class Before(NamedTuple):
    """What a start has to know of the runs before it: what ran last, if anything is known; what stands, by fit."""

    recipe: LastRecipe | None = None
    fits: Mapping[str, dict[str, Any]] = MappingProxyType({})


def before_start(path: Path, may_salvage: bool) -> Before:
    """What the journal at `path` remembers; nothing where there is none yet, or it is of before this was remembered.

    may_salvage: whether a damaged one is mended now, as its next opening would; else JournalCorrupt. Other errors as
    `open_database`.
    """
    if may_salvage and path != IN_MEMORY:
        finish(path)
    if path == IN_MEMORY or not path.exists() or path.stat().st_size == 0:
        return Before()
    db = open_or_salvage(path) if may_salvage else open_database(path)
    try:
        found = dict(db.execute("SELECT name, value FROM facts WHERE name = 'recipe' OR name GLOB ?", (f"{FITS}*",)))
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise JournalCorrupt(f"--journal {path}: damaged ({error})") from error
    except apsw.Error as error:
        raise JournalError(f"--journal {path}: cannot be read: {error}") from error
    finally:
        close_anyway(db)
    recipe = found.pop("recipe", None)
    fits = {name.removeprefix(FITS): json.loads(value) for name, value in found.items()}
    return Before(None if recipe is None else LastRecipe(*json.loads(recipe)), fits)
