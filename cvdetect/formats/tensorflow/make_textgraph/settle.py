"""One number said by several: by the graph itself, by its pipeline.config, by the person who runs us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, Node
from cvdetect.formats.tensorflow.make_textgraph.layers import Body, Constants
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Pipeline, Suppression

__all__ = ["Reconciler", "TextGraphOptions", "infer_shapes"]


T = TypeVar("T")
_CLOSE = 1e-3  # relative: configs write 0.3333 for a third, graphs hold float32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraphOptions:
    """What a person says about a graph; None and () where they say nothing.

    Attributes:
        pipeline: its pipeline.config.
        num_classes: how many classes it tells apart, background not counted.
        input_wh: width and height of its input in pixels.
        anchor_scales: SSD: the anchors' scale for each layer, as shares of the input's shorter side; Faster and Mask
            R-CNN: scales of the base anchor of 256 pixels.
        aspect_ratios: the anchors' width / height.
        anchor_stride: Faster and Mask R-CNN: pixels between anchors.
        box_scales: the box coder's y, x, height and width scales.
        score_converter: "SIGMOID", "SOFTMAX" or "IDENTITY".
        iou_threshold: of the graph's non-maximum suppression.
    """

    pipeline: Pipeline | None = None
    num_classes: int | None = None
    input_wh: tuple[int, int] | None = None
    anchor_scales: tuple[float, ...] = ()
    aspect_ratios: tuple[float, ...] = ()
    anchor_stride: int | None = None
    box_scales: tuple[float, float, float, float] | None = None
    score_converter: str | None = None
    iou_threshold: float | None = None


@dataclass(slots=True)
class Reconciler:
    """Settles one number after the other for the graph `name`; `facts` collects what was found, in words."""

    name: str
    facts: list[str] = field(default_factory=list)

    def settle(self, what: str, graph: T | None, config: T | None, option: tuple[str, T | None]) -> T:
        """The value that all who know one agree on; `option` has its arguments, parted by spaces, and what was given.

        Raises:
            ModelFileError: two contradict each other, or nobody knows; the message names the argument.
        """
        names, given = option
        named = " and ".join(arg(name) for name in names.split())
        said = [
            (who, value) for who, value in zip(_WHO, (graph, config, given), strict=True) if value not in (None, ())
        ]
        if not said:
            asked = " or ".join([*([named] if named else []), arg("pipeline")])
            raise ModelFileError(f"{self.name}: the graph does not say its {what}: give {asked}")
        for who, value in said[1:]:
            if not _agree(said[0][1], value):
                raise ModelFileError(
                    f"{self.name}: {said[0][0]} says {what} {_shown(said[0][1])}, but {who.format(named)} says "
                    f"{_shown(value)}: they are not of the same model"
                )
        self.facts.append(f"{what}: {_shown(said[-1][1])} ({', '.join(who.format(named) for who, _ in said)})")
        return said[-1][1]

    def suppression(
        self, which: str, graph: Suppression | None, config: Suppression | None, iou: float | None
    ) -> Suppression:
        """Settles the four numbers of a suppression; `which` goes before their names, `iou` is the person's.

        Raises:
            ModelFileError: see `settle`.
        """
        pair = [(each.score, each.iou, each.per_class, each.total) if each else (None,) * 4 for each in (graph, config)]
        names = ("score threshold", "IoU threshold", "most detections of a class", "most detections")
        options = (("", None), ("iou_threshold", iou), ("", None), ("", None))
        score, overlap, per_class, total = (
            self.settle(which + name, first, second, option)
            for name, first, second, option in zip(names, *pair, options, strict=True)
        )
        return Suppression(score, overlap, int(per_class), int(total))


_WHO = ("the graph", "pipeline.config", "{}")


def _agree(first: Any, second: Any) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return bool(first == second)
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=_CLOSE, atol=1e-9))


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_shown(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# Shapes of feature maps, (1, height, width, channels), from the shape of the picture.

Size = tuple[int, ...]
_WINDOWS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"})
_TWO_SIDED = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"})


def infer_shapes(graph: Graph, body: Body, wh: tuple[int, int]) -> dict[str, Size]:
    """The shapes of the layers of `body` for a picture of `wh` pixels.

    A layer whose shape cannot be told is left out, and so is all that builds on it.
    """
    shapes: dict[str, Size] = {body.image: (1, wh[1], wh[0], 3)}
    for node in body.nodes:
        try:
            found = _shape(graph, node, shapes, body.constants)
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError):
            continue
        if found is not None:
            shapes[node.name] = found
    return shapes


def _shape(graph: Graph, node: Node, shapes: dict[str, Size], own: Constants) -> Size | None:
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
    if node.op == "ResizeNearestNeighbor" and len(node.data) == 3:  # a rewritten one: by factors
        down, across = (int(own[name][0]) for name in node.data[1:])
        return (1, first[1] * down, first[2] * across, first[3])
    if node.op in ("ResizeNearestNeighbor", "ResizeBilinear"):
        return (1, *_constant(graph, node, 1)[:2], first[3])
    if node.op == "Mean":
        return (1, 1, 1, first[3])
    return None if node.op in ("Reshape", "Flatten", "Transpose", "CropAndResize", "MatMul") else first


def _constant(graph: Graph, node: Node, index: int) -> list[int]:
    value = graph.constant(node.data[index])
    if value is None:
        raise ValueError(f"{node.name}: input {index} is no constant")
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
            raise ValueError(f"{node.name}: its weights are no constant")
        kernel = list(weights.shape[:2])
        channels = weights.shape[3] if node.op == "Conv2D" else size[3] * weights.shape[3]
    strides = _integers(node, "strides")[1:3]
    dilations = (_integers(node, "dilations") or (1, 1, 1, 1))[1:3]
    atrous = graph.nodes[node.data[0]].op == "SpaceToBatchND" if node.data[0] in graph.nodes else False
    same = atrous or node.attribute("padding") == b"SAME"
    sides = [
        _side(s, k, stride, d, same) for s, k, stride, d in zip(size[1:3], kernel, strides, dilations, strict=True)
    ]
    return (1, *sides, channels)


def _integers(node: Node, key: str) -> tuple[int, ...]:
    value = node.attribute(key)
    return value if isinstance(value, tuple) else ()


def _side(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    covered = 0 if same else dilation * (kernel - 1)
    return -(-(size - covered) // stride)


def _padded(graph: Graph, node: Node, size: Size) -> Size:
    value = graph.constant(node.data[1])
    if value is None:
        raise ValueError(f"{node.name}: its padding is no constant")
    pads: Sequence[Sequence[int]] = value.tolist()
    return tuple(side + sum(pad) for side, pad in zip(size, pads, strict=True))
