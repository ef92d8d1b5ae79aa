"""An ONNX file holds all its weights itself: what points to other files is refused before a runtime sees it.

A runtime that meets a tensor stored "externally" opens the file that the graph names. So every tensor of the file is
looked at, wherever it hides (constants in nodes, subgraphs, functions). ONNX is protocol buffers, of which only keys
and lengths are read here. Rejected: the `onnx` package (not on a device), and leaving it to the runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from edge.core.errors import BundleError

_MAX_DEPTH = 32
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # kinds of field


class _Message(Enum):
    MODEL = auto()
    TRAINING = auto()
    FUNCTION = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    SPARSE_TENSOR = auto()
    TENSOR = auto()


# onnx.proto: which fields of which message lead to tensors.
_INSIDE: dict[_Message, dict[int, _Message]] = {
    _Message.MODEL: {7: _Message.GRAPH, 20: _Message.TRAINING, 25: _Message.FUNCTION},
    _Message.TRAINING: {1: _Message.GRAPH, 2: _Message.GRAPH},
    _Message.FUNCTION: {7: _Message.NODE, 11: _Message.ATTRIBUTE},
    _Message.GRAPH: {1: _Message.NODE, 5: _Message.TENSOR, 15: _Message.SPARSE_TENSOR},
    _Message.NODE: {5: _Message.ATTRIBUTE},
    _Message.ATTRIBUTE: {
        5: _Message.TENSOR,
        6: _Message.GRAPH,
        10: _Message.TENSOR,
        11: _Message.GRAPH,
        22: _Message.SPARSE_TENSOR,
        23: _Message.SPARSE_TENSOR,
    },
    _Message.SPARSE_TENSOR: {1: _Message.TENSOR, 2: _Message.TENSOR},
    _Message.TENSOR: {},
}


def require_self_contained(raw: bytes, what: str) -> None:
    """BundleError, which names `what`, for a file that names another file, or that is no protocol buffer."""
    try:
        points_outside = _points_outside(memoryview(raw), _Message.MODEL, 0)
    except ValueError as error:
        raise BundleError(f"{what} is not an ONNX file ({error}); re-export it") from error
    if points_outside:
        raise BundleError(f"{what} takes weights from another file; refused: export it with its weights inside")


def _points_outside(raw: memoryview, message: _Message, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    inside, is_tensor = _INSIDE[message], message is _Message.TENSOR
    for field, value in _fields(raw):
        if isinstance(value, int):
            if is_tensor and field == _DATA_LOCATION and value != 0:
                return True
        elif is_tensor:
            if field == _EXTERNAL_DATA:
                return True
        elif field in inside and _points_outside(value, inside[field], depth + 1):
            return True
    return False


def _fields(raw: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field; ValueError where the bytes make none. Fixed-size values come as 0."""
    at, end = 0, len(raw)
    while at < end:
        key, at = _varint(raw, at)
        field, kind = key >> 3, key & 7
        value: int | memoryview = 0
        if kind == _NUMBER:
            value, at = _varint(raw, at)
        elif kind == _BYTES:
            length, at = _varint(raw, at)
            value, at = raw[at : at + length], at + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at > end or field == 0:
            raise ValueError("a field that goes beyond its end" if field else "a field without a number")
        yield field, value


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 70:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")
