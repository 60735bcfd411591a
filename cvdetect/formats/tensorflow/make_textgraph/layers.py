"""The layers of a detection network, from its heads back to the image, as OpenCV's importer can read them.

Groups of TensorFlow nodes that are one layer to OpenCV become one node.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH, ConstantFolder, NotConstantError
from cvdetect.formats.tensorflow.make_textgraph.nodes import OWN

__all__ = ["Constants", "Layers", "trace_layers"]

Constants: TypeAlias = "dict[str, list[int] | list[float]]"

_LAYERS = frozenset(
    {
        "Abs", "Add", "AddV2", "AvgPool", "BatchToSpaceND", "BiasAdd", "ConcatV2", "Conv2D", "CropAndResize",
        "DepthwiseConv2dNative", "Elu", "Exp", "Flatten", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3",
        "LRN", "LeakyRelu", "MatMul", "MaxPool", "Mean", "MirrorPad", "Mul", "Pad", "RealDiv", "Relu", "Relu6",
        "ResizeBilinear", "ResizeNearestNeighbor", "Sigmoid", "SpaceToBatchND", "Sub", "Tanh",
    }
)  # fmt: skip
_QUANTIZERS = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs"})
_INPUTS = frozenset({"Placeholder", "Cast"})
# Where the resizer's loop over images stacks its results and unstacks its input: TensorFlow's loops, old and new.
_GATHERED = frozenset({"TensorArrayGatherV3", "TensorArrayGatherV2", "TensorListStack"})
_SCATTERED = {"TensorArrayScatterV3": 2, "TensorArrayScatterV2": 2, "TensorListFromTensor": 0}
_RESIZERS = frozenset({"ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "Squeeze"})
_SUMS = ("Add", "AddV2")
_WITH_BIAS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")

Rewritten: TypeAlias = "tuple[Node, Constants] | None"


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers between the image and the heads.

    Attributes:
        nodes: in the order of execution, inputs resolved to each other, to constants of the graph, or to `image`.
        image: the name of the node that they take the image from.
        constants: values that they need in addition, by name.
    """

    nodes: tuple[Node, ...]
    image: str
    constants: Constants


@dataclass(slots=True)
class _Trace:
    graph: Graph
    image: str
    boxes: Mapping[str, str]
    nodes: dict[str, Node] = field(default_factory=dict)
    constants: Constants = field(default_factory=dict)
    reached_image: bool = False


def trace_layers(graph: Graph, heads: Iterable[str], image: str, boxes: Mapping[str, str] | None = None) -> Layers:
    """The layers that `heads` depend on.

    Args:
        image: the name of the placeholder.
        boxes: for a CropAndResize node, the text graph's node with its boxes.

    Raises:
        ModelFileError: an operation that OpenCV cannot run, which is named; or the heads do not depend on the image.
    """
    state = _Trace(graph, image, boxes or {})
    for head in heads:
        _follow(state, _source_of(graph, head))
    if not state.reached_image:
        raise ModelFileError(f"{graph.name}: its detection heads do not depend on the input {image}")
    return Layers(tuple(state.nodes.values()), image, state.constants)


def _source_of(graph: Graph, name: str) -> str:
    """The node whose value `name` really is: past copies, imitations of 8-bit arithmetic, and reshapes of crops.

    Crops are five-dimensional for a moment (image, box, …); to OpenCV they never are.
    """
    base, _, output = name.partition(":")
    if output not in ("", "0"):
        raise ModelFileError(f"{graph.name}: {name} is a second output, which OpenCV cannot follow")
    for _ in range(len(graph.nodes)):
        node = graph.nodes.get(base)
        if node is None:
            raise ModelFileError(f"{graph.name}: node {base} is missing: the graph is incomplete")
        if node.op not in PASSED_THROUGH | _QUANTIZERS or not node.data:
            return _crop_below(graph, node) or base
        base = node.data[0]
    raise ModelFileError(f"{graph.name}: node {base} depends on itself")


def _crop_below(graph: Graph, node: Node) -> str | None:
    """The CropAndResize that a reshape reshapes."""
    seen: set[str] = set()
    while node.op in ("Reshape", "Identity") and node.data and node.name not in seen and node.data[0] in graph.nodes:
        seen.add(node.name)
        node = graph.nodes[node.data[0]]
    return node.name if node.op == "CropAndResize" else None


def _follow(state: _Trace, head: str) -> None:
    """Depth first, without recursion: networks are hundreds of layers deep."""
    waiting: list[tuple[str, Node | None]] = [(head, None)]
    opened: set[str] = set()
    while waiting:
        name, ready = waiting.pop()
        if ready is not None:
            state.nodes[name] = ready
        elif name not in state.nodes and not _is_image(state, name):
            if name in opened:
                raise ModelFileError(f"{state.graph.name}: node {name} depends on itself")
            opened.add(name)
            layer = _layer(state, state.graph.nodes[name])
            waiting.append((name, layer))
            waiting += [(each, None) for each in reversed(_followed(state, layer)) if each not in state.nodes]


def _is_image(state: _Trace, name: str) -> bool:
    node = state.graph.nodes[name]
    found = node.op in _INPUTS | _GATHERED or (node.op in _RESIZERS and name.startswith("Preprocessor"))
    state.reached_image |= found
    return found


def _before_resizer(graph: Graph, name: str) -> str:
    """The node whose value the resizer takes, where `name` is its output; else `name`.

    Which comes first depends on the version of the API: pixels are resized and then normalized, or the other way
    round. OpenCV gets a resized image, and both orders give the same: a resized pixel is a weighted mean.
    """
    for _ in range(len(graph.nodes)):
        before = _one_before(graph, graph.nodes[name])
        if before is None:
            return name
        name = _source_of(graph, before)
    raise ModelFileError(f"{graph.name}: node {name} depends on itself")


def _one_before(graph: Graph, node: Node) -> str | None:
    if node.op in _GATHERED:
        loop = node.name.partition("/TensorArrayV2Stack/")[0].partition("/TensorArrayStack")[0]
        taken = (n for n in graph.nodes.values() if n.op in _SCATTERED and n.name.startswith(f"{loop}/"))
        return next((n.data[_SCATTERED[n.op]] for n in taken), None)
    in_resizer = node.name.startswith("Preprocessor") and node.op in (*_RESIZERS, "ExpandDims")
    return node.data[0] if in_resizer and node.data else None


def _followed(state: _Trace, layer: Node) -> list[str]:
    return [each for each in layer.inputs if each in state.graph.nodes and state.graph.nodes[each].op != "Const"]


def _layer(state: _Trace, node: Node) -> Node:
    """The node as the text graph has it: a pattern of several nodes becomes one."""
    graph = state.graph
    changed, constants = _rewrite(graph, node) or (node, {})
    state.constants |= constants
    if changed.op not in _LAYERS:
        raise ModelFileError(
            f"{graph.name}: node {node.name} is a {node.op}, which OpenCV cannot run here: this graph is not an SSD, "
            "Faster R-CNN or Mask R-CNN that it knows"
        )
    if changed.op == "CropAndResize":
        return _crop(state, changed)
    inputs = tuple(each if each in constants else _input(state, each) for each in changed.inputs if each[:1] != "^")
    return _check_layer(graph, replace(changed, inputs=_data_first(graph, changed.op, inputs)))


def _input(state: _Trace, name: str) -> str:
    """The name that a node's input has in the text graph."""
    found = _before_resizer(state.graph, _source_of(state.graph, name))
    return state.image if _is_image(state, found) else found


def _crop(state: _Trace, node: Node) -> Node:
    size = _source_of(state.graph, node.data[3])
    if node.name not in state.boxes or state.graph.constant(size) is None:
        raise ModelFileError(
            f"{state.graph.name}: crops at {node.name} are not those of a Faster or Mask R-CNN (an R-FCN has such), "
            "which OpenCV cannot run"
        )
    return replace(node, inputs=(_input(state, node.data[0]), state.boxes[node.name], size))


def _data_first(graph: Graph, op: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Swap a sum's inputs where needed: OpenCV takes the first for the layer, the second for the constant."""
    constant = [graph.nodes[each].op == "Const" if each in graph.nodes else False for each in inputs]
    return inputs[::-1] if op in _SUMS and constant == [True, False] else inputs


def _check_layer(graph: Graph, node: Node) -> Node:
    if node.op.startswith("FusedBatchNorm"):
        if any(graph.nodes[each].op != "Const" for each in node.inputs[1:] if each in graph.nodes):
            raise ModelFileError(f"{graph.name}: {node.name} has no constant statistics: the graph is not frozen")
        return replace(node, op="FusedBatchNorm", inputs=node.inputs[:5])
    if node.op in ("Conv2D", "DepthwiseConv2dNative") and node.attribute("padding") == b"EXPLICIT":
        raise ModelFileError(f"{graph.name}: {node.name} has explicit paddings, which OpenCV does not read")
    if node.attribute("data_format") == b"NCHW":
        raise ModelFileError(f"{graph.name}: {node.name} is in NCHW order; export the graph in NHWC order")
    return node


# Patterns of nodes that are one layer to OpenCV.


def _rewrite(graph: Graph, node: Node) -> Rewritten:
    """The one layer that ends in `node`, and the constants it needs in the text graph; None: it stays as it is."""
    for pattern in _PATTERNS.get(node.op, ()):
        found = pattern(graph, node)
        if found:
            return found
    return None


def _input_of(graph: Graph, node: Node | None, index: int, *ops: str) -> Node | None:
    """The node of input `index`, past copies, where it is one of `ops`."""
    if node is None or index >= len(node.data):
        return None
    found = graph.nodes.get(node.data[index])
    while found is not None and found.op in PASSED_THROUGH and found.data:
        found = graph.nodes.get(found.data[0])
    return found if found is not None and (found.op in ops or not ops) else None


def _batch_norm(graph: Graph, node: Node) -> Rewritten:
    """x·s + (beta − mean·s), s = gamma / √(variance + epsilon), gamma optional: batch normalization, not fused."""
    scaled, shift = _input_of(graph, node, 0, "Mul"), _input_of(graph, node, 1, "Sub")
    product = _input_of(graph, shift, 1, "Mul")
    factor = _input_of(graph, scaled, 1, "Mul", "Rsqrt")
    if scaled is None or shift is None or product is None or factor is None:
        return None
    root = factor if factor.op == "Rsqrt" else _input_of(graph, factor, 0, "Rsqrt")
    total = _input_of(graph, root, 0, *_SUMS)
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
    """A constant for each channel, subtracted or added, as a normalization with that mean and a variance of 1.

    OpenCV's own layer for it fails on batches of two (measured on 4.14). After a convolution it is part of that layer.
    """
    value = graph.constant(node.data[1]) if len(node.data) == 2 else None
    if value is None or value.size < 2 or value.size != value.shape[-1] or _input_of(graph, node, 0, *_WITH_BIAS):
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
    product = _input_of(graph, node, 0, "Mul")
    spread = _input_of(graph, product, 0, "Reshape")
    ones = graph.constant(product.data[1]) if product else None
    if spread is None or ones is None or ones.ndim not in (5, 6) or not (ones == 1).all():
        return None
    return spread.data[0], (ones.shape[2], ones.shape[4])


def _by_stacks(graph: Graph, node: Node) -> tuple[str, tuple[int, int]] | None:
    rows = _input_of(graph, node, 0, "Pack")
    between = _input_of(graph, rows, 0, "Reshape")  # newer versions of the API reshape after each of the two
    columns = _input_of(graph, between or rows, 0, "Pack")
    if rows is None or columns is None or rows.attribute("axis") != 2 or columns.attribute("axis") != 3:
        return None
    if len(set(rows.data)) > 1 or len(set(columns.data)) > 1:
        return None
    return columns.data[0], (len(rows.data), len(columns.data))


def _flatten(graph: Graph, node: Node) -> Rewritten:
    """A reshape to (N, values)."""
    shape = graph.constant(node.data[1])
    packed = _input_of(graph, node, 1, "Pack")
    two = shape is not None and shape.size == 2
    two |= packed is not None and len(packed.data) == 2
    if not (two or "Flatten/" in node.name):
        return None
    return Node(node.name, "Flatten", node.inputs[:1]), {}


def _space_to_batch(graph: Graph, node: Node) -> Rewritten:
    """The beginning of a dilated convolution: its padding as a constant, whatever the size of the image."""
    conv = next((each for each in graph.nodes.values() if each.data[:1] == (node.name,)), None)
    end = next((each for each in graph.nodes.values() if conv and each.data[:1] == (conv.name,)), None)
    if end is None or end.op != "BatchToSpaceND":
        return None
    folder = ConstantFolder(graph, {_source(graph, node): (1, 64, 64, 1)})
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
    found = _input_of(graph, node, 0)
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
