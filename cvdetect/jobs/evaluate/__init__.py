"""The job of ``cvdetect eval``: ground truth and a model, or a results file, in; AP, precision and recall out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from cvdetect.annotations.coco import read_results
from cvdetect.annotations.formats import read_truth, truth_files
from cvdetect.annotations.types import GroundTruth
from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.files import write_text
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, check_least, check_share
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.targets import check_regular
from cvdetect.jobs.evaluate.coco import require_pycocotools
from cvdetect.jobs.evaluate.images import PLOTS, Gallery, check_plots, check_worst, write_plots, write_worst
from cvdetect.jobs.evaluate.pairing import ImageFolder, pair_images
from cvdetect.jobs.evaluate.predict import Predictions, from_results, predict
from cvdetect.jobs.evaluate.report import EvalReport, ImageCounts, make_report
from cvdetect.models.resolve import ModelLookup
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sources.images import is_image_file

__all__ = ["EvalJob", "EvalReport", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalJob:
    """What to measure against which ground truth.

    Attributes:
        truth: a COCO JSON file, a folder of VOC XML, or a folder of YOLO text files.
        images: the folder that the ground truth's images are in; not needed with `predictions`.
        predictions: a COCO results file to score instead of running a model; of `detect`, the thresholds and classes
            act on it.
        detect: a threshold that is not given is 0.001 for a model, 0 for a results file; `multi_label` below overrides
            its field of that name.
        multi_label: every class over the threshold is a detection; None: where the model allows it, which graphs that
            apply non-maximum suppression themselves do not.
        at: the score at which precision, recall and counts are reported; None takes that of the best F1.
        plots: a folder for precision-recall and F1 curves and the confusion matrix.
        json: a file for all figures as one JSON object.
        worst: how many images with the worst misses to write into the folder `worst_dir`.
        blur: names of the ground truth's classes to pixelate there, or "all".
        max_pixels: larger images are not decoded; they count as unreadable.
        style: how boxes look there.
    """

    truth: Path
    images: Path | None = None
    predictions: Path | None = None
    model: ModelChoice = ModelChoice()
    detect: DetectOptions = DetectOptions(max_det=100)
    multi_label: bool | None = None
    run: RunOptions = RunOptions()
    at: float | None = None
    plots: Path | str | None = None
    json: Path | str | None = None
    worst: int = 0
    worst_dir: Path | str = "worst"
    blur: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    style: DrawStyle = DrawStyle()


def evaluate(job: EvalJob, progress: Progress = LoggingProgress(), controls: Controls | None = None) -> EvalReport:
    """Measure a model, or a results file, against ground truth; images and classes that do not match are reported.

    Args:
        controls: when stopped, the figures are those of the images done so far.

    Raises:
        UsageError: options that do not go together.
        SourceError: the ground truth, the results or the images cannot be read, or have nothing in common.
        ModelError: the model or a package is not available.
        SinkError: an output cannot be written.
    """
    model = ModelLookup(job.model, progress)
    _check(job, model)
    folder = ImageFolder(job.images, job.max_pixels) if job.images else None
    truth = read_truth(job.truth, folder.size if folder else None)
    _check_truth(truth, job.truth, progress)
    paths = pair_images(truth.images, folder, progress) if folder else {}
    _check_own_names(job, paths, model)
    if job.predictions is None:
        predictions = predict(
            truth, paths, model, _detect_options(job), job.multi_label, job.run,
            progress, controls or Controls(), job.max_pixels,
        )  # fmt: skip
    else:
        predictions = _results(job, truth, job.predictions, progress)
    report = make_report(truth, predictions, _counts(truth, predictions, folder, paths), job.at, progress)
    _write(job, report, paths)
    return report


def _check(job: EvalJob, model: ModelLookup) -> None:
    """Everything that can be refused before any work."""
    if job.predictions is None and job.images is None:
        raise UsageError(
            f"give {arg('images')}, the folder that the ground truth's images are in, or {arg('predictions')}"
        )
    if job.at is not None:
        check_share(job.at, "at")
    check_least(job.max_pixels, 1, "max_pixels")
    require_pycocotools()
    if job.plots is not None:
        check_plots()
    check_worst(job.worst, job.images)
    for path in (job.truth, job.predictions):
        if path is not None:
            check_regular(path, "an annotation file")
    Guard(_inputs(job, model)).check(_outputs(job))


def _outputs(job: EvalJob) -> Iterator[Output]:
    if job.plots is not None:
        yield Output("plots", job.plots, folder=True)
        yield from (Output("plots", Path(job.plots) / name) for name in PLOTS)
    if job.worst:
        yield Output("worst_dir", job.worst_dir, folder=True)
    if job.json is not None:
        yield Output("json", job.json)


def _inputs(job: EvalJob, model: ModelLookup) -> Iterator[Path]:
    """Every file that is read; the ground truth may be a folder of them."""
    yield from truth_files(job.truth)
    for path in (job.predictions, job.images):
        if path is not None and path.is_dir():
            yield from (file for file in path.rglob("*") if is_image_file(file) and not _is_own(job, file))
        elif path is not None:
            yield path
    yield from model.inputs()


def _is_own(job: EvalJob, file: Path) -> bool:
    """Whether a file may be an output of an earlier run, by its folder and name."""
    names = ((job.plots, file.name in PLOTS), (job.worst_dir if job.worst else None, _is_worst_name(file.name)))
    return any(
        fits and folder is not None and file.parent.resolve() == Path(folder).resolve() for folder, fits in names
    )


def _is_worst_name(name: str) -> bool:
    return name.partition("_")[0].isdecimal() and name.endswith(".jpg")


def _check_own_names(job: EvalJob, paths: Mapping[int, Path], model: ModelLookup) -> None:
    """Refuse an image of the ground truth that a plot or one of the worst images would replace, also through a link."""
    guard = Guard(chain(paths.values(), _inputs(job, model)))
    for name in PLOTS if job.plots is not None else ():
        guard.check_name("plots", Path(job.plots or "") / name)
    for path in Path(job.worst_dir).glob("*_*.jpg") if job.worst else ():
        if _is_worst_name(path.name):
            guard.check_name("worst_dir", path)


def _check_truth(truth: GroundTruth, path: Path, progress: Progress) -> None:
    for note in truth.notes:
        progress.warn(note)
    if not truth.images:
        raise SourceError(f"{path}: holds no images")
    if not any(len(image.label) for image in truth.images):
        raise SourceError(f"{path}: holds no objects, so there is nothing to measure against")


def _detect_options(job: EvalJob) -> DetectOptions:
    """The options with evaluation's own default threshold."""
    conf = job.detect.thresholds
    return job.detect if conf.default is not None else replace(job.detect, conf=replace(conf, default=0.001))


def _results(job: EvalJob, truth: GroundTruth, path: Path, progress: Progress) -> Predictions:
    """A results file in a model's place; all of the ground truth's images count, also those without detections."""
    found = from_results(read_results(path), truth, str(path), progress)
    labels = LabelSet.from_names(truth.labels)
    conf = job.detect.thresholds
    least = np.full(len(truth.labels), conf.default or 0.0)
    for name, value in conf.per_class.items():
        least[labels.find_all(name)] = value
    kept = labels.find_each(job.detect.classes) or range(len(labels))
    everything = tuple(range(len(truth.images)))
    return Predictions(found[found.score >= least[found.label]], everything, tuple(sorted(kept)), {"model": str(path)})


def _counts(
    truth: GroundTruth, predictions: Predictions, folder: ImageFolder | None, paths: Mapping[int, Path]
) -> ImageCounts:
    if "runtime" not in predictions.ran or folder is None:
        return ImageCounts(len(predictions.images))
    done = len(predictions.images) + predictions.unreadable
    return ImageCounts(
        evaluated=len(predictions.images),
        without_picture=len(truth.images) - len(paths),
        without_truth=len(folder.paths) - len(paths),
        unreadable=predictions.unreadable,
        not_reached=len(paths) - done,
    )


def _write(job: EvalJob, report: EvalReport, paths: Mapping[int, Path]) -> None:
    if job.plots is not None:
        write_plots(Path(job.plots), report)
    if job.worst:
        write_worst(Gallery(job.worst, Path(job.worst_dir), job.blur, job.style, job.max_pixels), report, paths)
    if job.json is not None:
        write_text(job.json, report.to_json())
