"""From a record to JSON and to the wire's five frames: what is None is left out, null is never sent.

Rejected: `dataclasses.asdict`, which copies every polygon deeply and keeps what is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from edge.wire.messages import CONTENT_TYPE, encode, topic_of
from edge.wire.records import Record
from edge.wire.vocabulary import schema_name


def to_body(record: Record) -> dict[str, Any]:
    """The record as JSON-ready values; ValueError names the field that holds a number that is not finite."""
    kind = record.KIND.value
    return {"schema": schema_name(kind), "kind": kind, **dict(_known(record))}


def to_frames(record: Record) -> tuple[bytes, ...]:
    """The record as the wire's five frames; ValueError as in `to_body`, or when the body is over 32 KiB."""
    kind = record.KIND.value
    properties: dict[str, object] = {"content_type": CONTENT_TYPE, "schema": schema_name(kind)}
    if record.IS_TRANSIENT:
        properties["transient"] = True
    topic = topic_of(record.site, record.line, record.station, kind)
    return tuple(encode(topic, record.seq, bytes.fromhex(record.epoch), properties, to_body(record)))


def _known(record: Any) -> Iterator[tuple[str, Any]]:
    for item in fields(record):
        value = getattr(record, item.name)
        if value is not None:
            yield item.name, _plain(value, item.name)


def _plain(value: Any, name: str) -> Any:
    if type(value) in (str, int, bool):
        return value
    if isinstance(value, tuple):
        if set(map(type, value)) == {int}:  # a polygon's points: hundreds of them in one record
            return list(value)
        return [_plain(item, name) for item in value]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return dict(_known(value))
    if isinstance(value, np.generic):  # arithmetic on maps leaves NumPy scalars, which json refuses
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; only finite numbers may go out")
    return value
