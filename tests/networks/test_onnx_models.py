"""Real ONNX models through OpenCV find what they find through ONNX Runtime and their authors' own steps.

The authors' steps are written out here in plain NumPy, apart from the package: YOLOX's ``preproc``, ``decode_outputs``
and class-wise NMS at 0.65; NanoDet's normalisation, GFL decoding, 1,000 best cells a level, NMS at 0.6. NanoDet's
authors warp the picture, which is half a pixel off a resize: on these images that moves AP50 from 0.453 to 0.442, and
AP, 0.276, not at all.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.core.boxes import iou
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.inference.detector import Detector
from cvdetect.sources.images import read_image

CONF, MOST = 0.001, 100
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # xyxy (N, 4) in image pixels, class (N,), score (N,)


def class_wise_nms(boxes: np.ndarray, scores: np.ndarray, limit: float) -> Found:
    """Boxes (R, 4) and scores (R, C) → all classes over CONF, suppressed per class, the best MOST."""
    rows, classes = np.nonzero(scores > CONF)
    order = np.argsort(-scores[rows, classes], kind="stable")
    rows, classes = rows[order], classes[order]
    kept: list[int] = []
    for k, (row, class_id) in enumerate(zip(rows, classes, strict=True)):  # best first: the first MOST kept are all
        if len(kept) == MOST:
            break
        same = [rows[j] for j in kept if classes[j] == class_id]
        if not (iou(boxes[[row]], boxes[same]) > limit).any():
            kept.append(k)
    return boxes[rows[kept]], classes[kept], scores[rows[kept], classes[kept]]


def yolox(session: Any, image: np.ndarray) -> Found:
    ratio = min(416 / image.shape[0], 416 / image.shape[1])
    w, h = int(image.shape[1] * ratio), int(image.shape[0] * ratio)
    padded = np.full((416, 416, 3), 114, np.uint8)
    padded[:h, :w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    raw = session.run(None, {"images": padded.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    grids, strides = [], []
    for stride in (8, 16, 32):
        x, y = np.meshgrid(np.arange(416 // stride), np.arange(416 // stride))
        grids.append(np.stack((x, y), 2).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grid, step = np.concatenate(grids), np.concatenate(strides)
    centre, size = (raw[:, :2] + grid) * step, np.exp(raw[:, 2:4]) * step
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) / ratio
    return class_wise_nms(boxes, raw[:, 4:5] * raw[:, 5:], 0.65)


def nanodet(session: Any, image: np.ndarray) -> Found:
    h, w = image.shape[:2]
    ratio = min(416 / w, 416 / h)
    inner = np.array([int(w * ratio), int(h * ratio)])
    left, top = pad = (416 - inner) // 2
    fed = np.zeros((416, 416, 3), np.float32)
    fed[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, tuple(map(int, inner)))
    fed = (fed - np.array([103.53, 116.28, 123.675])) / np.array([57.375, 57.12, 58.395])
    name = session.get_inputs()[0].name
    out = session.run(None, {name: fed.transpose(2, 0, 1)[None].astype(np.float32)})
    boxes, scores = [], []
    for stride, level_scores, level_boxes in zip((8, 16, 32), out[:3], out[3:], strict=True):
        n = 416 // stride
        centres = [((x + 0.5) * stride, (y + 0.5) * stride) for y in range(n) for x in range(n)]
        best = np.argsort(-level_scores[0].max(axis=1), kind="stable")[:1000]
        e = np.exp(level_boxes[0][best].reshape(-1, 4, 8))
        side = (e / e.sum(axis=2, keepdims=True)) @ np.arange(8) * stride
        at = np.array(centres)[best]
        boxes.append(np.clip(np.concatenate([at - side[:, :2], at + side[:, 2:]], axis=1), 0, 416))
        scores.append(level_scores[0][best])
    xyxy, classes, score = class_wise_nms(np.concatenate(boxes), np.concatenate(scores), 0.6)
    back = (xyxy - np.tile(pad, 2)) / np.tile(inner / [w, h], 2)
    return np.clip(back, 0, [w, h, w, h]), classes, score


def average_precision(
    folder: Path, detect: Callable[[np.ndarray], Found], categories: list[int]
) -> tuple[float, float]:
    """AP and AP50 on the 79 images, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
        results = [
            {"image_id": i, "category_id": categories[c], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(s)}
            for i, row in truth.imgs.items()
            for (x1, y1, x2, y2), c, s in zip(*detect(read_image(folder / "images" / row["file_name"])), strict=True)
        ]
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    yield shared / "data" / "coco-mini"


MODELS = {"yolox_nano": (yolox, 0.65, 0.322, 0.509), "nanodet_m": (nanodet, 0.6, 0.276, 0.453)}


@pytest.mark.parametrize("name", MODELS)
def test_ap_on_coco_mini_equals_the_authors_own_steps_in_onnx_runtime(name: str, shared: Path, folder: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    authors, nms, ap, ap50 = MODELS[name]
    file = shared / "data" / "models" / f"{name}.onnx"
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), quiet, providers=["CPUExecutionProvider"])
    options = DetectOptions(conf=CONF, nms=nms, multi_label=True, max_det=MOST)
    detector = Detector.load(ModelChoice(onnx=file), options)
    categories = [int(detector.labels.category_id(c) or 0) for c in range(80)]

    def ours(image: np.ndarray) -> Found:
        found = detector.detect(image)
        return found.xyxy, found.class_id, found.score

    expected = average_precision(folder, lambda image: authors(session, image), categories)
    got = average_precision(folder, ours, categories)
    assert got == pytest.approx(expected, abs=0.002)
    assert got[0] >= ap - 0.002
    assert got[1] >= ap50 - 0.002
