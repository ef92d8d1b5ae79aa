"""What the watch over the parts knows of each recipe, for the next start: the verbs, and the only SQL about it.

A station that changes its recipe each hour would never see a whole shift of one: so each recipe's is kept, and of the
recipes those that were watched last. Rejected: a file beside the journal, which could know what history does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.history.journal import Journal

RECIPES = 32  # that are remembered
_OURS = "watch/"


def remember_watch(journal: Journal, recipe: str, state: Mapping[str, Any]) -> None:
    """Stage it, for the next commit. recipe: a name of it, the same whenever it runs."""
    journal.stage("INSERT OR REPLACE INTO facts VALUES(?, ?)", _OURS + recipe, json.dumps(state))
    journal.stage(
        "DELETE FROM facts WHERE name GLOB ? AND rowid NOT IN "
        "(SELECT rowid FROM facts WHERE name GLOB ? ORDER BY rowid DESC LIMIT ?)",
        f"{_OURS}*",
        f"{_OURS}*",
        RECIPES,
    )


def last_watch(journal: Journal, recipe: str) -> dict[str, Any] | None:
    """What was remembered of it and is committed; None for nothing, or nothing that reads. JournalError."""
    found = journal.query("SELECT value FROM facts WHERE name = ?", _OURS + recipe)
    try:
        state = json.loads(found[0][0]) if found else None
    except ValueError:
        return None
    return state if isinstance(state, dict) else None
