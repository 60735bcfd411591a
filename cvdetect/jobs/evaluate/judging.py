"""From truth and detections to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from cvdetect.annotations.types import Truth
from cvdetect.core.errors import SourceError
from cvdetect.core.progress import Progress
from cvdetect.jobs.evaluate.arrays import Found, Objects, flatten
from cvdetect.jobs.evaluate.coco import CocoScores, coco_scores
from cvdetect.jobs.evaluate.confusion import confusion_matrix
from cvdetect.jobs.evaluate.predict import Looked
from cvdetect.jobs.evaluate.rates import best_f1, ranking, rankings
from cvdetect.jobs.evaluate.report import ClassFigures, ImageCounts, Judged, Report
from cvdetect.jobs.evaluate.score import match
from cvdetect.jobs.evaluate.voc import ap_11_points, ap_all_points

__all__ = ["judge"]


def judge(truth: Truth, looked: Looked, images: ImageCounts, at: float | None, progress: Progress) -> Report:
    """All figures of what was looked at; `at` is the score threshold of the rates, None for the best F1.

    Raises:
        SourceError: there is nothing to be found.
    """
    labels = [truth.labels[i] for i in looked.labels]
    objects, found = _only(flatten(truth, looked.images), looked.found, looked.labels)
    if not objects.counted.any():
        raise SourceError(f"the {len(looked.images)} images hold no object of the measured classes: nothing to measure")
    coco = coco_scores(objects, found, len(labels), progress)
    judged = _judged(objects, found, len(labels))
    threshold = best_f1(judged.together) if at is None else at
    classes = _classes(labels, judged, coco, threshold)
    told = {"evaluator": coco.evaluator, "images": asdict(images), "at": threshold, "at_is_best_f1": at is None}
    return Report(
        coco=coco.figures,
        voc_11=_mean([one.voc_11 for one in classes]),
        voc_all=_mean([one.voc_all for one in classes]),
        classes=classes,
        rates=judged.together.at(threshold),
        at=threshold,
        at_is_best=at is None,
        confusion=confusion_matrix(objects, found, judged.matches, threshold, len(labels)),
        images=images,
        ran={**looked.ran, **told},
        judged=judged,
        exit_code=looked.interrupted or int(images.without_picture + images.unreadable > 0),
    )


def _only(objects: Objects, found: Found, labels: Sequence[int]) -> tuple[Objects, Found]:
    """What is of `labels` (rising), each numbered by its place among them."""
    if max(objects.label.max(initial=-1), found.label.max(initial=-1)) < len(labels) == labels[-1] + 1:
        return objects, found  # all of them, numbered so already
    theirs, kept = np.isin(objects.label, labels), found[np.isin(found.label, labels)]
    return (
        Objects(
            objects.image[theirs],
            np.searchsorted(labels, objects.label[theirs]),
            objects.xyxy[theirs],
            objects.area[theirs],
            objects.crowd[theirs],
            objects.difficult[theirs],
        ),
        Found(kept.image, np.searchsorted(labels, kept.label), kept.xyxy, kept.score),
    )


def _judged(objects: Objects, found: Found, label_count: int) -> Judged:
    matches = match(objects, found)
    by_class = tuple(rankings(objects, found, matches, label_count))
    return Judged(objects, found, matches, by_class, ranking(objects, found, matches))


def _classes(labels: Sequence[str], judged: Judged, coco: CocoScores, at: float) -> tuple[ClassFigures, ...]:
    return tuple(
        ClassFigures(
            label=label,
            objects=ranked.positives,
            ap=coco.ap[i],
            ap50=coco.ap50[i],
            voc_11=ap_11_points(ranked.right, ranked.positives) if ranked.positives else None,
            voc_all=ap_all_points(ranked.right, ranked.positives) if ranked.positives else None,
            rates=ranked.at(at),
        )
        for i, (label, ranked) in enumerate(zip(labels, judged.rankings, strict=True))
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is defined."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
