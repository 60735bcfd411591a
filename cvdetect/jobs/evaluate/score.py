"""Detections against objects: which found which, the confusion matrix, precision and recall, and VOC's AP.

Matching follows PASCAL VOC's devkit (VOCevaldet.m), extended to COCO's crowds. Class by class, by falling score, a
detection belongs to the object of its image and class that it overlaps most. Where that IoU reaches 0.5 it is right if
the object was free, wrong if it was taken already, and neither if the object is difficult. Where a detection would be
wrong, but half of its own area lies in a crowd of its class, it is neither. VOC knows no crowds: they are no objects to
be found here. Its average precision is by 11 points (until 2009) or by all (from 2010): Everingham et al., "The PASCAL
Visual Object Classes (VOC) Challenge", IJCV 88 (2010), section 4.2, and the devkit's VOCap.m.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.boxes import coverage, iou
from cvdetect.jobs.evaluate.arrays import DetectionArrays, Flags, Floats, Ints, ObjectArrays

__all__ = [
    "IGNORED",
    "RIGHT",
    "WRONG",
    "Matches",
    "Ranking",
    "Rates",
    "Scored",
    "ap_11_points",
    "ap_all_points",
    "best_f1",
    "confusion_matrix",
    "match",
    "most_confused",
    "precision_envelope",
    "rank",
    "score",
    "unmatched",
]


WRONG, RIGHT, IGNORED = 0, 1, 2
_LEAST_IOU = 0.5  # VOC's


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The objects, the detections, and how they match; all figures, curves and worst images come from these.

    Attributes:
        rankings: one a label.
        together: of all labels.
    """

    objects: ObjectArrays
    found: DetectionArrays
    matches: Matches
    rankings: tuple[Ranking, ...]
    together: Ranking


def score(objects: ObjectArrays, found: DetectionArrays, label_count: int) -> Scored:
    """Match all detections with the objects and rank them, class by class and together."""
    matches = match(objects, found)
    rankings = tuple(rank(objects, found, matches, label) for label in range(label_count))
    return Scored(objects, found, matches, rankings, rank(objects, found, matches))


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The verdicts on N detections.

    Attributes:
        verdict: int8 (N,): WRONG, RIGHT or IGNORED.
        partner: int64 (N,): the object that a right detection found, else -1.
    """

    verdict: NDArray[np.int8]
    partner: Ints


def match(objects: ObjectArrays, found: DetectionArrays) -> Matches:
    """Find out which detections are right.

    A verdict depends on better detections only, so it stays the same whatever score threshold is set afterwards.
    """
    matches = Matches(np.full(len(found), WRONG, np.int8), np.full(len(found), -1, np.int64))
    candidates = dict(_groups(objects.label, objects.image, np.zeros(len(objects.label))))
    for key, rows in _groups(found.label, found.image, -found.score):
        if key in candidates:
            _match_group(objects, candidates[key], found, rows, matches)
    return matches


def _groups(label: Ints, image: Ints, position: Floats) -> Iterator[tuple[tuple[int, int], Ints]]:
    """((label, image), the rows of both by rising position; equal ones keep their order)."""
    order = np.lexsort((position, image, label))
    ordered_label, ordered_image = label[order], image[order]
    new = (np.diff(ordered_label, prepend=-1) != 0) | (np.diff(ordered_image, prepend=-1) != 0)  # (N,)
    starts = np.flatnonzero(new).tolist()
    for start, stop in pairwise([*starts, len(order)]):
        yield (int(ordered_label[start]), int(ordered_image[start])), order[start:stop]


def _match_group(objects: ObjectArrays, candidates: Ints, found: DetectionArrays, rows: Ints, matches: Matches) -> None:
    """Write the verdicts of one class in one image, on its detections `rows`, by falling score.

    Args:
        candidates: the objects of that class and image.
    """
    single = candidates[~objects.crowd[candidates]]
    crowds = candidates[objects.crowd[candidates]]
    overlap = iou(found.xyxy[rows], objects.xyxy[single])  # (D, G)
    inside = coverage(found.xyxy[rows], objects.xyxy[crowds])  # (D, C)
    best = overlap.argmax(axis=1) if len(single) else np.zeros(len(rows), np.int64)  # the first of equals
    taken: set[int] = set()
    for i, row in enumerate(rows):
        reached = bool(len(single)) and overlap[i, best[i]] >= _LEAST_IOU
        target = int(single[best[i]]) if reached else -1
        if reached and objects.difficult[target]:
            matches.verdict[row] = IGNORED
        elif reached and target not in taken:
            taken.add(target)
            matches.verdict[row], matches.partner[row] = RIGHT, target
        elif len(crowds) and inside[i].max() >= _LEAST_IOU:
            matches.verdict[row] = IGNORED


def confusion_matrix(
    objects: ObjectArrays, found: DetectionArrays, matches: Matches, at: float, label_count: int
) -> Ints:
    """Objects against detections with score ≥ `at` → (label_count + 1, label_count + 1), rows are the ground truth.

    The last row and column are the background: an object that nothing found, a detection where nothing is. The diagonal
    holds the right detections of `match`. The rest is paired across classes, best IoU first, from 0.5 on. So a row sums
    to its class's objects, and a column to its detections.
    """
    matrix = np.zeros((label_count + 1, label_count + 1), np.int64)
    right = (matches.verdict == RIGHT) & (found.score >= at)
    np.add.at(matrix, (found.label[right], found.label[right]), 1)
    missed, wrong = unmatched(objects, found, matches, at)
    objects_left, detections_left = set(missed.tolist()), set(wrong.tolist())
    for target, detection in _pairs(objects, missed, found, wrong):
        if target in objects_left and detection in detections_left:
            objects_left.remove(target)
            detections_left.remove(detection)
            matrix[objects.label[target], found.label[detection]] += 1
    for target in objects_left:
        matrix[objects.label[target], label_count] += 1
    for detection in detections_left:
        matrix[label_count, found.label[detection]] += 1
    return matrix


def unmatched(objects: ObjectArrays, found: DetectionArrays, matches: Matches, at: float) -> tuple[Ints, Ints]:
    """The objects that no detection with score ≥ `at` found, and the wrong ones of these detections (row numbers)."""
    shown = found.score >= at
    missed = objects.counted
    missed[matches.partner[shown & (matches.verdict == RIGHT)]] = False
    return np.flatnonzero(missed), np.flatnonzero(shown & (matches.verdict == WRONG))


def _pairs(objects: ObjectArrays, missed: Ints, found: DetectionArrays, wrong: Ints) -> list[tuple[int, int]]:
    """(object, detection) of the same image with IoU ≥ 0.5, best IoU first."""
    pairs: list[tuple[float, int, int]] = []
    order = wrong[np.argsort(found.image[wrong], kind="stable")]
    images = found.image[order]
    for image in np.unique(objects.image[missed]):
        targets = missed[objects.image[missed] == image]
        start, stop = np.searchsorted(images, [image, image + 1])
        rows = order[start:stop]
        overlap = iou(objects.xyxy[targets], found.xyxy[rows])  # (T, D)
        close = np.argwhere(overlap >= _LEAST_IOU)
        pairs += [(float(overlap[t, d]), int(targets[t]), int(rows[d])) for t, d in close]
    return [(target, row) for _, target, row in sorted(pairs, key=lambda pair: -pair[0])]


def most_confused(matrix: Ints, most: int) -> list[tuple[int, int, int]]:
    """(class, detected as, how often) of the commonest mistakes between two classes, background not counted."""
    mistakes = matrix[:-1, :-1].copy()
    np.fill_diagonal(mistakes, 0)
    rows = [(int(r), int(c), int(mistakes[r, c])) for r, c in np.argwhere(mistakes)]
    return sorted(rows, key=lambda row: (-row[2], row[:2]))[:most]


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts at one threshold: right detections, wrong detections, objects not found."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float | None:
        """The share of the detections that are right; None without detections."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """The share of the objects that are found; None without objects."""
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


def rank(objects: ObjectArrays, found: DetectionArrays, matches: Matches, label: int | None = None) -> Ranking:
    """All detections of one label, or of all labels together."""
    mine = matches.verdict != IGNORED
    positive = objects.counted
    if label is not None:
        mine, positive = mine & (found.label == label), positive & (objects.label == label)
    rows = np.flatnonzero(mine)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    return Ranking(found.score[rows], matches.verdict[rows] == RIGHT, int(positive.sum()))


def best_f1(together: Ranking) -> float:
    """The score at which F1, counted over all classes together, is best; the highest of equals, 0.5 without any hit."""
    f1 = together.f1()
    return float(together.score[f1.argmax()]) if f1.size and f1.max() > 0 else 0.5


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
