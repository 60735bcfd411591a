"""NanoDet and NanoDet-Plus: distances to a box's four sides as distributions (Li et al., Generalized Focal Loss).

For each cell C class scores, squashed, and 4 · 8 raw values: for left, top, right, bottom the logits of a distance of
0 to 7 strides, whose mean is taken. Either two arrays a stride, (B, cells, C) and (B, cells, 32) (NanoDet 0.1 to 0.3),
or one array (B, R, C + 32) for all. NanoDet (strides 8, 16, 32) measures from the cell's middle
(nanodet/model/head/gfl_head.py), NanoDet-Plus (8, 16, 32, 64) from its corner (nanodet_plus_head.py).
"""

from __future__ import annotations

import numpy as np

from cvdetect.core.boxes import clip
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import (
    STRIDES,
    DecodeOptions,
    Floats,
    NetInput,
    Outputs,
    cells,
    check_finite,
    found,
    likely,
    softmax,
    strides_of,
)

__all__ = ["BOX_VALUES", "decode_nanodet"]

_DISTANCES = 8  # reg_max + 1; reg_max is 7 in every published configuration
BOX_VALUES = 4 * _DISTANCES
"""How many values a cell has for its box."""


def decode_nanodet(outputs: Outputs, fed: NetInput, options: DecodeOptions) -> list[Detections]:
    """Arrays as above → boxes of each image in network pixels, cut to the network's input as the authors do.

    Raises:
        DecodeError: other shapes, NaN, or scores outside 0 to 1.
    """
    scores, boxes = _joined(outputs, fed.count)  # (B, R, C), (B, R, 32)
    strides = strides_of(scores.shape[1], fed.wh)
    if strides is None:
        raise _wrong(outputs, fed)
    corners, sizes = cells(fed.wh, strides)
    middles = (corners + (0.5 if strides == STRIDES[0] else 0.0)) * sizes  # (R, 2) in network pixels
    return [_one_image(s, b, middles, sizes, fed.wh, options) for s, b in zip(scores, boxes, strict=True)]


def _joined(outputs: Outputs, count: int) -> tuple[Floats, Floats]:
    """All strides in one: class scores (B, R, C) and box values (B, R, 32)."""
    fed = NetInput(count, (0, 0))
    if any(a.ndim != 3 or a.shape[0] != count or not a.shape[2] for a in outputs.values()):
        raise _wrong(outputs, fed)
    if len(outputs) == 1:
        (both,) = outputs.values()
        if both.shape[2] <= BOX_VALUES:
            raise _wrong(outputs, fed)
        return both[:, :, :-BOX_VALUES], both[:, :, -BOX_VALUES:]
    pairs: dict[int, list[Floats]] = {}
    for array in outputs.values():
        pairs.setdefault(array.shape[1], []).append(array)
    ordered = [_pair(pairs[rows]) for rows in sorted(pairs, reverse=True)]  # stride 8 has the most cells
    if not all(ordered) or len({pair[0].shape[2] for pair in ordered if pair}) != 1:
        raise _wrong(outputs, fed)
    return np.concatenate([p[0] for p in ordered if p], 1), np.concatenate([p[1] for p in ordered if p], 1)


def _pair(arrays: list[Floats]) -> tuple[Floats, Floats] | None:
    """Scores and box values of one stride; with 32 classes, in which both look alike, scores come first."""
    if len(arrays) == 2 and arrays[1].shape[2] == BOX_VALUES:
        return arrays[0], arrays[1]
    return (arrays[1], arrays[0]) if len(arrays) == 2 and arrays[0].shape[2] == BOX_VALUES else None


def _one_image(
    scores: Floats, boxes: Floats, middles: Floats, sizes: Floats, wh: tuple[int, int], options: DecodeOptions
) -> Detections:
    near = likely(scores, options)  # (N,)
    logits = boxes[near].reshape(-1, 4, _DISTANCES)  # (N, 4, 8)
    check_finite(logits, "boxes")
    sides = softmax(logits) @ np.arange(_DISTANCES, dtype=np.float32) * sizes[near]  # (N, 4) in pixels
    xyxy = np.concatenate([middles[near] - sides[:, :2], middles[near] + sides[:, 2:]], axis=1)
    return found(clip(xyxy, *wh), scores[near], options)


def _wrong(outputs: Outputs, fed: NetInput) -> DecodeError:
    got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
    return DecodeError(
        f"expected scores ({fed.count}, cells, classes) and boxes ({fed.count}, cells, {BOX_VALUES}) for strides 8, "
        f"16, 32, or both in one array, got ({got}): the model needs another decoder"
    )
