"""The wire format: five frames `[topic][seq][epoch][properties][body]`, checked strictly on both sides.

JSON, because a PLC or MES programmer can read it with what every language has, and a broken consumer is
found by looking. Numbers are always finite, so NaN and Infinity (no JSON at all) are refused. Rejected:
Protobuf (a code generator at every consumer) and one frame of JSON (no filter by topic, no seq without parsing).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from edge.core.errors import EdgeError, SettingsError
from edge.wire.validation import Invalid, require_valid
from edge.wire.vocabulary import SCHEMA_MAJOR

WIRE_MAJOR = "ei1"
CONTENT_TYPE = "application/json"
EPOCH_BYTES = 16
MAX_TOPIC_BYTES = 256
MAX_PROPERTIES_BYTES = 4 * 1024
MAX_BODY_BYTES = 32 * 1024

JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_KEPT = 256  # topics and properties that were read: a station has a dozen of each, and they come with every record
_PART = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KIND = re.compile(r"[a-z]{1,32}")
_SCHEMA = re.compile(r"edge-inspect\.([a-z]{1,32})/([0-9]{1,4})\.([0-9]{1,4})")


class WireError(EdgeError):
    """A message is not of this wire format; the message says which frame and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Station:
    """Where records come from; every part is 1 to 32 of A-Z a-z 0-9 _ -, or SettingsError names it."""

    site: str = "site"
    line: str = "line"
    station: str = "station"
    device_id: str = "device"
    camera_id: str = "camera"

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, str) or not _PART.fullmatch(value):
                raise SettingsError(f"{name} {value!r}: use 1 to 32 of the characters A-Z a-z 0-9 _ -")


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message. `epoch` is 16 bytes; `seq` is the head seq when the message is transient."""

    topic: str
    kind: str
    seq: int
    epoch: bytes
    properties: dict[str, Any]
    body: dict[str, Any]

    @property
    def is_transient(self) -> bool:
        """True for a message that has no sequence number of its own (a heartbeat)."""
        return self.properties.get("transient") is True

    @property
    def is_historical(self) -> bool:
        """True for a record that was sent before: show it, but never act on it."""
        return self.properties.get("is_historical") is True


def decode(frames: Sequence[bytes]) -> Message:
    """Check and read the five frames; WireError on what is malformed, not by the schema, or of an unknown version."""
    if len(frames) != 5:
        raise WireError(f"a message has 5 frames; got {len(frames)}")
    topic_frame, seq_frame, epoch, properties_frame, body_frame = frames
    if len(seq_frame) != 8 or len(epoch) != EPOCH_BYTES:
        raise WireError(f"seq has 8 bytes and epoch {EPOCH_BYTES}; got {len(seq_frame)} and {len(epoch)}")
    topic, kind = _read_topic(bytes(topic_frame))
    properties = dict(_read_properties(bytes(properties_frame), kind))
    body = load_object("body", body_frame, MAX_BODY_BYTES)
    seq: int = struct.unpack(">Q", seq_frame)[0]
    stated = {"schema": properties["schema"], "kind": kind, "seq": seq, "epoch": bytes(epoch).hex()}
    for name, value in stated.items():
        # `True == 1` in Python: the type is compared too.
        if body.get(name) != value or type(body.get(name)) is not type(value):
            raise WireError(f"body says {name} {body.get(name)!r}, the frames say {value!r}")
    try:
        require_valid(kind, body)
    except Invalid as problem:
        raise WireError(f"body is no {kind} record: {problem}") from problem
    return Message(topic, kind, seq, bytes(epoch), properties, body)


def as_historical(frames: Sequence[bytes]) -> list[bytes]:
    """The same message marked `"is_historical": true`; the body stays as it was, byte for byte."""
    properties = json.loads(frames[3])
    return [*frames[:3], dump_object({**properties, "is_historical": True}), frames[4]]


@lru_cache(_KEPT)
def _read_topic(frame: bytes) -> tuple[str, str]:
    if len(frame) > MAX_TOPIC_BYTES:
        raise WireError(f"topic has {len(frame)} bytes; at most {MAX_TOPIC_BYTES} are allowed")
    topic = frame.decode("ascii", errors="replace")
    parts = topic.split("/")
    if parts[0] != WIRE_MAJOR:
        raise WireError(f"topic {topic!r}: this reader knows wire version {WIRE_MAJOR} only; update it")
    if len(parts) != 6 or parts[5] or not all(map(_PART.fullmatch, parts[1:4])) or not _KIND.fullmatch(parts[4]):
        raise WireError(f"topic {topic!r} is not {WIRE_MAJOR}/<site>/<line>/<station>/<kind>/")
    return topic, parts[4]


@lru_cache(_KEPT)
def _read_properties(frame: bytes, kind: str) -> dict[str, Any]:
    """What the cache holds: copy it before handing it out."""
    properties = load_object("properties", frame, MAX_PROPERTIES_BYTES)
    if properties.get("content_type") != CONTENT_TYPE:
        raise WireError(f"content_type {properties.get('content_type')!r}: this reader knows {CONTENT_TYPE} only")
    schema = properties.get("schema")
    match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if match is None or match[1] != kind:
        raise WireError(f"schema {schema!r} is not edge-inspect.{kind}/<major>.<minor>")
    if int(match[2]) != SCHEMA_MAJOR:
        raise WireError(f"schema {schema!r}: this reader knows major version {SCHEMA_MAJOR} only; update it")
    return properties


def dump_object(content: Mapping[str, object]) -> bytes:
    """Compact UTF-8 JSON; ValueError for a number that is not finite."""
    return JSON.encode(content).encode("utf-8")


def load_object(name: str, frame: bytes, limit: int) -> dict[str, Any]:
    """The JSON object in a frame of at most `limit` bytes; WireError names the frame and says what is wrong."""
    if len(frame) > limit:
        raise WireError(f"{name} has {len(frame)} bytes; at most {limit} are allowed")
    try:
        content = _DECODER.decode(bytes(frame).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # RecursionError: ten thousand nested brackets
        raise WireError(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise WireError(f"{name} must be a JSON object, not {type(content).__name__}")
    return content


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON number")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):  # 1e999 is proper JSON, but reads as infinity
        raise ValueError(f"{literal} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)  # `json.loads` would make one each time
