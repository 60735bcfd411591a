"""Constant folding: the value of a node whose value does not depend on the image, computed with numpy.

A detection graph of TensorFlow's Object Detection API computes its anchors from constants and from the shapes of its
feature maps. Given those shapes, the anchors are numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import NUMPY, DType, Graph, Node

__all__ = ["PASSED_THROUGH", "ConstantFolder", "NotConstantError"]

PASSED_THROUGH = frozenset({"Identity", "IdentityN", "StopGradient", "CheckNumerics", "PreventGradient", "Snapshot"})
"""Operations that pass on their first input unchanged."""

Array: TypeAlias = NDArray[Any]
_MOST_VALUES = 1 << 24  # the largest images have some hundred thousand anchors


class NotConstantError(Exception):
    """A value depends on the image, or on an operation that is not known here; the message names it."""


class ConstantFolder:
    """Computes values of `graph`.

    Args:
        shapes: shapes of nodes that depend on the image, (1, height, width, channels), as far as they are known.
    """

    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph = graph
        self._shapes = shapes
        self._known: dict[str, tuple[Array, ...]] = {}

    def value(self, name: str) -> Array:
        """The value of the node `name` ("a:1": output 1 of a).

        Raises:
            NotConstantError: it depends on the image, or cannot be computed here.
        """
        waiting = [_base(name)]
        while waiting:  # depth first, without recursion: files may nest as deeply as they like
            node = self._node(waiting[-1])
            missing = {each: None for each in self._needs(node) if each not in self._known}
            if len(waiting) > 100 + 10 * len(self._graph.nodes):
                raise NotConstantError(f"{node.name} depends on itself")
            if missing:
                waiting += missing
            elif (name_done := waiting.pop()) not in self._known:
                self._known[name_done] = self._compute(node)
        return self._output(name)

    def _node(self, name: str) -> Node:
        if name not in self._graph.nodes:
            raise NotConstantError(f"{name} is missing")
        return self._graph.nodes[name]

    def _needs(self, node: Node) -> tuple[str, ...]:
        """The nodes whose values are needed; a shape that is known already needs none."""
        if node.op in ("Const", "Placeholder") or (node.op == "Shape" and self._shape(node) is not None):
            return ()
        return node.data

    def _shape(self, node: Node) -> tuple[int, ...] | None:
        source = node.data[0] if node.data else ""
        while source in self._graph.nodes and self._graph.nodes[source].op in PASSED_THROUGH:
            source = self._graph.nodes[source].data[0]
        return self._shapes.get(source)

    def _output(self, name: str) -> Array:
        outputs, number = self._known[_base(name)], name.partition(":")[2]
        index = int(number) if number.isdigit() else 0
        if index >= len(outputs):
            raise NotConstantError(f"{name} is missing")
        return outputs[index]

    def _compute(self, node: Node) -> tuple[Array, ...]:
        shape = self._shape(node) if node.op == "Shape" else None
        if shape is not None:
            return (np.array(shape, np.int32),)
        constant = self._graph.constant(node.name) if node.op == "Const" else None
        if constant is not None:
            return (constant,)
        function = _OPERATIONS.get(node.op)
        if function is None:
            raise NotConstantError(f"{node.name} is a {node.op}")
        inputs = [self._output(each) for each in node.inputs if not each.startswith("^")]
        try:
            with np.errstate(all="ignore"):
                found = function(node, inputs)
        except (ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError, ModelFileError) as error:
            raise NotConstantError(f"{node.name} ({node.op}) cannot be computed: {error}") from error
        return found if isinstance(found, tuple) else (found,)


def _base(name: str) -> str:
    return name.partition(":")[0]


def _number(node: Node, key: str, default: int = 0) -> int:
    value = node.attribute(key)
    return value if isinstance(value, int) else default


def _check_count(count: float) -> None:
    if not 0 <= count <= _MOST_VALUES:
        raise ValueError(f"{count} values")


def _cast(node: Node, inputs: list[Array]) -> Array:
    wanted = node.attribute("DstT")
    return inputs[0].astype(NUMPY[wanted.number] if isinstance(wanted, DType) else np.float32)


def _range(_node: Node, inputs: list[Array]) -> Array:
    start, limit, delta = (each.item() for each in inputs)
    _check_count((limit - start) / delta)
    return np.arange(start, limit, delta, dtype=inputs[0].dtype)


def _tile(_node: Node, inputs: list[Array]) -> Array:
    _check_count(inputs[0].size * float(np.prod(inputs[1], dtype=np.float64)))
    return np.tile(inputs[0], inputs[1])


def _fill(_node: Node, inputs: list[Array]) -> Array:
    _check_count(float(np.prod(inputs[0], dtype=np.float64)))
    return np.full(inputs[0], inputs[1])


def _unpack(node: Node, inputs: list[Array]) -> tuple[Array, ...]:
    return tuple(np.moveaxis(inputs[0], _number(node, "axis"), 0))


def _squeeze(node: Node, inputs: list[Array]) -> Array:
    axes = node.attribute("squeeze_dims")
    return np.squeeze(inputs[0], axes if isinstance(axes, tuple) and axes else None)


def _slice(_node: Node, inputs: list[Array]) -> Array:
    array, begins, sizes = inputs
    return array[tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begins, sizes, strict=True))]


def _strided_slice(node: Node, inputs: list[Array]) -> Array:
    """https://www.tensorflow.org/api_docs/python/tf/strided_slice, without ellipsis and new axes."""
    if _number(node, "ellipsis_mask") or _number(node, "new_axis_mask"):
        raise ValueError("ellipsis or new axis")
    begin_mask, end_mask, shrink = (_number(node, f"{k}_mask") for k in ("begin", "end", "shrink_axis"))
    array, begins, ends, strides = inputs
    index: list[int | slice] = []
    for axis, (begin, end, stride) in enumerate(zip(begins.tolist(), ends.tolist(), strides.tolist(), strict=True)):
        bit = 1 << axis
        taken = slice(None if begin_mask & bit else begin, None if end_mask & bit else end, stride)
        index.append(begin if shrink & bit else taken)
    return np.asarray(array[tuple(index)])


def _unary(function: Callable[[Array], Any]) -> Callable[[Node, list[Array]], Array]:
    return lambda _node, inputs: np.asarray(function(inputs[0]))


def _binary(function: Callable[[Array, Array], Any]) -> Callable[[Node, list[Array]], Array]:
    return lambda _node, inputs: np.asarray(function(inputs[0], inputs[1]))


def _divide(_node: Node, inputs: list[Array]) -> Array:
    return np.asarray(inputs[0] / inputs[1]).astype(inputs[0].dtype)


_OPERATIONS: Mapping[str, Callable[[Node, list[Array]], Array | tuple[Array, ...]]] = {
    **{op: (lambda _node, inputs: inputs[0]) for op in PASSED_THROUGH},
    "Add": _binary(np.add),
    "AddV2": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "RealDiv": _divide,
    "Div": _divide,
    "FloorDiv": _binary(np.floor_divide),
    "FloorMod": _binary(np.mod),
    "Minimum": _binary(np.minimum),
    "Maximum": _binary(np.maximum),
    "Pow": _binary(np.power),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Log": _unary(np.log),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Round": _unary(np.round),
    "Shape": _unary(lambda array: np.array(array.shape, np.int32)),
    "Rank": _unary(lambda array: np.int32(array.ndim)),
    "Size": _unary(lambda array: np.int32(array.size)),
    "ZerosLike": _unary(np.zeros_like),
    "OnesLike": _unary(np.ones_like),
    "Cast": _cast,
    "Range": _range,
    "Tile": _tile,
    "Fill": _fill,
    "Unpack": _unpack,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "Pack": lambda node, inputs: np.stack(inputs, axis=_number(node, "axis")),
    "ConcatV2": lambda _node, inputs: np.concatenate(inputs[:-1], axis=inputs[-1].item()),
    "Reshape": lambda _node, inputs: inputs[0].reshape(inputs[1].tolist()),
    "ExpandDims": lambda _node, inputs: np.expand_dims(inputs[0], inputs[1].item()),
    "Transpose": lambda _node, inputs: np.transpose(inputs[0], inputs[1].tolist()),
    "Split": lambda node, inputs: tuple(np.split(inputs[1], _number(node, "num_split", 1), inputs[0].item())),
    "GatherV2": lambda _node, inputs: np.take(inputs[0], inputs[1], inputs[2].item()),
    "Gather": lambda _node, inputs: np.take(inputs[0], inputs[1], 0),
}
