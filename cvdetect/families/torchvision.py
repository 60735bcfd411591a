"""RetinaNet and FCOS heads as torchvision's modules give them, before its own post-processing.

RetinaNet: ``cls_logits`` (B, R, K) and ``bbox_regression`` (B, R, 4), R nine anchors times the cells of five scales;
FCOS: the same with one anchor a cell, and ``bbox_ctrness`` (B, R, 1). Class 0 is the background and never given out.
Anchors, strides and the coding of boxes are those of torchvision/models/detection/anchor_utils.py, _utils.py,
retinanet.py and fcos.py; heads of other projects (a pair of maps a scale, half-pixel anchors) are not read.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.boxes import clip, cxcywh_to_xyxy
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.core.spec import InputSpec
from cvdetect.families.base import (
    GRID,
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
    sigmoid,
    to_detections,
)

__all__ = ["FCOS", "RETINANET"]

_BASE = (32, 64, 128, 256, 512)  # side of the smallest anchor in pixels, a scale each
_SCALES = (1, 2 ** (1 / 3), 2 ** (2 / 3))
_RATIOS = (0.5, 1.0, 2.0)  # height / width
_MOST_LOG = float(np.log(1000 / 16))  # torchvision's guard on exp


def decode_retinanet(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Class logits (B, R, K) and box offsets (B, R, 4) → boxes of each image in network pixels, cut to the input.

    Raises:
        DecodeError: other shapes, or NaN.
    """
    logits, offsets = _heads(outputs, net_input, 9, ("classes", "4"))
    anchors = _anchors(net_input.wh)  # (R, 4) cxcywh
    return [_retinanet(*image, anchors, net_input.wh, options) for image in zip(logits, offsets, strict=True)]


def _retinanet(
    logits: Floats, offsets: Floats, anchors: Floats, wh: tuple[int, int], options: DecodeOptions
) -> Detections:
    scores = _foreground(sigmoid(logits))
    kept = candidate_rows(scores, options)
    anchors, deltas = anchors[kept], offsets[kept]
    centre = deltas[:, :2] * anchors[:, 2:] + anchors[:, :2]
    extent = np.exp(np.minimum(deltas[:, 2:], _MOST_LOG)) * anchors[:, 2:]
    return to_detections(clip(cxcywh_to_xyxy(np.concatenate([centre, extent], axis=1)), *wh), scores[kept], options)


def decode_fcos(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    """Class logits (B, R, K), distances (B, R, 4) in strides, centre-ness (B, R, 1) → boxes in network pixels.

    A score is the root of class score times centre-ness. Boxes are cut to the input.

    Raises:
        DecodeError: other shapes, or NaN.
    """
    logits, sides, centreness = _heads(outputs, net_input, 1, ("classes", "4", "1"))
    points, sizes = _points(net_input.wh)
    images = zip(np.sqrt(sigmoid(logits) * sigmoid(centreness)), sides * sizes, strict=True)
    return [_fcos(scores, distances, points, net_input.wh, options) for scores, distances in images]


def _fcos(scores: Floats, sides: Floats, points: Floats, wh: tuple[int, int], options: DecodeOptions) -> Detections:
    scores = _foreground(scores)
    kept = candidate_rows(scores, options)
    points, distances = points[kept], sides[kept]
    xyxy = np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1)
    return to_detections(clip(xyxy, *wh), scores[kept], options)


def _foreground(scores: Floats) -> Floats:
    """Scores (R, K) with none for the background, class 0."""
    scores[:, 0] = 0
    return scores


def _heads(outputs: Outputs, net_input: NetInput, anchors: int, columns: tuple[str, ...]) -> list[Floats]:
    """The outputs in the order of `columns`; one and four columns identify themselves, the rest are classes."""
    rows = anchors * _pyramid_cells(net_input.wh)
    left = dict(outputs)
    found_heads: dict[str, Floats] = {}
    for column in [c for c in columns if c != "classes"]:
        name = next((n for n in reversed(left) if left[n].ndim == 3 and left[n].shape[2] == int(column)), None)
        if name is not None:
            found_heads[column] = left.pop(name)
    if len(left) == 1:
        found_heads["classes"] = left.popitem()[1]
    if left or len(found_heads) != len(columns) or any(_off(a, net_input.count, rows) for a in found_heads.values()):
        expected = ", ".join(f"({net_input.count}, {rows}, {column})" for column in columns)
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        raise DecodeError(f"expected {expected}, got ({got}): the model needs another decoder or another {arg('size')}")
    for array in found_heads.values():
        check_finite(array, "values")
    return [found_heads[column] for column in columns]


def _off(array: Floats, count: int, rows: int) -> bool:
    return array.ndim != 3 or array.shape[:2] != (count, rows)


def _grids(wh: tuple[int, int]) -> list[tuple[int, int]]:
    """Columns and rows of the five scales: strides 8, 16, 32, then halved and rounded up twice."""
    grids = [(-(-wh[0] // s), -(-wh[1] // s)) for s in (8, 16, 32)]
    for _ in range(2):
        w, h = grids[-1]
        grids.append(((w + 1) // 2, (h + 1) // 2))
    return grids


def _pyramid_cells(wh: tuple[int, int]) -> int:
    """How many cells the five scales have together in an input of `wh`."""
    return sum(w * h for w, h in _grids(wh))


def _points(wh: tuple[int, int]) -> tuple[Floats, Floats]:
    """Where each cell's anchors are centred (R, 2), in network pixels, and FCOS's unit of distance there (R, 1)."""
    points, sizes = [], []
    for (w, h), unit in zip(_grids(wh), (8, 16, 32, 64, 128), strict=True):
        y, x = np.mgrid[:h, :w]
        points.append(np.stack([x.ravel() * (wh[0] // w), y.ravel() * (wh[1] // h)], axis=1))
        sizes.append(np.full((w * h, 1), unit))
    return np.concatenate(points).astype(np.float32), np.concatenate(sizes).astype(np.float32)


@cache
def _shapes() -> tuple[Floats, ...]:
    """Width and height of the nine anchors (9, 2) of each scale, ratio by ratio, rounded as torchvision rounds them."""
    root = np.sqrt(np.array(_RATIOS, np.float32))
    shapes = []
    for base in _BASE:
        sides = np.array([int(base * scale) for scale in _SCALES], np.float32)
        halves = np.stack([np.outer(1 / root, sides).ravel(), np.outer(root, sides).ravel()], axis=1) / 2
        shapes.append((2 * np.round(halves)).astype(np.float32))
    return tuple(shapes)


@cache
def _anchors(wh: tuple[int, int]) -> Floats:
    """All anchors cxcywh (R, 4) in network pixels: scale by scale, cell by cell."""
    points, _ = _points(wh)
    counts = [w * h for w, h in _grids(wh)]
    parts = []
    for cell_points, shape in zip(np.split(points, np.cumsum(counts)[:-1]), _shapes(), strict=True):
        n = len(cell_points)
        parts.append(np.concatenate([np.repeat(cell_points, 9, axis=0), np.tile(shape, (n, 1))], axis=1))
    return np.concatenate(parts).astype(np.float32)


def _layout(model: OutputSignature, anchors: int, heads: int) -> HeadLayout | None:
    """So many heads with `anchors` rows a cell, one of four columns, and with three heads one of one column."""
    shapes = list(model.outputs.values())
    rows = anchors * _pyramid_cells(model.wh)
    if len(shapes) != heads or any(len(shape) != 3 or shape[1] != rows for shape in shapes):
        return None
    columns = [shape[2] for shape in shapes]
    for fixed in (4, 1)[: heads - 1]:
        if fixed not in columns:
            return None
        columns.remove(fixed)
    return head_layout(columns[0] - 1, GRID, 1)


_PREPROCESSING = InputSpec(
    scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="letterbox", pad_value=116, pad_align="top_left"
)
RETINANET = Family(
    name="retinanet",
    decode=decode_retinanet,
    formats=("onnx", "tflite"),
    signature=partial(_layout, anchors=9, heads=2),
    preprocessing=_PREPROCESSING,
)
FCOS = Family(
    name="fcos",
    decode=decode_fcos,
    formats=("onnx", "tflite"),
    signature=partial(_layout, anchors=1, heads=3),
    preprocessing=_PREPROCESSING,
)
