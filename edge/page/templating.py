"""Templates -> HTML: what stands in them is text, whatever it is; part ids and names are never markup."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from edge.page.statics import address_of
from edge.page.words import Words


def render(template: str, t: Words, **facts: Any) -> str:
    """A template in the language of `t`; a name that it lacks is an error."""
    return _environment().get_template(template).render(t=t, **facts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edge.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["ninth"] = lambda region: f"region.{region}"
    environment.globals["address_of"] = address_of
    return environment
