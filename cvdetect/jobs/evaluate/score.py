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

from cvdetect.jobs.evaluate.arrays import Flags, Floats, Found, Ints, Objects

__all__ = [
    "IGNORED",
    "RIGHT",
    "WRONG",
    "Matches",
    "Ranking",
    "Rates",
    "ap_11_points",
    "ap_all_points",
    "best_f1",
    "confusion_matrix",
    "match",
    "most_confused",
    "overlaps",
    "precision_envelope",
    "ranking",
    "rankings",
    "unmatched",
]


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


# What is mistaken for what.


def confusion_matrix(objects: Objects, found: Found, matches: Matches, at: float, label_count: int) -> Ints:
    """Objects against detections with score ≥ `at` → (label_count + 1, label_count + 1), rows are the truth.

    The last row and column are the background: an object that nothing found, a detection where nothing is. The diagonal
    holds the right detections of `matching`. What these leave over is paired across classes, best IoU first, from 0.5
    on. So a row sums to its class's objects, and a column to its detections.
    """
    matrix = np.zeros((label_count + 1, label_count + 1), np.int64)
    right = (matches.verdict == RIGHT) & (found.score >= at)
    np.add.at(matrix, (found.label[right], found.label[right]), 1)
    missed, wrong = unmatched(objects, found, matches, at)
    taken: set[int] = set()
    met: set[int] = set()
    for thing, detection in _pairs(objects, missed, found, wrong):
        if thing not in taken and detection not in met:
            taken.add(thing)
            met.add(detection)
            matrix[objects.label[thing], found.label[detection]] += 1
    for thing in set(missed.tolist()) - taken:
        matrix[objects.label[thing], label_count] += 1
    for detection in set(wrong.tolist()) - met:
        matrix[label_count, found.label[detection]] += 1
    return matrix


def unmatched(objects: Objects, found: Found, matches: Matches, at: float) -> tuple[Ints, Ints]:
    """The objects that no detection with score ≥ `at` found, and the wrong ones of these detections (row numbers)."""
    shown = found.score >= at
    missed = objects.counted
    missed[matches.partner[shown & (matches.verdict == RIGHT)]] = False
    return np.flatnonzero(missed), np.flatnonzero(shown & (matches.verdict == WRONG))


def _pairs(objects: Objects, missed: Ints, found: Found, wrong: Ints) -> list[tuple[int, int]]:
    """(object, detection) of the same image with IoU ≥ 0.5, best IoU first."""
    pairs: list[tuple[float, int, int]] = []
    order = wrong[np.argsort(found.image[wrong], kind="stable")]
    images = found.image[order]
    for image in np.unique(objects.image[missed]):
        things = missed[objects.image[missed] == image]
        start, stop = np.searchsorted(images, [image, image + 1])
        rows = order[start:stop]
        iou, _ = overlaps(objects.xyxy[things], found.xyxy[rows])  # (T, D)
        pairs += [(float(iou[t, d]), int(things[t]), int(rows[d])) for t, d in np.argwhere(iou >= 0.5)]
    return [(thing, row) for _, thing, row in sorted(pairs, key=lambda pair: -pair[0])]


def most_confused(matrix: Ints, most: int) -> list[tuple[int, int, int]]:
    """(truth, detected as, how often) of the commonest mistakes between two classes, background not counted."""
    mistakes = matrix[:-1, :-1].copy()
    np.fill_diagonal(mistakes, 0)
    rows = [(int(r), int(c), int(mistakes[r, c])) for r, c in np.argwhere(mistakes)]
    return sorted(rows, key=lambda row: (-row[2], row[:2]))[:most]


# Precision, recall and F1 at a score threshold, and how they change with it.


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts at one threshold: right detections, wrong detections, objects not found."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float | None:
        """The share of the detections that are right; None without any."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """The share of the objects that are found; None without any."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where there is neither object nor detection."""
        whole = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / whole if whole else None


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Detections by falling score, ignored ones left out.

    Attributes:
        score: float64 (N,).
        right: bool (N,).
        positives: how many objects are to be found.
    """

    score: Floats
    right: Flags
    positives: int

    def at(self, threshold: float) -> Rates:
        """The counts of detections with score ≥ threshold."""
        kept = self.score >= threshold
        tp = int(self.right[kept].sum())
        return Rates(tp, int(kept.sum()) - tp, self.positives - tp)

    def f1(self) -> Floats:
        """F1 with each detection's score as the threshold, (N,)."""
        detections = np.searchsorted(-self.score, -self.score, side="right")  # those with an equal score come along
        hits = np.concatenate([[0], np.cumsum(self.right)])[detections]
        return np.asarray(2 * hits / (detections + self.positives))


def ranking(objects: Objects, found: Found, matches: Matches, label: int | None = None) -> Ranking:
    """All detections of one label, or of all labels together."""
    mine = matches.verdict != IGNORED
    positive = objects.counted
    if label is not None:
        mine, positive = mine & (found.label == label), positive & (objects.label == label)
    rows = np.flatnonzero(mine)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    return Ranking(found.score[rows], matches.verdict[rows] == RIGHT, int(positive.sum()))


def rankings(objects: Objects, found: Found, matches: Matches, label_count: int) -> list[Ranking]:
    """One ranking a label."""
    return [ranking(objects, found, matches, label) for label in range(label_count)]


def best_f1(together: Ranking) -> float:
    """The score at which F1, counted over all classes together, is best; the highest of equals, 0.5 without any hit."""
    f1 = together.f1()
    return float(together.score[f1.argmax()]) if f1.size and f1.max() > 0 else 0.5


# PASCAL VOC's average precision, by 11 points (until 2009) and by all points (from 2010).
#
# Sources: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88 (2010), section 4.2, and the
# devkit's VOCap.m and VOCevaldet.m.


def ap_11_points(right: Flags, positives: int) -> float:
    """The mean over recalls 0, 0.1, …, 1 of the best precision at that recall or a higher one.

    Args:
        right: bool (N,): whether each detection is right, by falling score; ignored ones left out.
        positives: how many objects are to be found, at least 1.
    """
    hits = np.cumsum(right)  # (N,)
    best = precision_envelope(right)  # (N,)
    # recall >= k/10 in whole numbers: 0.1 has no exact float, and 3 * 0.1 > 0.3 would lose a point.
    points = [best[10 * hits >= k * positives] for k in range(11)]
    return float(sum(point[0] for point in points if point.size) / 11)


def ap_all_points(right: Flags, positives: int) -> float:
    """The area under precision over recall, precision made to fall only; arguments as for `ap_11_points`."""
    return float(precision_envelope(right)[right].sum() / positives)  # each right detection is a step of 1/positives


def precision_envelope(right: Flags) -> Floats:
    """The best precision from each detection on, (N,)."""
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]
