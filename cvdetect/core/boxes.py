"""Box geometry, numpy alone. A box is in pixels, x right, y down; xyxy is two corners, cxcywh centre and size."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Boxes",
    "area",
    "clip",
    "coverage",
    "cxcywh_to_xyxy",
    "intersection",
    "iou",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]

Boxes = NDArray[np.float32]
F = TypeVar("F", np.float32, np.float64)  # results are of the boxes' own precision


def cxcywh_to_xyxy(boxes: NDArray[F]) -> NDArray[F]:
    """Centre x, centre y, width, height → x1, y1, x2, y2; both (..., 4) in the same unit."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)  # (..., 4)


def xyxy_to_cxcywh(boxes: NDArray[F]) -> NDArray[F]:
    """x1, y1, x2, y2 → centre x, centre y, width, height; both (..., 4) in the same unit."""
    low, high = boxes[..., :2], boxes[..., 2:4]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)  # (..., 4)


def xyxy_to_xywh(boxes: NDArray[F]) -> NDArray[F]:
    """x1, y1, x2, y2 → x1, y1, width, height; both (..., 4) in the same unit."""
    return np.concatenate([boxes[..., :2], boxes[..., 2:4] - boxes[..., :2]], axis=-1)  # (..., 4)


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """Boxes xyxy (N, 4) cut to 0..width and 0..height (pixel edges, so `width` itself is inside)."""
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    return np.clip(boxes, 0, limit)


def area(boxes: NDArray[F]) -> NDArray[F]:
    """Area of boxes xyxy (N, 4) → (N,), in square pixels."""
    return np.asarray(np.prod(boxes[:, 2:4] - boxes[:, :2], axis=-1))


def intersection(a: NDArray[F], b: NDArray[F]) -> NDArray[F]:
    """Area that every box of `a` (N, 4) shares with every box of `b` (M, 4), both xyxy → (N, M), in square pixels."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])  # (N, M, 2)
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=-1))


def iou(a: NDArray[F], b: NDArray[F]) -> NDArray[F]:
    """Intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4), both xyxy → (N, M).

    Two boxes without area have IoU 0.
    """
    both = intersection(a, b)
    return _divide(both, area(a)[:, None] + area(b)[None, :] - both)


def coverage(a: NDArray[F], b: NDArray[F]) -> NDArray[F]:
    """The share of the area of every box of `a` (N, 4) that lies in every box of `b` (M, 4), both xyxy → (N, M).

    A box without area is covered by 0.
    """
    both = intersection(a, b)
    return _divide(both, np.broadcast_to(area(a)[:, None], both.shape))


def _divide(part: NDArray[F], whole: NDArray[F]) -> NDArray[F]:
    """``part / whole``, 0 where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
