"""Decoding and non-maximum suppression against the loop over boxes from tutorials, and against the network's own time.

Both get the same rows and the same threshold, and give boxes in the image's pixels. The loop takes the best class
of each row and runs NMS across classes (cv2.dnn.NMSBoxes); cvdetect runs NMS per class, and in the lines with
"multi-label" takes every class over the threshold, so it has far more boxes to deal with than the loop beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
import timing
from numpy.typing import NDArray

from cvdetect import Detections, Detector, read_image
from cvdetect.families import DecodeOptions, NetInput, Thresholds
from cvdetect.families.yolo import decode_yolo
from cvdetect.inference.nms import nms
from cvdetect.inference.preprocess import LetterboxTransform, preprocess

Rows = NDArray[np.float32]  # (R, 85): centre x, centre y, width, height, objectness, 80 class scores; normalized
Outputs = Mapping[str, Rows]

NMS = 0.4


def measure(rounds: int) -> None:
    detector = Detector.load("yolov3-tiny")
    blob, (place,) = preprocess([read_image(timing.DOG)], detector.model.input_wh, detector.model.input)
    forward = partial(detector.model.network.forward, blob)
    rows = []
    for name, outputs in {"yolov3-tiny": forward(), "YOLOv3": yolov3_rows(np.random.default_rng(3))}.items():
        for conf, multi_label in ((0.25, False), (0.001, True)):
            rows += _compare(f"{name}, {conf:g}", outputs, place, conf, multi_label, forward, rounds)
    print()
    timing.print_ratios(rows)


def _compare(
    name: str,
    outputs: Outputs,
    place: LetterboxTransform,
    conf: float,
    multi_label: bool,
    forward: Callable[[], object],
    rounds: int,
) -> list[tuple[str, timing.Seconds, str, timing.Seconds, str]]:
    options = DecodeOptions(Thresholds(conf), multi_label)
    ours, theirs = partial(vectorised, outputs, place, options), partial(loop, outputs, place.source_wh, conf)
    kind = ", multi-label" if multi_label else ""
    count = sum(len(rows) for rows in outputs.values())
    print(f"{name}{kind}: {count:,} rows, cvdetect finds {len(ours())}, the loop {len(theirs())}")
    times = interleaved(ours, theirs, forward, rounds)
    goals = ("", "") if multi_label else (">= 20", ">= 33 (3 %)")
    return [
        (name + kind, times["ours"], "loop over boxes", times["loop"], goals[0]),
        (name + kind, times["ours"], "forward of yolov3-tiny", times["forward"], goals[1]),
    ]


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], forward: Callable[[], object], rounds: int
) -> dict[str, timing.Seconds]:
    """Times of the three; ours is called ten times running and divided, as one call is too short to time."""
    repeats = 10

    def repeated() -> None:
        for _ in range(repeats):
            ours()

    times = timing.interleave({"ours": repeated, "loop": theirs, "forward": forward}, rounds)
    return {**times, "ours": [seconds / repeats for seconds in times["ours"]]}


def vectorised(outputs: Outputs, place: LetterboxTransform, options: DecodeOptions) -> Detections:
    """What `Detector` does after the network."""
    found = decode_yolo(outputs, NetInput(1, (416, 416)), options)[0]
    return place.to_source(nms(found, NMS))


def loop(outputs: Outputs, wh: tuple[int, int], conf: float) -> list[tuple[int, float, list[int]]]:
    """The usual script: every row in Python, boxes as whole numbers, one NMS over all classes."""
    width, height = wh
    boxes, scores, classes = [], [], []
    for output in outputs.values():
        for row in output:
            class_scores = row[5:]
            class_id = int(np.argmax(class_scores))
            score = float(class_scores[class_id])
            if score > conf:
                x, y, w, h = row[0:4] * np.array([width, height, width, height])
                boxes.append([int(x - w / 2), int(y - h / 2), int(w), int(h)])
                scores.append(score)
                classes.append(class_id)
    kept = np.array(cv2.dnn.NMSBoxes(boxes, scores, conf, NMS), np.int64).reshape(-1)
    return [(classes[i], scores[i], boxes[i]) for i in kept]


def yolov3_rows(random: np.random.Generator) -> dict[str, Rows]:
    """Rows as YOLOv3 gives them for a busy image at 416: three heads, 10,647 rows, nearly all of them background.

    Forty objects have six rows each that lie almost on one another; the other rows' objectness is around 1e-4.
    """
    heads = {"yolo_82": 3 * 13 * 13, "yolo_94": 3 * 26 * 26, "yolo_106": 3 * 52 * 52}
    rows = _background(random, sum(heads.values()))
    spots = random.choice(len(rows), (40, 6), replace=False)
    rows[spots.ravel()] = _objects(random, *spots.shape)
    return dict(zip(heads, np.split(rows, np.cumsum(list(heads.values()))[:-1]), strict=True))


def _background(random: np.random.Generator, count: int) -> Rows:
    boxes = np.hstack([random.uniform(0, 1, (count, 2)), random.lognormal(-2, 0.8, (count, 2))])
    return _joined(boxes, random.normal(-9, 1.5, count), _classes(random, random.integers(0, 80, count), 0))


def _objects(random: np.random.Generator, objects: int, rows_each: int) -> Rows:
    count = objects * rows_each
    boxes = np.hstack([random.uniform(0.1, 0.9, (objects, 2)), random.uniform(0.05, 0.3, (objects, 2))])
    near = np.repeat(boxes, rows_each, axis=0) * random.normal(1, 0.03, (count, 4))
    classes = _classes(random, np.repeat(random.integers(0, 80, objects), rows_each), 3)
    return _joined(near, random.normal(1, 1.5, count), classes)


def _classes(random: np.random.Generator, best: NDArray[np.int64], logit: float) -> NDArray[np.float64]:
    """Logits of 80 classes a row: low, but around `logit` for the class `best` (R,) → (R, 80)."""
    logits = random.normal(-9, 2, (len(best), 80))
    logits[np.arange(len(best)), best] = random.normal(logit, 2, len(best))
    return logits


def _joined(boxes: NDArray[np.float64], objectness: NDArray[np.float64], classes: NDArray[np.float64]) -> Rows:
    """Boxes (R, 4) and logits of objectness (R,) and classes (R, 80) → rows (R, 85)."""
    likely = 1 / (1 + np.exp(-objectness[:, None]))
    return np.hstack([boxes, likely, likely / (1 + np.exp(-classes))]).astype(np.float32)


if __name__ == "__main__":
    timing.main(measure, __doc__, rounds=31)
