"""Shapes of feature maps, (1, height, width, channels), inferred from the shape of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.layers import Constants, Layers

__all__ = ["infer_shapes"]

Size = tuple[int, ...]
_WINDOWS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"})
_TWO_SIDED = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"})


def infer_shapes(graph: Graph, layers: Layers, wh: tuple[int, int]) -> dict[str, Size]:
    """The shapes of `layers` for an image of `wh` pixels.

    A layer whose shape cannot be inferred is left out, and so are those that depend on it.
    """
    shapes: dict[str, Size] = {layers.image: (1, wh[1], wh[0], 3)}
    for node in layers.nodes:
        try:
            found = _shape(graph, node, shapes, layers.constants)
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError):
            continue
        if found is not None:
            shapes[node.name] = found
    return shapes


def _shape(graph: Graph, node: Node, shapes: dict[str, Size], constants: Constants) -> Size | None:
    first = shapes.get(node.data[0]) if node.data else None
    if node.op in _TWO_SIDED:
        return _broadcast(graph, node, shapes)
    if node.op == "ConcatV2":
        return _concatenated(graph, node, shapes)
    if first is None or len(first) != 4:
        return None
    if node.op in _WINDOWS:
        return _windowed(graph, node, first)
    if node.op == "Pad":
        return _padded(graph, node, first)
    if node.op == "ResizeNearestNeighbor" and len(node.data) == 3:  # a rewritten one, which has factors
        down, across = (int(constants[name][0]) for name in node.data[1:])
        return (1, first[1] * down, first[2] * across, first[3])
    if node.op in ("ResizeNearestNeighbor", "ResizeBilinear"):
        return (1, *_constant(graph, node, 1)[:2], first[3])
    if node.op == "Mean":
        return (1, 1, 1, first[3])
    return None if node.op in ("Reshape", "Flatten", "Transpose", "CropAndResize", "MatMul") else first


def _constant(graph: Graph, node: Node, index: int) -> list[int]:
    value = graph.constant(node.data[index])
    if value is None:
        raise ValueError(f"{node.name}: input {index} is not a constant")
    return [int(each) for each in value.reshape(-1)]


def _broadcast(graph: Graph, node: Node, shapes: dict[str, Size]) -> Size | None:
    sizes = []
    for name in node.data:
        value = None if name in shapes else graph.constant(name)
        if name not in shapes and value is None:
            return None
        sizes.append(shapes[name] if value is None else value.shape)
    return tuple(np.broadcast_shapes(*sizes))


def _concatenated(graph: Graph, node: Node, shapes: dict[str, Size]) -> Size | None:
    axis = _constant(graph, node, len(node.data) - 1)[0]
    sizes = [shapes[name] for name in node.data[:-1] if name in shapes]
    if len(sizes) < len(node.data) - 1:
        return None
    joined = list(sizes[0])
    joined[axis] = sum(size[axis] for size in sizes)
    return tuple(joined)


def _windowed(graph: Graph, node: Node, size: Size) -> Size:
    """Convolution and pooling: https://www.tensorflow.org/api_docs/python/tf/nn (notes on padding)."""
    if node.op in ("MaxPool", "AvgPool"):
        kernel, channels = list(_integers(node, "ksize")[1:3]), size[3]
    else:
        weights = graph.constant(node.data[1])
        if weights is None or weights.ndim != 4:
            raise ValueError(f"{node.name}: its weights are not a constant")
        kernel = list(weights.shape[:2])
        channels = weights.shape[3] if node.op == "Conv2D" else size[3] * weights.shape[3]
    strides = _integers(node, "strides")[1:3]
    dilations = (_integers(node, "dilations") or (1, 1, 1, 1))[1:3]
    atrous = graph.nodes[node.data[0]].op == "SpaceToBatchND" if node.data[0] in graph.nodes else False
    same = atrous or node.attribute("padding") == b"SAME"
    hw = [_side(s, k, stride, d, same) for s, k, stride, d in zip(size[1:3], kernel, strides, dilations, strict=True)]
    return (1, *hw, channels)


def _integers(node: Node, key: str) -> tuple[int, ...]:
    value = node.attribute(key)
    return value if isinstance(value, tuple) else ()


def _side(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    covered = 0 if same else dilation * (kernel - 1)
    return -(-(size - covered) // stride)


def _padded(graph: Graph, node: Node, size: Size) -> Size:
    value = graph.constant(node.data[1])
    if value is None:
        raise ValueError(f"{node.name}: its padding is not a constant")
    pads: Sequence[Sequence[int]] = value.tolist()
    return tuple(side + sum(pad) for side, pad in zip(size, pads, strict=True))
