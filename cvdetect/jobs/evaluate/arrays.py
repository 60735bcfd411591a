"""Truth and detections of all images as flat arrays, which is what every metric here works on.

A label is an index into the truth's own class names, an image an index into the truth's own list of images. A box is
xyxy, float64, pixels, edges: a box over a whole image of 640x480 is 0, 0, 640, 480 and 640 pixels wide. No metric here
adds the 1 of VOC's devkit, whose boxes count inclusive pixels from 1 (1, 1, 640, 480 for the same box): the widths, and
so the IoU, are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.annotations.types import Truth

__all__ = ["Flags", "Floats", "Found", "Ints", "Objects", "flatten"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The M objects that are there.

    Attributes:
        image, label: int64 (M,).
        xyxy: float64 (M, 4).
        area: float64 (M,), square pixels: the segment's where the truth has one, else the box's.
        crowd: bool (M,): a region with many objects of the class; see `matching`.
        difficult: bool (M,): neither to be found nor wrong when found.
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
class Found:
    """The N detections, in any order: image and label int64 (N,), xyxy float64 (N, 4), score float64 (N,)."""

    image: Ints
    label: Ints
    xyxy: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Flags | Ints) -> Found:
        return Found(self.image[index], self.label[index], self.xyxy[index], self.score[index])


def flatten(truth: Truth, images: Sequence[int]) -> Objects:
    """The objects of those images of `truth` whose positions are given."""
    rows = [(index, truth.images[index]) for index in images]
    return Objects(
        image=_joined([np.full(len(row.label), index) for index, row in rows], np.int64),
        label=_joined([row.label for _, row in rows], np.int64),
        xyxy=_joined([row.xyxy.ravel() for _, row in rows], np.float64).reshape(-1, 4),  # (M, 4)
        area=_joined([row.area for _, row in rows], np.float64),
        crowd=_joined([row.crowd for _, row in rows], np.bool_),
        difficult=_joined([row.difficult for _, row in rows], np.bool_),
    )


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
