"""YOLOX as its ``tools/export_onnx.py`` writes it: what the grid cells say, not yet boxes.

One array (B, R, 5 + C), R the cells of strides 8, 16, 32 (and 64): ``dx, dy`` from the cell's corner in cells,
``log w, log h`` in cells, objectness and class scores already squashed (yolox/models/yolo_head.py, ``decode_outputs``).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Floats, NetInput, Outputs, cells, found, likely, single, strides_of

__all__ = ["decode_yolox"]


def decode_yolox(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """One raw array (B, R, 5 + C) → boxes of each image in network pixels; a score is objectness times class score.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    raw = single(outputs, fed.count, "cells, 5 + classes", 6)
    strides = strides_of(raw.shape[1], fed.wh)
    if strides is None:
        w, h = fed.wh
        raise DecodeError(
            f"expected one output ({fed.count}, cells of a {w}x{h} input, 5 + classes), got {raw.shape}: "
            "the model needs another decoder"
        )
    corners, sizes = cells(fed.wh, strides)  # (R, 2), (R, 1)
    return [_one_image(rows, corners, sizes, options) for rows in raw]


def _one_image(rows: Floats, corners: Floats, sizes: Floats, options: DecodeOptions) -> Detections:
    near = likely(rows[:, 4], options)  # (N,)
    scores = rows[near, 5:] * rows[near, 4:5]  # (N, C)
    kept = likely(scores, options)
    index = near[kept]
    centre = (rows[index, :2] + corners[index]) * sizes[index]
    with np.errstate(over="ignore"):  # infinity is told as what it is
        extent = np.exp(rows[index, 2:4]) * sizes[index]
    return found(cxcywh_to_xyxy(np.concatenate([centre, extent], axis=1)), scores[kept], options)
