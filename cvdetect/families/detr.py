"""DETR and its kin: a fixed number of guesses ("queries"), each a box and class logits; no suppression is needed.

Two arrays: logits (B, Q, K) and boxes (B, Q, 4) as normalized ``cx, cy, w, h``. DETR takes a softmax whose
last class means "no object" (Carion et al., models/detr.py, ``PostProcess``); Deformable DETR, DINO and RT-DETR take a
sigmoid. Ultralytics exports RT-DETR as one array (B, Q, 4 + C) whose scores are after sigmoid.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    DecodeOptions,
    Family,
    Floats,
    HeadLayout,
    NetInput,
    Outputs,
    OutputSignature,
    candidate_rows,
    check_finite,
    head_layout,
    only_output,
    sigmoid,
    softmax,
    strides_of,
    to_detections,
)

__all__ = ["DETR", "RT_DETR"]

_MOST_QUERIES = _MOST_CLASSES = 1000


def decode_detr(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Logits (B, Q, C + 1), the last "no object", and boxes (B, Q, 4) → boxes of each image in network pixels.

    Raises:
        DecodeError: other shapes, or NaN.
    """
    logits, boxes = _logits_and_boxes(outputs, net_input.count)
    return [_one_image(softmax(k)[:, :-1], b, net_input.wh, options) for k, b in zip(logits, boxes, strict=True)]


def decode_rt_detr(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Logits (B, Q, C) and boxes (B, Q, 4), or both in one (B, Q, 4 + C) → boxes of each image in network pixels.

    Raises:
        DecodeError: other shapes, NaN, or (in one array) scores outside 0 to 1.
    """
    if len(outputs) == 1:
        both = only_output(outputs, net_input.count, "queries, 4 + classes", 5)
        return [_one_image(rows[:, 4:], rows[:, :4], net_input.wh, options) for rows in both]
    logits, boxes = _logits_and_boxes(outputs, net_input.count)
    return [_one_image(sigmoid(k), b, net_input.wh, options) for k, b in zip(logits, boxes, strict=True)]


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
    kept = candidate_rows(scores, options)
    size = np.array([*wh, *wh], np.float32)
    return to_detections(cxcywh_to_xyxy(boxes[kept] * size), scores[kept], options)


# COCO's official ids 0 to 90 take 91 classes, of which 0 means nothing; DETR's "no object" is one more.


def _detr_layout(model: OutputSignature) -> HeadLayout | None:
    columns = _logit_columns(model)
    if columns is None:
        return None
    return head_layout(90, 1, 1) if columns == 92 else head_layout(columns - 1, 1)


def _rt_detr_layout(model: OutputSignature) -> HeadLayout | None:
    columns = _logit_columns(model)
    if columns is None and model.only:
        _, rows, width = model.only
        fits = rows <= _MOST_QUERIES and width <= _MOST_CLASSES and not strides_of(rows, model.wh)
        return head_layout(width - 4, 1) if fits else None
    if columns is None:
        return None
    return head_layout(90, 1, 1) if columns == 91 else head_layout(columns, 1)


def _logit_columns(model: OutputSignature) -> int | None:
    """How many columns the logits of a DETR have, or None."""
    shapes = list(model.outputs.values())
    if len(shapes) != 2 or any(len(shape) != 3 or shape[:2] != shapes[0][:2] for shape in shapes):
        return None
    columns = sorted((shape[2] for shape in shapes), key=lambda n: n == 4)  # the boxes' 4 last
    return columns[0] if columns[1] == 4 and shapes[0][1] <= _MOST_QUERIES else None


DETR = Family(
    name="detr",
    decode=decode_detr,
    formats=("onnx", "tflite"),
    signature=_detr_layout,
    preprocessing=InputSpec(scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="stretch"),
    suppressed=True,
)
RT_DETR = Family(
    name="rt_detr",
    decode=decode_rt_detr,
    formats=("onnx", "tflite"),
    signature=_rt_detr_layout,
    preprocessing=InputSpec(scale=1 / 255, resize="stretch"),
    suppressed=True,
)
