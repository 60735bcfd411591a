"""Models whose graph runs non-maximum suppression itself: rows of finished detections, boxes in pixels of the input.

(B, N, 6) ``x1, y1, x2, y2, score, class`` (Ultralytics with ``nms=True``, YOLOv10, YOLO26); (N, 7) ``image, x1, y1, x2,
y2, class, score`` (YOLOv7's ``export.py --end2end``); (B, N, 5) ``x1, y1, x2, y2, score`` beside (B, N) classes
(MMDetection's ``dets`` and ``labels``). Rows beyond the detections have score 0.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import (
    DecodeOptions,
    Family,
    Floats,
    HeadLayout,
    NetInput,
    Outputs,
    OutputSignature,
    candidate_rows,
    check_finite,
    sort_corners,
    strides_of,
)
from cvdetect.families.yolo_v5 import ULTRALYTICS_PREPROCESSING

__all__ = ["END2END"]

_MOST_CLASSES = 100_000


def decode_end2end(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Rows as above → detections of each image in network pixels, after non-maximum suppression.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    return [_one_image(rows, options) for rows in _per_image(outputs, net_input.count)]


def _per_image(outputs: Outputs, count: int) -> list[Floats]:
    """Rows (N, 6) ``x1, y1, x2, y2, score, class`` of each image."""
    arrays = list(outputs.values())
    for array in arrays:
        check_finite(array, "detections")
    first = arrays[0] if arrays else np.zeros(0, np.float32)
    if len(arrays) == 1 and first.ndim == 3 and first.shape[0] == count and first.shape[2] == 6:
        return list(first)
    if len(arrays) == 1 and first.ndim == 2 and first.shape[1] == 6 and count == 1:
        return [first]
    if len(arrays) == 1 and first.ndim == 2 and first.shape[1] == 7:
        return [first[first[:, 0] == image][:, [1, 2, 3, 4, 6, 5]] for image in range(count)]
    if len(arrays) == 2:
        dets, labels = sorted(arrays, key=lambda a: -a.ndim)
        if dets.ndim == 3 and dets.shape[0] == count and dets.shape[2] == 5 and labels.shape == dets.shape[:2]:
            return list(np.concatenate([dets, labels[..., None].astype(np.float32)], axis=2))
    got = ", ".join(str(a.shape) for a in arrays)
    raise DecodeError(
        f"expected rows ({count}, N, 6), (N, 7), or ({count}, N, 5) and ({count}, N), got {got}: "
        "the model needs another decoder"
    )


def _one_image(rows: Floats, options: DecodeOptions) -> Detections:
    candidates = rows[candidate_rows(rows[:, 4], options)]
    classes = candidates[:, 5].astype(np.int64)
    if len(classes) and not (classes.min() >= 0 and classes.max() < _MOST_CLASSES):
        raise DecodeError(f"a detection has class {classes.max()}: the model needs another decoder ({arg('decoder')})")
    limits = options.thresholds.table(int(classes.max(initial=0)) + 1)
    kept = (candidates[:, 4] >= limits[classes]) & (candidates[:, 4] > 0)
    return Detections(sort_corners(candidates[kept, :4]), classes[kept], np.minimum(candidates[kept, 4], np.float32(1)))


def _layout(model: OutputSignature) -> HeadLayout | None:
    shapes = list(model.outputs.values())
    if len(shapes) == 2 and any(len(s) == 3 and s[2] == 5 and s[:2] in shapes for s in shapes):
        return HeadLayout(None, 2)
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    on_grid = len(shape) == 3 and (strides_of(shape[1], model.wh) or strides_of(shape[1], model.wh, 3))
    fits = (len(shape) == 3 and shape[2] == 6 and not on_grid) or (len(shape) == 2 and shape[1] in (6, 7))
    return HeadLayout(None, 2) if fits else None


END2END = Family(
    name="end2end",
    decode=decode_end2end,
    formats=("onnx", "tflite"),
    signature=_layout,
    preprocessing=ULTRALYTICS_PREPROCESSING,
    suppressed=True,
    multi_label=False,
)
