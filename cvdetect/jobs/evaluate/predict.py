"""Runs a model on the pictures of a truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvdetect.annotations.types import GroundTruth, Results, TruthImage
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.frame import MAX_PIXELS, Frame
from cvdetect.core.labels import LabelSet, canonical
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import run
from cvdetect.jobs.evaluate.arrays import Found, Ints, examples
from cvdetect.sources.images import read_images

__all__ = ["ClassMapping", "Collector", "Predictions", "from_results", "look", "pair_labels"]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What there is to judge.

    Attributes:
        found: all detections of classes that the truth has; images and labels are the truth's.
        images: positions in the truth of the images that were looked at.
        labels: the truth's labels that count, rising.
        ran: what ran.
        unreadable: how many pictures could not be read.
        interrupted: 130 or 143 where a signal ended it early.
    """

    found: Found
    images: tuple[int, ...]
    labels: tuple[int, ...]
    ran: dict[str, Any] = field(default_factory=dict)
    unreadable: int = 0
    interrupted: int = 0


def look(
    truth: GroundTruth,
    pictures: Mapping[int, Path],
    choice: ModelChoice,
    detect: DetectOptions,
    multi_label: bool | None,
    options: RunOptions,
    progress: Progress,
    max_pixels: int = MAX_PIXELS,
) -> Predictions:
    """Detect in every picture; of each only the detections' numbers are kept.

    Args:
        pictures: position in the truth → file.
        multi_label: None: where the model allows it.
        max_pixels: larger pictures are not read.

    Raises:
        SourceError: no picture could be read, or model and truth have no class in common.
    """
    detectors = _load(choice, detect, multi_label, options, progress, len(pictures))
    first = detectors[0]
    progress.detail(f"{first.name} runs on {first.ran}")
    chosen = first.labels.find_each(detect.classes) or None
    pairing = pair_labels(first.labels, truth.labels, chosen)
    _tell(pairing, truth, bool(chosen), progress)
    order = list(pictures)
    sink = Collector(truth.images, order, pairing, first.labels)
    progress.begin("detecting", len(order), "images")
    try:
        frames = read_images([str(path) for path in pictures.values()], max_pixels=max_pixels)
        summary = run(frames, detectors, [sink], progress)
    finally:
        progress.end()
    if not sink.done:
        raise SourceError("none of the pictures could be read" if summary.failed else "interrupted before any picture")
    sink.tell(progress)
    _tell_gaps(len(summary.failed), len(sink.done), len(order), progress)
    labels = sorted(set(pairing.label_of.values())) if chosen else range(len(truth.labels))
    ran = {**first.ran.as_json(), "model": first.name}
    return Predictions(sink.found(), tuple(sink.done), tuple(labels), ran, len(summary.failed), summary.interrupted)


def _load(
    choice: ModelChoice,
    detect: DetectOptions,
    multi_label: bool | None,
    options: RunOptions,
    progress: Progress,
    most: int,
) -> list[Detector]:
    """The detectors, with every class of a box where nothing else was asked and the model has more than one."""
    asked = replace(detect, multi_label=multi_label is not False)
    try:
        return load_detectors(choice, asked, options, progress, most=most)
    except UsageError:
        if multi_label is not None:
            raise
    # Models that suppress boxes themselves refuse --multi-label; whatever else was wrong is raised again.
    return load_detectors(choice, replace(detect, multi_label=False), options, progress, most=most)


def _tell(pairing: ClassMapping, truth: GroundTruth, chosen: bool, progress: Progress) -> None:
    """Say which classes have no counterpart."""
    if pairing.only_model:
        count = len(pairing.only_model)
        progress.note(f"{count} of the model's classes are not in the truth: {examples(pairing.only_model)}")
    if chosen:
        progress.note(f"measuring {len(pairing.label_of)} of the truth's {len(truth.labels)} classes (--classes)")
        return
    lacking = dict.fromkeys(pairing.only_truth, 0)
    for image in truth.images:
        for label in image.label.tolist():
            if label in lacking:
                lacking[label] += 1
    missed = [f"{truth.labels[label]} ({count})" for label, count in lacking.items() if count]
    if missed:
        progress.warn(
            f"the model does not have {len(missed)} of the truth's classes, whose {sum(lacking.values())} objects "
            f"count as missed (--classes leaves them out): {examples(missed)}"
        )


def _tell_gaps(failed: int, done: int, asked: int, progress: Progress) -> None:
    if failed:
        progress.warn(f"{failed} of {asked} pictures could not be read; they and their objects are left out")
    if failed + done < asked:
        progress.warn(f"interrupted: the figures are those of {done} of {asked} images")


# Detections of many images as flat arrays: from a model, image by image, or from a results file.


class Collector:
    """A `Sink` that keeps of each frame its detections' numbers and nothing else: 56 bytes a detection.

    Args:
        images: the truth's images; frame number i of the source is image `order[i]`.
        pairing: detections of classes that the truth does not have are counted and left out.
    """

    def __init__(
        self, images: Sequence[TruthImage], order: Sequence[int], pairing: ClassMapping, labels: LabelSet
    ) -> None:
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


def from_results(rows: Results, truth: GroundTruth, name: str, progress: Progress) -> Found:
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


# Which class of the model is which of the truth's: by name, either spelling, case and spaces not counted.


@dataclass(frozen=True, slots=True)
class ClassMapping:
    """How two sets of classes go together.

    Attributes:
        label_of: the model's class number → index into the truth's labels.
        only_model: names of the model's classes that the truth does not have.
        only_truth: indices of the truth's labels that the model does not have.
    """

    label_of: dict[int, int]
    only_model: tuple[str, ...]
    only_truth: tuple[int, ...]


def pair_labels(model: LabelSet, truth: Sequence[str], class_ids: Iterable[int] | None = None) -> ClassMapping:
    """Pair the model's classes (or those of `class_ids`) with the truth's; a name spelled alike goes before an alias.

    Raises:
        SourceError: they have nothing in common.
    """
    by_name = {name: i for i, name in reversed(list(enumerate(truth)))}
    by_key = {canonical(name): i for i, name in reversed(list(enumerate(truth)))}
    label_of: dict[int, int] = {}
    only_model = []
    for class_id in model.class_ids() if class_ids is None else class_ids:
        name = model.label(class_id)
        index = by_name.get(name, by_key.get(canonical(name)))
        if index is None:
            only_model.append(name)
        else:
            label_of[class_id] = index
    if not label_of:
        raise SourceError(
            f"no class of the model is one of the truth's: the model has {examples(only_model)}, the truth has "
            f"{examples(truth) or 'none'}; classes are matched by name, --names sets those of a model"
        )
    met = set(label_of.values())
    return ClassMapping(label_of, tuple(only_model), tuple(i for i in range(len(truth)) if i not in met))
