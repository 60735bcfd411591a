"""Mask R-CNN graphs of TensorFlow's Object Detection API, as OpenCV's text graphs end them.

Two outputs, in this order: DetectionOutput's rows (see `detection_output`), and for every row one mask a class, cropped
from the row's box after it was clipped to the input. He et al., "Mask R-CNN", ICCV 2017.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import clip
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Family, Floats, NetInput, Outputs, check_finite
from cvdetect.families.detection_output import boxes_of, detection_rows, over_threshold

__all__ = ["MASK_RCNN", "decode_mask_rcnn"]


def decode_mask_rcnn(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Rows (1, 1, N, 7) and masks (N, C, h, w) of the whole batch → boxes of each image, each with its class's mask.

    Boxes are in network pixels and clipped to the input, as the crops are that the masks were made of. C is the number
    of classes, or 1 where all share one mask.

    Raises:
        DecodeError: another shape, a class without a mask, or NaN.
    """
    if len(outputs) != 2:
        raise DecodeError(f"expected two outputs, rows and masks, got ({', '.join(outputs)})")
    (name, detections), (masks_name, masks) = outputs.items()
    rows = detection_rows(name, detections)  # (N, 7)
    if masks.ndim != 4 or len(masks) != len(rows) or 0 in masks.shape[1:]:
        raise DecodeError(f"output {masks_name!r}: expected ({len(rows)}, classes, height, width), got {masks.shape}")
    kept = over_threshold(rows, options)
    return [_detections(rows, masks, kept & (rows[:, 0] == image), net_input.wh) for image in range(net_input.count)]


def _detections(
    rows: Floats, masks: Floats, kept: np.ndarray[tuple[int], np.dtype[np.bool_]], wh: tuple[int, int]
) -> Detections:
    """The `kept` of the rows (N, 7), each with the mask of its own class."""
    chosen = rows[kept]  # (M, 7)
    classes = chosen[:, 1].astype(np.int64)
    if masks.shape[1] > 1 and classes.max(initial=0) >= masks.shape[1]:
        raise DecodeError(f"expected a mask for class {classes.max()}, got {masks.shape}")
    own = masks[np.flatnonzero(kept), classes if masks.shape[1] > 1 else 0]  # (M, h, w)
    check_finite(own, "masks")
    crops = tuple(np.clip(own, 0, 1))  # float32 rounding may exceed 0 to 1 by a hair
    return Detections(clip(boxes_of(chosen, wh), *wh), classes, chosen[:, 2], masks=crops)


MASK_RCNN = Family(
    name="mask_rcnn",
    decode=decode_mask_rcnn,
    formats=("tensorflow",),
    head="DetectionOutput with masks",
    suppressed=True,
    nms_in_graph=True,
    multi_label=False,
    two_stage=True,
)
