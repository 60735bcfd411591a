"""Groups of TensorFlow nodes that are one layer to OpenCV."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH, Folder, NotConstantError
from cvdetect.formats.tensorflow.make_textgraph.nodes import OWN

__all__ = ["Constants", "rewritten"]

Constants: TypeAlias = "dict[str, list[int] | list[float]]"
Rewritten: TypeAlias = "tuple[Node, Constants] | None"
_SUMS = ("Add", "AddV2")
_WITH_BIAS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


def rewritten(graph: Graph, node: Node) -> Rewritten:
    """The one layer that ends in `node`, and the constants it needs in the text graph; None for a layer as it is."""
    for pattern in _PATTERNS.get(node.op, ()):
        found = pattern(graph, node)
        if found:
            return found
    return None


def _input(graph: Graph, node: Node | None, index: int, *ops: str) -> Node | None:
    """The node that gives input `index`, past copies, where it is one of `ops`."""
    if node is None or index >= len(node.data):
        return None
    found = graph.nodes.get(node.data[index])
    while found is not None and found.op in PASSED_THROUGH and found.data:
        found = graph.nodes.get(found.data[0])
    return found if found is not None and (found.op in ops or not ops) else None


def _batch_norm(graph: Graph, node: Node) -> Rewritten:
    """x·s + (beta − mean·s), s = gamma / √(variance + epsilon), gamma optional: batch normalisation unfused."""
    scaled, shift = _input(graph, node, 0, "Mul"), _input(graph, node, 1, "Sub")
    product = _input(graph, shift, 1, "Mul")
    factor = _input(graph, scaled, 1, "Mul", "Rsqrt")
    if scaled is None or shift is None or product is None or factor is None:
        return None
    root = factor if factor.op == "Rsqrt" else _input(graph, factor, 0, "Rsqrt")
    total = _input(graph, root, 0, *_SUMS)
    epsilon = graph.constant(total.data[1]) if total else None
    if total is None or epsilon is None or epsilon.size != 1 or product.data[1] != scaled.data[1]:
        return None
    own: Constants = {}
    if factor.op == "Mul":
        gamma = factor.data[1]
    else:  # OpenCV takes a constant without binary content for "no gamma"
        gamma = f"{OWN}{node.name}/gamma"
        own = {gamma: [1.0]}
    inputs = (scaled.data[0], gamma, shift.data[0], product.data[0], total.data[0])
    return Node(node.name, "FusedBatchNorm", inputs, {"epsilon": _float_attribute(epsilon.item())}), own


def _float_attribute(value: float) -> memoryview:
    return memoryview(b"\x25" + struct.pack("<f", value))  # field 4 of AttrValue, of fixed width


def _shift(graph: Graph, node: Node) -> Rewritten:
    """A constant for each channel, taken off or put on, as a normalisation with that mean and a variance of 1.

    OpenCV's own layer for it fails on batches of two (measured on 4.14). After a convolution it is part of that.
    """
    value = graph.constant(node.data[1]) if len(node.data) == 2 else None
    if value is None or value.size < 2 or value.size != value.shape[-1] or _input(graph, node, 0, *_WITH_BIAS):
        return None
    mean = [float(each) if node.op == "Sub" else -float(each) for each in value.reshape(-1)]
    names = {key: f"{OWN}{node.name}/{key}" for key in ("gamma", "beta", "mean", "variance")}
    own: Constants = dict(zip(names.values(), ([1.0], [0.0], mean, [1.0] * len(mean)), strict=True))
    return Node(node.name, "FusedBatchNorm", (node.data[0], *own), {"epsilon": _float_attribute(0.0)}), own


def _upsampling(graph: Graph, node: Node) -> Rewritten:
    """Each cell repeated: multiplied by ones of (1, 1, n, 1, m, 1), or stacked n and m times; then reshaped."""
    found = _by_ones(graph, node) or _by_stacks(graph, node)
    if found is None:
        return None
    source, factors = found
    names = [f"{OWN}{node.name}/{side}" for side in ("height", "width")]
    own: Constants = {name: [factor] for name, factor in zip(names, factors, strict=True)}
    return Node(node.name, "ResizeNearestNeighbor", (source, *names)), own


def _by_ones(graph: Graph, node: Node) -> tuple[str, tuple[int, int]] | None:
    product = _input(graph, node, 0, "Mul")
    spread = _input(graph, product, 0, "Reshape")
    ones = graph.constant(product.data[1]) if product else None
    if spread is None or ones is None or ones.ndim not in (5, 6) or not (ones == 1).all():
        return None
    return spread.data[0], (ones.shape[2], ones.shape[4])


def _by_stacks(graph: Graph, node: Node) -> tuple[str, tuple[int, int]] | None:
    rows = _input(graph, node, 0, "Pack")
    between = _input(graph, rows, 0, "Reshape")  # newer versions of the API reshape after each of the two
    columns = _input(graph, between or rows, 0, "Pack")
    if rows is None or columns is None or rows.attribute("axis") != 2 or columns.attribute("axis") != 3:
        return None
    if len(set(rows.data)) > 1 or len(set(columns.data)) > 1:
        return None
    return columns.data[0], (len(rows.data), len(columns.data))


def _flatten(graph: Graph, node: Node) -> Rewritten:
    """A reshape to (N, values)."""
    shape = graph.constant(node.data[1])
    packed = _input(graph, node, 1, "Pack")
    two = shape is not None and shape.size == 2
    two |= packed is not None and len(packed.data) == 2
    if not (two or "Flatten/" in node.name):
        return None
    return Node(node.name, "Flatten", node.inputs[:1]), {}


def _space_to_batch(graph: Graph, node: Node) -> Rewritten:
    """The beginning of a dilated convolution: its padding as a constant, whatever the size of the picture."""
    conv = next((each for each in graph.nodes.values() if each.data[:1] == (node.name,)), None)
    end = next((each for each in graph.nodes.values() if conv and each.data[:1] == (conv.name,)), None)
    if end is None or end.op != "BatchToSpaceND":
        return None
    folder = Folder(graph, {_source(graph, node): (1, 64, 64, 1)})
    try:
        pads = (folder.value(node.data[2]) - folder.value(end.data[2])).tolist()
    except NotConstantError as error:
        raise ModelFileError(f"{graph.name}: the padding of {node.name} cannot be computed: {error}") from error
    if any(first != last for first, last in pads):
        raise ModelFileError(f"{graph.name}: {node.name} pads one side more than the other, which OpenCV cannot do")
    name = f"{OWN}{node.name}/paddings"
    own: Constants = {name: [side for pad in pads for side in pad]}
    return replace(node, inputs=(node.data[0], node.data[1], name)), own


def _source(graph: Graph, node: Node) -> str:
    found = _input(graph, node, 0)
    return found.name if found else node.data[0]


def _batch_to_space(_graph: Graph, node: Node) -> Rewritten:
    return replace(node, inputs=node.data[:2]), {}


_PATTERNS: dict[str, tuple[Callable[[Graph, Node], Rewritten], ...]] = {
    "Add": (_batch_norm, _shift),
    "AddV2": (_batch_norm, _shift),
    "Sub": (_shift,),
    "BiasAdd": (_shift,),
    "Reshape": (_upsampling, _flatten),
    "SpaceToBatchND": (_space_to_batch,),
    "BatchToSpaceND": (_batch_to_space,),
}
