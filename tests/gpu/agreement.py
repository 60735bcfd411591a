"""How far two lists of detections of one picture agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvdetect.core.boxes import iou
from cvdetect.core.detections import Detections


@dataclass(frozen=True)
class Tolerance:
    """Detections agree whose boxes overlap by `iou` at least and whose scores differ by `score` at most."""

    iou: float
    score: float


FP32 = Tolerance(iou=0.99, score=0.005)
FP16 = Tolerance(iou=0.97, score=0.04)  # what OpenCV's own tests allow YOLOv3 on CUDA_FP16


def share_found(expected: Detections, found: Detections, conf: float, tolerance: Tolerance) -> float:
    """The share of the expected detections of at least `conf` that have a partner of their class; 1.0 where none are.

    `found` needs to reach down to `conf` less the tolerance, so that no partner is lost at the threshold.
    """
    wanted = expected[expected.score >= conf]
    if not len(wanted):
        return 1.0
    close = iou(wanted.xyxy, found.xyxy) >= tolerance.iou
    close &= np.abs(wanted.score[:, None] - found.score[None]) <= tolerance.score
    close &= wanted.class_id[:, None] == found.class_id[None]
    return float(close.any(axis=1).mean())
