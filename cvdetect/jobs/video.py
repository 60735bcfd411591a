"""The job of ``cvdetect video``: a video in; an annotated video and JSON Lines out."""

from __future__ import annotations

import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from cvdetect import media
from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import Frame
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, check_least
from cvdetect.core.outputs import Guard, Output, detected_name
from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.redact import stem_of_address
from cvdetect.core.targets import names_a_folder
from cvdetect.inference.detector import Detector, load_detectors, warm_up
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.jobs.detecting import DetectReport, check_tracking, json_sinks, tracking_filters, tracking_options
from cvdetect.models.resolve import ModelLookup
from cvdetect.sinks import PlainSink, Sink
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sinks.video import VideoFile, choose_codec
from cvdetect.sources.video import Video, every, files_of, usual_stem

__all__ = ["VideoJob", "VideoReport", "detect_video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoJob:
    """What to do with which video.

    Attributes:
        input: a file or a stream's address.
        out: the annotated video; its suffix chooses the container. A folder (the text ends with a slash, or there is
            one) gets it as ``<stem>_detected.mp4`` (``.avi`` without PyAV). Without out, json and show it is written
            into the current folder under this name. "-" is standard output.
        codec: a FOURCC; None for the container's default.
        container: the container's name ("mkv"), where out has another suffix or none; a pipe as out needs mkv or ts.
        every: detect in every nth frame, and draw its detections on those in between.
        start, end: seconds of the input; None for all.
        json: a file for JSON Lines, "-" for standard output.
        show: show each frame in a window.
        audio: copy the sound.
        track: give objects numbers that stay with them from frame to frame.
        batch: frames in one pass through the network.
        blur: classes (names or ids, or "all") to pixelate in every frame that is written or shown.
    """

    input: str
    model: ModelChoice = ModelChoice()
    detect: DetectOptions = DetectOptions()
    run: RunOptions = RunOptions()
    out: Path | str | None = None
    codec: str | None = None
    container: str | None = None
    every: int = 1
    start: float = 0.0
    end: float | None = None
    json: str | Path | None = None
    show: bool = False
    audio: bool = True
    track: bool = False
    batch: int = 1
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReport(DetectReport):
    """How a run went.

    Attributes:
        out: the annotated video, None where none was written.
        objects: label → detections in all frames that the network looked at, most first.
        tracked: label → how many distinct objects were numbered, each under its most frequent label; None without
            `track`.
    """

    out: Path | None
    objects: Mapping[str, int] = field(default_factory=dict)
    tracked: Mapping[str, int] | None = None


def detect_video(
    job: VideoJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> VideoReport:
    """Detect in a video. One that is cut short is done as far as it goes, and reported and counted as failed.

    Raises:
        UsageError: an option is wrong.
        ModelError: the model, the backend or an extra package is not available.
        SourceError: the input cannot be read.
        SinkError: an output cannot be written.
    """
    model = ModelLookup(job.model, progress)
    out = _check(job, model)
    with Video(job.input, job.start, job.end, with_sound=job.audio and out is not None) as source:
        for remark in source.info.remarks:
            progress.warn(f"{job.input}: {remark}")
        for note in source.notes:
            progress.note(f"{job.input}: {note}")
        controls = controls or Controls()
        detect = tracking_options(job.track, model, job.detect, controls)
        detectors = load_detectors(model, detect, job.run, progress)
        detector = detectors[0]
        networks = counted(len(detectors), "network")
        progress.detail(f"{detector.name} runs on {detector.ran}; {networks} side by side")
        counts = _Counts()
        sinks = [*_sinks(job, out, detector, source, progress, controls), counts]
        warm_up(detectors, source.info.wh, progress, job.batch)
        progress.begin("detecting", _expected(job, source), "frames")
        begin = time.perf_counter()
        try:
            items = every(source.items(), job.every)
            options = PipelineOptions(batch=job.batch)
            filters = tracking_filters(job.track, float(source.info.rate) / job.every, controls)
            summary = run(items, detectors, sinks, progress, options=options, filters=filters, controls=controls)
        finally:
            progress.end()
        seconds = time.perf_counter() - begin
    tracked = counts.tracked() if job.track else None
    objects = dict(counts.objects.most_common())
    return VideoReport(
        summary=summary, ran=str(detector.ran), seconds=seconds, out=out, objects=objects, tracked=tracked
    )


def _check(job: VideoJob, model: ModelLookup) -> Path | None:
    """All that can be checked before the video is opened or a model is pulled → where the annotated video goes."""
    for argument, value, least in (("every", job.every, 1), ("batch", job.batch, 1), ("start", job.start, 0)):
        check_least(value, least, argument)
    if job.end is not None and not job.start < job.end < math.inf:
        raise UsageError(f"{arg('end')} {job.end:g}: it must lie after {arg('start')} {job.start:g}")
    check_tracking(job.track)
    out = _output(job)
    if out is not None:
        choose_codec(out, job.codec, job.container)
    elif job.codec or job.container:
        option = "codec" if job.codec else "container"
        raise UsageError(f"{arg(option)} goes with {arg('out')}: no video is written")
    outputs = {"out": out, "json": job.json}
    inputs = chain(files_of(job.input), model.inputs())
    Guard(inputs).check(Output(option, path) for option, path in outputs.items() if path is not None)
    return out


def _output(job: VideoJob) -> Path | None:
    """Where the annotated video goes; None: there is none."""
    if job.out is not None and names_a_folder(job.out):
        return Path(job.out) / _default_name(job)
    if job.out is not None:
        return Path(job.out)
    return None if job.json or job.show else Path(_default_name(job))


def _default_name(job: VideoJob) -> str:
    name = job.input
    stem = stem_of_address(name) if "://" in name and not os.path.lexists(name) else usual_stem(name)
    container = job.container or ("mp4" if media.available() else "avi")
    return detected_name(stem or "stream", f".{container.lower().removeprefix('.')}")


def _sinks(
    job: VideoJob, out: Path | None, detector: Detector, source: Video, progress: Progress, controls: Controls
) -> list[Sink]:
    renderer = Renderer(detector.labels, job.style, blurred_classes(job.blur, detector.labels))
    sinks = json_sinks(job.json, detector)
    if out is not None:
        sinks.append(_video_file(job, out, renderer, source, progress))
    if job.show:
        from cvdetect.sinks.window import LiveWindow

        lowest = max(controls.min_score, detector.model.options.thresholds.floor)
        controls.min_score = lowest
        sinks.append(LiveWindow(renderer, controls, lowest=lowest, progress=progress))
    return sinks


def _video_file(job: VideoJob, out: Path, renderer: Renderer, source: Video, progress: Progress) -> VideoFile:
    info = source.info
    if info.sound and job.audio and not media.available():
        progress.warn(f"the sound is left out: {media.why_absent()}: {media.LIMITS}")
    return VideoFile(
        out,
        renderer,
        info.rate,
        job.codec,
        time_base=info.time_base,
        steady_rate=info.steady_rate,
        sound=source.sound,
        start=job.start,
        end=job.end,
        look=info.look,
        container=job.container,
        progress=progress,
    )


def _expected(job: VideoJob, source: Video) -> int | None:
    """How many frames will come, None where that is not known."""
    info = source.info
    if info.frames is None:
        return None
    last = info.frames if job.end is None else min(info.frames, round(job.end * info.rate))
    return max(0, last - round(job.start * info.rate))


class _Counts(PlainSink):
    """Counts detections by label, and the labels of each number, in the frames that the network looked at."""

    def __init__(self) -> None:
        self.objects: Counter[str] = Counter()
        self._numbered: dict[int, Counter[str]] = defaultdict(Counter)

    def write(self, frame: Frame, found: Detections) -> None:
        if frame.skipped:
            return
        labels = [found.label(int(c)) for c in found.class_id]
        self.objects.update(labels)
        for row, label in enumerate(labels):
            number = found.number(row)
            if number is not None:
                self._numbered[number][label] += 1

    def tracked(self) -> Counter[str]:
        """Label → how many numbers had it most often."""
        return Counter(labels.most_common(1)[0][0] for labels in self._numbered.values())
