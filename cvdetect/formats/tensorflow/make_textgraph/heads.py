"""The detection heads of a graph: box and class predictors, scores and anchors, found by names and connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.facts import DIVISIONS, channels, consumers, divisor, walk_back
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH, ConstantFolder, NotConstantError

__all__ = [
    "Anchors",
    "Heads",
    "Scores",
    "anchors_of",
    "anchors_per_cell",
    "find_predictor",
    "follow_scores",
    "ssd_heads",
]

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
    """How the graph converts class scores; None where it does not show.

    Attributes:
        converter: "SIGMOID", "SOFTMAX" or "IDENTITY".
        scale: what they are divided by before that.
        background: the first class is the background, and is cut off.
    """

    converter: str | None
    scale: float = 1.0
    background: bool | None = None


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchors (N, 4) ymin, xmin, ymax, xmax as the graph computes them, and whether it clips them to the image."""

    boxes: NDArray[np.floating]
    clipped: bool


def find_predictor(graph: Graph, scope: str, kind: str) -> str:
    """The one predictor of `kind` ("Box" or "Class") in a scope such as FirstStageBoxPredictor."""
    names = _BOXES if kind == "Box" else _CLASSES
    found = [each for each in _named(graph, names) if scope in each]
    if not found:
        raise ModelFileError(f"{graph.name}: has no {kind}… predictor in {scope}: it is not a Faster or Mask R-CNN")
    return found[0]


def ssd_heads(graph: Graph) -> Heads | None:
    """The predictors in the order in which the graph concatenates their outputs; None where there are none."""
    boxes, classes = _concatenated(graph, _BOXES), _concatenated(graph, _CLASSES)
    boxes, classes = boxes or tuple(_named(graph, _BOXES)), classes or tuple(_named(graph, _CLASSES))
    if not boxes or not classes:
        return None
    if len(boxes) != len(classes):
        raise ModelFileError(f"{graph.name}: has {len(boxes)} box predictors, but {len(classes)} class predictors")
    return Heads(boxes, classes)


def _innermost_scope(name: str) -> str:
    """The innermost scope of a node: a predictor's name."""
    return (["", *name.split("/")])[-2]


def _named(graph: Graph, names: tuple[str, ...]) -> Iterator[str]:
    return (node.name for node in graph.nodes.values() if node.op in _LAST[:3] and _innermost_scope(node.name) in names)


def _concatenated(graph: Graph, names: tuple[str, ...]) -> tuple[str, ...]:
    for node in graph.nodes.values():
        if node.op in ("ConcatV2", "Concat"):
            sources = node.data[:-1] if node.op == "ConcatV2" else node.data[1:]
            found = tuple(predictor for each in sources if (predictor := _predictor(graph, each, names)))
            if found and len(found) == len(sources):
                return found
    return ()


def _predictor(graph: Graph, name: str, names: tuple[str, ...]) -> str | None:
    try:
        found = walk_back(graph, name, *_SHAPING)
    except ModelFileError:
        return None
    return found if graph.nodes[found].op in _LAST and _innermost_scope(found) in names else None


def follow_scores(graph: Graph, start: str) -> Scores:
    """How the class scores of the predictor `start` are scaled and converted."""
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
    """Whether the first class is cut off; None where the scores are not used again."""
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
    """The anchors of the graph's first box decoder; None where there is no decoder, or they cannot be computed.

    Args:
        shapes: of the feature maps, which the anchors may depend on.
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
        with np.errstate(all="ignore"):  # `fit_grids` refuses what is not finite
            return Anchors(ConstantFolder(graph, shapes).value(name).astype(np.float64), clipped)
    except NotConstantError:
        return None


def anchors_per_cell(graph: Graph, boxes: str) -> int:
    """How many anchors each cell of a box predictor's feature map has; a box has four codes."""
    count, rest = divmod(channels(graph, boxes), 4)
    if rest or not count:
        raise ModelFileError(f"{graph.name}: {boxes} has {channels(graph, boxes)} channels, not four for each box")
    return count
