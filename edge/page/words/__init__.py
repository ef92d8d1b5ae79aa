"""The page's words, one plain JSON catalogue a language; a word that is missing is an error, not a hole in a screen.

Rejected: gettext (a compile step, and plural rules that two languages do not need).
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "de")


class Words:
    """The texts of one language, and how it writes numbers and times. Times in milliseconds since 1970, shown local."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: dict[str, str] = json.loads((Path(__file__).parent / f"{language}.json").read_text("utf-8"))

    def __call__(self, key: str, **values: object) -> str:
        """The text of this key, with its {values}; KeyError for one that is in no catalogue."""
        return self._texts[key].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in self._texts

    @property
    def keys(self) -> frozenset[str]:
        """All of them."""
        return frozenset(self._texts)

    def number(self, value: float, decimals: int = 0) -> str:
        """With the language's own point and groups."""
        text = f"{value:,.{decimals}f}"
        return text.translate(str.maketrans(",.", ".,")) if self.language == "de" else text

    def time(self, ms: int) -> str:
        """Date, time and zone, on this machine's clock."""
        at = datetime.fromtimestamp(ms / 1000).astimezone()
        return at.strftime("%d.%m.%Y %H:%M:%S %Z" if self.language == "de" else "%Y-%m-%d %H:%M:%S %Z")

    def clock(self, ms: int) -> str:
        """Time of day with its zone."""
        return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%H:%M %Z")


@cache
def words_in(language: str) -> Words:
    """The catalogue of a language of LANGUAGES."""
    return Words(language)


def chosen_language(cookie: str | None, accepted: str) -> str:
    """What the cookie says, else the first of a browser's languages that there is, else English."""
    if cookie in LANGUAGES:
        return cookie
    for one in accepted.split(","):
        language = one.strip().partition(";")[0].partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]
