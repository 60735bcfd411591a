"""YOLOX as its ``tools/export_onnx.py`` writes it: values of the grid cells, not yet boxes.

One array (B, R, 5 + C), R the cells of strides 8, 16, 32 (and 64): ``dx, dy`` from the cell's corner in cells,
``log w, log h`` in cells, objectness and class scores after sigmoid (yolox/models/yolo_head.py, ``decode_outputs``).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
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
    candidate_rows,
    cells,
    head_layout,
    only_output,
    strides_of,
    to_detections,
)

__all__ = ["YOLOX"]


def decode_yolox(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """One raw array (B, R, 5 + C) → boxes of each image in network pixels; a score is objectness times class score.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    raw = only_output(outputs, net_input.count, "cells, 5 + classes", 6)
    strides = strides_of(raw.shape[1], net_input.wh)
    if strides is None:
        w, h = net_input.wh
        raise DecodeError(
            f"expected one output ({net_input.count}, cells of a {w}x{h} input, 5 + classes), got {raw.shape}: "
            "the model needs another decoder"
        )
    corners, sizes = cells(net_input.wh, strides)  # (R, 2), (R, 1)
    return [_one_image(rows, corners, sizes, options) for rows in raw]


def _one_image(rows: Floats, corners: Floats, sizes: Floats, options: DecodeOptions) -> Detections:
    candidates = candidate_rows(rows[:, 4], options)  # (N,)
    scores = rows[candidates, 5:] * rows[candidates, 4:5]  # (N, C)
    kept = candidate_rows(scores, options)
    index = candidates[kept]
    centre = (rows[index, :2] + corners[index]) * sizes[index]
    with np.errstate(over="ignore"):  # an infinite box is reported as such
        extent = np.exp(rows[index, 2:4]) * sizes[index]
    return to_detections(cxcywh_to_xyxy(np.concatenate([centre, extent], axis=1)), scores[kept], options)


def _layout(model: OutputSignature) -> HeadLayout | None:
    fits = model.only and model.raw is not False and strides_of(model.only[1], model.wh)
    return head_layout(model.only[2] - 5, GRID) if fits else None


YOLOX = Family(
    name="yolox",
    decode=decode_yolox,
    formats=("onnx", "tflite"),
    signature=_layout,
    # yolox/data/data_augment.py, preproc: BGR as it is, grey to the right and below
    preprocessing=InputSpec(swap_rb=False, resize="letterbox", pad_value=114, pad_align="top_left"),
)
