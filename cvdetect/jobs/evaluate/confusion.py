"""What is mistaken for what."""

from __future__ import annotations

import numpy as np

from cvdetect.jobs.evaluate.arrays import Found, Ints, Objects
from cvdetect.jobs.evaluate.score import RIGHT, WRONG, Matches, overlaps

__all__ = ["confusion_matrix", "left_over", "most_confused"]


def confusion_matrix(objects: Objects, found: Found, matches: Matches, at: float, label_count: int) -> Ints:
    """Objects against detections with score ≥ `at` → (label_count + 1, label_count + 1), rows are the truth.

    The last row and column are the background: an object that nothing found, a detection where nothing is. The diagonal
    holds the right detections of `matching`. What these leave over is paired across classes, best IoU first, from 0.5
    on. So a row sums to its class's objects, and a column to its detections.
    """
    matrix = np.zeros((label_count + 1, label_count + 1), np.int64)
    right = (matches.verdict == RIGHT) & (found.score >= at)
    np.add.at(matrix, (found.label[right], found.label[right]), 1)
    missed, wrong = left_over(objects, found, matches, at)
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


def left_over(objects: Objects, found: Found, matches: Matches, at: float) -> tuple[Ints, Ints]:
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
