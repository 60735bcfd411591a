"""The anchor-free heads of Ultralytics' YOLOv8 to YOLO12 (and YOLOv5u, v9, v10 without its one-to-one head).

One array (B, 4 + C, R), a column a cell: ``cx, cy, w, h`` in pixels (or shares) of the input, class scores, no
objectness (ultralytics/nn/modules/head.py, ``Detect``). R is the number of cells of strides 8, 16, 32 (8,400 at
640x640).
"""

from __future__ import annotations

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Floats, NetInput, Outputs, box_unit, found, likely, single, strides_of

__all__ = ["decode_yolo_v8"]


def decode_yolo_v8(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """One array (B, 4 + C, R) → boxes of each image in network pixels.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    raw = single(outputs, fed.count, "4 + classes, cells", 1)
    if raw.shape[1] < 5 or strides_of(raw.shape[2], fed.wh) is None:
        w, h = fed.wh
        raise DecodeError(
            f"expected one output ({fed.count}, 4 + classes, cells of a {w}x{h} input), got {raw.shape}: "
            "the model needs another decoder"
        )
    return [_one_image(columns, fed.wh, options) for columns in raw]


def _one_image(columns: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    near = columns[:, likely(columns[4:].T, options)].T  # (N, 4 + C)
    return found(cxcywh_to_xyxy(near[:, :4] * box_unit(columns[:2], wh)), near[:, 4:], options)
