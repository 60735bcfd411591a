"""Anchors: the grids that a graph computes itself, and the formulas of pipeline.config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.formats.tensorflow.make_textgraph.pipeline import GridAnchors, MultiscaleAnchors, SsdAnchors

__all__ = ["AnchorGrid", "GridError", "fit_grids", "grid_sizes", "multiscale_sizes", "ssd_sizes"]

Sizes = tuple[tuple[float, float], ...]
"""Width and height in pixels of each anchor of a cell."""

_OFF_GRID = 0.01  # pixels; float32 arithmetic of normalized anchors stays a hundred times below


class GridError(Exception):
    """Anchors that do not form a grid as OpenCV's PriorBox lays it out; the message explains why."""


@dataclass(frozen=True, slots=True)
class AnchorGrid:
    """The anchors of one feature map: the same sizes at every cell.

    Attributes:
        sizes: width and height of each anchor of a cell, in pixels.
        step: pixels from cell to cell; None: the feature map's cells divide the image evenly.
        offset: where in its cell an anchor's centre is, in cells; 0.5 is the middle.
    """

    sizes: Sizes
    step: float | None = None
    offset: float = 0.5


def fit_grids(
    boxes: NDArray[np.floating], layers: Sequence[tuple[int, int, int]], wh: tuple[int, int]
) -> list[AnchorGrid]:
    """The grids that `boxes` form, each checked anchor by anchor.

    Args:
        boxes: (N, 4) ymin, xmin, ymax, xmax, in pixels or normalized.
        layers: rows, columns and anchors of a cell for each feature map, in the order of `boxes`.
        wh: the image's width and height in pixels.

    Raises:
        GridError: their number does not fit the layers, or some lie off the grid.
    """
    total = sum(rows * columns * each for rows, columns, each in layers)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) != total or not np.isfinite(boxes).all():
        raise GridError(f"there are {boxes.size / 4:g} anchors, but the feature maps have {total}")
    pixels: NDArray[np.float64] = boxes.astype(np.float64)
    if np.abs(pixels[:, :2] + pixels[:, 2:]).max() / 2 <= 2:  # normalized centres
        pixels = pixels * [wh[1], wh[0], wh[1], wh[0]]
    grids, at = [], 0
    for rows, columns, each in layers:
        count = rows * columns * each
        grids.append(_fit(pixels[at : at + count].reshape(rows, columns, each, 4), wh))
        at += count
    return grids


def _fit(boxes: NDArray[np.float64], wh: tuple[int, int]) -> AnchorGrid:
    """Boxes (rows, columns, anchors, 4) in pixels."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    extents = boxes[..., 2:] - boxes[..., :2]
    sizes = extents.mean(axis=(0, 1))
    rows = [_line(centres[:, 0, 0, 0], wh[1]), _line(centres[0, :, 0, 1], wh[0])]
    cells = np.stack(np.meshgrid(*(_places(line, n) for line, n in zip(rows, boxes.shape[:2], strict=True)),
                                 indexing="ij"), axis=-1)  # fmt: skip
    off = max(np.abs(centres - cells[:, :, None]).max(), np.abs(extents - sizes).max())
    if off > _OFF_GRID:
        raise GridError(f"some anchors lie {off:.3g} pixels off their grid")
    found: Sizes = tuple((float(width), float(height)) for height, width in sizes)
    if all(line == (side / n, 0.5) for line, side, n in zip(rows, wh[::-1], boxes.shape[:2], strict=True)):
        return AnchorGrid(found)
    if rows[0] != rows[1]:
        (down, top), (across, left) = rows
        raise GridError(
            f"from the top they begin at {top * down:g} pixels and stand {down:g} apart, from the left at "
            f"{left * across:g} and {across:g} apart, but it has one number for both"
        )
    return AnchorGrid(found, *rows[0])


def _line(centres: NDArray[np.float64], side: int) -> tuple[float, float]:
    """Step in pixels and offset in steps of centres along one side, exactly even where they are nearly so."""
    count = len(centres)
    even = side / count
    step = (centres[-1] - centres[0]) / (count - 1) if count > 1 else even
    if abs(step - even) * count < _OFF_GRID and abs(centres[0] - even / 2) < _OFF_GRID:
        return even, 0.5
    step = round(float(step), 4)
    return step, round(float(centres[0]) / step, 4) if step > 0 else 0.0


def _places(line: tuple[float, float], count: int) -> NDArray[np.float64]:
    places: NDArray[np.float64] = (np.arange(count, dtype=np.float64) + line[1]) * line[0]
    return places


def ssd_sizes(anchors: SsdAnchors, wh: tuple[int, int]) -> list[Sizes]:
    """Anchor sizes of each layer by ssd_anchor_generator: the multiple_grid_anchor_generator.py of the API."""
    side = min(wh)
    following = [*anchors.scales[1:], 1.0]
    layers = []
    for layer, (scale, after) in enumerate(zip(anchors.scales, following, strict=True)):
        if layer == 0 and anchors.reduced:
            pairs = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            pairs = [(scale, ratio) for ratio in anchors.aspect_ratios]
            if anchors.interpolated > 0:
                pairs.append((math.sqrt(scale * after), anchors.interpolated))
        layers.append(tuple(_width_height(side * each, ratio) for each, ratio in pairs))
    return layers


def multiscale_sizes(anchors: MultiscaleAnchors) -> list[Sizes]:
    """Anchor sizes of each level by multiscale_anchor_generator (RetinaNet, arXiv 1708.02002)."""
    octave = [2 ** (k / anchors.octave) for k in range(anchors.octave)]
    return [
        tuple(
            _width_height(anchors.anchor_scale * 2**level * scale, ratio)
            for ratio in anchors.aspect_ratios
            for scale in octave
        )
        for level in range(anchors.min_level, anchors.max_level + 1)
    ]


def grid_sizes(anchors: GridAnchors) -> Sizes:
    """Anchor sizes by grid_anchor_generator (Faster R-CNN, arXiv 1506.01497)."""
    height, width = anchors.base_hw
    return tuple(
        (width * scale * math.sqrt(ratio), height * scale / math.sqrt(ratio))
        for ratio in anchors.aspect_ratios
        for scale in anchors.scales
    )


def _width_height(size: float, ratio: float) -> tuple[float, float]:
    """Width and height with the area size² and width / height = ratio."""
    return size * math.sqrt(ratio), size / math.sqrt(ratio)
