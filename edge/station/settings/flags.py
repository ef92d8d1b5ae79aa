"""A flag of `edge-inspect` stands beside the setting it fills, in a group of --help; these are the means.

Rejected: click's decorators above the command, where a flag stood in three places and its default in two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class Flag(click.Option):
    """A click option that knows its group and its default.

    group: the heading it stands under in --help. default: what `defaults_of` gives where nothing was said.
    """

    def __init__(self, name: str, group: str, *declarations: str, default: Any = None, **attributes: Any) -> None:
        attributes.setdefault("show_default", default is not None and default is not False)
        if default is not None:  # a default of None would, from click 8.3 on, do for a required flag that is left out
            attributes["default"] = default
        super().__init__([name, *declarations], **attributes)
        self.group, self.fallback = group, () if self.multiple else default


def defaults_of(flags: Sequence[Flag]) -> dict[str, Any]:
    """By name, what each flag gives when it is left out."""
    return {str(flag.name): flag.fallback for flag in flags}


Flags = Mapping[str, Any]  # what the command line says, by the names of the flags
