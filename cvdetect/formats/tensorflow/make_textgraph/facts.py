"""Numbers of a frozen detection graph, found by its constants and the names of its nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import DType, Graph, Node, Shape
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Nms

__all__ = [
    "DIVISIONS",
    "box_coders",
    "channels",
    "consumers",
    "divisor",
    "find_nms",
    "fixed_wh",
    "image_input",
    "min_max_size",
    "walk_back",
]


_BOOL = 10
_DECODER = re.compile(r"Decode(_\d+)?/unstack$")
DIVISIONS = ("RealDiv", "Div", "Mul")
"""The operations by which a graph may divide by a constant."""

_RESIZES = ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")
_SHORTEST_SIDE = 16  # smaller constants in the resizer are axes and counts


def image_input(graph: Graph) -> Node:
    """The placeholder that takes the image (training flags are placeholders too)."""
    for node in graph.nodes.values():
        dtype = node.attribute("dtype")
        if node.op == "Placeholder" and not (isinstance(dtype, DType) and dtype.number == _BOOL):
            return node
    raise ModelFileError(f"{graph.name}: has no input (no Placeholder): so it is not a detection graph")


def fixed_wh(graph: Graph) -> tuple[int, int] | None:
    """Width and height that the graph resizes images to, or accepts; None where they may vary."""
    for node in graph.nodes.values():
        if node.op in _RESIZES and node.name.startswith("Preprocessor") and len(node.data) > 1:
            size = graph.constant(node.data[1])
            if size is not None and size.size == 2:
                return int(size.reshape(-1)[1]), int(size.reshape(-1)[0])
    shape = image_input(graph).attribute("shape")
    sizes = shape.sizes if isinstance(shape, Shape) and shape.sizes else ()
    return (sizes[2], sizes[1]) if len(sizes) == 4 and min(sizes[1:3]) > 0 else None


def min_max_size(graph: Graph) -> tuple[int, int] | None:
    """A keep_aspect_ratio_resizer's size of the shorter side, and limit of the longer one; None if it pads."""
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
    """How many channels a predictor has, by its biases, else by its weights."""
    for index in range(2):
        node = graph.nodes[name] if index == 0 else graph.nodes[walk_back(graph, graph.nodes[name].data[0])]
        value = graph.constant(node.data[1]) if len(node.data) > 1 else None
        if value is not None:
            return int(value.shape[-1])
    raise ModelFileError(f"{graph.name}: the weights of {name} are not constants: the graph is not frozen")


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
    """The nodes that use the value of each node."""
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


def find_nms(graph: Graph) -> list[Nms]:
    """The non-maximum suppressions of the graph, one for each scope, in the order of the file."""
    scopes: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        if node.op.startswith("NonMaxSuppressionV") or node.op == "CombinedNonMaxSuppression":
            scopes.setdefault(_scope(node.name), []).append(node)
    return [_nms(graph, scope, nodes) for scope, nodes in scopes.items()]


def _scope(name: str) -> str:
    """The name up to the part that names the suppression: a loop and a number for each class follow."""
    parts = name.split("/")
    end = next((i for i, part in enumerate(parts) if part.startswith("BatchMultiClassNonMaxSuppression")), 0)
    return "/".join(parts[: end + 1])


def _nms(graph: Graph, scope: str, nodes: list[Node]) -> Nms:
    node = nodes[0]
    numbers = [_number(graph, name) for name in node.data[2:]]
    if node.op == "CombinedNonMaxSuppression":  # per class, in all, IoU, score
        per_class, total, iou, score = (*numbers, None, None, None, None)[:4]
    else:  # most, IoU, score (from V3 on)
        per_class, iou, score, _ = (*numbers, None, None, None, None)[:4]
        total = _total(graph, scope, {name for each in nodes for name in each.data})
        score = _filter(graph, scope) if score is None else score
    default = Nms()
    if iou is None:
        raise ModelFileError(f"{graph.name}: the IoU threshold of {node.name} is not a constant")
    most = default.per_class if per_class is None else int(per_class)
    return Nms(0.0 if score is None else score, iou, most, most if total is None else int(total))


def _number(graph: Graph, name: str) -> float | None:
    """The one number of a constant, or that of a Minimum or Maximum with a constant; else None."""
    node = graph.nodes.get(name.partition(":")[0])
    if node is None:
        return None
    found: Iterator[str] = iter(node.data if node.op in ("Minimum", "Maximum") else (node.name,))
    values = [value for each in found if (value := graph.constant(each)) is not None and value.size == 1]
    return float(values[0].item()) if values else None


def _total(graph: Graph, scope: str, class_limits: set[str]) -> float | None:
    """The limit of all detections: a Minimum with a constant that does not limit a single class."""
    for node in graph.nodes.values():
        inside = node.name.startswith(f"{scope}/") and "MultiClassNonMaxSuppression/Minimum" in node.name
        if inside and node.op == "Minimum" and node.name not in class_limits:
            value = _number(graph, node.name)
            if value is not None:
                return value
    return None


def _filter(graph: Graph, scope: str) -> float | None:
    """The score threshold of graphs that filter before non-maximum suppression."""
    for node in graph.nodes.values():
        if node.op == "Greater" and node.name.startswith(f"{scope}/") and "FilterGreaterThan" in node.name:
            return _number(graph, node.data[1])
    return None
