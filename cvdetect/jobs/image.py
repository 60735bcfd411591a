"""The job of ``cvdetect image``: images in; annotated copies, JSON Lines and crops out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from cvdetect.core.detections import Detections
from cvdetect.core.frame import MAX_PIXELS, Frame
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, check_least
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.targets import names_a_folder
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import Summary, run
from cvdetect.jobs.detecting import DetectReport, json_sinks
from cvdetect.models.resolve import ModelLookup
from cvdetect.sinks import PlainSink, Sink
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.images import Crops, ImageFiles, check_suffix, output_names
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sinks.window import Window
from cvdetect.sources import Failed
from cvdetect.sources.images import (
    Images,
    PipedImages,
    check_inputs,
    expand,
    file_name,
    read_pipes,
    several_possible,
)
from cvdetect.sources.lists import is_list_file

__all__ = ["ImageJob", "ImageReport", "ImageResult", "detect_images"]

# For so few images the slower first forward with Winograd costs more than it saves later.
_FEW_IMAGES = 4


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What was found in one image.

    Attributes:
        frame: the image, and the name it was given by.
        found: its detections, best score first, with their labels.
        out: its annotated copy; None where none is written.
    """

    frame: Frame
    found: Detections
    out: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """What to do with which images.

    Attributes:
        inputs: file names, patterns, ``@FILE`` for a list of paths, ``-`` for an image from standard input.
        out: a file for one input; a folder where the text ends with a slash or names one, or where several inputs are
            possible (several, a pattern, a list). None writes ``<stem>_detected<suffix>`` in the current folder.
        save: write annotated copies.
        show: show each in a window.
        json: a file for JSON Lines, "-" for standard output.
        crops: a folder for a cut-out of each detection.
        blur: classes (names or ids, or "all") to pixelate in every image that is written or shown.
        max_pixels: larger images are not decoded; they fail.
        on_result: called with each image's result as soon as it is there, in the order of the inputs.
    """

    inputs: tuple[str, ...]
    model: ModelChoice = ModelChoice()
    detect: DetectOptions = DetectOptions()
    run: RunOptions = RunOptions()
    out: Path | str | None = None
    save: bool = True
    show: bool = False
    json: str | Path | None = None
    crops: Path | str | None = None
    blur: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    style: DrawStyle = DrawStyle()
    on_result: Callable[[ImageResult], None] | None = None

    def __post_init__(self) -> None:
        inputs = [self.inputs] if isinstance(self.inputs, str | Path) else self.inputs
        object.__setattr__(self, "inputs", tuple(map(str, inputs)))  # one name is no sequence of letters


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport(DetectReport):
    """How a run went, and label → detections in all images, most first."""

    objects: Mapping[str, int] = field(default_factory=dict)


def detect_images(
    job: ImageJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> ImageReport:
    """Detect in images. Inputs that cannot be read are reported and counted; the others are done.

    Raises:
        UsageError: an option is wrong.
        ModelError: the model or backend is not available.
        SinkError: an output cannot be written.
    """
    check_least(job.max_pixels, 1, "max_pixels")
    names = expand(job.inputs)
    check_inputs(names)
    piped = read_pipes(names)
    paths = _output_paths(job, names, piped)
    model = ModelLookup(job.model, progress)
    guard = _check_outputs(job, names, paths, model)
    if not any(name in piped or Path(name).is_file() for name in names):  # nothing a network would be needed for
        return ImageReport(summary=_report_failures(names, progress))
    detectors = load_detectors(model, job.detect, _quickest(job.run, names), progress, most=len(names))
    detector = detectors[0]
    progress.detail(f"{detector.name} runs on {detector.ran}")
    results = _Results(job, paths)
    sinks = [*_sinks(job, detector, paths, piped, guard), results]
    progress.begin("detecting", len(names), "images")
    begin = time.perf_counter()
    try:
        summary = run(Images(names, piped, job.max_pixels).items(), detectors, sinks, progress, controls=controls)
    finally:
        progress.end()
    seconds, objects = time.perf_counter() - begin, dict(results.objects.most_common())
    return ImageReport(summary=summary, ran=str(detector.ran), seconds=seconds, objects=objects)


def _report_failures(names: Sequence[str], progress: Progress) -> Summary:
    summary = Summary(failed=[item for item in Images(names).items() if isinstance(item, Failed)])
    for item in summary.failed:
        progress.error(str(item.error))
    return summary


def _quickest(options: RunOptions, names: Sequence[str]) -> RunOptions:
    return replace(options, winograd=len(names) > _FEW_IMAGES)


def _output_paths(job: ImageJob, names: Sequence[str], piped: PipedImages) -> dict[str, Path]:
    """Each input → where its annotated copy goes."""
    if job.out is not None and not _into_folder(job):
        if job.save:
            check_suffix(Path(job.out))
        return {names[0]: Path(job.out)}
    return _in_folder(names, piped, Path(job.out or ""))


def _into_folder(job: ImageJob) -> bool:
    """Whether `out` is a folder."""
    return several_possible(job.inputs) or (job.out is not None and names_a_folder(job.out))


def _in_folder(names: Sequence[str], piped: PipedImages, folder: Path) -> dict[str, Path]:
    """Each input → ``<folder>/<stem>_detected<suffix>``."""
    called = {name: file_name(name, piped) for name in names}
    paths = output_names(list(called.values()), folder)
    return {name: paths[call] for name, call in called.items()}


def _check_outputs(job: ImageJob, names: Sequence[str], paths: Mapping[str, Path], model: ModelLookup) -> Guard:
    """Check all outputs before any work → the guard, for the names of crops."""
    guard = Guard(_inputs(job, names, model))
    outputs = [Output("out", path) for path in paths.values()] if job.save else []
    if job.save and job.out is not None and _into_folder(job):
        outputs.insert(0, Output("out", job.out, folder=True))
    if job.json is not None:
        outputs.append(Output("json", job.json))
    if job.crops is not None:
        outputs.append(Output("crops", job.crops, folder=True))
    guard.check(outputs)
    return guard


def _inputs(job: ImageJob, names: Sequence[str], model: ModelLookup) -> Iterator[str | Path]:
    yield from names
    yield from (text[1:] for text in job.inputs if is_list_file(text))
    yield from model.inputs()


def _sinks(
    job: ImageJob, detector: Detector, paths: Mapping[str, Path], piped: PipedImages, guard: Guard
) -> list[Sink]:
    renderer = Renderer(detector.labels, job.style, blurred_classes(job.blur, detector.labels))
    sinks = json_sinks(job.json, detector)
    if job.save:
        sinks.append(ImageFiles(paths, renderer))
    if job.crops is not None:
        folder = Path(job.crops)
        names = _in_folder(list(paths), piped, folder)
        sinks.append(Crops(folder, names, renderer, partial(guard.check_name, "crops")))
    if job.show:
        sinks.append(Window(renderer))
    return sinks


class _Results(PlainSink):
    """Counts the objects of each label, and hands each image's result to the job's `on_result`."""

    def __init__(self, job: ImageJob, paths: Mapping[str, Path]) -> None:
        self._on_result = job.on_result
        self._paths = paths if job.save else {}
        self.objects: Counter[str] = Counter()

    def write(self, frame: Frame, found: Detections) -> None:
        self.objects.update(found.label(int(c)) for c in found.class_id)
        if self._on_result is not None:
            self._on_result(ImageResult(frame, found, self._paths.get(frame.name)))
