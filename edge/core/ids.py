"""Ids where not every character can stand, on the wire or in a file's name: different ones stay different.

An id that cannot stand as it is becomes what can stand of it, a mark, and a digest of all of it; so does one that
looks like that already, or it would pass for another. Rejected: cutting and replacing only, which makes one part of
two; escaping each character (a long id must be cut all the same).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

_DIGITS = 16


def told_apart(value: str, clean: Callable[[str], str], most: int, mark: str) -> str:
    """`value` where it can stand, else another text of at most `most` characters that no other value has.

    clean: puts one character in place of each that cannot stand. mark: one that can.
    """
    is_alike = re.search(rf"{re.escape(mark)}[0-9a-f]{{{_DIGITS}}}\Z", value)
    if len(value) <= most and clean(value) == value and not is_alike:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{clean(value[: most - _DIGITS - len(mark)])}{mark}{digest}"
