"""What a frozen detection graph says by its constants and the names of its nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import DType, Graph, Node, Shape
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH, ConstantFolder, NotConstantError
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Suppression

__all__ = [
    "DIVISIONS",
    "Anchors",
    "Heads",
    "Scores",
    "anchors_of",
    "anchors_per_cell",
    "box_coders",
    "channels",
    "consumers",
    "divisor",
    "fixed_wh",
    "follow_scores",
    "picture",
    "predictors",
    "resizer_sides",
    "single",
    "ssd_heads",
    "suppressions",
    "walk_back",
]


_BOOL = 10
_DECODER = re.compile(r"Decode(_\d+)?/unstack$")
DIVISIONS = ("RealDiv", "Div", "Mul")
"""The operations by which a graph may divide by a constant."""

_RESIZES = ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")
_SHORTEST_SIDE = 16  # smaller constants in the resizer are axes and counts


def picture(graph: Graph) -> Node:
    """The placeholder that takes the picture (training flags are placeholders too)."""
    for node in graph.nodes.values():
        dtype = node.attribute("dtype")
        if node.op == "Placeholder" and not (isinstance(dtype, DType) and dtype.number == _BOOL):
            return node
    raise ModelFileError(f"{graph.name}: has no input (no Placeholder): it is no detection graph")


def fixed_wh(graph: Graph) -> tuple[int, int] | None:
    """Width and height that the graph resizes pictures to, or takes them in; None where they may vary."""
    for node in graph.nodes.values():
        if node.op in _RESIZES and node.name.startswith("Preprocessor") and len(node.data) > 1:
            size = graph.constant(node.data[1])
            if size is not None and size.size == 2:
                return int(size.reshape(-1)[1]), int(size.reshape(-1)[0])
    shape = picture(graph).attribute("shape")
    sizes = shape.sizes if isinstance(shape, Shape) and shape.sizes else ()
    return (sizes[2], sizes[1]) if len(sizes) == 4 and min(sizes[1:3]) > 0 else None


def resizer_sides(graph: Graph) -> tuple[int, int] | None:
    """What a keep_aspect_ratio_resizer brings the shorter side to, and the most for the longer one; None if it pads."""
    found: set[int] = set()
    for node in graph.nodes.values():
        if node.op.startswith("Pad") and "/ResizeToRange/" in node.name:
            return None
        if node.op == "Const" and "/ResizeToRange/" in node.name:
            value = graph.constant(node.name)
            if value is not None and value.size <= 2 and value.dtype.kind in "if":
                found |= {int(each) for each in value.reshape(-1) if each > _SHORTEST_SIDE}
    return (min(found), max(found)) if len(found) == 2 else None


def channels(graph: Graph, name: str) -> int:
    """How many channels a predictor gives: of its biases, else of its weights."""
    for index in range(2):
        node = graph.nodes[name] if index == 0 else graph.nodes[walk_back(graph, graph.nodes[name].data[0])]
        value = graph.constant(node.data[1]) if len(node.data) > 1 else None
        if value is not None:
            return int(value.shape[-1])
    raise ModelFileError(f"{graph.name}: the weights of {name} are no constants: the graph is not frozen")


def walk_back(graph: Graph, name: str, *through: str) -> str:
    """From a node back along first inputs, past copies and operations `through`."""
    seen: set[str] = set()
    name = name.partition(":")[0]
    while name in graph.nodes and name not in seen:
        node = graph.nodes[name]
        if node.op not in (*PASSED_THROUGH, *through) or not node.data:
            return name
        seen.add(name)
        name = node.data[0]
    raise ModelFileError(f"{graph.name}: node {name} is missing, or depends on itself")


def consumers(graph: Graph) -> dict[str, list[Node]]:
    """The nodes that take the value of each node."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        for name in node.data:
            found.setdefault(name, []).append(node)
    return found


def box_coders(graph: Graph) -> list[tuple[float, float, float, float]]:
    """The y, x, height and width scales of each box decoder, in the order of the file.

    A decoder unpacks its four codes and divides them by the scales; one that does not divide has scales of 1.
    """
    used = consumers(graph)
    return [
        _scales(graph, node, used.get(node.name, []))
        for node in graph.nodes.values()
        if node.op == "Unpack" and _DECODER.search(node.name)
    ]


def _scales(graph: Graph, codes: Node, users: list[Node]) -> tuple[float, float, float, float]:
    scales = [1.0] * 4
    for user in users:
        value = divisor(graph, user)
        taken = next(name for name in user.inputs if name.partition(":")[0] == codes.name)
        index = taken.partition(":")[2] or "0"
        if value is not None and index in ("0", "1", "2", "3"):
            scales[int(index)] = value
    return scales[0], scales[1], scales[2], scales[3]


def divisor(graph: Graph, node: Node) -> float | None:
    """The constant that a node divides by; optimised graphs multiply by its reciprocal instead."""
    if node.op not in DIVISIONS or len(node.data) != 2:
        return None
    values = [graph.constant(name) for name in node.data]
    constant = values[1] if values[1] is not None or node.op != "Mul" else values[0]
    if constant is None or constant.size != 1 or not constant.item():
        return None
    return float(1 / constant.item() if node.op == "Mul" else constant.item())


def suppressions(graph: Graph) -> list[Suppression]:
    """The non-maximum suppressions of the graph, one for each scope, in the order of the file."""
    scopes: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        if node.op.startswith("NonMaxSuppressionV") or node.op == "CombinedNonMaxSuppression":
            scopes.setdefault(_scope(node.name), []).append(node)
    return [_suppression(graph, scope, nodes) for scope, nodes in scopes.items()]


def _scope(name: str) -> str:
    """Up to the part that names the suppression: a loop and a number for each class come after."""
    parts = name.split("/")
    end = next((i for i, part in enumerate(parts) if part.startswith("BatchMultiClassNonMaxSuppression")), 0)
    return "/".join(parts[: end + 1])


def _suppression(graph: Graph, scope: str, nodes: list[Node]) -> Suppression:
    node = nodes[0]
    numbers = [single(graph, name) for name in node.data[2:]]
    if node.op == "CombinedNonMaxSuppression":  # per class, in all, IoU, score
        per_class, total, iou, score = (*numbers, None, None, None, None)[:4]
    else:  # most, IoU, score (from V3 on)
        per_class, iou, score, _ = (*numbers, None, None, None, None)[:4]
        total = _total(graph, scope, {name for each in nodes for name in each.data})
        score = _filter(graph, scope) if score is None else score
    usual = Suppression()
    if iou is None:
        raise ModelFileError(f"{graph.name}: the IoU threshold of {node.name} is no constant")
    most = usual.per_class if per_class is None else int(per_class)
    return Suppression(0.0 if score is None else score, iou, most, most if total is None else int(total))


def single(graph: Graph, name: str) -> float | None:
    """The one number of a constant, or that of a Minimum or Maximum with a constant; else None."""
    node = graph.nodes.get(name.partition(":")[0])
    if node is None:
        return None
    found: Iterator[str] = iter(node.data if node.op in ("Minimum", "Maximum") else (node.name,))
    values = [value for each in found if (value := graph.constant(each)) is not None and value.size == 1]
    return float(values[0].item()) if values else None


def _total(graph: Graph, scope: str, bounds: set[str]) -> float | None:
    """The bound on all detections: a Minimum with a constant that bounds no single class."""
    for node in graph.nodes.values():
        inside = node.name.startswith(f"{scope}/") and "MultiClassNonMaxSuppression/Minimum" in node.name
        if inside and node.op == "Minimum" and node.name not in bounds:
            value = single(graph, node.name)
            if value is not None:
                return value
    return None


def _filter(graph: Graph, scope: str) -> float | None:
    """The score threshold of graphs that filter before they suppress."""
    for node in graph.nodes.values():
        if node.op == "Greater" and node.name.startswith(f"{scope}/") and "FilterGreaterThan" in node.name:
            return single(graph, node.data[1])
    return None


# The predictors of a detection graph, and what is done with what they give, told by names and connections.

_BOXES = ("BoxEncodingPredictor", "BoxPredictor")
_CLASSES = ("ClassPredictor",)
_LAST = ("BiasAdd", "Add", "AddV2", "Conv2D", "MatMul")
_SHAPING = ("Reshape", "Squeeze", "ExpandDims", "Tile")


@dataclass(frozen=True, slots=True)
class Heads:
    """The last layers of the predictors: box codes and class scores, one of each for a feature map."""

    boxes: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """What becomes of class scores; None where the graph does not say.

    Attributes:
        converter: "SIGMOID", "SOFTMAX" or "IDENTITY".
        scale: what they are divided by before that.
        background: the first class is none, and is cut off.
    """

    converter: str | None
    scale: float = 1.0
    background: bool | None = None


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchors (N, 4) ymin, xmin, ymax, xmax as the graph computes them, and whether it clips them to the picture."""

    boxes: NDArray[np.floating]
    clipped: bool


def predictors(graph: Graph, scope: str, kind: str) -> str:
    """The one predictor of `kind` ("Box" or "Class") in a scope such as FirstStageBoxPredictor."""
    parts = _BOXES if kind == "Box" else _CLASSES
    found = [each for each in _named(graph, parts) if scope in each]
    if not found:
        raise ModelFileError(f"{graph.name}: has no {kind}… predictor in {scope}: it is no Faster or Mask R-CNN graph")
    return found[0]


def ssd_heads(graph: Graph) -> Heads | None:
    """The predictors in the order in which the graph joins their values; None where there are none."""
    boxes, classes = _joined(graph, _BOXES), _joined(graph, _CLASSES)
    boxes, classes = boxes or tuple(_named(graph, _BOXES)), classes or tuple(_named(graph, _CLASSES))
    if not boxes or not classes:
        return None
    if len(boxes) != len(classes):
        raise ModelFileError(f"{graph.name}: has {len(boxes)} box predictors, but {len(classes)} class predictors")
    return Heads(boxes, classes)


def _part(name: str) -> str:
    """The scope that a node stands in directly: a predictor's name."""
    return (["", *name.split("/")])[-2]


def _named(graph: Graph, parts: tuple[str, ...]) -> Iterator[str]:
    return (node.name for node in graph.nodes.values() if node.op in _LAST[:3] and _part(node.name) in parts)


def _joined(graph: Graph, parts: tuple[str, ...]) -> tuple[str, ...]:
    for node in graph.nodes.values():
        if node.op in ("ConcatV2", "Concat"):
            joined = node.data[:-1] if node.op == "ConcatV2" else node.data[1:]
            found = tuple(source for each in joined if (source := _predictor(graph, each, parts)))
            if found and len(found) == len(joined):
                return found
    return ()


def _predictor(graph: Graph, name: str, parts: tuple[str, ...]) -> str | None:
    try:
        found = walk_back(graph, name, *_SHAPING)
    except ModelFileError:
        return None
    return found if graph.nodes[found].op in _LAST and _part(found) in parts else None


def follow_scores(graph: Graph, start: str) -> Scores:
    """What becomes of the class scores that the predictor `start` gives."""
    used = consumers(graph)
    waiting, seen, scale = [start], {start}, 1.0
    while waiting:
        for node in used.get(waiting.pop(0), []):
            if node.op in ("Sigmoid", "Softmax"):
                return Scores(node.op.upper(), scale, _background(graph, node, used))
            if node.op in DIVISIONS and "scale_logits" in node.name:
                scale = divisor(graph, node) or 1.0
            if node.op in (*_SHAPING, *PASSED_THROUGH, "ConcatV2", *DIVISIONS) and node.name not in seen:
                seen.add(node.name)
                waiting.append(node.name)
    return Scores(None)


def _background(graph: Graph, converter: Node, used: dict[str, list[Node]]) -> bool | None:
    """Whether the first class is cut off; None where the scores are not seen again."""
    waiting = [converter.name]
    for name in waiting:
        for node in used.get(name, []):
            begin = graph.constant(node.data[1]) if node.op in ("Slice", "StridedSlice") else None
            if begin is not None:
                return bool(begin.reshape(-1)[-1] == 1)
            if node.op in (*_SHAPING, *PASSED_THROUGH) and node.name not in waiting:
                waiting.append(node.name)
    return None


def anchors_of(graph: Graph, shapes: dict[str, tuple[int, ...]]) -> Anchors | None:
    """The anchors that the graph's first box decoder takes; None where there is none, or they cannot be computed.

    Args:
        shapes: those of the feature maps, which the anchors may depend on.
    """
    decoder = next(
        (n for n in graph.nodes.values() if n.name.endswith("get_center_coordinates_and_sizes/unstack")), None
    )
    if decoder is None:
        return None
    name, clipped = walk_back(graph, decoder.data[0], "Transpose", *_SHAPING), False
    while "ClipToWindow" in name:
        node = graph.nodes[name]
        name = walk_back(graph, node.data[1 if node.op == "Split" else 0])
        clipped = True
    try:
        with np.errstate(all="ignore"):  # what is no number is found by who lays the anchors
            return Anchors(ConstantFolder(graph, shapes).value(name).astype(np.float64), clipped)
    except NotConstantError:
        return None


def anchors_per_cell(graph: Graph, boxes: str) -> int:
    """How many anchors a cell of a box predictor's feature map has; a box has four codes."""
    count, rest = divmod(channels(graph, boxes), 4)
    if rest or not count:
        raise ModelFileError(f"{graph.name}: {boxes} has {channels(graph, boxes)} channels, which are no boxes")
    return count
