"""YOLOv5 and YOLOv7 heads as exported to ONNX, and all that have their layout.

One array (B, R, 5 + C): ``cx, cy, w, h`` in pixels of the input (or normalized), objectness, class scores, all after
sigmoid (Ultralytics, yolov5/models/yolo.py, ``Detect.forward``; YOLOv7's ``export.py --grid``). R is 3 anchors times
the cells of strides 8, 16 and 32 (25,200 at 640x640). YOLOv6, and YOLOX exported with its decoding, have one anchor a
cell.
"""

from __future__ import annotations

from dataclasses import replace

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import (
    GRID,
    DecodeOptions,
    Family,
    Floats,
    HeadLayout,
    NetInput,
    Outputs,
    OutputSignature,
    box_unit,
    candidate_rows,
    head_layout,
    only_output,
    strides_of,
    to_detections,
)

__all__ = ["ULTRALYTICS_PREPROCESSING", "YOLO_V5", "YOLO_V7"]


def decode_yolo_v5(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """One array (B, R, 5 + C) → boxes of each image in network pixels; a score is objectness times class score.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    return [
        _one_image(rows, net_input.wh, options)
        for rows in only_output(outputs, net_input.count, "rows, 5 + classes", 6)
    ]


def _one_image(rows: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    # No class score is above its objectness, so most rows can go before their classes are read.
    candidates = rows[candidate_rows(rows[:, 4], options)]  # (N, 5 + C)
    scores = candidates[:, 5:] * candidates[:, 4:5]  # (N, C)
    kept = candidate_rows(scores, options)
    return to_detections(cxcywh_to_xyxy(candidates[kept, :4] * box_unit(rows[:, :2], wh)), scores[kept], options)


def _layout(model: OutputSignature) -> HeadLayout | None:
    if not model.only:
        return None
    _, rows, columns = model.only
    decoded = strides_of(rows, model.wh) is not None and model.raw is not True
    return head_layout(columns - 5, GRID) if decoded or strides_of(rows, model.wh, anchors=3) else None


ULTRALYTICS_PREPROCESSING = InputSpec(scale=1 / 255, swap_rb=True, resize="letterbox", pad_value=114)
YOLO_V5 = Family(
    name="yolo_v5",
    decode=decode_yolo_v5,
    formats=("onnx", "tflite"),
    signature=_layout,
    preprocessing=ULTRALYTICS_PREPROCESSING,
)
YOLO_V7 = replace(YOLO_V5, name="yolo_v7", same_as="yolo_v5")
