"""Faster and Mask R-CNN find what TensorFlow finds in the same graphs. Their weights are random, their layers real."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from cvdetect.core.boxes import iou
from cvdetect.core.detections import Detections
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.inference.detector import Detector
from tests.conftest import Cli, Told

# Graph, its input, the lowest score in TensorFlow's file, the share of TensorFlow's detections that must be found.
CASES = [
    ("faster", (300, 300), 0.1, 0.995),
    ("faster", (400, 300), 0.1, 0.995),
    ("mask", (300, 300), 0.3, 0.99),
    ("mask", (400, 300), 0.3, 0.99),
]
IDS = [f"{family}-{wh[0]}x{wh[1]}" for family, wh, _, _ in CASES]


@dataclass(frozen=True)
class Compared:
    """How many detections TensorFlow has, how many were found and how many besides; differences of their masks."""

    expected: int
    matched: int
    extra: int
    masks: tuple[float, ...]


def picture(shared: Path, name: str) -> np.ndarray:
    folders = shared / "data/reference/images", shared / "data/coco-mini/images"
    path = next(folder / name for folder in folders if (folder / name).is_file())
    return np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR))


def load(shared: Path, family: str, wh: tuple[int, int], conf: float, config: Path | None = None) -> Detector:
    graph = shared / f"data/reference/{family}_rcnn_tiny.pb"
    choice = ModelChoice(graph=graph, config=config or graph.with_suffix(".pbtxt"), size=wh)
    return Detector.load(choice, DetectOptions(conf=conf))


@cache
def compare(shared: Path, family: str, wh: tuple[int, int], conf: float) -> Compared:
    detector = load(shared, family, wh, conf)
    truth = json.loads((shared / f"data/reference/{family}_rcnn_tiny_tf_{wh[0]}x{wh[1]}.json").read_text())["images"]
    expected = matched = extra = 0
    masks: list[float] = []
    for name, detections in truth.items():
        image = picture(shared, name)
        found = detector.detect(image)
        pairs = match(detections, found, (image.shape[1], image.shape[0]))
        expected, matched, extra = expected + len(detections), matched + len(pairs), extra + len(found) - len(pairs)
        if found.masks is not None:
            masks += [float(np.abs(found.masks[j] - np.array(detections[i]["mask"])).max()) for i, j in pairs]
    return Compared(expected, matched, extra, tuple(masks))


def match(expected: list[dict[str, Any]], found: Detections, wh: tuple[int, int]) -> list[tuple[int, int]]:
    """Pairs of the same class, IoU ≥ 0.99 (both clipped), scores within 0.001; each detection once."""
    boxes = np.array([d["box"] for d in expected], np.float32).reshape(-1, 4).clip(0, [*wh, *wh])
    overlap, left, pairs = iou(boxes, found.xyxy), set(range(len(found))), []
    for i, one in enumerate(expected):
        same = [
            j
            for j in sorted(left, key=lambda j, i=i: -overlap[i, j])
            if found.class_id[j] == one["class_id"] - 1
            and overlap[i, j] >= 0.99
            and abs(found.score[j] - one["score"]) <= 1e-3
        ]
        if same:
            left.remove(same[0])
            pairs.append((i, same[0]))
    return pairs


@pytest.mark.parametrize(("family", "wh", "conf", "share"), CASES, ids=IDS)
def test_what_tensorflow_finds_is_found_and_nothing_else(
    shared: Path, family: str, wh: tuple[int, int], conf: float, share: float
) -> None:
    result = compare(shared, family, wh, conf)
    assert result.expected > 200
    assert result.matched >= share * result.expected
    assert result.extra <= 2


def test_masks_are_tensorflows(shared: Path) -> None:
    tall, wide = (compare(shared, *case[:3]).masks for case in CASES if case[0] == "mask")
    assert len(tall) > 200 and len(wide) > 200
    # Two boxes end at the picture's very edge: there TensorFlow's CropAndResize takes the last row for outside.
    assert sum(difference > 1e-3 for difference in tall) == 2
    assert max(wide) < 1e-3


def test_a_batch_is_each_picture_by_itself(shared: Path) -> None:
    detector = load(shared, "mask", (400, 300), 0.3)
    images = [picture(shared, "000000350679.jpg"), picture(shared, "000000350679.jpg")[:, ::-1].copy()]
    for one, both in zip([detector.detect(image) for image in images], detector.detect_batch(images), strict=True):
        assert one.masks and both.masks
        np.testing.assert_array_equal(one.xyxy, both.xyxy)
        np.testing.assert_array_equal(np.stack(one.masks), np.stack(both.masks))


def test_classes_are_those_of_coco_by_its_own_numbers(shared: Path) -> None:
    for family in ("faster", "mask"):
        labels = load(shared, family, (300, 300), 0.3).labels
        assert [labels.label(i) for i in (0, 17, 89)] == ["person", "dog", "toothbrush"]
        assert [labels.category_id(i) for i in (0, 17, 89)] == [1, 18, 90]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools and numpy 2
def test_json_has_masks_as_rle_of_the_whole_picture_and_the_drawn_picture_shows_them(
    cli: Cli, shared: Path, samples: Path
) -> None:
    graph = shared / "data/reference/mask_rcnn_tiny.pb"
    done = cli(
        "image", samples / "dog.jpg", "--graph", graph, "--size", "400x300", "--conf", 0.5,
        "--json", "found.jsonl", "-o", "out.png",
    )  # fmt: skip
    assert done.code == 0, done
    record = json.loads(Path("found.jsonl").read_text())
    before, drawn = cv2.imread(str(samples / "dog.jpg")), cv2.imread("out.png")
    assert record["detections"]
    changed = (before != drawn).any(axis=2)
    for detection in record["detections"]:
        assert detection["mask"]["size"] == [record["height"], record["width"]]
        x, y, width, height = coco.toBbox(detection["mask"])
        if width:
            x1, y1, x2, y2 = detection["box"]
            assert x1 - 0.51 <= x and y1 - 0.51 <= y and x + width <= x2 + 0.51 and y + height <= y2 + 0.51
            assert changed[coco.decode(detection["mask"]).astype(bool)].mean() > 0.9


@pytest.mark.parametrize("with_config", [True, False], ids=["reference text graph", "own text graph"])
def test_without_a_size_each_picture_is_brought_to_the_one_that_keeps_its_aspect_ratio(
    shared: Path, tmp_path: Path, with_config: bool
) -> None:
    graph = shared / "data/reference/faster_rcnn_tiny.pb"
    config = graph.with_suffix(".pbtxt") if with_config else None
    graph = graph if with_config else Path(shutil.copy(graph, tmp_path))
    heard = Told()
    by_itself = Detector.load(ModelChoice(graph=graph, config=config), DetectOptions(conf=0.3), progress=heard)
    assert (by_itself.model.input.min_max_size, by_itself.model.input_wh) == ((300, 512), (400, 300))
    assert any("shorter side to 300 pixels, the longer one to at most 512" in note for note in heard.notes)
    whole = picture(shared, "000000350679.jpg")  # 640x428
    pictures = {(449, 300): whole, (300, 428): whole[:, :300], (512, 240): whole[:300]}
    together = by_itself.detect_batch(list(pictures.values()))
    for (size, image), found in zip(pictures.items(), together, strict=True):
        stated = Detector.load(ModelChoice(graph=graph, config=config, size=size), DetectOptions(conf=0.3)).detect(
            image
        )
        np.testing.assert_array_equal(found.xyxy, stated.xyxy)
        assert len(found) > 5


def test_a_size_that_is_asked_for_is_every_pictures(shared: Path) -> None:
    graph = shared / "data/reference/faster_rcnn_tiny.pb"
    fed = Detector.load(ModelChoice(graph=graph, size=(320, 320), resize="tensorflow")).model.input
    assert (fed.wh, fed.min_max_size, fed.resize) == ((320, 320), None, "tensorflow")


def test_tiles_of_a_picture_are_brought_to_sizes_of_their_own(shared: Path) -> None:
    choice = ModelChoice(graph=shared / "data/reference/faster_rcnn_tiny.pb", resize="tensorflow")
    detector = Detector.load(choice, DetectOptions(conf=0.3, tile="2x1"))
    image = picture(shared, "000000350679.jpg")
    assert len(detector.detect(image)) > 5


def test_a_letterboxed_picture_has_its_masks_where_its_boxes_are(shared: Path) -> None:
    detector = Detector.load(
        ModelChoice(graph=shared / "data/reference/mask_rcnn_tiny.pb", size=(400, 300), resize="letterbox"),
        DetectOptions(conf=0.3),
    )
    found = detector.detect(picture(shared, "000000350679.jpg")[:200])
    assert len(found) and found.mask_xyxy is not None
    clipped = found.mask_xyxy.clip(0, [640, 200, 640, 200])
    np.testing.assert_allclose(clipped, found.xyxy, atol=1e-2)
    assert (found.mask_xyxy != found.xyxy).any()  # some boxes reach into the padding
