"""DETR and its kin: a fixed number of guesses ("queries"), each a box and class logits, with nothing to suppress.

Two arrays: logits (B, Q, K) and boxes (B, Q, 4) as ``cx, cy, w, h`` in shares of the input. DETR takes a softmax whose
last class means "no object" (Carion et al., models/detr.py, ``PostProcess``); Deformable DETR, DINO and RT-DETR take a
sigmoid. Ultralytics exports RT-DETR as one array (B, Q, 4 + C) whose scores are squashed already.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import (
    DecodeOptions,
    Floats,
    NetInput,
    Outputs,
    check_finite,
    found,
    likely,
    sigmoid,
    single,
    softmax,
)

__all__ = ["decode_detr", "decode_rt_detr"]


def decode_detr(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """Logits (B, Q, C + 1), the last "no object", and boxes (B, Q, 4) → boxes of each image in network pixels.

    Raises:
        DecodeError: other shapes, or NaN.
    """
    logits, boxes = _logits_and_boxes(outputs, fed.count)
    return [_one_image(softmax(k)[:, :-1], b, fed.wh, options) for k, b in zip(logits, boxes, strict=True)]


def decode_rt_detr(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """Logits (B, Q, C) and boxes (B, Q, 4), or both in one (B, Q, 4 + C) → boxes of each image in network pixels.

    Raises:
        DecodeError: other shapes, NaN, or (in one array) scores outside 0 to 1.
    """
    if len(outputs) == 1:
        both = single(outputs, fed.count, "queries, 4 + classes", 5)
        return [_one_image(rows[:, 4:], rows[:, :4], fed.wh, options) for rows in both]
    logits, boxes = _logits_and_boxes(outputs, fed.count)
    return [_one_image(sigmoid(k), b, fed.wh, options) for k, b in zip(logits, boxes, strict=True)]


def _logits_and_boxes(outputs: Outputs, count: int) -> tuple[Floats, Floats]:
    """Logits (B, Q, K) and boxes (B, Q, 4); with K = 4 the boxes are the last."""
    arrays = list(outputs.values())
    if len(arrays) == 2 and arrays[0].ndim == 3 and arrays[0].shape[-1] == 4 != arrays[1].shape[-1]:
        arrays.reverse()
    if (
        len(arrays) != 2
        or any(a.ndim != 3 or a.shape[0] != count for a in arrays)
        or arrays[1].shape[1:] != (arrays[0].shape[1], 4)
        or arrays[0].shape[2] < 2
    ):
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        raise DecodeError(
            f"expected logits ({count}, queries, classes) and boxes ({count}, queries, 4), got ({got}): "
            "the model needs another decoder"
        )
    for array, what in zip(arrays, ("scores", "boxes"), strict=True):
        check_finite(array, what)
    return arrays[0], arrays[1]


def _one_image(scores: Floats, boxes: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    kept = likely(scores, options)
    size = np.array([*wh, *wh], np.float32)
    return found(cxcywh_to_xyxy(boxes[kept] * size), scores[kept], options)
