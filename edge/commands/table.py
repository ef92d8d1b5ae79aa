"""One line of `edge-watch`'s table for each record: what a person wants to see of it, in columns, coloured.

Whatever comes from the network is shown only as far as it can be printed, and a field of a wrong type is shown as if
it were missing: a line must come out of any record. Rejected: decoding into the record types first, which would refuse
what a newer station sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edge.wire.messages import Message
from edge.wire.vocabulary import Kind

_EVALUATIONS = {"1": ("OK", "green"), "2": ("NOT OK", "red"), "3": ("UNDECIDED", "yellow")}


def table_line(message: Message) -> str:
    """One line for people, coloured; what the wire brought is shown only as far as it can be printed."""
    body = message.body
    clock = printable(body.get("acquired", body.get("created", "")))[11:23]
    details = _DETAILS.get(message.kind, _unknown)(body)
    line = f"{clock:12}  {message.kind:9}  {details}"
    if message.is_historical:
        line = click.style(f"{line}  (sent before)", dim=True)
    return click.style(line, bold=True) if message.kind == Kind.ALERT.value else line


def _verdict(body: dict[str, Any]) -> str:
    name, colour = _EVALUATIONS.get(str(body.get("result_evaluation")), ("UNDEFINED", "magenta"))
    return click.style(f"{name:9}", fg=colour, bold=True)


def _result(body: dict[str, Any]) -> str:
    image = _object(body, "image")
    part = body.get("part_id") or f"frame {image.get('frame_id', '?')}"
    score = f"{_number(body.get('anomaly_score'), 2)}/{_number(body.get('threshold'), 2)}"
    found = body.get("defects")
    defects = len(found) if isinstance(found, list) else 0
    latency = f"{_number(body.get('latency_ms'), 1)} ms{' LATE' if body.get('late') is True else ''}"
    text = f"{_verdict(body)}  {printable(part):20}  {score:>15}  {defects:2} defects  {latency}"
    return f"{text}{_why(body)}"


def _alert(body: dict[str, Any]) -> str:
    label = click.style(f" {printable(body.get('alert', '?')).upper()} ", reverse=True)
    return f"{_gap(body) if 'gap' in body else _result(body)}  {label}"


def _gap(body: dict[str, Any]) -> str:
    if "history" in body:
        lost = _object(body, "history")
        text = f"records {lost.get('first_seq')} to {lost.get('last_seq', 'the end')} are gone: {lost.get('cause')}"
        return printable(text)
    gap = _object(body, "gap")
    frames = f"frames {gap.get('first_frame_id')} to {gap.get('last_frame_id')} were not inspected: {gap.get('cause')}"
    return f"{_verdict(body)}  {printable(frames)}{_why(body)}"


def _why(body: dict[str, Any]) -> str:
    words = [printable(body[name]) for name in ("reason", "result_evaluation_details") if name in body]
    return f"  {': '.join(words)}" if words else ""


def _birth(body: dict[str, Any]) -> str:
    recipe, software = _object(body, "internal_recipe"), _object(body, "software")
    parts = [body.get("camera_uri"), body.get("acquisition"), recipe.get("id"), recipe.get("version")]
    parts += [software.get("engine"), software.get("version")]
    if "birth_count" in body:
        parts.append(f"start {body['birth_count']}, the last run ended: {body.get('previous_end', 'there was none')}")
    return "  ".join(printable(part) for part in parts if part is not None)


def _heartbeat(body: dict[str, Any]) -> str:
    counts = "  ".join(
        f"{name} {printable(body.get(name))}" for name in ("captured", "inspected", "skipped", "undecided", "in_flight")
    )
    camera = f"camera {printable(body['camera_state'])}  " if "camera_state" in body else ""
    return f"{printable(body.get('state'))}  {camera}{_number(body.get('camera_fps'), 1)} fps  {counts}"


def _evidence(body: dict[str, Any]) -> str:
    found = body.get("evidence")
    names = [_object({"file": one}, "file").get("uri") for one in found] if isinstance(found, list) else []
    return printable("  ".join(str(part) for part in (body.get("part_id", "?"), *names)))


def _audit(body: dict[str, Any]) -> str:
    parts = (body.get("command"), body.get("outcome"), body.get("actor", ""), body.get("details", ""))
    return printable("  ".join(map(str, parts)))


def _unknown(body: dict[str, Any]) -> str:
    return ""


_DETAILS: dict[str, Callable[[dict[str, Any]], str]] = {
    "result": _result,
    "alert": _alert,
    "gap": _gap,
    "birth": _birth,
    "death": lambda body: printable(body.get("reason")),
    "state": lambda body: "  ".join(printable(body[name]) for name in ("state", "cause", "advice") if name in body),
    "heartbeat": _heartbeat,
    "evidence": _evidence,
    "audit": _audit,
}


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "–"


def printable(value: object) -> str:
    """Text without control characters: nothing from the network may steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(value))
