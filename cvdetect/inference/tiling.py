"""Small objects in large images: overlapping tiles, and one set of boxes from the detections in each. Numpy alone.

In a tile, small objects reach the network's input larger than in the whole image; the whole image shows objects that
fit no tile. An object that a tile's border cuts is found in pieces: a piece that lies in a whole box of its class is
dropped, and pieces that continue each other across a seam become one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.boxes import Boxes, coverage, intersection
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.masks import union_mask

__all__ = ["Tile", "cut_by_seams", "join_pieces", "parse_tile", "tiles"]

_OVERLAP = 0.2  # of a tile's side
_TOUCH = 0.025  # of a tile's side: a box this near a seam counts as cut by it (networks are not exact)
_INSIDE = 0.6  # share of a piece's area that makes it part of a whole box
_ALIGNED = 0.5  # one-dimensional IoU along the seam that makes two pieces one object


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image: x1, y1, x2, y2 in whole pixels."""

    x1: int
    y1: int
    x2: int
    y2: int


def parse_tile(text: str) -> tuple[int, int] | None:
    """``auto`` → None; ``4x3`` → 4 columns, 3 rows.

    Raises:
        UsageError: anything else.
    """
    if text.strip().lower() == "auto":
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.strip().isdecimal() and 1 <= int(p) <= 64 for p in parts):
        raise UsageError(f"{arg('tile')} {text}: expected auto or COLUMNSxROWS (1 to 64 each), e.g. 3x2")
    return int(parts[0]), int(parts[1])


def tiles(wh: tuple[int, int], grid: tuple[int, int] | None, input_wh: tuple[int, int]) -> list[Tile]:
    """The tiles of an image of `wh`, overlapping by a fifth of their side, row by row.

    Args:
        grid: columns and rows; None takes as many as make tiles near the network's `input_wh`.
    """
    columns, rows = grid or (_count(wh[0], input_wh[0]), _count(wh[1], input_wh[1]))
    across, down = _spans(wh[0], columns), _spans(wh[1], rows)
    return [Tile(x1, y1, x2, y2) for y1, y2 in down for x1, x2 in across]


def _count(length: int, tile: int) -> int:
    """How many tiles of about `tile` pixels cover `length` with the overlap."""
    return max(1, math.ceil((length / tile - _OVERLAP) / (1 - _OVERLAP) - 0.25))


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """`count` equal, overlapping ranges that cover 0..length."""
    side = min(length, math.ceil(length / (count - _OVERLAP * (count - 1))))
    starts = [round(i * (length - side) / max(1, count - 1)) for i in range(count)]
    return sorted({(start, start + side) for start in starts})


def cut_by_seams(xyxy: Boxes, tile: Tile, wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes (N, 4), in the image's pixels, touch a border of their tile that is not the image's → (N,)."""
    edges = np.array([tile.x1, tile.y1, tile.x2, tile.y2], np.float32)
    near = _TOUCH * np.array([tile.x2 - tile.x1, tile.y2 - tile.y1] * 2, np.float32)
    inner = np.array([tile.x1 > 0, tile.y1 > 0, tile.x2 < wh[0], tile.y2 < wh[1]])
    touched: NDArray[np.bool_] = ((np.abs(xyxy - edges) <= near) & inner).any(axis=1)
    return touched


def join_pieces(found: Detections, cut: NDArray[np.bool_]) -> Detections:
    """Drop the pieces of whole boxes, and make the pieces of one object one, which has the best piece's score.

    Args:
        found: detections of all tiles and of the whole image, (N,), before non-maximum suppression.
        cut: which of them are pieces, (N,).
    """
    whole, pieces = found[~cut], found[cut]
    pieces = pieces[~_inside(pieces, whole)]
    return Detections.concat([whole, *(_union(pieces[group]) for group in _groups(pieces))])


def _inside(pieces: Detections, whole: Detections) -> NDArray[np.bool_]:
    """Which pieces (P,) lie in a whole box of their class by at least `_INSIDE` of their area."""
    if not len(pieces) or not len(whole):
        return np.zeros(len(pieces), bool)
    share = coverage(pieces.xyxy, whole.xyxy)  # (P, W)
    same = pieces.class_id[:, None] == whole.class_id[None, :]
    contained: NDArray[np.bool_] = ((share >= _INSIDE) & same).any(axis=1)
    return contained


def _groups(pieces: Detections) -> list[NDArray[np.int64]]:
    """Positions of the pieces that belong together, one group an object."""
    belongs = _continues(pieces)
    left, groups = set(range(len(pieces))), []
    while left:
        group: set[int] = set()
        frontier = {min(left)}
        while frontier:
            group |= frontier
            frontier = {int(j) for i in frontier for j in np.flatnonzero(belongs[i])} - group
        left -= group
        groups.append(np.array(sorted(group), np.int64))
    return groups


def _continues(pieces: Detections) -> NDArray[np.bool_]:
    """Which pieces (P, P) are of one class, overlap, and are aligned along one axis, as halves of one object are."""
    boxes = pieces.xyxy
    same = pieces.class_id[:, None] == pieces.class_id[None, :]
    aligned = (_iou_1d(boxes[:, [0, 2]]) >= _ALIGNED) | (_iou_1d(boxes[:, [1, 3]]) >= _ALIGNED)
    together: NDArray[np.bool_] = same & aligned & (intersection(boxes, boxes) > 0)
    return together


def _iou_1d(spans: NDArray[np.float32]) -> NDArray[np.float32]:
    """One-dimensional IoU of every two of the ranges (P, 2) → (P, P)."""
    low, high = spans[:, 0], spans[:, 1]
    both = np.clip(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0, None)
    either = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
    return np.asarray(both / np.maximum(either, 1e-6), np.float32)


def _union(pieces: Detections) -> Detections:
    """One detection over all `pieces`, with the best one's class and score."""
    best = pieces[[int(pieces.score.argmax())]]
    corners = np.concatenate([pieces.xyxy[:, :2].min(axis=0), pieces.xyxy[:, 2:].max(axis=0)])
    found = Detections(corners[None], best.class_id, best.score)
    if pieces.masks is None:
        return found
    mask, box = union_mask(pieces)
    return replace(found, masks=(mask,), mask_xyxy=box[None])
