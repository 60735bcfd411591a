"""Which detection goes on which track: by overlap, or, where there is none, by distance in sizes of the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cvdetect.inference.tracks import Boxes, Tracks

__all__ = ["by_distance", "by_overlap", "overlaps", "pairs"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_OVERLAP = 0.15  # the least IoU for a name that the track has had
_OVERLAP_RENAMED = 0.5  # and for one that it never had: a label may flicker, a bicycle must not become its person
_SAME_NAME = 0.3  # likeness from which a name counts as the track's own
_NAME = 0.3  # what another name costs, in IoU
_MISSED = 0.1  # what it costs not to have been seen last, in IoU: who passes in front keeps the number
_LOST = 0.1  # what each second since the last sight costs, in IoU

_NEAR = 0.5  # the farthest a detection may lie without time passing, in sizes of the object
_NEAR_A_SECOND = (6.0, 1.5)  # and for each second since the last sight: before its speed is known, and after
_NEAR_AT_MOST = (1.5, 2.5)
_SIZE = 1.6  # width or height may be this many times another; the other one may be cut by what hides it
_RESIZED = 0.1  # what another size costs, for each factor of e


def overlaps(a: Boxes, b: Boxes) -> Floats:
    """IoU of (N, 4) and (M, 4) → (N, M)."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], (b[:, :2] - b[:, 2:] / 2)[None])
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], (b[:, :2] + b[:, 2:] / 2)[None])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    every = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - shared
    return np.asarray(shared / np.maximum(every, 1e-9))


def by_overlap(tracks: Tracks, boxes: Boxes, columns: Rows) -> Floats:
    """How well N detections go with T tracks → (T, N), above 0 where at all."""
    iou, likeness = overlaps(tracks.boxes, boxes), tracks.likeness(columns)
    least = np.where(likeness >= _SAME_NAME, _OVERLAP, _OVERLAP_RENAMED)
    missed = tracks.gap > tracks.gap.min(initial=np.inf)
    merit = iou - _NAME * (1 - likeness) - (_LOST * tracks.gap + _MISSED * missed)[:, None]
    return np.where(iou >= least, np.maximum(merit, 0.01), 0)


def by_distance(tracks: Tracks, boxes: Boxes, columns: Rows, wh: tuple[int, int]) -> Floats:
    """The same for objects that were lost, or moved farther than their size; none where they went out of the picture.

    An object that was hidden went on, or stopped, or anything between: the distance is that to the way from where it
    was last seen to where its speed would have brought it.
    """
    sizes = np.maximum(np.maximum(tracks.whole[:, None], boxes[None, :, 2:]), 1e-3)  # (T, N, 2)
    way = (tracks.centre - tracks.seen)[:, None] / sizes
    off = (boxes[None, :, :2] - tracks.seen[:, None]) / sizes
    along = np.clip((way * off).sum(2) / np.maximum((way * way).sum(2), 1e-9), 0, 1)
    distance = np.linalg.norm(off - along[..., None] * way, axis=2)
    known = (tracks.hits > 2).astype(int)
    near = np.minimum(_NEAR + np.take(_NEAR_A_SECOND, known) * tracks.gap, np.take(_NEAR_AT_MOST, known))[:, None]
    ratio = np.abs(np.log(np.maximum(tracks.whole[:, None], 1e-3) / np.maximum(boxes[None, :, 2:], 1e-3)))
    likeness = tracks.likeness(columns)
    beyond = np.maximum(-tracks.centre, tracks.centre - np.array(wh)) - tracks.whole / 2
    inside = (beyond <= 0).all(axis=1)[:, None]
    fits = (distance <= near) & (ratio.min(2) <= np.log(_SIZE)) & (likeness >= _SAME_NAME) & inside
    merit = 1 - distance / near - _NAME * (1 - likeness) - _RESIZED * ratio.max(2)
    return np.where(fits, np.maximum(merit, 0.01), 0)


def pairs(merit: Floats) -> tuple[Rows, Rows]:
    """The pairs of rows and columns (one of each at most) with the greatest sum of merits; those of 0 are none."""
    from scipy.optimize import linear_sum_assignment

    if not merit.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = linear_sum_assignment(merit, maximize=True)
    good = merit[rows, columns] > 0
    return rows[good], columns[good]
