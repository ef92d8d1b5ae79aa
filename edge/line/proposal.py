"""A proposal: another image threshold for what runs, from parts that were recorded, by somebody who looked at them.

A file, so that whoever made it and whoever commands it need not be the same person, and so that what was commanded can
be named by its hash. It counts nothing: a station recounts from its own journal. Whatever is not exactly a proposal is
refused. Rejected: thresholds in the command itself (4096 bytes hold no list of what was left out).
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from edge.core.errors import EdgeError

SCHEMA = 1
MOST_BYTES = 1 << 20
MOST_PARTS = 20_000  # that a promise may count
MOST_ACCEPTED = 40  # rejected parts that may pass from then on: so many people look at; more are for training
MOST_WHY = 200
MOST_THRESHOLD = 1e6  # either way; scores of real parts are some tens
_HASH = r"[0-9a-f]{64}"
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LAST_SEQ = 2**40


class ProposalRefused(EdgeError):
    """A proposal that is none, or that must not be followed; the message says why, and what would do."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """threshold: of images, on the scores' own scale. Parts are named by their `result_id`.

    recipe_hash, commissioning_hash: what runs, and ran when the parts were judged. first_seq, last_seq: of the records
    whose parts the promise counts, in the current epoch. left_out: those that a person called bad; accepted: parts that
    were rejected, would pass, and were called good. why: for the record.
    """

    recipe_hash: str
    commissioning_hash: str | None
    threshold: float
    first_seq: int
    last_seq: int
    left_out: tuple[str, ...]
    accepted: tuple[str, ...]
    why: str


def write_proposal(proposal: Proposal) -> bytes:
    """The file's bytes; the same for the same proposal."""
    return json.dumps({"schema": SCHEMA, **asdict(proposal)}, allow_nan=False).encode()


def read_proposal(raw: bytes) -> Proposal:
    """What `write_proposal` wrote, or whoever keeps to its form; ProposalRefused names what is wrong."""
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ProposalRefused("the proposal is no JSON object, or names something twice; write it anew") from error
    if not isinstance(body, dict) or body.keys() != {"schema", *Proposal.__slots__}:
        names = ", ".join(("schema", *Proposal.__slots__))
        raise ProposalRefused(f"a proposal has these, and no others: {names}")
    if type(body["schema"]) is not int or body["schema"] != SCHEMA:
        raise ProposalRefused(f"the proposal's schema is not {SCHEMA}, which is what this station reads")
    commissioning = body["commissioning_hash"]
    proposal = Proposal(
        recipe_hash=_text(body, "recipe_hash", _HASH),
        commissioning_hash=None if commissioning is None else _text(body, "commissioning_hash", _HASH),
        threshold=_threshold(body["threshold"]),
        first_seq=_seq(body, "first_seq"),
        last_seq=_seq(body, "last_seq"),
        left_out=_ids(body, "left_out", MOST_PARTS),
        accepted=_ids(body, "accepted", MOST_ACCEPTED),
        why=_why(body["why"]),
    )
    if proposal.first_seq > proposal.last_seq:
        raise ProposalRefused("first_seq lies behind last_seq")
    if both := set(proposal.left_out).intersection(proposal.accepted):
        raise ProposalRefused(f"{min(both)} is left out as bad and accepted as good; it is one of the two")
    return proposal


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _text(body: dict[str, Any], name: str, pattern: str) -> str:
    value = body[name]
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ProposalRefused(f"{name} must be text like {pattern}")
    return value


def _threshold(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= MOST_THRESHOLD:
        raise ProposalRefused(f"threshold must be a number, of at most {MOST_THRESHOLD:g} either way")
    return float(value)


def _seq(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if type(value) is not int or not 1 <= value < _LAST_SEQ:
        raise ProposalRefused(f"{name} must be a record's number, 1 or more")
    return value


def _ids(body: dict[str, Any], name: str, most: int) -> tuple[str, ...]:
    value = body[name]
    if not isinstance(value, list) or not all(isinstance(one, str) and re.fullmatch(_ID, one) for one in value):
        raise ProposalRefused(f"{name} must be a list of result_ids")
    if len(set(value)) != len(value):
        raise ProposalRefused(f"{name} names a part twice")
    if len(value) > most:
        advice = ": so many rejects are no matter of the threshold; retrain" if name == "accepted" else ""
        raise ProposalRefused(f"{name} names {len(value)} parts, and {most} is the most{advice}")
    return tuple(value)


def _why(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_WHY or not value.isprintable() or not value.strip():
        raise ProposalRefused(f"why must say why, in 1 to {MOST_WHY} characters that can be printed")
    return value
