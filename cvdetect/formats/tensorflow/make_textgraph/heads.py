"""The predictors of a detection graph, and what is done with what they give, told by names and connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.facts import DIVISIONS, channels, consumers, divisor, walk_back
from cvdetect.formats.tensorflow.make_textgraph.fold import PASSED_THROUGH, Folder, NotConstantError

__all__ = ["Anchors", "Heads", "Scores", "anchors_of", "anchors_per_cell", "follow_scores", "predictors", "ssd_heads"]

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
            return Anchors(Folder(graph, shapes).value(name).astype(np.float64), clipped)
    except NotConstantError:
        return None


def anchors_per_cell(graph: Graph, boxes: str) -> int:
    """How many anchors a cell of a box predictor's feature map has; a box has four codes."""
    count, rest = divmod(channels(graph, boxes), 4)
    if rest or not count:
        raise ModelFileError(f"{graph.name}: {boxes} has {channels(graph, boxes)} channels, which are no boxes")
    return count
