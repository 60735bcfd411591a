"""``cvdetect image`` as a library call: pictures in; annotated copies, JSON Lines and crops out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cvdetect.detector import Detector, load_detectors
from cvdetect.errors import UsageError
from cvdetect.events import Progress, Silent
from cvdetect.files import check_writable
from cvdetect.labels import LabelSet
from cvdetect.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.pipeline import Summary, run
from cvdetect.sinks import Sink
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.json_lines import JsonLines
from cvdetect.sinks.pictures import Crops, PictureFiles, check_suffix, output_names
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sinks.window import Window
from cvdetect.sources.failed import Failed
from cvdetect.sources.images import expand, read_images

__all__ = ["ImageJob", "detect_images"]

# For so few pictures the slower first forward with Winograd costs more than it saves later.
_FEW_IMAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """What to do with which pictures.

    Attributes:
        inputs: file names and patterns.
        out: a file for one input, a folder for several; None writes ``<stem>_detected<suffix>`` in the current folder.
        save: write annotated copies.
        show: show each in a window.
        json: a file for JSON Lines, "-" for standard output.
        crops: a folder for a picture of each detection.
        blur: classes (names or ids, or "all") to pixelate in every picture that is written or shown.
    """

    inputs: tuple[str, ...]
    model: ModelChoice = ModelChoice()  # noqa: RUF009 - frozen
    detect: DetectOptions = DetectOptions()  # noqa: RUF009 - frozen
    run: RunOptions = RunOptions()  # noqa: RUF009 - frozen
    out: Path | None = None
    save: bool = True
    show: bool = False
    json: str | None = None
    crops: Path | None = None
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()  # noqa: RUF009 - frozen


# Makes one more sink (the console's table) once the labels and the pictures' paths are known.
ExtraSink = Callable[[LabelSet, Mapping[str, Path]], Sink]


def detect_images(job: ImageJob, extra: Sequence[ExtraSink] = (), progress: Progress = Silent()) -> Summary:  # noqa: B008
    """Do `job`. Inputs that cannot be read are told and counted; the others are done.

    Raises:
        UsageError: an option that cannot be met.
        ModelError: the model or backend cannot be had.
        SinkError: an output cannot be written.
    """
    names = expand(job.inputs)
    paths = _output_paths(job, names)
    if not any(Path(name).is_file() for name in names):  # nothing a network would be needed for
        return _tell_failures(names, progress)
    detectors = load_detectors(job.model, job.detect, _quickest(job.run, names), progress, most=len(names))
    detector = detectors[0]
    progress.detail(f"{detector.name} runs on {detector.ran}")
    sinks = [*_sinks(job, detector, paths), *(make(detector.labels, paths if job.save else {}) for make in extra)]
    progress.begin("detecting", len(names), "images")
    try:
        return run(read_images(names), detectors, sinks, progress)
    finally:
        progress.end()


def _tell_failures(names: Sequence[str], progress: Progress) -> Summary:
    summary = Summary(failed=[item for item in read_images(names) if isinstance(item, Failed)])
    for item in summary.failed:
        progress.warn(str(item.error))
    return summary


def _quickest(options: RunOptions, names: Sequence[str]) -> RunOptions:
    return replace(options, winograd=len(names) > _FEW_IMAGES)


def _output_paths(job: ImageJob, names: Sequence[str]) -> dict[str, Path]:
    """Each input → where its annotated copy goes; checked before any work."""
    one_file = job.out is not None and len(set(names)) == 1 and not job.out.is_dir()
    if one_file and job.out is not None:
        paths = {names[0]: job.out}
        if job.save:
            check_suffix(job.out)
    else:
        paths = output_names(names, job.out or Path())
    if job.save:
        for name, path in paths.items():
            if path.exists() and Path(name).exists() and path.samefile(name):
                raise UsageError(f"{path}: the output is the input itself; give another -o")
        check_writable(next(iter(paths.values())))
    if job.json not in (None, "-"):
        check_writable(Path(str(job.json)))
    return paths


def _sinks(job: ImageJob, detector: Detector, paths: Mapping[str, Path]) -> list[Sink]:
    renderer = Renderer(detector.labels, job.style, blurred_classes(job.blur, detector.labels))
    sinks: list[Sink] = []
    if job.json is not None:
        sinks.append(JsonLines(job.json, detector.name, detector.ran.as_json(), detector.labels))
    if job.save:
        sinks.append(PictureFiles(paths, renderer))
    if job.crops is not None:
        sinks.append(Crops(job.crops, output_names(list(paths), job.crops), detector.labels, renderer))
    if job.show:
        sinks.append(Window(renderer))
    return sinks
