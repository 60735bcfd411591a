"""COCO files of detections with masks, read by pycocotools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ImageRecord
from cvdetect.core.masks import regions
from tests.annotations.conftest import COCO80, FACTS, Listed
from tests.conftest import make_detections

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools and numpy 2
    pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
]
DISC = (np.hypot(*np.mgrid[-1:1:15j, -1:1:15j]) < 0.9).astype(np.float32)
RING = DISC * (np.hypot(*np.mgrid[-1:1:15j, -1:1:15j]) > 0.4).astype(np.float32)


def scene() -> ImageRecord:
    """A disc, a ring that leaves the image, and one that is in it, in an image of 90x60."""
    plain = make_detections([[5, 6, 35.4, 30.2], [70, 40, 90, 60], [40, 10, 70, 45]], [16, 2, 0], [0.9, 0.8, 0.7])
    boxes = np.array([[5, 6, 35.4, 30.2], [70, 40, 100, 70], [40, 10, 70, 45]], np.float32)
    return ImageRecord("a.png", (90, 60), replace(plain, masks=(DISC, RING, RING), mask_xyxy=boxes))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    FORMATS["coco"].write(tmp_path, Listed([scene()]), COCO80, FACTS)
    return tmp_path


def test_results_and_instances_hold_the_masks_to_the_pixel(files: Path) -> None:
    truth = COCO(str(files / "instances.json"))
    found = truth.loadRes(str(files / "results.json"))
    expected = regions(scene().found, (90, 60))
    for dataset in (truth, found):
        for annotation, region in zip(dataset.loadAnns(dataset.getAnnIds()), expected, strict=True):
            np.testing.assert_array_equal(dataset.annToMask(annotation).astype(bool), region.on_image((90, 60)))
    assert [a["area"] for a in truth.loadAnns(truth.getAnnIds())] == [region.area for region in expected]


def test_polygons_where_they_can_say_it_and_rle_for_holes(files: Path) -> None:
    kinds = [type(a["segmentation"]) for a in json.loads((files / "instances.json").read_text())["annotations"]]
    assert kinds == [list, list, dict]  # the second ring's hole opens to the image's corner
    assert all(isinstance(r["segmentation"], dict) for r in json.loads((files / "results.json").read_text()))


def test_the_files_evaluated_against_each_other_are_perfect(files: Path) -> None:
    truth = COCO(str(files / "instances.json"))
    judge = COCOeval(truth, truth.loadRes(str(files / "results.json")), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert judge.stats[0] == pytest.approx(1)


def test_detections_without_masks_have_an_empty_segmentation_as_importers_want_one(tmp_path: Path) -> None:
    record = scene()
    FORMATS["coco"].write(tmp_path, Listed([replace(record, found=replace(record.found, masks=None))]), COCO80, FACTS)
    for one in json.loads((tmp_path / "instances.json").read_text())["annotations"]:
        assert one["segmentation"] == []
        assert one["area"] == pytest.approx(one["bbox"][2] * one["bbox"][3])
