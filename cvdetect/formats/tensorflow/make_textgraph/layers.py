"""The layers of a detection network: from its heads back to the picture, as OpenCV's importer can read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH
from cvdetect.formats.tensorflow.make_textgraph.patterns import Constants, rewritten

__all__ = ["Body", "source_of", "trace"]

_LAYERS = frozenset(
    {
        "Abs", "Add", "AddV2", "AvgPool", "BatchToSpaceND", "BiasAdd", "ConcatV2", "Conv2D", "CropAndResize",
        "DepthwiseConv2dNative", "Elu", "Exp", "Flatten", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3",
        "LRN", "LeakyRelu", "MatMul", "MaxPool", "Mean", "MirrorPad", "Mul", "Pad", "RealDiv", "Relu", "Relu6",
        "ResizeBilinear", "ResizeNearestNeighbor", "Sigmoid", "SpaceToBatchND", "Sub", "Tanh",
    }
)  # fmt: skip
_QUANTIZERS = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs"})
_PICTURES = frozenset({"Placeholder", "Cast"})
# What the resizer's loop over pictures puts together, and what it takes apart: TensorFlow's loops, old and new.
_GATHERED = frozenset({"TensorArrayGatherV3", "TensorArrayGatherV2", "TensorListStack"})
_SCATTERED = {"TensorArrayScatterV3": 2, "TensorArrayScatterV2": 2, "TensorListFromTensor": 0}
_RESIZERS = frozenset({"ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "Squeeze"})
_SWAPPED = frozenset({"Add", "AddV2"})


@dataclass(frozen=True, slots=True)
class Body:
    """The layers between the picture and the heads.

    Attributes:
        nodes: in the order of execution, inputs resolved to each other, to constants of the graph, or to `image`.
        image: the name under which they take the picture.
        constants: values that they need besides, by name.
        quantized: the graph imitates 8-bit arithmetic, which is left out.
    """

    nodes: tuple[Node, ...]
    image: str
    constants: Constants
    quantized: bool = False


@dataclass(slots=True)
class _Trace:
    graph: Graph
    image: str
    boxes: Mapping[str, str]
    nodes: dict[str, Node] = field(default_factory=dict)
    constants: Constants = field(default_factory=dict)
    pictured: bool = False


def trace(graph: Graph, heads: Iterable[str], image: str, boxes: Mapping[str, str] | None = None) -> Body:
    """The layers that `heads` build upon.

    Args:
        image: the name of the placeholder.
        boxes: for a CropAndResize node, the node of the text graph that gives its boxes.

    Raises:
        ModelFileError: an operation that OpenCV cannot run, which is named; or the heads do not see the picture.
    """
    state = _Trace(graph, image, boxes or {})
    for head in heads:
        _follow(state, source_of(graph, head))
    if not state.pictured:
        raise ModelFileError(f"{graph.name}: its detection heads do not depend on the input {image}")
    quantized = any(node.op in _QUANTIZERS for node in graph.nodes.values())
    return Body(tuple(state.nodes.values()), image, state.constants, quantized)


def source_of(graph: Graph, name: str) -> str:
    """The node whose value `name` really is: past copies, imitations of 8-bit arithmetic, and reshapes of crops.

    Crops are five-dimensional for a moment (picture, box, …); to OpenCV they never are.
    """
    base, _, output = name.partition(":")
    if output not in ("", "0"):
        raise ModelFileError(f"{graph.name}: {name} is a second output, which OpenCV cannot follow")
    for _ in range(len(graph.nodes)):
        node = graph.nodes.get(base)
        if node is None:
            raise ModelFileError(f"{graph.name}: node {base} is missing: the graph is not whole")
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
        elif name not in state.nodes and not _is_picture(state, name):
            if name in opened:
                raise ModelFileError(f"{state.graph.name}: node {name} depends on itself")
            opened.add(name)
            layer = _layer(state, state.graph.nodes[name])
            waiting.append((name, layer))
            waiting += [(each, None) for each in reversed(_followed(state, layer)) if each not in state.nodes]


def _is_picture(state: _Trace, name: str) -> bool:
    node = state.graph.nodes[name]
    found = node.op in _PICTURES | _GATHERED or (node.op in _RESIZERS and name.startswith("Preprocessor"))
    state.pictured |= found
    return found


def _before_resizer(graph: Graph, name: str) -> str:
    """The node whose value the resizer takes, where `name` is what it gives; else `name`.

    Which comes first depends on the version of the API: pixels are resized and then normalised, or the other way. To
    OpenCV the picture is resized already, and it is one or the other: a weighted mean of pixels goes through.
    """
    for _ in range(len(graph.nodes)):
        before = _one_before(graph, graph.nodes[name])
        if before is None:
            return name
        name = source_of(graph, before)
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
    """The node as the text graph is to have it: a pattern of several nodes becomes one."""
    graph = state.graph
    changed, constants = rewritten(graph, node) or (node, {})
    state.constants |= constants
    if changed.op not in _LAYERS:
        raise ModelFileError(
            f"{graph.name}: node {node.name} is a {node.op}, which OpenCV cannot run here: this graph is not an SSD, "
            "Faster R-CNN or Mask R-CNN that it knows"
        )
    if changed.op == "CropAndResize":
        return _crop(state, changed)
    inputs = tuple(each if each in constants else _input(state, each) for each in changed.inputs if each[:1] != "^")
    return _checked(graph, replace(changed, inputs=_data_first(graph, changed.op, inputs)))


def _input(state: _Trace, name: str) -> str:
    """The node's input as the text graph calls it."""
    found = _before_resizer(state.graph, source_of(state.graph, name))
    return state.image if _is_picture(state, found) else found


def _crop(state: _Trace, node: Node) -> Node:
    size = source_of(state.graph, node.data[3])
    if node.name not in state.boxes or state.graph.constant(size) is None:
        raise ModelFileError(
            f"{state.graph.name}: crops at {node.name} are not those of a Faster or Mask R-CNN (R-FCN has such), "
            "which OpenCV cannot run"
        )
    return replace(node, inputs=(_input(state, node.data[0]), state.boxes[node.name], size))


def _data_first(graph: Graph, op: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """OpenCV takes the first input of a sum for the layer and the second for the constant."""
    constant = [graph.nodes[each].op == "Const" if each in graph.nodes else False for each in inputs]
    return inputs[::-1] if op in _SWAPPED and constant == [True, False] else inputs


def _checked(graph: Graph, node: Node) -> Node:
    if node.op.startswith("FusedBatchNorm"):
        if any(graph.nodes[each].op != "Const" for each in node.inputs[1:] if each in graph.nodes):
            raise ModelFileError(f"{graph.name}: {node.name} has no constant statistics: the graph is not frozen")
        return replace(node, op="FusedBatchNorm", inputs=node.inputs[:5])
    if node.op in ("Conv2D", "DepthwiseConv2dNative") and node.attribute("padding") == b"EXPLICIT":
        raise ModelFileError(f"{graph.name}: {node.name} has explicit paddings, which OpenCV does not read")
    if node.attribute("data_format") == b"NCHW":
        raise ModelFileError(f"{graph.name}: {node.name} is in NCHW order; export the graph in NHWC order")
    return node
