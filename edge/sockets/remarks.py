"""What people and an MES say about parts: FEEDBACK and NOTE change nothing but the record, which then has it.

Rejected: a closed list of labels; each line has its own words for what it throws away.
"""

from __future__ import annotations

from edge.sockets.requests import Request, RequestError

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MOST_LABEL, MOST_NOTE = 32, 200
_DISPOSITION = r"accept|reject|rework|scrap|unknown"


def feedback(request: Request) -> str:
    """What became of a part; `about`: the result_id of its record; `label`: in a word or two, why."""
    disposition, about = request.text("disposition", _DISPOSITION), request.text("about", UUID)
    label = f", {printable(request, 'label', MOST_LABEL)}" if "label" in request.facts else ""
    return f"{disposition} for {about}{label}"


def note(request: Request) -> str:
    """What a person wants on record, about a part or about the station."""
    text = printable(request, "text", MOST_NOTE)
    return f"{text} (about {request.text('about', UUID)})" if "about" in request.facts else text


def printable(request: Request, name: str, most: int) -> str:
    """The fact as text of 1 to `most` characters that can be printed, in any script; RequestError if it is not."""
    value = request.facts.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable() or not value.strip():
        raise RequestError(f"{name} must be text of 1 to {most} characters that can be printed")
    return value
