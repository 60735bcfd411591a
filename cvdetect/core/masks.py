"""Masks of objects: from a grid over an object's box to pixels of its image, and to COCO's run lengths.

The first and last line of a mask's grid lie on the edges of its box, as in TensorFlow's ``crop_and_resize``, with which
its detectors learn their masks and paste them (``reframe_box_masks_to_image_masks`` of the Object Detection API). A
pixel takes the value at its centre, half a pixel right of and below its corner; TensorFlow stretches an image of W
pixels by W / (W - 1) instead, which is the same within half a pixel. Bilinear between grid points, nothing outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.boxes import Boxes

__all__ = ["Region", "encode_rle", "region", "regions", "union_mask"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Positions = NDArray[np.float64]  # (K,), along one axis of an image, in pixels from its edge

_THRESHOLD = 0.5  # a pixel more probable than this belongs to the object
_FINEST = 128  # grid points along a side of a mask that is made of several


class Masked(Protocol):
    """What has masks: a `cvdetect.core.detections.Detections`."""

    @property
    def masks(self) -> tuple[Floats, ...] | None:
        """N masks, float32 (h, w) each, or None."""

    @property
    def mask_xyxy(self) -> Boxes | None:
        """The boxes they belong to, (N, 4)."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The pixels of one object, inside a window of its image: a mask of the whole frame would take 2 MB at 1080p.

    Attributes:
        x: the window's left column in the image.
        y: its top row.
        inside: bool (h, w): which pixels of the window belong to the object; h or w may be 0.
    """

    x: int
    y: int
    inside: Bools

    @property
    def area(self) -> int:
        """Its number of pixels."""
        return int(np.count_nonzero(self.inside))

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the window: ``image[region.window]`` is a view of it."""
        height, width = self.inside.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)

    def on_image(self, image_wh: tuple[int, int]) -> Bools:
        """The mask on the whole image → bool (H, W)."""
        whole = np.zeros((image_wh[1], image_wh[0]), np.bool_)
        whole[self.window] = self.inside
        return whole


def regions(found: Masked, image_wh: tuple[int, int]) -> list[Region]:
    """The pixels of every detection on an image of that size; none where there are no masks."""
    if found.masks is None or found.mask_xyxy is None:
        return []
    return [region(mask, box, image_wh) for mask, box in zip(found.masks, found.mask_xyxy, strict=True)]


def region(mask: Floats, xyxy: Boxes, image_wh: tuple[int, int]) -> Region:
    """The pixels of an image that belong to the object, for a mask (h, w) over the box `xyxy` (4,)."""
    x, y = _centres(xyxy[0], xyxy[2], image_wh[0]), _centres(xyxy[1], xyxy[3], image_wh[1])
    left, top = (int(axis[0]) if len(axis) else 0 for axis in (x, y))
    return Region(left, top, paste(mask, xyxy, x, y) > _THRESHOLD)


def paste(mask: Floats, xyxy: Boxes, x: Positions, y: Positions) -> Floats:
    """The values of a mask (h, w) over the box `xyxy` (4,) at every `x` (X,) of every `y` (Y,), in the box's pixels.

    Returns:
        float32 (Y, X), 0 to 1; 0 outside the box.
    """
    down = _weights(y, float(xyxy[1]), float(xyxy[3]), mask.shape[0])  # (Y, h)
    across = _weights(x, float(xyxy[0]), float(xyxy[2]), mask.shape[1])  # (X, w)
    return np.asarray(down @ mask @ across.T, np.float32)


def union_mask(found: Masked) -> tuple[Floats, Boxes]:
    """One mask (h, w) for all detections of `found`, which has masks, and its box (4,): everywhere the highest value.

    Its grid is as fine as the finest of theirs, up to 128 points a side.
    """
    assert found.masks is not None and found.mask_xyxy is not None, "detections without masks have no union"
    boxes = found.mask_xyxy.astype(np.float64)  # (N, 4)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)  # x, y
    cells = np.array([mask.shape[::-1] for mask in found.masks]) - 1  # (N, 2)
    density = (cells / np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)).max(axis=0)
    points = np.clip(np.ceil(density * (high - low)) + 1, 1, _FINEST).astype(np.int64)
    x, y = (np.linspace(low[axis], high[axis], points[axis]) for axis in (0, 1))
    pasted = [paste(mask, box, x, y) for mask, box in zip(found.masks, found.mask_xyxy, strict=True)]
    return np.clip(np.max(pasted, axis=0), 0, 1), np.concatenate([low, high]).astype(np.float32)


def _centres(low: float, high: float, size: int) -> Positions:
    """The centres between `low` and `high` of the pixels on an axis with `size` of them."""
    first, last = max(0, math.ceil(low - 0.5)), min(size - 1, math.floor(high - 0.5))
    return np.arange(first, last + 1 if low < high else first, dtype=np.float64) + 0.5


def _weights(positions: Positions, low: float, high: float, points: int) -> Floats:
    """The weight of each grid point on an axis from `low` to `high` at each position (K,) → (K, points)."""
    weights = np.zeros((len(positions), points), np.float32)
    if high > low:
        at = (positions - low) / (high - low) * (points - 1)  # (K,): in 0..points - 1 inside
        left = np.clip(np.floor(at).astype(np.int64), 0, max(0, points - 2))
        each, share = np.arange(len(positions)), np.clip(at - left, 0, 1)
        weights[each, left] = 1 - share
        weights[each, np.minimum(left + 1, points - 1)] += share
        weights[(positions < low) | (positions > high)] = 0
    return weights


def encode_rle(found: Region, image_wh: tuple[int, int]) -> dict[str, Any]:
    """A region as COCO's compressed RLE: ``{"size": [height, width], "counts": "…"}`` of the whole image.

    Runs go down the columns, pixels outside and inside alternating, outside first. Format: maskApi.c of cocoapi
    (``rleEncode``, ``rleToString``).
    """
    width, height = image_wh
    starts, ends = _runs(found, height)
    edges = np.stack([starts, ends], axis=1).reshape(-1)  # (2 x runs,): pixels before each change
    total = width * height
    if not len(edges) or edges[-1] < total:
        edges = np.append(edges, total)
    return {"size": [height, width], "counts": _as_text(np.diff(edges, prepend=0))}


def _runs(found: Region, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel of each run inside and first one after it, counted down the columns of the whole image."""
    columns = np.pad(found.inside.T.astype(np.int8), ((0, 0), (1, 1)))  # (w, h + 2)
    change = np.diff(columns, axis=1)  # (w, h + 1)
    starts, ends = (
        (found.x + column) * height + found.y + row for column, row in (np.nonzero(change > 0), np.nonzero(change < 0))
    )
    # A run to the bottom of the image continues at the top of the next column.
    apart = starts[1:] != ends[:-1]
    return starts[np.append(True, apart)[: len(starts)]], ends[np.append(apart, True)[: len(ends)]]


def _as_text(counts: NDArray[np.int64]) -> str:
    """Run lengths as COCO writes them: from the fourth on less the one two before, 5 bits a character, lowest first."""
    left = counts.astype(np.int64)
    left[3:] -= counts[1:-2]
    characters, used = [], []
    unfinished = np.ones(len(left), np.bool_)
    while unfinished.any():
        used.append(unfinished)
        bits = left & 31
        left = left >> 5
        # The sign is the highest bit of the last character.
        more = np.where(bits & 16, left != -1, left != 0)
        characters.append(bits + 32 * more + 48)
        unfinished = unfinished & more
    return bytes(np.stack(characters, axis=1)[np.stack(used, axis=1)].astype(np.uint8)).decode("ascii")
