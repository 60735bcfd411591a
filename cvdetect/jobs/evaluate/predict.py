"""The predictions to score: of a model on the ground truth's images, or of a results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvdetect.annotations.types import GroundTruth, Results, TruthImage
from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, RunOptions
from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, Progress
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import run
from cvdetect.jobs.evaluate.arrays import DetectionArrays, Ints, concat_detections
from cvdetect.jobs.evaluate.pairing import ClassMapping, examples, map_classes
from cvdetect.models.resolve import ModelLookup
from cvdetect.sinks import PlainSink
from cvdetect.sources.images import Images

__all__ = ["ArraySink", "Predictions", "from_results", "predict"]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What is to be scored.

    Attributes:
        found: all detections of classes that the ground truth has; images and labels are the ground truth's.
        images: positions in the ground truth of the images that the detections are of.
        labels: the ground truth's labels that count, rising.
        ran: what ran.
        unreadable: how many images could not be read.
        interrupted: 130 or 143 where a signal ended it early.
    """

    found: DetectionArrays
    images: tuple[int, ...]
    labels: tuple[int, ...]
    ran: dict[str, Any]
    unreadable: int = 0
    interrupted: int = 0


def predict(
    truth: GroundTruth,
    paths: Mapping[int, Path],
    model: ModelLookup,
    detect: DetectOptions,
    multi_label: bool | None,
    options: RunOptions,
    progress: Progress,
    controls: Controls,
    max_pixels: int,
) -> Predictions:
    """Detect in every image; only the numbers of its detections are kept.

    Args:
        paths: position in the ground truth → image file.
        multi_label: None: where the model allows it.
        max_pixels: larger images are not read.

    Raises:
        SourceError: no image could be read, or model and ground truth have no class in common.
    """
    detectors = _load(model, detect, multi_label, options, progress, len(paths))
    first = detectors[0]
    progress.detail(f"{first.name} runs on {first.ran}")
    chosen = first.labels.find_each(detect.classes) or None
    mapping = map_classes(first.labels, truth.labels, chosen)
    _report_classes(mapping, truth, bool(chosen), progress)
    order = list(paths)
    sink = ArraySink(truth.images, order, mapping, first.labels)
    progress.begin("detecting", len(order), "images")
    try:
        images = Images([str(path) for path in paths.values()], max_pixels=max_pixels)
        summary = run(images.items(), detectors, [sink], progress, controls=controls)
    finally:
        progress.end()
    if not sink.done:
        raise SourceError("none of the images could be read" if summary.failed else "interrupted before any image")
    sink.report(progress)
    _report_gaps(len(summary.failed), len(sink.done), len(order), progress)
    labels = sorted(set(mapping.label_of.values())) if chosen else range(len(truth.labels))
    ran = {**first.ran.as_json(), "model": first.name}
    return Predictions(sink.take(), tuple(sink.done), tuple(labels), ran, len(summary.failed), summary.interrupted)


def _load(
    model: ModelLookup,
    detect: DetectOptions,
    multi_label: bool | None,
    options: RunOptions,
    progress: Progress,
    most: int,
) -> list[Detector]:
    """The detectors, with every class of a box unless the options or the model rule it out."""
    asked = replace(detect, multi_label=multi_label is not False)
    try:
        return load_detectors(model, asked, options, progress, most=most)
    except UsageError:
        if multi_label is not None:
            raise
    # Graphs that apply NMS themselves refuse `multi_label`; any other error is raised again.
    return load_detectors(model, replace(detect, multi_label=False), options, progress, most=most)


def _report_classes(mapping: ClassMapping, truth: GroundTruth, chosen: bool, progress: Progress) -> None:
    """Report the classes that have no counterpart."""
    if mapping.only_model:
        count = len(mapping.only_model)
        are = "is" if count == 1 else "are"
        progress.note(f"{count} of the model's classes {are} not in the ground truth: {examples(mapping.only_model)}")
    if chosen:
        classes = counted(len(truth.labels), "class", "classes")
        progress.note(f"measuring {len(mapping.label_of)} of the ground truth's {classes} ({arg('classes')})")
        return
    lacking = dict.fromkeys(mapping.only_truth, 0)
    for image in truth.images:
        for label in image.label.tolist():
            if label in lacking:
                lacking[label] += 1
    missed = [f"{truth.labels[label]} ({count})" for label, count in lacking.items() if count]
    if missed:
        objects = sum(lacking.values())
        progress.warn(
            f"the model does not have {len(missed)} of the ground truth's classes, whose {counted(objects, 'object')} "
            f"{'counts' if objects == 1 else 'count'} as missed ({arg('classes')} leaves them out): {examples(missed)}"
        )


def _report_gaps(failed: int, done: int, asked: int, progress: Progress) -> None:
    if failed:
        images = counted(asked, "image")
        progress.warn(f"{failed} of {images} could not be read and are left out, as are their objects")
    if failed + done < asked:
        progress.warn(f"interrupted: the figures are those of {done} of {counted(asked, 'image')}")


class ArraySink(PlainSink):
    """A sink that keeps only the numbers of each frame's detections: 56 bytes a detection.

    Args:
        images: the ground truth's images; frame number i of the source is image `order[i]`.
        mapping: detections of classes that the ground truth does not have are counted and left out.
    """

    def __init__(
        self, images: Sequence[TruthImage], order: Sequence[int], mapping: ClassMapping, labels: LabelSet
    ) -> None:
        self._images, self._order = images, order
        self._label_of, self._labels = mapping.label_of, labels
        self._parts: list[DetectionArrays] = []
        self.done: list[int] = []
        self._unknown: Counter[str] = Counter()
        self._misfits: list[str] = []

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one image."""
        index = self._order[frame.index]
        self.done.append(index)
        stated = self._images[index].wh
        if stated is not None and stated != frame.wh:
            sizes = f"is {_size(frame.wh)}, {_size(stated)} in the ground truth"
            self._misfits.append(f"{frame.name} {sizes}")
        label = np.array([self._label_of.get(int(c), -1) for c in found.class_id], np.int64)  # (N,)
        known = label >= 0
        self._unknown.update(self._labels.label(int(c)) for c in found.class_id[~known])
        image = np.full(len(found), index, np.int64)
        part = DetectionArrays(image, label, found.xyxy.astype(np.float64), found.score.astype(np.float64))
        self._parts.append(part[known])

    def take(self) -> DetectionArrays:
        """All detections; they are handed over, not kept."""
        parts, self._parts = self._parts, []
        return concat_detections(parts)

    def report(self, progress: Progress) -> None:
        """Report sizes and classes that do not fit the ground truth."""
        if self._misfits:
            one = len(self._misfits) == 1
            progress.warn(
                f"{counted(len(self._misfits), 'image')} {'differs' if one else 'differ'} in size from the ground "
                f"truth, whose boxes may not fit: {examples(self._misfits, 2)}"
            )
        if self._unknown:
            left_out = counted(self._unknown.total(), "detection")
            which = examples([f"{name} {count}" for name, count in self._unknown.most_common()])
            progress.note(f"{left_out} of classes that the ground truth lacks left out: {which}")


def _size(wh: tuple[int, int]) -> str:
    return f"{wh[0]}x{wh[1]}"


def from_results(rows: Results, truth: GroundTruth, name: str, progress: Progress) -> DetectionArrays:
    """The rows of a results file whose image and category the ground truth has; the others are reported and left out.

    Raises:
        SourceError: there are rows, but none fits the ground truth.
    """
    image = _positions(rows.image_id, {image.image_id: i for i, image in enumerate(truth.images)})
    label = _positions(rows.category_id, {category_id: i for i, category_id in enumerate(truth.category_ids)})
    for what, ids, position in (("image_id", rows.image_id, image), ("category_id", rows.category_id, label)):
        unknown = ids[position < 0]
        if not len(unknown):
            continue
        which = examples([str(i) for i in np.unique(unknown)])
        problem = f"{name}: {len(unknown)} of {len(ids)} detections: the ground truth lacks their {what} ({which})"
        if len(unknown) == len(ids):
            raise SourceError(f"{problem}; these are the results of another data set")
        progress.warn(f"{problem}; they are left out")
    if not len(rows.score):
        progress.warn(f"{name}: holds no detections, so every object counts as missed")
    return DetectionArrays(image, label, rows.xyxy, rows.score)[(image >= 0) & (label >= 0)]


def _positions(ids: Ints, position: Mapping[int, int]) -> Ints:
    """The position of each id, -1 where it has none, (N,)."""
    return np.array([position.get(int(i), -1) for i in ids], np.int64)
