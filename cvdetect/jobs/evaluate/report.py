"""What an evaluation found out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cvdetect.jobs.evaluate.arrays import Found, Ints, Objects
from cvdetect.jobs.evaluate.score import Matches, Ranking, Rates

__all__ = ["ClassFigures", "ImageCounts", "Report", "Scored"]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class; shares are 0 to 1, None where there is nothing to take a share of.

    Attributes:
        objects: how many are to be found (no crowds, none difficult).
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
    """How many images were evaluated, and how many were left out, and why."""

    evaluated: int
    without_picture: int = 0
    without_truth: int = 0
    unreadable: int = 0
    not_reached: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The objects, the detections, and what became of them; what pictures and curves are made of."""

    objects: Objects
    found: Found
    matches: Matches
    rankings: tuple[Ranking, ...]
    together: Ranking


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The figures of one evaluation.

    Attributes:
        coco: COCO's figures by their names (AP, AP50, …, AR100, …); None where there is nothing to be found.
        voc_11, voc_all: the means over the classes that have objects.
        classes: one entry a class of the truth, in its order.
        rates: all classes together at `at`.
        at: the score threshold of all rates; `at_is_best`: it was not given, F1 over all classes is best there.
        confusion: see `confusion_matrix`.
        ran: what was measured and how: what ran the network (the keys of `Ran`), model, evaluator, images, threshold.
        judged: what the figures were taken from.
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
    judged: Scored
    exit_code: int = 0

    @property
    def labels(self) -> list[str]:
        """The names of all classes."""
        return [one.label for one in self.classes]

    def as_json(self) -> dict[str, Any]:
        """The figures under the names that the command line promises."""
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
