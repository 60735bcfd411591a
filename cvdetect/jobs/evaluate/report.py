"""The report of an evaluation, and how it is made of what was predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cvdetect.annotations.types import GroundTruth
from cvdetect.core.errors import SourceError
from cvdetect.core.progress import Progress
from cvdetect.jobs.evaluate.arrays import DetectionArrays, Ints, ObjectArrays, flatten
from cvdetect.jobs.evaluate.coco import CocoScores, coco_scores
from cvdetect.jobs.evaluate.predict import Predictions
from cvdetect.jobs.evaluate.score import (
    Rates,
    Scored,
    ap_11_points,
    ap_all_points,
    best_f1,
    confusion_matrix,
    score,
)

__all__ = ["ClassFigures", "EvalReport", "ImageCounts", "make_report"]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """The figures of one class: 0 to 1, None where they are not defined.

    Attributes:
        objects: how many are to be found (neither crowds nor difficult ones).
        ap, ap50: COCO's.
        voc_11, voc_all: VOC's average precision at IoU 0.5, by 11 and by all points.
        rates: right, wrong and missed at the report's score threshold, IoU 0.5.
    """

    label: str
    objects: int
    ap: float | None
    ap50: float | None
    voc_11: float | None
    voc_all: float | None
    rates: Rates

    def as_json(self) -> dict[str, float | int | None]:
        """The figures of this class."""
        rates = self.rates
        return {
            "AP": self.ap, "AP50": self.ap50, "VOC_AP_11": self.voc_11, "VOC_AP_all": self.voc_all,
            "precision": rates.precision, "recall": rates.recall, "F1": rates.f1,
            "TP": rates.tp, "FP": rates.fp, "FN": rates.fn, "objects": self.objects,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """How many images were evaluated, and how many were left out, by reason.

    Attributes:
        without_picture: images of the ground truth that have no file.
        without_truth: image files that are not in the ground truth.
        not_reached: images that an interruption left out.
    """

    evaluated: int
    without_picture: int = 0
    without_truth: int = 0
    unreadable: int = 0
    not_reached: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class EvalReport:
    """The figures of one evaluation.

    Attributes:
        coco: COCO's figures by their names (AP, AP50, …, AR100, …); None where there is nothing to find.
        voc_11, voc_all: the means over the classes that have objects.
        classes: one entry a class of the ground truth, in its order.
        rates: all classes together at `at`.
        at: the score threshold of all rates.
        at_is_best: the threshold was not given; it is the one at which F1 over all classes is best.
        confusion: int64 (L + 1, L + 1), see `confusion_matrix`.
        images: how many images were evaluated and left out.
        ran: what was measured and how: what ran the network (the keys of `Ran`), model, evaluator, images, threshold.
        scored: the objects and detections behind the figures.
        exit_code: 0, 1 where images were left out, 130 or 143 where it was interrupted.
    """

    coco: dict[str, float | None]
    voc_11: float | None
    voc_all: float | None
    classes: tuple[ClassFigures, ...]
    rates: Rates
    at: float
    at_is_best: bool
    confusion: Ints
    images: ImageCounts
    ran: dict[str, Any]
    scored: Scored
    exit_code: int = 0

    @property
    def labels(self) -> list[str]:
        """The names of all classes."""
        return [one.label for one in self.classes]

    def as_json(self) -> dict[str, Any]:
        """The figures under the keys that the JSON of ``cvdetect eval`` has."""
        names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")
        return {
            **{name: self.coco[name] for name in names},
            "VOC_AP_11": self.voc_11,
            "VOC_AP_all": self.voc_all,
            "per_class": {one.label: one.as_json() for one in self.classes},
            "ran": self.ran,
        }

    def to_json(self) -> str:
        """The same as one line of JSON."""
        return json.dumps(self.as_json(), ensure_ascii=False, allow_nan=False) + "\n"


def make_report(
    truth: GroundTruth, predictions: Predictions, images: ImageCounts, at: float | None, progress: Progress
) -> EvalReport:
    """Score the predictions and take all figures.

    Args:
        at: the score threshold of the rates, None for that of the best F1.

    Raises:
        SourceError: there is nothing to find.
    """
    labels = [truth.labels[i] for i in predictions.labels]
    objects, found = _select(flatten(truth, predictions.images), predictions.found, predictions.labels)
    if not objects.counted.any():
        hold = "image holds" if len(predictions.images) == 1 else "images hold"
        raise SourceError(f"the {len(predictions.images)} {hold} no object of the measured classes: nothing to measure")
    coco = coco_scores(objects, found, len(labels), progress)
    scored = score(objects, found, len(labels))
    threshold = best_f1(scored.together) if at is None else at
    classes = _class_figures(labels, scored, coco, threshold)
    stated = {"evaluator": coco.evaluator, "images": asdict(images), "at": threshold, "at_is_best_f1": at is None}
    return EvalReport(
        coco=coco.figures,
        voc_11=_mean([one.voc_11 for one in classes]),
        voc_all=_mean([one.voc_all for one in classes]),
        classes=classes,
        rates=scored.together.at(threshold),
        at=threshold,
        at_is_best=at is None,
        confusion=confusion_matrix(objects, found, scored.matches, threshold, len(labels)),
        images=images,
        ran={**predictions.ran, **stated},
        scored=scored,
        exit_code=predictions.interrupted or int(images.without_picture + images.unreadable > 0),
    )


def _select(
    objects: ObjectArrays, found: DetectionArrays, labels: Sequence[int]
) -> tuple[ObjectArrays, DetectionArrays]:
    """What is of `labels` (rising), each numbered by its position among them."""
    if max(objects.label.max(initial=-1), found.label.max(initial=-1)) < len(labels) == labels[-1] + 1:
        return objects, found  # all labels, which are numbered so already
    theirs, kept = np.isin(objects.label, labels), found[np.isin(found.label, labels)]
    return (
        ObjectArrays(
            objects.image[theirs],
            np.searchsorted(labels, objects.label[theirs]),
            objects.xyxy[theirs],
            objects.area[theirs],
            objects.crowd[theirs],
            objects.difficult[theirs],
        ),
        DetectionArrays(kept.image, np.searchsorted(labels, kept.label), kept.xyxy, kept.score),
    )


def _class_figures(labels: Sequence[str], scored: Scored, coco: CocoScores, at: float) -> tuple[ClassFigures, ...]:
    return tuple(
        ClassFigures(
            label=label,
            objects=ranking.positives,
            ap=coco.ap[i],
            ap50=coco.ap50[i],
            voc_11=ap_11_points(ranking.right, ranking.positives) if ranking.positives else None,
            voc_all=ap_all_points(ranking.right, ranking.positives) if ranking.positives else None,
            rates=ranking.at(at),
        )
        for i, (label, ranking) in enumerate(zip(labels, scored.rankings, strict=True))
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is defined."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
