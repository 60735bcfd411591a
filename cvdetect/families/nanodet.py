"""NanoDet and NanoDet-Plus: distances to a box's four sides as distributions (Li et al., Generalized Focal Loss).

Each cell has C class scores after sigmoid, and 4 · 8 raw values: for left, top, right, bottom the logits of a distance
of 0 to 7 strides, whose mean is taken. Either two arrays a stride, (B, cells, C) and (B, cells, 32) (NanoDet 0.1 to
0.3), or one array (B, R, C + 32) for all. NanoDet (strides 8, 16, 32) measures from the cell's middle
(nanodet/model/head/gfl_head.py), NanoDet-Plus (8, 16, 32, 64) from its corner (nanodet_plus_head.py).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import clip
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import (
    GRID,
    STRIDES,
    DecodeOptions,
    Family,
    Floats,
    HeadLayout,
    NetInput,
    Outputs,
    OutputSignature,
    candidate_rows,
    cells,
    check_finite,
    head_layout,
    softmax,
    strides_of,
    to_detections,
)

__all__ = ["NANODET"]

_DISTANCES = 8  # reg_max + 1; reg_max is 7 in every published configuration
_BOX_VALUES = 4 * _DISTANCES  # of each cell


def decode_nanodet(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Arrays as above → boxes of each image in network pixels, cut to the network's input as the authors do.

    Raises:
        DecodeError: other shapes, NaN, or scores outside 0 to 1.
    """
    scores, boxes = _joined(outputs, net_input.count)  # (B, R, C), (B, R, 32)
    strides = strides_of(scores.shape[1], net_input.wh)
    if strides is None:
        raise _format_error(outputs, net_input.count)
    corners, sizes = cells(net_input.wh, strides)
    middles = (corners + (0.5 if strides == STRIDES[0] else 0.0)) * sizes  # (R, 2) in network pixels
    return [_one_image(s, b, middles, sizes, net_input.wh, options) for s, b in zip(scores, boxes, strict=True)]


def _joined(outputs: Outputs, count: int) -> tuple[Floats, Floats]:
    """All strides in one: class scores (B, R, C) and box values (B, R, 32)."""
    if any(a.ndim != 3 or a.shape[0] != count or not a.shape[2] for a in outputs.values()):
        raise _format_error(outputs, count)
    if len(outputs) == 1:
        (both,) = outputs.values()
        if both.shape[2] <= _BOX_VALUES:
            raise _format_error(outputs, count)
        return both[:, :, :-_BOX_VALUES], both[:, :, -_BOX_VALUES:]
    pairs: dict[int, list[Floats]] = {}
    for array in outputs.values():
        pairs.setdefault(array.shape[1], []).append(array)
    ordered = [_pair(pairs[rows]) for rows in sorted(pairs, reverse=True)]  # stride 8 has the most cells
    if not all(ordered) or len({pair[0].shape[2] for pair in ordered if pair}) != 1:
        raise _format_error(outputs, count)
    return np.concatenate([p[0] for p in ordered if p], 1), np.concatenate([p[1] for p in ordered if p], 1)


def _pair(arrays: list[Floats]) -> tuple[Floats, Floats] | None:
    """Scores and box values of one stride; with 32 classes, in which both look alike, scores come first."""
    if len(arrays) == 2 and arrays[1].shape[2] == _BOX_VALUES:
        return arrays[0], arrays[1]
    return (arrays[1], arrays[0]) if len(arrays) == 2 and arrays[0].shape[2] == _BOX_VALUES else None


def _one_image(
    scores: Floats, boxes: Floats, middles: Floats, sizes: Floats, wh: tuple[int, int], options: DecodeOptions
) -> Detections:
    kept = candidate_rows(scores, options)  # (N,)
    logits = boxes[kept].reshape(-1, 4, _DISTANCES)  # (N, 4, 8)
    check_finite(logits, "boxes")
    sides = softmax(logits) @ np.arange(_DISTANCES, dtype=np.float32) * sizes[kept]  # (N, 4) in pixels
    xyxy = np.concatenate([middles[kept] - sides[:, :2], middles[kept] + sides[:, 2:]], axis=1)
    return to_detections(clip(xyxy, *wh), scores[kept], options)


def _format_error(outputs: Outputs, count: int) -> DecodeError:
    got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
    return DecodeError(
        f"expected scores ({count}, cells, classes) and boxes ({count}, cells, {_BOX_VALUES}) for "
        f"strides 8, 16, 32, or both in one array, got ({got}): the model needs another decoder"
    )


def _layout(model: OutputSignature) -> HeadLayout | None:
    shapes = list(model.outputs.values())
    if model.only and model.raw is not False and strides_of(model.only[1], model.wh):
        return head_layout(model.only[2] - _BOX_VALUES, GRID)
    if len(shapes) % 2 or any(len(shape) != 3 for shape in shapes):
        return None
    boxes = [shape for shape in shapes if shape[2] == _BOX_VALUES]
    scores = [shape for shape in shapes if shape[2] != _BOX_VALUES] or boxes[::2]
    if len(scores) != len(shapes) // 2 or len({shape[2] for shape in scores}) != 1:
        return None
    return head_layout(scores[0][2], GRID) if strides_of(sum(shape[1] for shape in scores), model.wh) else None


NANODET = Family(
    name="nanodet",
    decode=decode_nanodet,
    formats=("onnx", "tflite"),
    signature=_layout,
    # nanodet/config: normalize, keep_ratio; warped onto black
    preprocessing=InputSpec(
        mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), swap_rb=False, resize="letterbox", pad_value=0
    ),
)
