"""TensorFlow's GraphDef (a frozen graph, .pb), read without TensorFlow: nodes, inputs, attributes, constants.

Field numbers are from TensorFlow's graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
Nothing is copied until it is asked for: an attribute is decoded when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.formats.protobuf import Field, fields, message, packed, signed, text

__all__ = ["NUMPY", "Attribute", "DType", "Graph", "Node", "Shape", "read_graph_def"]

_MAX_VALUES = 1 << 28  # a constant of more values than this is a damaged length, not a weight


NUMPY: Mapping[int, np.dtype[Any]] = {
    number: np.dtype(name)
    for number, name in {
        1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 12: "u1", 17: "<u2", 19: "<f2",
        22: "<u4", 23: "<u8",
    }.items()
}  # fmt: skip
"""DataType (types.proto) → what numpy calls it; other types are not numbers."""

# The repeated field a type's values stand in when there is no tensor_content → how they are written there.
_VALUE_FIELDS = {5: "<f4", 6: "<f8", 7: "varint", 10: "varint", 11: "varint", 13: "varint", 16: "varint", 17: "varint"}
_HALF_FIELD = 13


@dataclass(frozen=True, slots=True)
class DType:
    """A data type by its number in TensorFlow's types.proto: 1 float, 3 int32, 4 uint8, 10 bool."""

    number: int


@dataclass(frozen=True, slots=True)
class Shape:
    """A tensor's shape, -1 for any; `sizes` is None where the rank is unknown."""

    sizes: tuple[int, ...] | None


Attribute: TypeAlias = "bytes | int | float | bool | DType | Shape | NDArray[Any] | tuple[Any, ...] | None"
"""A decoded attribute; an array is a constant's value; a tuple a list; None a kind that no detection graph needs."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its name, its kind, the names of its inputs ("a:1" is output 1 of a, "^a" only waits for a)."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    raw: Mapping[str, memoryview] = field(default_factory=dict, repr=False, compare=False)

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the nodes whose values this one takes, without output numbers and control inputs."""
        return tuple(name.partition(":")[0] for name in self.inputs if not name.startswith("^"))

    def attribute(self, key: str) -> Attribute:
        """The attribute `key`, or None where the node has none; raises `ValueError` where it is damaged."""
        return _attribute(self.raw[key]) if key in self.raw else None


@dataclass(frozen=True, slots=True)
class Graph:
    """A frozen graph: its nodes by name in the order of the file; `name` is what errors call the file."""

    name: str
    nodes: Mapping[str, Node]

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of the Const node `name`, looking through Identity nodes; None where it is not a constant.

        Raises:
            ModelFileError: the constant is damaged.
        """
        node = self.nodes.get(name)
        while node is not None and node.op in ("Identity", "Enter") and node.data:
            node = self.nodes.get(node.data[0])
        if node is None or node.op != "Const":
            return None
        try:
            value = node.attribute("value")
        except ValueError as error:
            raise ModelFileError(f"{self.name}: constant {node.name} is damaged: {error}") from error
        return value if isinstance(value, np.ndarray) else None


def read_graph_def(data: bytes | NDArray[np.uint8], name: str) -> Graph:
    """Read a frozen graph; `name` is what errors call it.

    Raises:
        ModelFileError: the file is empty, foreign (HTML, a Git LFS pointer, an image, …), a SavedModel, an ONNX or
            TFLite model, damaged or cut short, or holds no node.
    """
    content = memoryview(data) if isinstance(data, bytes) else data.data
    _refuse_foreign(bytes(content[:512]), name)
    try:
        top = list(fields(content))
        _refuse_kin(top, name)
        nodes = [_node(value) for number, value in top if number == 1 and isinstance(value, memoryview)]
    except ValueError as error:
        raise ModelFileError(
            f"{name}: is not a TensorFlow frozen graph, or is damaged or cut short ({error})"
        ) from error
    if not nodes or not all(node.name and node.op for node in nodes):
        raise ModelFileError(
            f"{name}: holds no TensorFlow graph; a frozen graph is wanted (frozen_inference_graph.pb), "
            "not a checkpoint or its .meta"
        )
    return Graph(name, {node.name: node for node in nodes})


def _refuse_foreign(head: bytes, name: str) -> None:
    kind = "a TFLite model" if head[4:8] == b"TFL3" else "a Keras HDF5 file" if head[:4] == b"\x89HDF" else None
    if kind or (kind := describe_foreign(head)):
        raise ModelFileError(f"{name}: is {kind}, expected a TensorFlow frozen graph (.pb)")


def _refuse_kin(top: Sequence[tuple[int, Field]], name: str) -> None:
    """SavedModel and ONNX begin with a version number where a GraphDef has a node."""
    if not any(number == 1 and isinstance(value, int) for number, value in top):
        return
    if any(number == 7 and isinstance(value, memoryview) for number, value in top):
        raise ModelFileError(f"{name}: is an ONNX model, expected a TensorFlow frozen graph (.pb)")
    raise ModelFileError(
        f"{name}: is a TensorFlow SavedModel, expected a frozen graph: take frozen_inference_graph.pb from the "
        "model's archive, or freeze it with TensorFlow"
    )


def _node(data: memoryview) -> Node:
    name = op = ""
    inputs: list[str] = []
    raw: dict[str, memoryview] = {}
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            op = text(value)
        elif number == 3:
            inputs.append(text(value))
        elif number == 5:
            entry = dict(fields(message(value)))
            raw[text(entry.get(1, memoryview(b"")))] = message(entry.get(2, memoryview(b"")))
    return Node(name, op, tuple(inputs), raw)


def _attribute(data: memoryview) -> Attribute:
    """AttrValue: one of its fields is set."""
    decoded: Attribute = None
    for number, value in fields(data):
        decoded = _list(message(value)) if number == 1 else _single(number, value)
    return decoded


def _single(number: int, value: Field) -> Attribute:
    if isinstance(value, int):
        scalars: dict[int, int | bool | DType] = {3: signed(value), 5: bool(value), 6: DType(value)}
        return scalars.get(number)
    if number == 2:
        return bytes(value)
    if number == 4:
        return float(np.frombuffer(value, "<f4", 1)[0])
    if number == 7:
        return _shape(value)
    return _tensor(value) if number == 8 else None


def _list(data: memoryview) -> tuple[Any, ...]:
    """ListValue: numbers may be packed into one field."""
    found: list[Any] = []
    for number, value in fields(data):
        if isinstance(value, int) or number in (2, 7, 8):
            found.append(_single(number, value))
        elif number == 4:
            found += np.frombuffer(value, "<f4").tolist()
        elif number in (3, 5, 6):
            found += [_single(number, each) for each in packed(value)]
    return tuple(found)


def _shape(data: memoryview) -> Shape:
    sizes: list[int] = []
    for number, value in fields(data):
        if number == 3 and value:
            return Shape(None)
        if number == 2:
            size = dict(fields(message(value))).get(1, 0)
            sizes.append(signed(size) if isinstance(size, int) else 0)
    return Shape(tuple(sizes))


def _tensor(data: memoryview) -> NDArray[Any] | None:
    """A constant's value; None for types that are not numbers (strings)."""
    dtype, shape, content, values = 0, Shape(()), None, []
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2:
            shape = _shape(message(value))
        elif number == 4:
            content = message(value)
        elif number in _VALUE_FIELDS:
            values.append(_values(number, value))
    if dtype not in NUMPY or shape.sizes is None:
        return None
    count = int(np.prod(shape.sizes, dtype=np.int64))
    if not 0 <= count <= _MAX_VALUES:
        raise ValueError(f"shape {shape.sizes}")
    flat = np.frombuffer(content, NUMPY[dtype]) if content else _filled(values, NUMPY[dtype], count)
    return flat.reshape(shape.sizes)


def _values(number: int, value: Field) -> NDArray[Any]:
    """The values of one field; a float field that is not packed is 4 bytes, so both are read alike."""
    if _VALUE_FIELDS[number] != "varint":
        return np.frombuffer(message(value), _VALUE_FIELDS[number])
    numbers = np.array([signed(each) for each in ([value] if isinstance(value, int) else packed(value))], np.int64)
    return numbers.astype("<u2").view("<f2") if number == _HALF_FIELD else numbers


def _filled(values: Sequence[NDArray[Any]], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The values given, the last one repeated to the tensor's size, as TensorFlow does; none given are zeros."""
    given = np.concatenate(values).astype(dtype) if values else np.zeros(1, dtype)
    if not count:
        return np.zeros(0, dtype)  # optimisers leave a value behind in empty tensors
    if len(given) > count:
        raise ValueError(f"{len(given)} values for a tensor of {count}")
    return np.concatenate([given, np.full(count - len(given), given[-1], dtype)]) if len(given) < count else given
