"""What every decoder takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError

__all__ = [
    "STRIDES",
    "DecodeOptions",
    "Decoder",
    "NetInput",
    "Outputs",
    "Priors",
    "Thresholds",
    "box_unit",
    "cells",
    "check_finite",
    "found",
    "grid_rows",
    "likely",
    "ordered",
    "pick_classes",
    "sigmoid",
    "single",
    "softmax",
    "strides_of",
]


Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]


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


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """Anchors that a model's file lists one by one.

    Attributes:
        boxes: (N, 4) y and x of the centre, height and width, in shares of the input.
        scales: what codes are divided by, in the same order.
        classes: how many classes there are, background not counted.
    """

    boxes: Floats
    scales: tuple[float, float, float, float]
    classes: int


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What a decoder must know that the arrays do not say.

    Attributes:
        thresholds: score thresholds by class.
        multi_label: every class over its threshold is a detection, not only the best of a box.
        anchors: (width, height) in grid cells, an anchor each; region heads only.
        priors: anchors of TensorFlow Lite's SSD.
        in_pixels: DetectionOutput's boxes come in pixels of the input, not in shares of it.
    """

    thresholds: Thresholds = Thresholds()
    multi_label: bool = False
    anchors: tuple[tuple[float, float], ...] = ()
    priors: Priors | None = None
    in_pixels: bool = False


# (outputs, what went in, options) -> one Detections an image, in network pixels, before suppression
Decoder = Callable[[Outputs, NetInput, DecodeOptions], list[Detections]]


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
            "network; check the file (cvdetect models verify) or try --precision fp32"
        )


# What the decoders of raw arrays share: squashing, thresholds, and the grids that rows belong to.

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""The grids that one-stage detectors have: pixels of the input that a cell covers, a scale each."""

_FARTHEST_SHARE = 2.0
_BEYOND_ONE = 1e-3  # how far half precision may take a probability over 1


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), any shape; exp only takes what cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e), np.float32)


def softmax(x: Floats) -> Floats:
    """Over the last axis; the largest is taken off first so that exp cannot overflow."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


def likely(scores: Floats, options: DecodeOptions) -> NDArray[np.int64]:
    """Which rows of (R,) or (R, C) can reach a threshold at all → row numbers (N,).

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
            f"scores run from {low:.3g} to {high:.3g}, expected 0 to 1: the model needs another decoder (--decoder)"
        )


def found(boxes: Floats, scores: Floats, options: DecodeOptions) -> Detections:
    """Boxes xyxy (N, 4) in network pixels, class scores (N, C) → detections; DecodeError where a box is no number."""
    check_finite(boxes, "boxes")
    rows, classes = pick_classes(scores, options)  # (M,), (M,)
    return Detections(ordered(boxes[rows]), classes, np.minimum(scores[rows, classes], np.float32(1)))


def ordered(boxes: Floats) -> Floats:
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

    Exporters to TensorFlow Lite give boxes in shares of the input. `centres` (R, 2) are those of all cells: in pixels
    some lie at the far end of the input, in shares none lies beyond 1 by much.
    """
    in_shares = centres.size and float(centres.max()) <= _FARTHEST_SHARE
    return np.array([*wh, *wh] if in_shares else [1, 1, 1, 1], np.float32)


def single(outputs: Outputs, count: int, expected: str, columns: int) -> Floats:
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
