"""Runs a model on the pictures of a truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cvdetect.annotations.types import Truth
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import run
from cvdetect.jobs.evaluate.arrays import Found
from cvdetect.jobs.evaluate.collecting import Collector
from cvdetect.jobs.evaluate.naming import Pairing, pair_labels
from cvdetect.jobs.evaluate.pictures import examples
from cvdetect.sources.images import read_images

__all__ = ["Looked", "look"]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
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
    truth: Truth,
    pictures: Mapping[int, Path],
    choice: ModelChoice,
    detect: DetectOptions,
    multi_label: bool | None,
    options: RunOptions,
    progress: Progress,
    max_pixels: int = MAX_PIXELS,
) -> Looked:
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
    return Looked(sink.found(), tuple(sink.done), tuple(labels), ran, len(summary.failed), summary.interrupted)


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


def _tell(pairing: Pairing, truth: Truth, chosen: bool, progress: Progress) -> None:
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
