"""Models whose graph suppresses overlaps itself: rows of finished detections, boxes in pixels of the input.

(B, N, 6) ``x1, y1, x2, y2, score, class`` (Ultralytics with ``nms=True``, YOLOv10, YOLO26); (N, 7) ``image, x1, y1, x2,
y2, class, score`` (YOLOv7's ``export.py --end2end``); (B, N, 5) ``x1, y1, x2, y2, score`` beside (B, N) classes
(MMDetection's ``dets`` and ``labels``). Rows beyond the detections have score 0.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import DecodeOptions, Floats, NetInput, Outputs, check_finite, likely, ordered

__all__ = ["decode_end2end"]

_MOST_CLASSES = 100_000


def decode_end2end(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """Rows as above → detections of each image in network pixels, already suppressed.

    Raises:
        DecodeError: another shape, NaN, or scores outside 0 to 1.
    """
    return [_one_image(rows, options) for rows in _per_image(outputs, fed.count)]


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
    near = rows[likely(rows[:, 4], options)]
    classes = near[:, 5].astype(np.int64)
    if len(classes) and not (classes.min() >= 0 and classes.max() < _MOST_CLASSES):
        raise DecodeError(f"a detection has class {classes.max()}: the model needs another decoder (--decoder)")
    limits = options.thresholds.table(int(classes.max(initial=0)) + 1)
    kept = (near[:, 4] >= limits[classes]) & (near[:, 4] > 0)
    return Detections(ordered(near[kept, :4]), classes[kept], np.minimum(near[kept, 4], np.float32(1)))
