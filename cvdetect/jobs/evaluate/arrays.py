"""Objects and detections of all images as flat arrays, which every metric here works on.

A label is an index into the ground truth's class names, an image an index into its list of images. A box is xyxy,
float64, pixels, edges: a box over a whole image of 640x480 is 0, 0, 640, 480 and 640 pixels wide. No metric here adds
the 1 of VOC's devkit, whose boxes count inclusive pixels from 1 (1, 1, 640, 480 for the same box): the widths, and so
the IoU, are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.annotations.types import GroundTruth

__all__ = ["DetectionArrays", "Flags", "Floats", "Ints", "ObjectArrays", "concat_detections", "flatten"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectArrays:
    """The M objects of the ground truth.

    Attributes:
        image, label: int64 (M,).
        xyxy: float64 (M, 4).
        area: float64 (M,), square pixels: the segment's where the ground truth has one, else the box's.
        crowd: bool (M,): a region with many objects of the class; see `cvdetect.jobs.evaluate.score`.
        difficult: bool (M,): neither missed when not found nor wrong when found.
    """

    image: Ints
    label: Ints
    xyxy: Floats
    area: Floats
    crowd: Flags
    difficult: Flags

    @property
    def counted(self) -> Flags:
        """Which objects are to be found, (M,)."""
        return ~(self.crowd | self.difficult)

    def positives(self, label_count: int) -> Ints:
        """How many objects of each label are to be found, (label_count,)."""
        return np.bincount(self.label[self.counted], minlength=label_count).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class DetectionArrays:
    """The N detections, in any order: image and label int64 (N,), xyxy float64 (N, 4), score float64 (N,)."""

    image: Ints
    label: Ints
    xyxy: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Flags | Ints) -> DetectionArrays:
        return DetectionArrays(self.image[index], self.label[index], self.xyxy[index], self.score[index])


def flatten(truth: GroundTruth, images: Sequence[int]) -> ObjectArrays:
    """The objects of those images of `truth` whose positions are given."""
    rows = [(index, truth.images[index]) for index in images]
    return ObjectArrays(
        image=_concat([np.full(len(row.label), index) for index, row in rows], np.int64),
        label=_concat([row.label for _, row in rows], np.int64),
        xyxy=_concat([row.xyxy.ravel() for _, row in rows], np.float64).reshape(-1, 4),  # (M, 4)
        area=_concat([row.area for _, row in rows], np.float64),
        crowd=_concat([row.crowd for _, row in rows], np.bool_),
        difficult=_concat([row.difficult for _, row in rows], np.bool_),
    )


def concat_detections(parts: Sequence[DetectionArrays]) -> DetectionArrays:
    """Several sets of detections, or none, as one."""
    return DetectionArrays(
        image=_concat([part.image for part in parts], np.int64),
        label=_concat([part.label for part in parts], np.int64),
        xyxy=_concat([part.xyxy.ravel() for part in parts], np.float64).reshape(-1, 4),  # (ΣN, 4)
        score=_concat([part.score for part in parts], np.float64),
    )


def _concat(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
