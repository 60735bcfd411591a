"""Other people's readers find in our files what was written, box for box.

How close is said by each format's rounding: COCO has two decimals for x, y, width and height each (so a far edge is off
by at most 0.01), YOLO and Open Images six decimals of a share of the image, VOC whole pixels, CVAT two decimals.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import supervision
from globox import AnnotationSet
from pycocotools.coco import COCO

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.voc import voc_pixels
from cvdetect.core.labels import LabelSet
from tests.annotations.conftest import COCO80, FACTS, NASTY, Listed, record, save_images, some

Case = tuple[Listed, LabelSet]
FLOAT32 = 1e-4  # supervision keeps boxes as float32


@pytest.fixture(params=["small", "nasty names", "TensorFlow's class numbers", "coco-mini"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "small":
        return some(), COCO80
    if request.param == "nasty names":
        return Listed([record(name, [[i, 2, i + 10, 20]], [i]) for i, name in enumerate(sorted(NASTY))]), COCO80
    if request.param == "coco-mini":
        found: Case = request.getfixturevalue("coco_mini")
        return found
    from cvdetect.core.labels import BUILT_IN

    return Listed([record("a.png", [[0, 0, 9, 9], [1.5, 2.5, 60, 40]], [90, 1])]), BUILT_IN["coco91"](0)


@pytest.fixture
def pictures(case: Case, tmp_path: Path) -> Path:
    return save_images(tmp_path / "images", case[0])


def write(name: str, case: Case, folder: Path) -> Path:
    FORMATS[name].write(folder, *case, FACTS)
    return folder


def labels_of(case: Case) -> Iterator[tuple[str, list[str]]]:
    records, labels = case
    for one in records:
        yield one.name, [labels.label(int(c)) for c in one.found.class_id]


def official(class_id: int, labels: LabelSet) -> int:
    category_id = labels.category_id(class_id)
    assert category_id is not None
    return category_id


def test_pycocotools_reads_annotations_and_results(case: Case, tmp_path: Path) -> None:
    records, labels = case
    folder = write("coco", case, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
        results = truth.loadRes(str(folder / "results.json"))
    by_name = {image["file_name"]: image for image in truth.dataset["images"]}
    assert set(by_name) == set(records.names())
    for one in records:
        image = by_name[one.name]
        assert (image["width"], image["height"]) == one.wh
        for side in (truth, results):
            found = side.loadAnns(side.getAnnIds(imgIds=[image["id"]]))
            x, y, w, h = np.array([a["bbox"] for a in found]).reshape(-1, 4).T
            np.testing.assert_allclose(np.stack([x, y, x + w, y + h], 1), one.found.xyxy, atol=0.0101)
            assert [a["category_id"] for a in found] == [official(int(c), labels) for c in one.found.class_id]
            np.testing.assert_allclose([a["score"] for a in found], one.found.score, atol=1e-6)
            np.testing.assert_allclose([a["area"] for a in found], w * h, atol=1e-4)
            assert not any(a["iscrowd"] for a in found)
    assert {c["name"] for c in truth.loadCats(truth.getCatIds())} == set(labels_with_data(labels))


def labels_with_data(labels: LabelSet) -> list[str]:
    return [labels.label(c) for c in labels.class_ids() if labels.category_id(c) is not None]


def test_pycocotools_finds_every_box_when_a_result_is_scored_against_itself(tmp_path: Path) -> None:
    from pycocotools.cocoeval import COCOeval

    folder = write("coco", (some(), COCO80), tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
        scored = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert scored.stats[0] == pytest.approx(1)


def check_supervision(
    dataset: supervision.DetectionDataset, case: Case, boxes: Callable[[int], np.ndarray], atol: Callable[[int], float]
) -> None:
    """`boxes(i)` is what should come out for record i, within `atol(i)` pixels."""
    read = {Path(path).name: found for path, found in dataset.annotations.items()}
    assert set(read) == set(case[0].names())
    for i, (name, labels) in enumerate(labels_of(case)):
        np.testing.assert_allclose(read[name].xyxy, boxes(i), atol=atol(i))
        classes = read[name].class_id
        assert [dataset.classes[c] for c in (classes if classes is not None else [])] == labels


def test_supervision_reads_coco(case: Case, pictures: Path, tmp_path: Path) -> None:
    folder = write("coco", case, tmp_path / "out")
    dataset = supervision.DetectionDataset.from_coco(str(pictures), str(folder / "instances.json"))
    check_supervision(dataset, case, lambda i: case[0].records[i].found.xyxy, lambda _: 0.0101 + FLOAT32)


def test_supervision_reads_voc(case: Case, pictures: Path, tmp_path: Path) -> None:
    """It reads corners as 1-based and inclusive, as VOC's own development kit does."""
    folder = write("voc", case, tmp_path / "out")
    dataset = supervision.DetectionDataset.from_pascal_voc(str(pictures), str(folder))

    def edges(i: int) -> np.ndarray:
        one = case[0].records[i]
        pixels = np.array([voc_pixels(box, one.wh) for box in one.found.xyxy]).reshape(-1, 4)
        return pixels - [1, 1, 0, 0]

    check_supervision(dataset, case, edges, lambda _: 0)
    # half a pixel by rounding; one where a box under a pixel is widened to one
    check_supervision(dataset, case, lambda i: case[0].records[i].found.xyxy, lambda _: 1)


def test_supervision_and_this_package_write_the_same_voc_corners(coco_mini: Case) -> None:
    from supervision.dataset.formats.pascal_voc import object_to_pascal_voc

    for one in coco_mini[0]:
        for box in one.found.xyxy:
            theirs = object_to_pascal_voc(box, "x").find("bndbox")
            assert theirs is not None
            # Theirs rounds x1 + 1, ours x1, so at exactly half a pixel the two may choose different even numbers.
            if not np.any(box % 1 == 0.5):
                assert tuple(int(str(e.text)) for e in theirs) == voc_pixels(box, one.wh)


@pytest.mark.parametrize("with_score", [False, True])
def test_supervision_reads_yolo(case: Case, pictures: Path, tmp_path: Path, with_score: bool) -> None:
    from dataclasses import replace

    FORMATS["yolo"].write(tmp_path / "out", *case, replace(FACTS, yolo_conf=with_score))
    dataset = supervision.DetectionDataset.from_yolo(
        str(pictures), str(tmp_path / "out/labels"), str(tmp_path / "out/data.yaml")
    )
    assert dataset.classes == labels_with_data(case[1])
    # half of the sixth decimal, of the centre and of half the size
    check_supervision(
        dataset, case, lambda i: case[0].records[i].found.xyxy, lambda i: 1e-6 * max(case[0].records[i].wh) + FLOAT32
    )


def check_globox(
    read: AnnotationSet, case: Case, atol: Callable[[int], float], shift: tuple[int, ...] = (0, 0, 0, 0)
) -> None:
    records, labels = case
    for i, one in enumerate(records):
        boxes = read[one.name].boxes
        xyxy = np.array([box.ltrb for box in boxes]).reshape(-1, 4) + shift
        np.testing.assert_allclose(xyxy, one.found.xyxy, atol=atol(i))
        assert [box.label for box in boxes] == [labels.label(int(c)) for c in one.found.class_id]
        scores = [box.confidence for box in boxes]
        if None not in scores:
            np.testing.assert_allclose(np.array(scores, float), one.found.score, atol=1e-6)


def test_globox_reads_open_images(case: Case, pictures: Path, tmp_path: Path) -> None:
    folder = write("openimages", case, tmp_path / "out")
    read = AnnotationSet.from_openimage(folder / "openimages.csv", image_folder=pictures)
    for one in case[0]:  # the format has no row for an image without detections
        if not len(one.found):
            assert one.name not in read.image_ids
    full = Listed([one for one in case[0] if len(one.found)])
    check_globox(read, (full, case[1]), lambda i: 0.51e-6 * max(full.records[i].wh))
    assert all(box.confidence is not None for box in read.all_boxes)


def test_globox_reads_coco(case: Case, tmp_path: Path) -> None:
    folder = write("coco", case, tmp_path)
    read = AnnotationSet.from_coco(folder / "instances.json")
    assert set(read.image_ids) == set(case[0].names())
    check_globox(read, case, lambda _: 0.0101)


def test_globox_reads_cvat(case: Case, tmp_path: Path) -> None:
    folder = write("cvat", case, tmp_path)
    read = AnnotationSet.from_cvat(folder / "annotations.xml")
    assert set(read.image_ids) == set(case[0].names())
    check_globox(read, case, lambda _: 0.00501)


def test_globox_reads_voc(case: Case, tmp_path: Path) -> None:
    """It takes VOC's numbers as they stand, so the first pixel is one too far for it."""
    folder = write("voc", case, tmp_path)
    read = AnnotationSet.from_pascal_voc(folder)
    assert {name: read[name].image_size for name in read.image_ids} == {one.name: one.wh for one in case[0]}
    check_globox(read, case, lambda _: 1, shift=(-1, -1, 0, 0))


def test_a_reader_that_takes_voc_as_a_tree_of_dicts_finds_its_keys(tmp_path: Path) -> None:
    """The way torchvision's VOCDetection reads: every element becomes a key, "object" always a list."""
    from xml.etree import ElementTree

    folder = write("voc", (some(), COCO80), tmp_path)

    def as_dict(node: ElementTree.Element) -> object:
        if not len(node):
            return node.text
        return {child.tag: as_dict(child) for child in node}

    root = ElementTree.parse(folder / "a.xml").getroot()
    first = as_dict(root.findall("object")[0])
    assert isinstance(first, dict)
    assert first["bndbox"] == {"xmin": "2", "ymin": "3", "xmax": "31", "ymax": "40"}
