"""The anchor-free heads of Ultralytics' YOLOv8 to YOLO12 (and YOLOv5u, v9, v10 without its one-to-one head).

One array (B, 4 + C, R), a column a cell: ``cx, cy, w, h`` in pixels of the input (or normalized), class scores, no
objectness (ultralytics/nn/modules/head.py, ``Detect``). R is the number of cells of strides 8, 16, 32 (8,400 at
640x640).
"""

from __future__ import annotations

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
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
from cvdetect.families.yolo_v5 import ULTRALYTICS_PREPROCESSING

__all__ = ["YOLO_V8"]


def decode_yolo_v8(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """One array (B, 4 + C, R) → boxes of each image in network pixels.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    raw = only_output(outputs, net_input.count, "4 + classes, cells", 1)
    if raw.shape[1] < 5 or strides_of(raw.shape[2], net_input.wh) is None:
        w, h = net_input.wh
        raise DecodeError(
            f"expected one output ({net_input.count}, 4 + classes, cells of a {w}x{h} input), got {raw.shape}: "
            "the model needs another decoder"
        )
    return [_one_image(columns, net_input.wh, options) for columns in raw]


def _one_image(columns: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    candidates = columns[:, candidate_rows(columns[4:].T, options)].T  # (N, 4 + C)
    return to_detections(cxcywh_to_xyxy(candidates[:, :4] * box_unit(columns[:2], wh)), candidates[:, 4:], options)


def _layout(model: OutputSignature) -> HeadLayout | None:
    fits = model.only and strides_of(model.only[2], model.wh)
    return head_layout(model.only[1] - 4, GRID) if fits else None


YOLO_V8 = Family(
    name="yolo_v8",
    decode=decode_yolo_v8,
    formats=("onnx", "tflite"),
    signature=_layout,
    preprocessing=ULTRALYTICS_PREPROCESSING,
)
