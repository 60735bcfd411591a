"""What the decoders of raw arrays share: squashing, thresholds, and the grids that rows belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Floats, Outputs, check_finite, pick_classes

__all__ = [
    "STRIDES",
    "box_unit",
    "cells",
    "found",
    "grid_rows",
    "likely",
    "ordered",
    "sigmoid",
    "single",
    "softmax",
    "strides_of",
]

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
