"""Which detection has found which object: the rules of PASCAL VOC's devkit (VOCevaldet.m), extended to COCO's crowds.

Class by class, by falling score, a detection belongs to the object of its image and class that it overlaps most. Where
that IoU reaches 0.5 it is right if the object was free, wrong if it was taken already, and neither if the object is
difficult. Where a detection would be wrong, but half of its own area lies in a crowd of its class, it is neither.
VOC knows no crowds: they are no objects to be found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cvdetect.jobs.evaluate.arrays import Floats, Found, Ints, Objects

__all__ = ["IGNORED", "RIGHT", "WRONG", "Matches", "match", "overlaps"]

WRONG, RIGHT, IGNORED = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What became of N detections.

    Attributes:
        verdict: int8 (N,): WRONG, RIGHT or IGNORED.
        partner: int64 (N,): the object that a right detection found, else -1.
    """

    verdict: NDArray[np.int8]
    partner: Ints


def match(objects: Objects, found: Found, least_iou: float = 0.5) -> Matches:
    """Judge every detection.

    A verdict rests on better detections only, so it stays the same whatever score threshold is set afterwards.
    """
    matches = Matches(np.full(len(found), WRONG, np.int8), np.full(len(found), -1, np.int64))
    there = dict(_groups(objects.label, objects.image, np.zeros(len(objects.label))))
    for key, rows in _groups(found.label, found.image, -found.score):
        if key in there:
            _judge(objects, there[key], found, rows, matches, least_iou)
    return matches


def _groups(label: Ints, image: Ints, rank: Floats) -> Iterator[tuple[tuple[int, int], Ints]]:
    """((label, image), the rows of both by rising rank; equal ranks keep their order)."""
    order = np.lexsort((rank, image, label))
    ordered_label, ordered_image = label[order], image[order]
    new = (np.diff(ordered_label, prepend=-1) != 0) | (np.diff(ordered_image, prepend=-1) != 0)  # (N,)
    starts = np.flatnonzero(new).tolist()
    for start, stop in pairwise([*starts, len(order)]):
        yield (int(ordered_label[start]), int(ordered_image[start])), order[start:stop]


def _judge(objects: Objects, there: Ints, found: Found, rows: Ints, matches: Matches, least_iou: float) -> None:
    """Write the verdicts of one class in one image; `rows` by falling score."""
    single = there[~objects.crowd[there]]
    crowds = there[objects.crowd[there]]
    iou, _ = overlaps(found.xyxy[rows], objects.xyxy[single])  # (D, G)
    _, inside = overlaps(found.xyxy[rows], objects.xyxy[crowds])  # (D, C)
    best = iou.argmax(axis=1) if len(single) else np.zeros(len(rows), np.int64)  # the first of equals
    taken: set[int] = set()
    for i, row in enumerate(rows):
        reached = bool(len(single)) and iou[i, best[i]] >= least_iou
        target = int(single[best[i]]) if reached else -1
        if reached and objects.difficult[target]:
            matches.verdict[row] = IGNORED
        elif reached and target not in taken:
            taken.add(target)
            matches.verdict[row], matches.partner[row] = RIGHT, target
        elif len(crowds) and inside[i].max() >= least_iou:
            matches.verdict[row] = IGNORED


def overlaps(boxes: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Intersection over union, and intersection over the first box's own area, of (N, 4) with (M, 4) → two (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])  # (N, M, 2)
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])  # (N, M, 2)
    both = np.prod(np.clip(high - low, 0, None), axis=2)  # (N, M)
    own = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]  # (N, 1)
    union = own + np.prod(others[:, 2:] - others[:, :2], axis=1)[None, :] - both  # (N, M)
    return _divided(both, union), _divided(both, np.broadcast_to(own, both.shape))


def _divided(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
