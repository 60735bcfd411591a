"""Non-maximum suppression (NMS): of boxes that overlap too much, the best stays."""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import Boxes, xyxy_to_xywh
from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections

__all__ = ["nms"]


def nms(found: Detections, iou: float, *, class_agnostic: bool = False, max_det: int = 300) -> Detections:
    """Drop every box that overlaps a better one of its class by more than `iou`.

    Args:
        found: any number of detections, in any order.
        iou: intersection over union, 0 to 1, above which two boxes are taken for one object.
        class_agnostic: compare across classes too.
        max_det: how many remain at most.

    Returns:
        The remaining detections, best score first.
    """
    ranked = found.sort_by_score()
    # A box is never dropped for a worse one: once the best `considered` have given max_det, the rest cannot matter.
    # OpenCV's suppression takes quadratic time, and conf 0 with multi_label gives it every class of every cell.
    considered = 2 * max_det
    kept = _greedy(ranked[:considered], iou, class_agnostic)
    while len(kept) < max_det and considered < len(ranked):
        considered *= 2
        kept = _greedy(ranked[:considered], iou, class_agnostic)
    return kept[:max_det]


def _greedy(ranked: Detections, iou: float, class_agnostic: bool) -> Detections:
    """What remains of detections that are sorted by score; their order stays."""
    if not len(ranked):
        return ranked
    scores = np.maximum(ranked.score, np.finfo(np.float32).tiny)  # NMSBoxes drops a score equal to its threshold, 0
    classes = np.zeros_like(ranked.class_id) if class_agnostic else ranked.class_id
    kept = cv2.dnn.NMSBoxesBatched(_non_negative(ranked.xyxy), scores, classes.astype(np.int32), 0.0, iou)
    return ranked[np.sort(np.asarray(kept, np.int64).reshape(-1))]


def _non_negative(xyxy: Boxes) -> Boxes:
    """Boxes as xywh (N, 4), moved so that none is negative.

    NMSBoxesBatched keeps classes apart by adding the largest coordinate times the class number, which holds only for
    boxes at or above zero.
    """
    return xyxy_to_xywh(xyxy - xyxy.min(initial=0.0))
