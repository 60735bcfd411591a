"""Non-maximum suppression: of boxes that overlap too much, the best stays."""

from __future__ import annotations

import numpy as np

from cvdetect.boxes import Boxes, xyxy_to_xywh
from cvdetect.cv import cv2
from cvdetect.detections import Detections

__all__ = ["suppress"]


def suppress(found: Detections, iou: float, *, agnostic: bool = False, max_det: int = 300) -> Detections:
    """Drop every box that overlaps a better one of its class by more than `iou`.

    Args:
        found: any number of detections, in any order.
        iou: intersection over union, 0 to 1, above which two boxes are taken for one object.
        agnostic: compare across classes too.
        max_det: at most so many remain.

    Returns:
        What is left, best score first.
    """
    if not len(found):
        return found
    scores = np.maximum(found.score, np.finfo(np.float32).tiny)  # NMSBoxes drops a score equal to its threshold, 0
    classes = np.zeros_like(found.class_id) if agnostic else found.class_id
    kept = cv2.dnn.NMSBoxesBatched(_non_negative(found.xyxy), scores, classes.astype(np.int32), 0.0, iou)
    return found[np.asarray(kept, np.int64).reshape(-1)].best_first()[:max_det]


def _non_negative(xyxy: Boxes) -> Boxes:
    """Boxes as xywh (N, 4), moved so that none is negative.

    NMSBoxesBatched keeps classes apart by adding the largest coordinate times the class number, which holds only for
    boxes at or above zero.
    """
    return xyxy_to_xywh(xyxy - xyxy.min(initial=0.0))
