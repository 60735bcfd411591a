"""Detections of many images as flat arrays: from a model, image by image, or from a results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from cvdetect.annotations.types import Results, Truth, TruthImage
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.core.progress import Progress
from cvdetect.jobs.evaluate.arrays import Found, Ints
from cvdetect.jobs.evaluate.naming import Pairing
from cvdetect.jobs.evaluate.pictures import examples

__all__ = ["Collector", "from_results"]


class Collector:
    """A `Sink` that keeps of each frame its detections' numbers and nothing else: 56 bytes a detection.

    Args:
        images: the truth's images; frame number i of the source is image `order[i]`.
        pairing: detections of classes that the truth does not have are counted and left out.
    """

    def __init__(self, images: Sequence[TruthImage], order: Sequence[int], pairing: Pairing, labels: LabelSet) -> None:
        self._images, self._order = images, order
        self._label_of, self._labels = pairing.label_of, labels
        self._parts: list[Found] = []
        self.done: list[int] = []
        self.strange: Counter[str] = Counter()
        self.misfits: list[str] = []

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one image."""
        index = self._order[frame.index]
        self.done.append(index)
        stated = self._images[index].wh
        if stated not in (None, frame.wh):
            self.misfits.append(f"{frame.name} is {_size(frame.wh)}, the truth says {_size(stated)}")
        label = np.array([self._label_of.get(int(c), -1) for c in found.class_id], np.int64)  # (N,)
        known = label >= 0
        self.strange.update(self._labels.label(int(c)) for c in found.class_id[~known])
        image = np.full(len(found), index, np.int64)
        part = Found(image, label, found.xyxy.astype(np.float64), found.score.astype(np.float64))
        self._parts.append(part[known])

    def found(self) -> Found:
        """All detections; they are handed over, not kept."""
        empty = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
        parts, self._parts = [empty, *self._parts], []
        return Found(
            np.concatenate([p.image for p in parts]),  # (ΣN,)
            np.concatenate([p.label for p in parts]),  # (ΣN,)
            np.concatenate([p.xyxy for p in parts]),  # (ΣN, 4)
            np.concatenate([p.score for p in parts]),  # (ΣN,)
        )

    def tell(self, progress: Progress) -> None:
        """Say what did not fit."""
        if self.misfits:
            progress.warn(
                f"{len(self.misfits)} pictures have another size than the truth says, so that its boxes may not fit: "
                f"{examples(self.misfits, 2)}"
            )
        if self.strange:
            what = examples([f"{name} {count}" for name, count in self.strange.most_common()])
            progress.note(f"{self.strange.total()} detections of classes that the truth lacks are left out: {what}")


def _size(wh: tuple[int, int] | None) -> str:
    return f"{wh[0]}x{wh[1]}" if wh else "nothing"


def from_results(rows: Results, truth: Truth, name: str, progress: Progress) -> Found:
    """The rows of a results file whose image and category the truth has; the others are told and left out.

    Raises:
        SourceError: there are rows, but none fits the truth.
    """
    image = _positions(rows.image_id, {image.image_id: i for i, image in enumerate(truth.images)})
    label = _positions(rows.category_id, {category_id: i for i, category_id in enumerate(truth.category_ids)})
    for what, ids, position in (("image_id", rows.image_id, image), ("category_id", rows.category_id, label)):
        strange = ids[position < 0]
        if not len(strange):
            continue
        which = examples([str(i) for i in np.unique(strange)])
        told = f"{name}: {len(strange)} of {len(ids)} detections: the truth does not have their {what} ({which})"
        if len(strange) == len(ids):
            raise SourceError(f"{told}; these are the results of another data set")
        progress.warn(f"{told}; they are left out")
    if not len(rows.score):
        progress.warn(f"{name}: holds no detections, so every object counts as missed")
    return Found(image, label, rows.xyxy, rows.score)[(image >= 0) & (label >= 0)]


def _positions(ids: Ints, position: Mapping[int, int]) -> Ints:
    """The position of each id, -1 where it has none, (N,)."""
    return np.array([position.get(int(i), -1) for i in ids], np.int64)
