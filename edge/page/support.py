"""A file to send to whoever helps: what the station and the page are and how they fare, and nothing of what is made.

What may be in it is named here; any other text is replaced by its length, so that a field that comes tomorrow is not
sent by mistake. Rejected: naming what must not be in it, and the logs themselves, which quote whatever was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Fields whose text is about machinery: words of the wire, versions, times, what is wrong and what to do about it.
KEPT = frozenset(
    {
        "schema", "kind", "created", "since", "state", "cause", "advice", "command", "outcome", "reason", "measure",
        "engine", "engine_version", "version", "acquisition", "trigger", "previous_end", "camera_state", "hash",
        "hash_algorithm", "commissioning_hash", "epoch", "statement", "unit", "name", "licence", "system", "python",
    }
)  # fmt: skip
MOST_DEEP = 12


def support_file(facts: Mapping[str, Any]) -> dict[str, Any]:
    """These facts, JSON, without what says who, where or what is made; numbers stay."""
    return {name: _redacted(name, value, MOST_DEEP) for name, value in facts.items()}


def _redacted(name: str, value: Any, deep: int) -> Any:
    if isinstance(value, Mapping) and deep:
        return {str(key): _redacted(str(key), one, deep - 1) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str) and deep:
        return [_redacted(name, one, deep - 1) for one in value]
    if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and name in KEPT):
        return value
    return f"({len(str(value))} characters)"
