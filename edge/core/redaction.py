"""Passwords in addresses never leave the device: hidden in logs, on the wire, and on the screen.

Rather too much than too little: whatever stands before the last @ of a word that begins like an address goes.
Rejected: parsing the address, which fails just where somebody's password holds an @ or a slash.
"""

from __future__ import annotations

import re

_USER = re.compile(r"(\w+://)\S*@")
_PARAMETER = re.compile(r"([?&](?:password|passwd|pass|pwd|token|secret|key)=)[^&\s]*", re.IGNORECASE)


def hide_credentials(text: str) -> str:
    """The text with `***` in place of users, passwords and secret parameters of addresses."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(r"\1***", _USER.sub(r"\1***@", text))
