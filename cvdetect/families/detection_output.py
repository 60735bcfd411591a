"""Graphs that end in OpenCV's DetectionOutput, which runs non-maximum suppression: SSD, Faster R-CNN, EfficientDet.

Rows of ``image, class id, score, x1, y1, x2, y2``, box normalized to the input, or in its pixels where the layer's
``normalized_bbox`` is false; rows beyond the detections are zero.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import Boxes
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Family, Floats, NetInput, Outputs, check_finite, sort_corners

__all__ = ["DETECTION_OUTPUT", "boxes_of", "detection_rows", "over_threshold"]


def decode_detection_output(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """One array (1, 1, N, 7) for the whole batch → boxes of each image, in network pixels.

    Raises:
        DecodeError: another shape, or NaN.
    """
    name, rows = next(iter(outputs.items()))
    flat = detection_rows(name, rows, alone=len(outputs) == 1)  # (N, 7)
    kept = flat[over_threshold(flat, options)]
    unit = (1, 1) if options.in_pixels else net_input.wh
    return [_detections(kept[kept[:, 0] == image], unit) for image in range(net_input.count)]


def detection_rows(name: str, rows: Floats, *, alone: bool = True) -> Floats:
    """DetectionOutput's array (1, 1, N, 7), checked → its rows (N, 7). `alone`: it is the only output, as it must be.

    Raises:
        DecodeError: another shape, or NaN.
    """
    if not alone or rows.ndim != 4 or rows.shape[:2] != (1, 1) or rows.shape[3] != 7:
        raise DecodeError(
            f"output {name!r}: expected (1, 1, detections, 7) as DetectionOutput gives it, got {rows.shape}: "
            "the model is of another family"
        )
    flat: Floats = rows[0, 0]
    check_finite(flat, "detections")
    return flat


def over_threshold(rows: Floats, options: DecodeOptions) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the rows (N, 7) are detections → (N,)."""
    classes = rows[:, 1].astype(np.int64)
    limits = options.thresholds.table(int(classes.max(initial=0)) + 1)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (rows[:, 2] >= limits[classes]) & (rows[:, 2] > 0)
    return found


def boxes_of(rows: Floats, unit: tuple[int, int]) -> Boxes:
    """Rows (M, 7), whose boxes count in `unit` (width, height) → boxes (M, 4) in network pixels, corners in order."""
    return sort_corners(rows[:, 3:7] * np.array([*unit, *unit], np.float32))


def _detections(rows: Floats, unit: tuple[int, int]) -> Detections:
    """Rows (M, 7) of one image → detections in network pixels."""
    return Detections(boxes_of(rows, unit), rows[:, 1].astype(np.int64), rows[:, 2])


DETECTION_OUTPUT = Family(
    name="detection_output",
    decode=decode_detection_output,
    formats=("tensorflow", "caffe"),
    head="DetectionOutput",
    suppressed=True,
    nms_in_graph=True,
    multi_label=False,
)
