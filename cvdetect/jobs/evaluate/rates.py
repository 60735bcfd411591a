"""Precision, recall and F1 at a score threshold, and how they change with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvdetect.jobs.evaluate.arrays import Flags, Floats, Found, Objects
from cvdetect.jobs.evaluate.score import IGNORED, RIGHT, Matches

__all__ = ["Ranking", "Rates", "best_f1", "ranking", "rankings"]


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
