"""``cvdetect eval`` as a library call: a truth and a model, or a results file, in; a report out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from cvdetect.annotations.formats import read_results, read_truth
from cvdetect.annotations.types import GroundTruth
from cvdetect.annotations.yolo import class_files
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.files import write_text
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, check_share
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.targets import check_regular
from cvdetect.jobs.evaluate.arrays import Found, Objects, PictureFolder, flatten, pair_pictures
from cvdetect.jobs.evaluate.coco import CocoScores, coco_scores, require_pycocotools
from cvdetect.jobs.evaluate.plots import PLOTS, check_plots, write_plots
from cvdetect.jobs.evaluate.predict import Predictions, from_results, look
from cvdetect.jobs.evaluate.report import ClassFigures, ImageCounts, Report, Scored
from cvdetect.jobs.evaluate.score import (
    ap_11_points,
    ap_all_points,
    best_f1,
    confusion_matrix,
    match,
    ranking,
    rankings,
)
from cvdetect.jobs.evaluate.worst import Gallery, check_worst, write_worst
from cvdetect.models.load import model_inputs
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sources.images import check_max_pixels, is_image_file

__all__ = ["EvalJob", "evaluate", "judge"]


_TRUTHS = frozenset({".xml", ".txt", ".yaml", ".yml"})  # what is read in a folder of them


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalJob:
    """What to measure against which truth.

    Attributes:
        truth: a COCO JSON file, a folder of VOC XML, or a folder of YOLO text files.
        images: the folder that the truth's images are in; not needed with `predictions`.
        predictions: a COCO results file to score instead of running a model; of `detect`, its thresholds and classes
            act on it.
        detect: a threshold that is not given is 0.001 for a model, 0 for a results file; `multi_label` below decides
            over its field of that name.
        multi_label: every class over the threshold is a detection; None: where the model allows it, as graphs that
            suppress boxes themselves do not.
        at: the score at which precision, recall and counts are told; None takes the best F1.
        plots: a folder for precision-recall and F1 curves and the confusion matrix.
        json: a file for all figures as one JSON object.
        worst: how many pictures with the worst misses to write into the folder `worst_dir`.
        blur: names of the truth's classes to pixelate there, or "all".
        max_pixels: larger pictures are not decoded; they count as unreadable.
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
    style: DrawStyle = DrawStyle()  # noqa: RUF009 - frozen


def evaluate(job: EvalJob, progress: Progress = NullProgress()) -> Report:
    """Do `job`. What does not fit together (images, classes, sizes) is told and counted.

    Raises:
        UsageError: options that do not go together.
        SourceError: the truth, the results or the pictures cannot be read, or have nothing in common.
        ModelError: the model or a package cannot be had.
        SinkError: an output cannot be written.
    """
    _check(job)
    folder = PictureFolder(job.images, job.max_pixels) if job.images else None
    truth = read_truth(job.truth, folder.size if folder else None)
    _tell(truth, job.truth, progress)
    pictures = pair_pictures(truth.images, folder, progress) if folder else {}
    _check_own_names(job, pictures)
    if job.predictions is None:
        looked = look(truth, pictures, job.model, _detecting(job), job.multi_label, job.run, progress, job.max_pixels)
    else:
        looked = _results(job, truth, job.predictions, progress)
    report = judge(truth, looked, _counts(truth, looked, folder, pictures), job.at, progress)
    _write(job, report, pictures)
    return report


def _check(job: EvalJob) -> None:
    """All that can be told before any work."""
    if job.predictions is None and job.images is None:
        raise UsageError("give --images, the folder that the truth's images are in, or --predictions")
    if job.at is not None:
        check_share(job.at, "--at")
    check_max_pixels(job.max_pixels)
    require_pycocotools()
    if job.plots is not None:
        check_plots()
    check_worst(job.worst, job.images)
    for path in (job.truth, job.predictions):
        if path is not None:
            check_regular(path, "an annotation file")
    Guard(_inputs(job)).check(_outputs(job))


def _outputs(job: EvalJob) -> Iterator[Output]:
    if job.plots is not None:
        yield Output("--plots", job.plots, folder=True)
        yield from (Output("--plots", Path(job.plots) / name) for name in PLOTS)
    if job.worst:
        yield Output("--worst-dir", job.worst_dir, folder=True)
    if job.json is not None:
        yield Output("--json", job.json)


def _inputs(job: EvalJob) -> Iterator[Path]:
    """Every file that is read; a truth may be a folder of them."""
    for path in (job.truth, job.predictions, job.images):
        if path is not None and path.is_dir():
            is_input = is_image_file if path == job.images else _is_truth
            yield from (file for file in path.rglob("*") if is_input(file) and not _own(job, file))
        elif path is not None:
            yield path
    yield from class_files(job.truth) if job.truth.is_dir() else ()
    yield from model_inputs(job.model)


def _is_truth(file: Path) -> bool:
    return file.suffix.lower() in _TRUTHS


def _own(job: EvalJob, file: Path) -> bool:
    """Whether a file may be a result of an earlier run: its folder and name are those of one."""
    names = ((job.plots, file.name in PLOTS), (job.worst_dir if job.worst else None, _is_worst_name(file.name)))
    return any(
        fits and folder is not None and file.parent.resolve() == Path(folder).resolve() for folder, fits in names
    )


def _is_worst_name(name: str) -> bool:
    return name.partition("_")[0].isdecimal() and name.endswith(".jpg")


def _check_own_names(job: EvalJob, pictures: Mapping[int, Path]) -> None:
    """No image of the truth may be called, in that folder, as a plot or one of the worst will be, also by a link."""
    guard = Guard(chain(pictures.values(), _inputs(job)))
    for name in PLOTS if job.plots is not None else ():
        guard.check_name("--plots", Path(job.plots or "") / name)
    for path in Path(job.worst_dir).glob("*_*.jpg") if job.worst else ():
        if _is_worst_name(path.name):
            guard.check_name("--worst-dir", path)


def _tell(truth: GroundTruth, path: Path, progress: Progress) -> None:
    for note in truth.notes:
        progress.warn(note)
    if not truth.images:
        raise SourceError(f"{path}: holds no images")
    if not any(len(image.label) for image in truth.images):
        raise SourceError(f"{path}: holds no objects, so there is nothing to measure against")


def _detecting(job: EvalJob) -> DetectOptions:
    """The options with evaluation's own default threshold."""
    conf = job.detect.thresholds
    return job.detect if conf.default is not None else replace(job.detect, conf=replace(conf, default=0.001))


def _results(job: EvalJob, truth: GroundTruth, path: Path, progress: Progress) -> Predictions:
    """A results file in a model's place; all of the truth's images count, whether it has detections there or not."""
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
    truth: GroundTruth, looked: Predictions, folder: PictureFolder | None, pictures: dict[int, Path]
) -> ImageCounts:
    if "runtime" not in looked.ran or folder is None:
        return ImageCounts(len(looked.images))
    done = len(looked.images) + looked.unreadable
    return ImageCounts(
        evaluated=len(looked.images),
        without_picture=len(truth.images) - len(pictures),
        without_truth=len(folder.paths) - len(pictures),
        unreadable=looked.unreadable,
        not_reached=len(pictures) - done,
    )


def _write(job: EvalJob, report: Report, pictures: dict[int, Path]) -> None:
    if job.plots is not None:
        write_plots(Path(job.plots), report)
    if job.worst:
        write_worst(Gallery(job.worst, Path(job.worst_dir), job.blur, job.style, job.max_pixels), report, pictures)
    if job.json is not None:
        write_text(job.json, report.to_json())


# From truth and detections to a report.


def judge(truth: GroundTruth, looked: Predictions, images: ImageCounts, at: float | None, progress: Progress) -> Report:
    """All figures of what was looked at; `at` is the score threshold of the rates, None for the best F1.

    Raises:
        SourceError: there is nothing to be found.
    """
    labels = [truth.labels[i] for i in looked.labels]
    objects, found = _only(flatten(truth, looked.images), looked.found, looked.labels)
    if not objects.counted.any():
        raise SourceError(f"the {len(looked.images)} images hold no object of the measured classes: nothing to measure")
    coco = coco_scores(objects, found, len(labels), progress)
    judged = _judged(objects, found, len(labels))
    threshold = best_f1(judged.together) if at is None else at
    classes = _classes(labels, judged, coco, threshold)
    told = {"evaluator": coco.evaluator, "images": asdict(images), "at": threshold, "at_is_best_f1": at is None}
    return Report(
        coco=coco.figures,
        voc_11=_mean([one.voc_11 for one in classes]),
        voc_all=_mean([one.voc_all for one in classes]),
        classes=classes,
        rates=judged.together.at(threshold),
        at=threshold,
        at_is_best=at is None,
        confusion=confusion_matrix(objects, found, judged.matches, threshold, len(labels)),
        images=images,
        ran={**looked.ran, **told},
        judged=judged,
        exit_code=looked.interrupted or int(images.without_picture + images.unreadable > 0),
    )


def _only(objects: Objects, found: Found, labels: Sequence[int]) -> tuple[Objects, Found]:
    """What is of `labels` (rising), each numbered by its place among them."""
    if max(objects.label.max(initial=-1), found.label.max(initial=-1)) < len(labels) == labels[-1] + 1:
        return objects, found  # all of them, numbered so already
    theirs, kept = np.isin(objects.label, labels), found[np.isin(found.label, labels)]
    return (
        Objects(
            objects.image[theirs],
            np.searchsorted(labels, objects.label[theirs]),
            objects.xyxy[theirs],
            objects.area[theirs],
            objects.crowd[theirs],
            objects.difficult[theirs],
        ),
        Found(kept.image, np.searchsorted(labels, kept.label), kept.xyxy, kept.score),
    )


def _judged(objects: Objects, found: Found, label_count: int) -> Scored:
    matches = match(objects, found)
    by_class = tuple(rankings(objects, found, matches, label_count))
    return Scored(objects, found, matches, by_class, ranking(objects, found, matches))


def _classes(labels: Sequence[str], judged: Scored, coco: CocoScores, at: float) -> tuple[ClassFigures, ...]:
    return tuple(
        ClassFigures(
            label=label,
            objects=ranked.positives,
            ap=coco.ap[i],
            ap50=coco.ap50[i],
            voc_11=ap_11_points(ranked.right, ranked.positives) if ranked.positives else None,
            voc_all=ap_all_points(ranked.right, ranked.positives) if ranked.positives else None,
            rates=ranked.at(at),
        )
        for i, (label, ranked) in enumerate(zip(labels, judged.rankings, strict=True))
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is defined."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
