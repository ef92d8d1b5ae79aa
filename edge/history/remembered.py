"""What the station has to know again after a restart, by name: the verbs, and the only SQL about it.

It is committed with the record that tells of it, so that the two never differ, and is among what a damaged journal is
salvaged with. Rejected: files beside the journal (`edge.history.last_recipe` says why).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.history.journal import Journal


def remember(journal: Journal, name: str, what: Mapping[str, Any]) -> None:
    """Stage it, for the caller's commit, in place of what was remembered under that name. what: JSON's types."""
    journal.stage("INSERT OR REPLACE INTO facts VALUES(?, ?)", name, json.dumps(what))


def remembered(journal: Journal, name: str) -> dict[str, Any]:
    """What was committed last under that name; empty where nothing was. JournalError where it cannot be read."""
    found = journal.query("SELECT value FROM facts WHERE name = ?", name)
    return dict(json.loads(found[0][0])) if found else {}
