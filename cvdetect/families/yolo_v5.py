"""YOLOv5 and YOLOv7 heads as exported to ONNX, and all that have their layout.

One array (B, R, 5 + C): ``cx, cy, w, h`` in pixels (or shares) of the input, objectness, class scores, all squashed in
the graph (Ultralytics, yolov5/models/yolo.py, ``Detect.forward``; YOLOv7's ``export.py --grid``). R is 3 anchors times
the cells of strides 8, 16 and 32 (25,200 at 640x640). YOLOv6, and YOLOX exported with its decoding, have one anchor a
cell.
"""

from __future__ import annotations

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.families.base import DecodeOptions, Floats, NetInput, Outputs, box_unit, found, likely, single

__all__ = ["decode_yolo_v5"]


def decode_yolo_v5(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """One array (B, R, 5 + C) → boxes of each image in network pixels; a score is objectness times class score.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    return [_one_image(rows, fed.wh, options) for rows in single(outputs, fed.count, "rows, 5 + classes", 6)]


def _one_image(rows: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    # No class score is above its objectness, so most rows can go before their classes are read.
    near = rows[likely(rows[:, 4], options)]  # (N, 5 + C)
    scores = near[:, 5:] * near[:, 4:5]  # (N, C)
    kept = likely(scores, options)
    return found(cxcywh_to_xyxy(near[kept, :4] * box_unit(rows[:, :2], wh)), scores[kept], options)
