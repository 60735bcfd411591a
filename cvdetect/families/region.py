"""Darknet's [region] head (YOLOv2), decoded from the raw convolution before it.

OpenCV's own region layer runs non-maximum suppression at an IoU of 0.4 that no cfg can change, so a user's threshold
could not act. The formulas are those of Darknet's region_layer.c (Redmon & Farhadi, YOLO9000, section 2).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import DecodeOptions, Family, Floats, NetInput, Outputs, check_finite, sigmoid, softmax
from cvdetect.families.yolo import decode_rows

__all__ = ["REGION"]


def decode_region(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """One raw array (B, H, W, A · (5 + C)) → boxes of each image; A anchors are ``options.anchors``.

    Raises:
        DecodeError: another shape, or NaN.
    """
    name, raw = _only_head(outputs)
    anchors = len(options.anchors)
    if (
        raw.ndim != 4
        or raw.shape[0] != net_input.count
        or not anchors
        or raw.shape[3] % anchors
        or raw.shape[3] < 6 * anchors
    ):
        raise DecodeError(
            f"output {name!r}: expected ({net_input.count}, rows, columns, {anchors} * (5 + classes)), got {raw.shape}"
        )
    return [_one_image(grid, net_input, options) for grid in raw]


def _only_head(outputs: Outputs) -> tuple[str, Floats]:
    if len(outputs) != 1:
        raise DecodeError(f"expected one [region] output, got {sorted(outputs)}")
    return next(iter(outputs.items()))


def _one_image(grid: Floats, net_input: NetInput, options: DecodeOptions) -> Detections:
    """Raw values (H, W, A · (5 + C)) of one image → detections in network pixels."""
    h, w = grid.shape[:2]
    cells = grid.reshape(h, w, len(options.anchors), -1)  # (H, W, A, 5 + C)
    check_finite(cells[..., 4], "scores")
    objectness = sigmoid(cells[..., 4])  # (H, W, A)
    y, x, a = np.nonzero(objectness >= np.float32(options.thresholds.floor))  # (N,) each
    candidates = cells[y, x, a]  # (N, 5 + C)
    check_finite(candidates, "boxes")
    rows = np.empty_like(candidates)  # (N, 5 + C), as a [yolo] head would have them
    rows[:, 0] = (x + sigmoid(candidates[:, 0])) / w
    rows[:, 1] = (y + sigmoid(candidates[:, 1])) / h
    rows[:, 2:4] = np.exp(candidates[:, 2:4]) * np.array(options.anchors, np.float32)[a] / np.array([w, h], np.float32)
    rows[:, 4] = objectness[y, x, a]
    rows[:, 5:] = softmax(candidates[:, 5:]) * rows[:, 4:5]
    return decode_rows(rows, net_input.wh, options)


REGION = Family(
    name="region",
    decode=decode_region,
    formats=("darknet",),
    head="[region]",
    preprocessing=InputSpec(scale=1 / 255),
)
