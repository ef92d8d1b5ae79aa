"""How far each consumer has acknowledged, kept in the journal: the verbs, and the only SQL about it.

Everything here is staged, for the caller's commit, or reads what was committed (JournalError where that fails).
"""

from __future__ import annotations

from edge.history.journal import Journal


def acknowledged(journal: Journal) -> dict[str, int]:
    """The position that each consumer has acknowledged, by name."""
    return dict(journal.query("SELECT name, position FROM consumers ORDER BY name"))


def forget(journal: Journal, name: str) -> None:
    """Free the name: whoever comes under it again is new, and begins with the oldest record."""
    journal.stage("DELETE FROM consumers WHERE name = ?", name)


def welcome(journal: Journal, name: str, position: int) -> None:
    """Remember a consumer that goes on after `position`; one that is known already stays where it is."""
    journal.stage("INSERT OR IGNORE INTO consumers VALUES(?, ?)", name, position)


def acknowledge(journal: Journal, name: str, position: int) -> None:
    """It has everything up to `position`; never less than it has said before."""
    journal.stage("UPDATE consumers SET position = max(position, ?) WHERE name = ?", position, name)
