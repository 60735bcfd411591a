"""COCO's average precision and recall; the only module that imports pycocotools.

pycocotools wants a dictionary for every box, which takes some twenty times the memory of its numbers. In COCO's metric
neither classes nor images influence each other's matches, so one class is matched after another, some images at a time,
and only which detections matched is kept until the class's curve is made: the same result in little memory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from cvdetect.core.errors import MissingPackage
from cvdetect.core.progress import Progress
from cvdetect.jobs.evaluate.arrays import DetectionArrays, Floats, Ints, ObjectArrays

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval

__all__ = ["CocoScores", "coco_scores", "require_pycocotools"]

_MOST_A_CLASS = 100  # detections of a class in an image; COCO ignores the others
_AT_ONCE = 250  # images
_AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True, eq=False)
class CocoScores:
    """COCO's twelve figures, 0 to 1, None where there is nothing to find; and two of each class.

    Attributes:
        figures: AP (IoU 0.50 to 0.95), AP50, AP75, AP_small, AP_medium, AP_large, AR1, AR10, AR100 and AR_small,
            AR_medium, AR_large.
        ap, ap50: of each label.
        evaluator: what computed them, with its version.
    """

    figures: dict[str, float | None]
    ap: list[float | None]
    ap50: list[float | None]
    evaluator: str


def require_pycocotools() -> None:
    """Raise MissingPackage where COCO's metric cannot be computed."""
    if importlib.util.find_spec("pycocotools") is None:
        hint = "run pip install 'cvdetect[eval]' (or pip install pycocotools)"
        raise MissingPackage(f"cvdetect eval needs pycocotools: {hint}")


def coco_scores(objects: ObjectArrays, found: DetectionArrays, label_count: int, progress: Progress) -> CocoScores:
    """Score all detections by COCO's rules.

    Crowds are COCO's own: they may match many detections and are no objects to be found. COCO has no difficult objects:
    they are treated as COCO treats objects outside a size range, neither missed when not found nor wrong when found.
    """
    precision, recall = [], []
    progress.begin("scoring", label_count, "classes")
    try:
        for label in range(label_count):
            one = _evaluate(objects, found, label)
            precision.append(one[0])
            recall.append(one[1])
            progress.advance()
    finally:
        progress.end()
    p = np.stack(precision, axis=-1)  # (10 IoU, 101 recalls, 4 areas, 3 limits, labels)
    r = np.stack(recall, axis=-1)  # (10 IoU, 4 areas, 3 limits, labels)
    whole = p[:, :, 0, 2]  # (10, 101, labels): all areas, at most 100 detections
    ap, ap50 = ([_mean(part[..., label]) for label in range(label_count)] for part in (whole, whole[0]))
    return CocoScores(_figures(p, r), ap, ap50, f"pycocotools {version('pycocotools')}")


def _figures(p: Floats, r: Floats) -> dict[str, float | None]:
    figures = {"AP": p[:, :, 0, 2], "AP50": p[0, :, 0, 2], "AP75": p[5, :, 0, 2]}
    figures |= {f"AP_{area}": p[:, :, i, 2] for i, area in enumerate(_AREAS) if i}
    figures |= {f"AR{most}": r[:, 0, i] for i, most in enumerate((1, 10, _MOST_A_CLASS))}
    figures |= {f"AR_{area}": r[:, i, 2] for i, area in enumerate(_AREAS) if i}
    return {name: _mean(part) for name, part in figures.items()}


def _mean(part: Floats) -> float | None:
    """The mean of what is defined: pycocotools marks classes without objects by -1."""
    defined = part[part > -1]
    return float(defined.mean()) if defined.size else None


def _evaluate(objects: ObjectArrays, found: DetectionArrays, label: int) -> tuple[Floats, Floats]:
    """One class → its precision (10, 101, 4, 3) and recall (10, 4, 3)."""
    theirs = np.flatnonzero(objects.label == label)
    if not len(theirs):
        return np.full((10, 101, 4, 3), -1.0), np.full((10, 4, 3), -1.0)
    mine = _best_of_each_image(found, np.flatnonzero(found.label == label))
    images = np.unique(np.concatenate([objects.image[theirs], found.image[mine]]))
    matched: list[list[dict[str, Any]]] = [[] for _ in _AREAS]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its timings
        for some in np.split(images, range(_AT_ONCE, len(images), _AT_ONCE)):
            annotations = list(_annotations(objects, theirs[np.isin(objects.image[theirs], some)]))
            results = list(_results(found, mine[np.isin(found.image[mine], some)]))
            evaluation = _evaluation(annotations, results, some)
            evaluation.evaluate()
            for area, rows in zip(matched, np.split(np.array(evaluation.evalImgs), len(_AREAS)), strict=True):
                area += [_compact(row) for row in rows if row is not None]
        evaluation = _evaluation([], [], np.arange(len(matched[0])))
        evaluation.evalImgs = [row for area in matched for row in area]
        evaluation._paramsEval = evaluation.params
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0], evaluation.eval["recall"][:, 0]


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """What `accumulate` reads of one image's matches, (10 IoU, detections): whether a detection matched, not what."""
    return {
        "dtScores": np.asarray(row["dtScores"]),
        "dtMatches": row["dtMatches"] > 0,
        "dtIgnore": np.asarray(row["dtIgnore"], np.bool_),
        "gtIgnore": np.asarray(row["gtIgnore"]),
    }


def _best_of_each_image(found: DetectionArrays, rows: Ints) -> Ints:
    """Rows without those that COCO ignores: beyond the 100 best of this class in an image."""
    order = rows[np.lexsort((-found.score[rows], found.image[rows]))]
    image = found.image[order]
    rank = np.arange(len(order)) - np.searchsorted(image, image)  # in its image, from 0
    return np.sort(order[rank < _MOST_A_CLASS])


def _evaluation(annotations: list[dict[str, Any]], results: list[dict[str, Any]], images: Ints) -> COCOeval:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):  # type: ignore[misc]
        """COCO's, which leaves difficult objects out as well."""

        def _prepare(self) -> None:
            super()._prepare()
            for rows in self._gts.values():
                for row in rows:
                    row["ignore"] = row["ignore"] or row["difficult"]

    truth, detected = COCO(), COCO()
    for coco, rows in ((truth, annotations), (detected, results)):
        coco.dataset = {"images": [{"id": int(i)} for i in images], "annotations": rows, "categories": [{"id": 1}]}
        coco.createIndex()
    return Evaluation(truth, detected, "bbox")


def _annotations(objects: ObjectArrays, rows: Ints) -> Iterator[dict[str, Any]]:
    """COCO's annotations; numbered from 1, as 0 means "no match" to pycocotools."""
    for number, row in enumerate(rows, start=1):
        yield {
            **_box(number, objects.image[row], objects.xyxy[row]),
            "area": float(objects.area[row]),
            "iscrowd": int(objects.crowd[row]),
            "difficult": int(objects.difficult[row]),
        }


def _results(found: DetectionArrays, rows: Ints) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, start=1):
        annotation = _box(number, found.image[row], found.xyxy[row])
        width, height = annotation["bbox"][2:]
        yield {**annotation, "area": width * height, "iscrowd": 0, "score": float(found.score[row])}


def _box(number: int, image: np.int64, xyxy: Floats) -> dict[str, Any]:
    x1, y1, x2, y2 = xyxy.tolist()
    return {"id": number, "image_id": int(image), "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
