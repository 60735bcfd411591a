"""The numbers are right: on real models and images, against the official metric and other programs' detections."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.boxes import iou
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.spec import Resize
from cvdetect.inference.detector import Detector
from cvdetect.sources.images import read_image
from tests.conftest import Cli, make_detections


def zoo_model(shared: Path, name: str, **changes: object) -> ModelChoice:
    models = shared / "data" / "models"
    return ModelChoice(cfg=models / f"{name}.cfg", weights=models / f"{name}.weights", **changes)  # type: ignore[arg-type]


def coco_ap50(detector: Detector, shared: Path) -> float:
    """AP at IoU 0.5 on the 79 images, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = shared / "data" / "coco-mini"
    results = []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
        for image_id, row in truth.imgs.items():
            found = detector.detect(read_image(folder / "images" / row["file_name"]))
            for box, class_id, score in zip(found.xyxy, found.class_id, found.score, strict=True):
                x1, y1, x2, y2 = map(float, box)
                category = detector.labels.category_id(int(class_id))
                box_xywh = [x1, y1, x2 - x1, y2 - y1]
                results.append({"image_id": image_id, "category_id": category, "bbox": box_xywh, "score": float(score)})
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


EVALUATING = DetectOptions(conf=0.001, nms=0.45, multi_label=True, max_det=100)


@pytest.mark.usefixtures("yolov3_tiny")
def test_yolov3_tiny_reaches_ap50_of_0345_on_coco_mini(shared: Path) -> None:
    detector = Detector.load("yolov3-tiny", EVALUATING)
    assert detector.model.input_wh == (416, 416)
    assert coco_ap50(detector, shared) >= 0.345


def test_yolo_fastest_xl_reaches_ap50_of_046_on_coco_mini(shared: Path) -> None:
    detector = Detector.load(zoo_model(shared, "yolo-fastest-1.1-xl"), EVALUATING)
    assert coco_ap50(detector, shared) >= 0.46


@pytest.mark.usefixtures("yolov3_tiny")
def test_letterboxed_yolov3_tiny_agrees_with_darknet_itself(shared: Path) -> None:
    options = DetectOptions(conf=0.2, nms=0.45, multi_label=True)
    detector = Detector.load(ModelChoice(name="yolov3-tiny", resize="letterbox"), options)
    darknets = json.loads((shared / "data/reference/darknet-yolov3-tiny-coco-mini.json").read_text())
    darknets = [row for row in darknets if row["score"] >= 0.3]
    images = {row["image_id"] for row in darknets}
    ours = {i: detector.detect(read_image(shared / f"data/coco-mini/images/{i:012d}.jpg")) for i in images}
    met = 0
    for row in darknets:
        found = ours[row["image_id"]]
        same = np.array([detector.labels.category_id(int(c)) == row["category_id"] for c in found.class_id], bool)
        x, y, w, h = row["bbox"]
        overlap = iou(np.array([[x, y, x + w, y + h]], np.float32), found[same].xyxy)
        met += bool(overlap.size and overlap.max() >= 0.8)
    assert len(darknets) > 100
    assert met / len(darknets) >= 0.95


# label, score, x, y, w, h of OpenCV 4.14 at --conf 0.25 --nms 0.45
REFERENCE = {
    "stretch": [
        ("dog", 0.9584, 113.9, 188.5, 272.0, 347.1),
        ("bicycle", 0.8939, 113.0, 126.7, 460.4, 370.7),
        ("car", 0.8410, 449.8, 78.2, 234.8, 84.3),
        ("truck", 0.2564, 455.0, 65.7, 206.1, 91.7),
    ],
    "letterbox": [
        ("dog", 0.9324, 110.6, 161.9, 300.8, 380.2),
        ("car", 0.8586, 455.0, 72.9, 206.2, 91.2),
        ("bicycle", 0.7954, 112.3, 128.6, 449.9, 378.0),
    ],
}


@pytest.mark.parametrize("resize", REFERENCE)
def test_the_command_line_gives_the_reference_boxes_of_yolo_fastest_xl(
    resize: str, shared: Path, xl: list[str], cli: Cli
) -> None:
    dog = shared / "data/pictures/dog.jpg"
    done = cli("image", dog, *xl, "--conf", 0.25, "--nms", 0.45, "--resize", resize, "--json", "-", "--no-save")
    assert done.code == 0
    found = json.loads(done.out)["detections"]
    for (label, score, x, y, w, h), got in zip(REFERENCE[resize], found, strict=False):
        assert got["label"] == label
        assert got["score"] == pytest.approx(score, abs=0.01)
        assert got["box"] == pytest.approx([x, y, x + w, y + h], abs=1)
    if resize == "stretch":
        assert len(found) == 4


def test_a_square_picture_gives_the_same_boxes_stretched_and_letterboxed(shared: Path) -> None:
    picture = read_image(shared / "data/pictures/giraffe.jpg")
    assert picture.shape[0] == picture.shape[1]
    found = [
        Detector.load(zoo_model(shared, "yolo-fastest-1.1-xl", resize=how), DetectOptions(conf=0.25)).detect(picture)
        for how in ("stretch", "letterbox")
    ]
    np.testing.assert_allclose(found[0].xyxy, found[1].xyxy, atol=0.5)
    np.testing.assert_allclose(found[0].score, found[1].score, atol=0.01)
    assert len(found[0]) >= 2


def test_scores_below_opencvs_hidden_threshold_come_out(shared: Path) -> None:
    detector = Detector.load(zoo_model(shared, "yolo-fastest-1.1-xl"), DetectOptions(conf=0.02))
    scores = detector.detect(read_image(shared / "data/pictures/dog.jpg")).score
    assert ((scores >= 0.02) & (scores < 0.2)).sum() >= 3
    assert scores.min() >= np.float32(0.02)


def test_a_batch_gives_what_single_images_give(shared: Path) -> None:
    detector = Detector.load(zoo_model(shared, "yolo-fastest-1.1-xl"), DetectOptions(conf=0.25))
    pictures = [read_image(shared / f"data/pictures/{n}.jpg") for n in ("dog", "person", "eagle")]
    for alone, together in zip([detector.detect(p) for p in pictures], detector.detect_batch(pictures), strict=True):
        np.testing.assert_array_equal(alone.class_id, together.class_id)
        np.testing.assert_allclose(alone.xyxy, together.xyxy, atol=0.1)


def pedestrian(shared: Path, resize: Resize, alone_in: Path | None) -> Detector:
    """The pedestrian detector with its reference text graph, or `alone_in` a folder, where one is made in memory."""
    graph, config = (shared / f"data/reference/pedestrian_ssdlite.{suffix}" for suffix in ("pb", "pbtxt"))
    if alone_in:
        graph, config = Path(shutil.copy(graph, alone_in)), None
    return Detector.load(ModelChoice(graph=graph, config=config, resize=resize), DetectOptions(conf=0.2))


def image_of(shared: Path, name: str) -> np.ndarray:
    for folder in ("coco-mini/images", "reference/images"):
        path = shared / "data" / folder / name
        if path.is_file():
            return read_image(path)
    raise AssertionError(f"no image {name}")


@pytest.mark.parametrize("own_text_graph", [False, True], ids=["reference text graph", "own text graph"])
@pytest.mark.parametrize(
    ("resize", "truth", "count"), [("stretch", "pedestrian_tf_cvresize", 50), ("tensorflow", "pedestrian_tf", 49)]
)
def test_the_pedestrian_ssdlite_finds_what_tensorflow_finds(
    shared: Path, resize: Resize, truth: str, count: int, own_text_graph: bool, tmp_path: Path
) -> None:
    reference = json.loads((shared / f"data/reference/{truth}.json").read_text())
    detector = pedestrian(shared, resize, tmp_path if own_text_graph else None)
    total = 0
    for name, rows in reference["images"].items():
        image = image_of(shared, name)
        found = detector.detect(image)
        expected = make_detections([r["box"] for r in rows], scores=[r["score"] for r in rows])
        assert len(found) == len(expected), name
        overlap = iou(np.clip(expected.xyxy, 0, [*image.shape[1::-1]] * 2), found.xyxy)
        for i in range(len(expected)):
            j = int(overlap[i].argmax())
            assert overlap[i, j] >= 0.99 and found.class_id[j] == 1
            assert found.score[j] == pytest.approx(expected.score[i], abs=1e-3)
        total += len(expected)
    assert total == count


def test_the_face_detector_finds_what_plain_opencv_finds(shared: Path) -> None:
    models = shared / "data/models"
    choice = ModelChoice(
        graph=models / "opencv_face_detector_uint8.pb", config=models / "opencv_face_detector.pbtxt",
        mean=(104, 177, 123), rgb=False, size=(300, 300),
    )  # fmt: skip
    detector = Detector.load(choice, DetectOptions(conf=0.5))
    reference = json.loads((shared / "data/reference/face_cv.json").read_text())
    total = 0
    for name, rows in reference["images"].items():
        image = image_of(shared, name)
        found = detector.detect(image)
        assert len(found) == len(rows), name
        if rows:
            expected = np.clip(np.array([r["box"] for r in rows], np.float32), 0, [*image.shape[1::-1]] * 2)
            assert (iou(expected, found.xyxy).max(axis=1) >= 0.98).all()
        total += len(rows)
    assert total == 9


def test_one_thread_gives_what_all_threads_give(shared: Path) -> None:
    picture = read_image(shared / "data/pictures/dog.jpg")
    found = [
        Detector.load(zoo_model(shared, "yolo-fastest-1.1-xl"), run=RunOptions(threads=n)).detect(picture)
        for n in (1, None)
    ]
    assert len(found[0])
    np.testing.assert_allclose(found[0].xyxy, found[1].xyxy, atol=0.05)
