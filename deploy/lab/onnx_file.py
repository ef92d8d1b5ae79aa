"""Just enough of ONNX's file format to write small graphs: networks to compare with, and the machine's peak.

A device has neither torch nor the `onnx` package, and a comparison has to run where the line is. The format is
protocol buffers, of which three kinds of field are needed. Rejected: graphs as files in the package (megabytes of
random weights), and numpy in place of the runtime (then the runtime is not what is compared).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IR_VERSION, OPSET = 8, 17
# onnx.proto, TensorProto.DataType
DATA_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}
Size = int | str  # a name leaves it open
Value = tuple[str, str, Sequence[Size]]  # name, data type, shape


class GraphWriter:
    """Nodes and constants in order; every value has a name, which is what the methods give and take."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, array: NDArray[Any]) -> str:
        """An array of one of DATA_TYPES, such as weights."""
        name = f"c{len(self._constants)}"
        dims = b"".join(_number(1, size) for size in array.shape)
        data = np.ascontiguousarray(array).tobytes()
        tensor = dims + _number(2, DATA_TYPES[array.dtype.name]) + _text(8, name) + _bytes(9, data)
        self._constants.append(_bytes(5, tensor))
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: int | float | Sequence[int]) -> str:
        """One operator with one output, which is named `name` or by its number."""
        output = name or f"n{len(self._nodes)}"
        wires = b"".join(_text(1, value) for value in inputs) + _text(2, output)
        known = b"".join(_bytes(5, _attribute(key, value)) for key, value in attributes.items())
        self._nodes.append(_bytes(1, wires + _text(3, output) + _text(4, operator) + known))
        return output

    def to_bytes(self, image: Value, outputs: Sequence[Value]) -> bytes:
        """The file, from its input and outputs."""
        ends = _bytes(11, _value(*image)) + b"".join(_bytes(12, _value(*output)) for output in outputs)
        graph = b"".join(self._nodes) + _text(2, "bench") + b"".join(self._constants) + ends
        return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _number(20, 1)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _value(name: str, data_type: str, shape: Sequence[Size]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in shape)
    tensor = _number(1, DATA_TYPES[data_type]) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


# --- protocol buffers: a key of field number and kind, then a number, or a length and bytes ---


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number takes the ten bytes of its 64-bit complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
