"""Darknet's [yolo] heads as OpenCV gives them: YOLOv3, v4, v7, YOLO-Fastest, any number of scales.

Each head is rows of ``cx, cy, w, h, objectness, class scores…``: box normalized to the input's width and height, class
scores already multiplied by the objectness (OpenCV, modules/dnn/src/layers/region_layer.cpp).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import DecodeOptions, Family, Floats, NetInput, Outputs, check_finite, pick_classes

__all__ = ["YOLO", "decode_rows", "decode_yolo"]


def decode_yolo(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Rows (R, 5 + C), or (B, R, 5 + C) for a batch, one array a head → boxes of each image, all heads together.

    Raises:
        DecodeError: another shape, or NaN.
    """
    heads = [_batched(name, rows, net_input.count) for name, rows in outputs.items()]  # each (B, R, 5 + C)
    return [
        Detections.concat(decode_rows(head[image], net_input.wh, options) for head in heads)
        for image in range(net_input.count)
    ]


def _batched(name: str, rows: Floats, count: int) -> Floats:
    """(R, 5 + C) or (B, R, 5 + C) → (B, R, 5 + C)."""
    batched = rows[None] if rows.ndim == 2 else rows
    if batched.ndim != 3 or batched.shape[0] != count or batched.shape[2] < 6:
        raise DecodeError(
            f"output {name!r}: expected ({count}, rows, 5 + classes) as Darknet's [yolo] gives it, got {rows.shape}: "
            "the model is of another family"
        )
    return batched


def decode_rows(rows: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    """Rows (R, 5 + C) of one head and image → detections in network pixels."""
    objectness = rows[:, 4]  # (R,)
    check_finite(objectness, "scores")
    # No class score is above its objectness, so most rows can go before their classes are read.
    candidates = rows[objectness >= np.float32(options.thresholds.floor)]  # (N, 5 + C)
    check_finite(candidates, "boxes")
    scores = candidates[:, 5:]  # (N, C)
    index, classes = pick_classes(scores, options)  # (M,), (M,)
    size = np.array([*wh, *wh], np.float32)
    return Detections(cxcywh_to_xyxy(candidates[index, :4] * size), classes, scores[index, classes])


YOLO = Family(
    name="yolo", decode=decode_yolo, formats=("darknet",), head="[yolo]", preprocessing=InputSpec(scale=1 / 255)
)
