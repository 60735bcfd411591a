"""Box geometry, numpy alone. A box is float32, pixels, x right, y down; xyxy is two corners, cxcywh centre and size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "clip", "cxcywh_to_xyxy", "iou", "xyxy_to_cxcywh", "xyxy_to_xywh"]

Boxes = NDArray[np.float32]


def cxcywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Centre x, centre y, width, height → x1, y1, x2, y2; both (..., 4) in the same unit."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)  # (..., 4)


def xyxy_to_cxcywh(boxes: Boxes) -> Boxes:
    """x1, y1, x2, y2 → centre x, centre y, width, height; both (..., 4) in the same unit."""
    low, high = boxes[..., :2], boxes[..., 2:4]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)  # (..., 4)


def xyxy_to_xywh(boxes: Boxes) -> Boxes:
    """x1, y1, x2, y2 → x1, y1, width, height; both (..., 4) in the same unit."""
    return np.concatenate([boxes[..., :2], boxes[..., 2:4] - boxes[..., :2]], axis=-1)  # (..., 4)


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """Boxes xyxy (N, 4) cut to 0..width and 0..height (pixel edges, so `width` itself is inside)."""
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    return np.clip(boxes, 0, limit)


def iou(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4), both xyxy → (N, M).

    Two boxes without area have IoU 0.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])  # (N, M, 2)
    both = np.prod(np.clip(high - low, 0, None), axis=-1)  # (N, M)
    either = _area(a)[:, None] + _area(b)[None, :] - both  # (N, M)
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _area(boxes: Boxes) -> NDArray[np.float32]:
    """Area of boxes xyxy (N, 4) → (N,)."""
    return np.asarray(np.prod(boxes[:, 2:4] - boxes[:, :2], axis=-1))
