"""From a record to JSON and to the wire's five frames: what is None is left out, null is never sent.

Rejected: `dataclasses.asdict`, which copies every polygon deeply and keeps what is None.
"""

from __future__ import annotations

import math
import struct
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np

from edge.wire.messages import CONTENT_TYPE, EPOCH_BYTES, JSON, MAX_BODY_BYTES, MAX_TOPIC_BYTES, WIRE_MAJOR
from edge.wire.records import Record
from edge.wire.vocabulary import Kind, schema_name


def to_body(record: Record) -> dict[str, Any]:
    """The record as JSON-ready values; ValueError names the field that holds a number that is not finite."""
    kind = record.KIND.value
    return {"schema": schema_name(kind), "kind": kind, **as_json(record)}


def to_frames(record: Record) -> tuple[bytes, ...]:
    """The record as the wire's five frames; ValueError as in `to_body`, or when the body is over 32 KiB."""
    epoch, seq = bytes.fromhex(record.epoch), record.seq
    if len(epoch) != EPOCH_BYTES or not 0 <= seq < 2**64:
        raise ValueError(f"epoch must be {EPOCH_BYTES} bytes and seq a u64; got {len(epoch)} bytes and {seq}")
    topic, properties = _head(record.site, record.line, record.station, record.KIND, record.IS_TRANSIENT)
    body = JSON.encode(to_body(record)).encode("utf-8")
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"body of {topic.decode()} has {len(body)} bytes; at most {MAX_BODY_BYTES} may go out")
    return topic, struct.pack(">Q", seq), epoch, properties, body


@lru_cache(maxsize=64)
def _head(site: str, line: str, station: str, kind: Kind, is_transient: bool) -> tuple[bytes, bytes]:
    """Topic and properties, which are the same for all records of a kind and a station."""
    name = kind.value
    topic = f"{WIRE_MAJOR}/{site}/{line}/{station}/{name}/".encode("ascii")  # its last slash keeps prefixes exact
    if len(topic) > MAX_TOPIC_BYTES:
        raise ValueError(f"topic of {name} has {len(topic)} bytes; at most {MAX_TOPIC_BYTES} may go out")
    properties: dict[str, object] = {"content_type": CONTENT_TYPE, "schema": schema_name(name)}
    if is_transient:
        properties["transient"] = True
    return topic, JSON.encode(properties).encode("utf-8")


def as_json(value: Any, name: str = "") -> Any:
    """A record, or a part of one, as JSON's types, without the fields that are None; errors as `to_body`."""
    if type(value) in (str, int, bool):
        return value
    if isinstance(value, tuple):
        if set(map(type, value)) == {int}:  # a polygon's points: hundreds of them in one record
            return list(value)
        return [as_json(item, name) for item in value]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        had = ((item.name, getattr(value, item.name)) for item in fields(value))
        return {field: as_json(one, field) for field, one in had if one is not None}
    if isinstance(value, np.generic):  # arithmetic on maps leaves NumPy scalars, which json refuses
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; only finite numbers may go out")
    return value
