"""What a family of models is: how its output is recognised and decoded; and what the decoders share.

A family has a file of its own, which ends in one `Family`; `cvdetect.families` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.labels import BY_CLASS_COUNT
from cvdetect.core.source import Priors
from cvdetect.core.spec import InputSpec

__all__ = [
    "GRID",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "STRIDES",
    "DecodeOptions",
    "Decoder",
    "Family",
    "Floats",
    "HeadLayout",
    "NetInput",
    "OutputSignature",
    "Outputs",
    "Signature",
    "Thresholds",
    "box_unit",
    "candidate_rows",
    "cells",
    "check_finite",
    "head_layout",
    "only_output",
    "pick_classes",
    "sigmoid",
    "softmax",
    "sort_corners",
    "strides_of",
    "to_detections",
]

Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]

GRID = 3
"""The evidence of as many rows as the input has cells."""
STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""The grids that one-stage detectors have: pixels of the input that a cell covers, a scale each."""
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (0.229, 0.224, 0.225)
"""Mean of ImageNet's pixels (0 to 255) and their standard deviation (0 to 1): R, G, B."""
_OBJECTS365 = 365  # the number of classes of that data set
_FARTHEST_NORMALIZED = 2.0
_BEYOND_ONE = 1e-3  # how far half precision may take a probability over 1


@dataclass(frozen=True, slots=True)
class NetInput:
    """What went into the network: how many images, and the input's width and height in pixels."""

    count: int
    wh: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The score each class must reach (≥) to be a detection.

    Attributes:
        default: for classes that `per_class` does not name.
        per_class: class id → its own threshold.
        only: class ids that may be found at all; None for all.
    """

    default: float = 0.5
    per_class: Mapping[int, float] = field(default_factory=dict)
    only: frozenset[int] | None = None

    @property
    def floor(self) -> float:
        """The lowest threshold of any class: a score below it can be dropped unseen."""
        return min([self.default, *self.per_class.values()])

    def table(self, classes: int) -> Floats:
        """Threshold of each class id below `classes` → (classes,); infinity where the class may not be found."""
        table = np.full(classes, self.default, np.float32)
        for class_id, value in self.per_class.items():
            if class_id < classes:
                table[class_id] = value
        if self.only is not None:
            table[[c for c in range(classes) if c not in self.only]] = np.inf
        return table


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What a decoder must know beside the arrays.

    Attributes:
        thresholds: score thresholds by class.
        multi_label: every class over its threshold is a detection, not only the best of a box.
        anchors: (width, height) in grid cells, an anchor each; region heads only.
        priors: anchors of TensorFlow Lite's SSD.
        in_pixels: DetectionOutput's boxes come in pixels of the input, not normalized.
    """

    thresholds: Thresholds = Thresholds()
    multi_label: bool = False
    anchors: tuple[tuple[float, float], ...] = ()
    priors: Priors | None = None
    in_pixels: bool = False


# (outputs, network input, options) -> one Detections an image, in network pixels, before non-maximum suppression
Decoder = Callable[[Outputs, NetInput, DecodeOptions], list[Detections]]


@dataclass(frozen=True, slots=True)
class OutputSignature:
    """What is known of a model before it runs.

    Attributes:
        outputs: each output's name → its shape for one image.
        wh: width and height of the input in pixels.
        raw: the outputs are convolutions that only went through sigmoids, reshapes and joins, so the graph decodes no
            boxes; None where that is not known.
        names: how many class names are known (from the file, or given); None where there are none.
    """

    outputs: Mapping[str, tuple[int, ...]]
    wh: tuple[int, int]
    raw: bool | None = None
    names: int | None = None

    @property
    def only(self) -> tuple[int, ...]:
        """The one output's shape (1, a, b); () where there are several outputs or other ranks."""
        shapes = list(self.outputs.values())
        return shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 else ()

    def __str__(self) -> str:
        return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.outputs.items())


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """How a family reads a model: how many classes, the first one's number, and how strongly the shapes support it.

    Attributes:
        classes: background not counted; None where the outputs do not show it.
        evidence: 3 (`GRID`) where the number of rows is the number of the input's cells, 1 or 2 where only ranks and
            columns fit; one more where a well-known data set has so many classes.
    """

    classes: int | None
    evidence: int
    first_class_id: int = 0


Signature = Callable[[OutputSignature], HeadLayout | None]
"""How a family would read a model with such outputs; None where the shapes do not fit it."""


def head_layout(classes: int, evidence: int, first_class_id: int = 0) -> HeadLayout | None:
    """The layout with so many classes; None where there would be none."""
    usual = classes in BY_CLASS_COUNT or classes == _OBJECTS365
    return HeadLayout(classes, evidence + usual, first_class_id) if classes > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models whose output is read alike.

    Attributes:
        name: what ``family:`` in models.yaml and the argument `decoder` call it.
        decode: its outputs → detections in network pixels.
        formats: the formats of model files that it comes in, as `cvdetect.formats.FORMATS` names them.
        head: what a format calls the layer that gives its boxes (`ModelSource.head`); "" where none does.
        signature: recognises it by names and shapes of outputs; None where it is known by its head.
        preprocessing: that of its authors; None where it differs from model to model.
        suppressed: nothing is left to non-maximum suppression: the graph has done it, or needs none.
        nms_in_graph: the IoU threshold is written into the graph, where the suppression is.
        multi_label: a box can be given with several classes.
        two_stage: all of its models crop proposals.
        same_as: the family that decodes the same outputs and is recognised in its place; "" for none.
    """

    name: str
    decode: Decoder
    formats: tuple[str, ...]
    head: str = ""
    signature: Signature | None = None
    preprocessing: InputSpec | None = None
    suppressed: bool = False
    nms_in_graph: bool = False
    multi_label: bool = True
    two_stage: bool = False
    same_as: str = ""


def pick_classes(scores: Floats, options: DecodeOptions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which class of which box is a detection: class scores (N, C) → row numbers (M,), class ids (M,)."""
    limits = options.thresholds.table(scores.shape[1])  # (C,)
    if options.multi_label:
        rows, classes = np.nonzero(scores >= limits)
        return rows, classes
    best = scores.argmax(axis=1)  # (N,)
    rows = np.flatnonzero(scores[np.arange(len(scores)), best] >= limits[best])  # (M,)
    return rows, best[rows]


def check_finite(values: Floats, what: str) -> None:
    """Raise DecodeError where the network gave NaN or infinity: its weights are damaged or another network's."""
    if not np.isfinite(values).all():
        raise DecodeError(
            f"the network gave {what} that are not numbers (NaN): its weights are damaged or belong to another "
            f"network; check the file (cvdetect models verify) or try {arg('precision', 'fp32')}"
        )


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), any shape; exp only takes what cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e), np.float32)


def softmax(x: Floats) -> Floats:
    """Over the last axis; the largest is taken off first so that exp cannot overflow."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


def candidate_rows(scores: Floats, options: DecodeOptions) -> NDArray[np.int64]:
    """The rows of (R,) or (R, C) that can reach a threshold at all → row numbers (N,).

    Raises:
        DecodeError: NaN, or numbers that are no probabilities: another decoder's output.
    """
    best = scores if scores.ndim == 1 else scores.max(axis=1, initial=-np.inf)
    if scores.size:
        _check_probabilities(scores)
    return np.flatnonzero(best >= np.float32(options.thresholds.floor))


def _check_probabilities(scores: Floats) -> None:
    check_finite(scores, "scores")
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1 + _BEYOND_ONE:
        raise DecodeError(
            f"scores run from {low:.3g} to {high:.3g}, expected 0 to 1: the model needs another decoder "
            f"({arg('decoder')})"
        )


def to_detections(boxes: Floats, scores: Floats, options: DecodeOptions) -> Detections:
    """Boxes xyxy (N, 4) in network pixels, class scores (N, C) → detections; DecodeError where a box is no number."""
    check_finite(boxes, "boxes")
    rows, classes = pick_classes(scores, options)  # (M,), (M,)
    return Detections(sort_corners(boxes[rows]), classes, np.minimum(scores[rows, classes], np.float32(1)))


def sort_corners(boxes: Floats) -> Floats:
    """Corners (N, 4) in order: a network may give them swapped."""
    a, b = boxes[:, :2], boxes[:, 2:4]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=1)


def grid_rows(wh: tuple[int, int], strides: Sequence[int]) -> int:
    """How many cells the grids of these strides have together in an input of `wh`."""
    return sum(_across(wh[0], s) * _across(wh[1], s) for s in strides)


def _across(size: int, stride: int) -> int:
    """Cells along a side; one that sticks out is a cell (convolutions pad)."""
    return -(-size // stride)


def strides_of(rows: int, wh: tuple[int, int], anchors: int = 1) -> tuple[int, ...] | None:
    """The strides whose grids have so many rows, `anchors` a cell; None where none have."""
    return next((strides for strides in STRIDES if rows == anchors * grid_rows(wh, strides)), None)


def cells(wh: tuple[int, int], strides: Sequence[int]) -> tuple[Floats, Floats]:
    """Column and row of every cell (R, 2), and its stride in pixels (R, 1): scale by scale, row by row."""
    corners, sizes = [], []
    for stride in strides:
        y, x = np.mgrid[: _across(wh[1], stride), : _across(wh[0], stride)]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((x.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def box_unit(centres: Floats, wh: tuple[int, int]) -> Floats:
    """What to multiply boxes (N, 4) with to have pixels: 1, or the input's width and height → (4,).

    Exporters to TensorFlow Lite give normalized boxes. `centres` (R, 2) are those of all cells: in pixels some lie at
    the far end of the input, normalized none lies beyond 1 by much.
    """
    normalized = centres.size and float(centres.max()) <= _FARTHEST_NORMALIZED
    return np.array([*wh, *wh] if normalized else [1, 1, 1, 1], np.float32)


def only_output(outputs: Outputs, count: int, expected: str, columns: int) -> Floats:
    """The one output (B, ≥ 1, ≥ `columns`) of a model that has one; `expected` is what errors call it.

    Raises:
        DecodeError: several outputs, or another shape.
    """
    shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
    array = next(iter(outputs.values()), None)
    if array is None or len(outputs) != 1 or array.ndim != 3 or array.shape[0] != count or array.shape[2] < columns:
        got = str(array.shape) if array is not None and len(outputs) == 1 else f"({shapes})"
        raise DecodeError(f"expected one output ({count}, {expected}), got {got}: the model needs another decoder")
    return array
