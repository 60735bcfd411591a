"""Small ground truths and detections for the tests of the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvdetect.annotations.types import GroundTruth, TruthImage
from cvdetect.jobs.evaluate.arrays import DetectionArrays, ObjectArrays


def make_objects(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int] | None = None,
    images: Sequence[int] | None = None,
    crowd: Sequence[int] = (),
    difficult: Sequence[int] = (),
) -> ObjectArrays:
    """Objects from plain lists; label 0 in image 0 where not stated; `crowd` and `difficult` are positions."""
    n = len(boxes)
    xyxy = np.array(boxes, np.float64).reshape(n, 4)
    return ObjectArrays(
        np.array(images if images is not None else [0] * n, np.int64),
        np.array(labels if labels is not None else [0] * n, np.int64),
        xyxy,
        np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1),
        np.isin(np.arange(n), crowd),
        np.isin(np.arange(n), difficult),
    )


def make_found(
    boxes: Sequence[Sequence[float]],
    scores: Sequence[float],
    labels: Sequence[int] | None = None,
    images: Sequence[int] | None = None,
) -> DetectionArrays:
    n = len(boxes)
    return DetectionArrays(
        np.array(images if images is not None else [0] * n, np.int64),
        np.array(labels if labels is not None else [0] * n, np.int64),
        np.array(boxes, np.float64).reshape(n, 4),
        np.array(scores, np.float64),
    )


def random_scene(
    seed: int, images: int = 12, labels: int = 3, crowds: bool = False
) -> tuple[ObjectArrays, DetectionArrays]:
    """Objects, and detections some of which are near them; all scores differ."""
    rng = np.random.default_rng(seed)
    n = images * 4
    low = rng.uniform(0, 300, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 200, (n, 2))], axis=1)
    objects = make_objects(
        boxes, rng.integers(0, labels, n), rng.integers(0, images, n), crowd=rng.integers(0, n, 6) if crowds else ()
    )
    near = rng.integers(0, n, 6 * n)
    size = np.tile(boxes[near, 2:] - boxes[near, :2], 2)
    moved = boxes[near] + rng.normal(0, 0.12, (6 * n, 4)) * size
    moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1)
    label = np.where(rng.random(6 * n) < 0.8, objects.label[near], rng.integers(0, labels, 6 * n))
    score = rng.permutation(6 * n) / (6 * n)
    return objects, make_found(moved, score, label, objects.image[near])


def make_truth(*images: TruthImage, labels: Sequence[str] = ("cat", "dog")) -> GroundTruth:
    return GroundTruth(tuple(labels), tuple(range(1, len(labels) + 1)), images)


def make_image(name: str, boxes: Sequence[Sequence[float]] = (), wh: tuple[int, int] | None = None) -> TruthImage:
    n = len(boxes)
    xyxy = np.array(boxes, np.float64).reshape(n, 4)
    area = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    no = np.zeros(n, np.bool_)
    return TruthImage(name, wh, xyxy, np.zeros(n, np.int64), no, no, area, 1)
