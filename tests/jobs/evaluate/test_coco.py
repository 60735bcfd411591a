"""COCO's figures class by class equal pycocotools on everything at once."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from cvdetect.core.errors import MissingPackage
from cvdetect.core.progress import NullProgress
from cvdetect.jobs.evaluate.arrays import DetectionArrays, ObjectArrays
from cvdetect.jobs.evaluate.coco import coco_scores, require_pycocotools
from tests.jobs.evaluate.scenes import make_found, make_objects, random_scene

NAMES = "AP AP50 AP75 AP_small AP_medium AP_large AR1 AR10 AR100 AR_small AR_medium AR_large".split()


def by_hand(objects: ObjectArrays, found: DetectionArrays, images: int, labels: int) -> list[float]:
    """pycocotools' own summary."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(box: np.ndarray) -> list[float]:
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": i} for i in range(labels)],
        "annotations": [
            {
                "id": i + 1, "image_id": int(objects.image[i]), "category_id": int(objects.label[i]),
                "bbox": xywh(objects.xyxy[i]), "area": float(objects.area[i]), "iscrowd": int(objects.crowd[i]),
            }
            for i in range(len(objects.label))
        ],
    }  # fmt: skip
    rows = [
        {"image_id": int(i), "category_id": int(c), "bbox": xywh(box), "score": float(s)}
        for i, c, box, s in zip(found.image, found.label, found.xyxy, found.score, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("seed", range(3))
def test_class_by_class_gives_what_pycocotools_gives_at_once(seed: int) -> None:
    objects, found = random_scene(seed, crowds=True)
    scores = coco_scores(objects, found, 4, NullProgress())  # the fourth class has no objects
    expected = by_hand(objects, found, 12, 4)
    assert [scores.figures[name] for name in NAMES] == pytest.approx(expected, abs=1e-12)
    assert scores.ap[3] is None and scores.ap50[3] is None
    assert np.mean(scores.ap[:3]) == pytest.approx(expected[0], abs=1e-12)
    assert scores.evaluator.startswith("pycocotools 2")


def test_more_than_a_hundred_detections_of_a_class_in_an_image_are_cut_as_pycocotools_cuts_them() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (300, 2))
    found = make_found(np.concatenate([low, low + 40], axis=1), rng.permutation(300) / 300)
    objects = make_objects([[10, 10, 50, 50], [30, 30, 70, 70], [0, 0, 40, 40]])
    scores = coco_scores(objects, found, 1, NullProgress())
    assert [scores.figures[n] for n in NAMES] == pytest.approx(
        [v if v > -1 else None for v in by_hand(objects, found, 1, 1)], abs=1e-12
    )


def test_no_detections_score_0_and_no_objects_score_nothing() -> None:
    nothing = make_found([], [])
    assert coco_scores(make_objects([[0, 0, 50, 50]]), nothing, 1, NullProgress()).figures["AP"] == 0
    assert coco_scores(make_objects([]), nothing, 1, NullProgress()).figures["AP"] is None


def test_a_difficult_object_is_neither_missed_nor_is_its_detection_wrong() -> None:
    boxes = [[0, 0, 50, 50], [100, 100, 150, 150]]
    objects = make_objects(boxes, difficult=[1])
    for found in (make_found(boxes, [0.5, 0.9]), make_found(boxes[:1], [0.5])):
        assert coco_scores(objects, found, 1, NullProgress()).figures["AP"] == pytest.approx(1)


def test_a_missing_pycocotools_is_one_sentence_with_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'cvdetect\[eval\]'"):
        require_pycocotools()
