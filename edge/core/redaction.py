"""Passwords in addresses never leave the device: hidden in logs, on the wire, and on the screen.

Rather too much than too little: whatever stands before the last @ of a word that begins like an address goes, and so
does what follows `password=` or `user=`, in the query or in the path, up to the next &: cameras want both.
Rejected: parsing the address, which fails just where somebody's password holds an @, a slash, a # or a question mark.
"""

from __future__ import annotations

import re

_USER = re.compile(r"(\w+://)\S*@")
_PARAMETER = re.compile(
    r"((?<![A-Za-z0-9])(?:user|usr|username|login|password|passwd|pass|pwd|token|secret|key)=)[^&\s]*", re.IGNORECASE
)


def hide_credentials(text: str) -> str:
    """The text with `***` in place of users, passwords and secret parameters of addresses."""
    if "://" not in text:
        return text
    return re.sub(r"\w+://\S*", lambda word: _PARAMETER.sub(r"\1***", word[0]), _USER.sub(r"\1***@", text))


def without_credentials(uri: str) -> str:
    """The address of a camera for its records: without its user and password, its secret parameters hidden."""
    return hide_credentials(_USER.sub(r"\1", uri))
