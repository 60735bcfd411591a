"""SSD as TensorFlow Lite has it before TFLite_Detection_PostProcess, which `formats.tflite` cuts off.

Box codes ``y, x, h, w`` relative to N anchors, an array a feature map, (B, 4 · anchors of a cell, H, W) or (B, n, 4);
then scores (B, N, C + 1) after sigmoid, the background first, or (B, N, C) without one. The arithmetic is that of
tensorflow/lite/kernels/detection_postprocess.cc.
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.source import Priors
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import (
    DecodeOptions,
    Family,
    Floats,
    NetInput,
    Outputs,
    candidate_rows,
    to_detections,
)

__all__ = ["TFLITE_SSD"]


def decode_tflite_ssd(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Box codes and scores, with ``options.priors`` → boxes of each image in network pixels. Class 0 is no background.

    Raises:
        DecodeError: other shapes, NaN, or scores outside 0 to 1.
    """
    codes, scores = _codes_and_scores(outputs, net_input.count, options.priors)
    priors = options.priors
    assert priors is not None  # else the shapes are wrong
    first = scores.shape[2] - priors.classes
    return [_one_image(c, s[:, first:], priors, net_input.wh, options) for c, s in zip(codes, scores, strict=True)]


def _codes_and_scores(outputs: Outputs, count: int, priors: Priors | None) -> tuple[Floats, Floats]:
    *maps, scores = list(outputs.values()) or [np.zeros(0, np.float32)]
    anchors, classes = (len(priors.boxes), priors.classes) if priors else (0, 0)
    codes = [_rows(each) for each in maps if each.ndim in (3, 4) and each.size]
    fits = all(rows.shape[0] == count for rows in codes) and sum(rows.shape[1] for rows in codes) == anchors
    if not codes or not fits or scores.shape not in _with_classes(count, anchors, classes):
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        raise DecodeError(
            f"expected box codes ({count}, {anchors}, 4) and scores ({count}, {anchors}, {classes + 1}), got ({got}): "
            "the model needs another decoder"
        )
    return np.concatenate(codes, axis=1), scores


def _rows(codes: Floats) -> Floats:
    """Codes of one feature map → (B, n, 4), cell by cell as the anchors are listed."""
    if codes.ndim == 4:
        codes = codes.transpose(0, 2, 3, 1)
    return codes.reshape(len(codes), -1, 4) if codes[0].size % 4 == 0 else codes[:, :0].reshape(len(codes), 0, 4)


def _with_classes(count: int, anchors: int, classes: int) -> tuple[tuple[int, int, int], ...]:
    return (count, anchors, classes), (count, anchors, classes + 1)


def _one_image(
    codes: Floats, scores: Floats, priors: Priors, wh: tuple[int, int], options: DecodeOptions
) -> Detections:
    kept = candidate_rows(scores, options)
    anchors, deltas = priors.boxes[kept], codes[kept] / np.array(priors.scales, np.float32)
    centre = anchors[:, :2] + deltas[:, :2] * anchors[:, 2:]
    with np.errstate(over="ignore"):  # an infinite box is reported as such
        half = np.exp(deltas[:, 2:]) * anchors[:, 2:] / 2
    xyxy = np.concatenate([(centre - half)[:, ::-1], (centre + half)[:, ::-1]], axis=1)
    return to_detections(xyxy * np.array([*wh, *wh], np.float32), scores[kept], options)


TFLITE_SSD = Family(
    name="tflite_ssd",
    decode=decode_tflite_ssd,
    formats=("tflite",),
    head="TFLite_Detection_PostProcess",
    preprocessing=InputSpec(scale=1 / 127.5, mean=(127.5, 127.5, 127.5), resize="stretch"),
)
