"""The job of ``cvdetect webcam``: a camera or stream in; a window, a page, a video and JSON Lines out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.core.options import Conf, DetectOptions, ModelChoice, RunOptions, check_least
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.signals import stopping_on_signals
from cvdetect.core.targets import names_a_folder
from cvdetect.inference.detector import Detector, warm_up
from cvdetect.inference.pipeline import PipelineOptions, Summary, run
from cvdetect.jobs.detecting import DetectReport, check_tracking, json_sinks, tracking_filters, tracking_options
from cvdetect.models.resolve import ModelLookup
from cvdetect.runtime import choose
from cvdetect.sinks import Sink
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.live import LatestFrame, LiveStats, live_video
from cvdetect.sinks.page import Address, Page, check_port, need_server, parse_address
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sinks.video import choose_codec
from cvdetect.sinks.window import LiveWindow, why_no_window
from cvdetect.sources.camera import Camera
from cvdetect.sources.live import live_name, open_live
from cvdetect.sources.video import files_of

__all__ = ["WebcamJob", "WebcamReport", "detect_webcam"]

_LISTEN_S = 0.02  # how often the window checks for keys while no frames come
_LOWEST_SCORE = 0.05  # the end of the window's slider


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcamJob:
    """What to watch, and where the results go.

    Attributes:
        device: a camera's number; None with a `url`.
        url: an address (rtsp, http, …), or a video file that is played in real time.
        out: an annotated video; its suffix chooses the container.
        container: the container's name ("mkv"), where out has another suffix or none; a pipe as out needs mkv or ts.
        json: a file for JSON Lines, "-" for standard output.
        window: show a window with a slider. Where none can be opened, the run goes on without.
        serve: HOST:PORT of a page with the live image.
        max_frames: end after so many frames; None for no end.
        duration: end after so many seconds; None for no end.
        reconnect: how often to try again when the stream breaks.
        track: give objects numbers that stay with them from frame to frame.
        timeout: seconds to wait for a connection and for each frame.
        blur: classes (names or ids, or "all") to pixelate in every image that is written or shown.
    """

    device: int | None = None
    url: str | None = None
    model: ModelChoice = ModelChoice()
    detect: DetectOptions = DetectOptions()
    run: RunOptions = RunOptions()
    out: Path | str | None = None
    container: str | None = None
    json: str | Path | None = None
    window: bool = True
    serve: str | None = None
    max_frames: int | None = None
    duration: float | None = None
    track: bool = False
    reconnect: int = 10
    timeout: float = 10.0
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()

    @property
    def name(self) -> str:
        """The source's name in messages and results; an address without its secrets."""
        return live_name((self.device or 0) if self.url is None else self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcamReport(DetectReport):
    """How a run went, and how many frames came while the network was busy with an earlier one."""

    dropped: int


def detect_webcam(
    job: WebcamJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> WebcamReport:
    """Detect until the stream, the person or a limit ends the run. The next frame is always the newest one.

    A stream that breaks and does not come back counts as failed; what came before it is done.

    Raises:
        UsageError: an option is wrong, or there is nothing to show or write.
        ModelError: the model, the backend or an extra package is not available.
        SourceError: the camera or stream cannot be opened.
        SinkError: an output cannot be written, or the port is not free.
    """
    controls = controls or Controls()
    model = ModelLookup(job.model, progress)
    address = _check(job, model)
    slider = _slider(job, model)  # also checks that there is such a model
    has_window = _has_window(job, progress)
    with _camera(job, controls, progress) as camera:
        for remark in camera.info.remarks:
            progress.warn(f"{job.name}: {remark}")
        detect = slider.detect if has_window else tracking_options(job.track, model, job.detect, controls)
        detector = Detector.of(model.resolved, detect, choose(job.run), progress)
        progress.detail(f"{detector.name} runs on {detector.ran}")
        live = _LiveRun(job, camera, detector, controls, progress)
        warm_up([detector], camera.info.wh, progress)
        sinks = live.sinks(address)
        begin = time.perf_counter()
        summary = live.run_with_window(sinks, slider) if has_window else live.run(sinks)
        seconds = time.perf_counter() - begin
        return WebcamReport(summary=summary, ran=str(detector.ran), seconds=seconds, dropped=camera.dropped)


def _check(job: WebcamJob, model: ModelLookup) -> Address | None:
    """All that can be checked before the camera is opened or a model is pulled → where the page is served."""
    if job.device is not None and job.url is not None:
        raise UsageError(f"{arg('device')} and {arg('url')}: give one of them")
    limits = (("max_frames", job.max_frames, 1), ("reconnect", job.reconnect, 0), ("device", job.device, 0))
    for argument, value, least in limits:
        if value is not None:
            check_least(value, least, argument)
    for argument, seconds in (("duration", job.duration), ("timeout", job.timeout)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageError(f"{arg(argument)} {seconds:g}: a positive number of seconds is needed")
    check_tracking(job.track)
    address = _page_address(job)
    _check_outputs(job, model)
    return address


def _page_address(job: WebcamJob) -> Address | None:
    if job.serve is None:
        return None
    address = parse_address(job.serve)
    need_server()
    check_port(address)
    return address


def _check_outputs(job: WebcamJob, model: ModelLookup) -> None:
    if job.out is not None:
        if names_a_folder(job.out):
            raise UsageError(f"{job.out}: is a folder, expected a file name")
        choose_codec(Path(job.out), None, job.container)
    outputs = {"out": job.out, "json": job.json}
    inputs: Iterator[str | Path] = chain([] if job.url is None else files_of(job.url), model.inputs())
    Guard(inputs).check(Output(option, path) for option, path in outputs.items() if path is not None)


def _has_window(job: WebcamJob, progress: Progress) -> bool:
    """Whether there will be a window; the reason is noted where there will not.

    Raises:
        UsageError: without one there is nothing to do.
    """
    reason = why_no_window() if job.window else arg("window", False)
    if reason is None:
        return True
    if job.out is None and job.json is None and job.serve is None:
        raise UsageError(
            f"no window: {reason}; and no other output: give {arg('out')}, {arg('json')} or "
            f"{arg('serve', '127.0.0.1:8080')}"
        )
    progress.note(f"no window: {reason}")
    return False


@dataclass(frozen=True, slots=True)
class _Slider:
    """The window's confidence slider: its first position, its lowest, and the options the detector needs for it."""

    start: float
    lowest: float
    detect: DetectOptions


def _slider(job: WebcamJob, model: ModelLookup) -> _Slider:
    """One threshold for all classes: the slider starts there and goes down to 0.05, as the detector lets that through.

    Thresholds by class stay in the detector: the slider starts at the lowest of them and raises what it is above.
    """
    asked = job.detect.thresholds
    conf = model.resolved.spec.conf if asked.default is None else asked.default
    if asked.per_class:
        lowest = min([conf, *asked.per_class.values()])
        return _Slider(lowest, lowest, job.detect)
    lowest = min(conf, _LOWEST_SCORE)
    return _Slider(conf, lowest, replace(job.detect, conf=Conf(lowest)))


def _camera(job: WebcamJob, controls: Controls, progress: Progress) -> Camera:
    return open_live(
        (job.device or 0) if job.url is None else job.url,
        controls,
        progress,
        timeout_s=job.timeout,
        reconnect=job.reconnect,
        max_frames=job.max_frames,
        duration_s=job.duration,
    )


class _LiveRun:
    """One run: its sinks, and the threads it runs on."""

    def __init__(
        self, job: WebcamJob, camera: Camera, detector: Detector, controls: Controls, progress: Progress
    ) -> None:
        self._job = job
        self._camera = camera
        self._detector = detector
        self._controls = controls
        self._progress = progress
        self._stats = LiveStats(camera.age_s)
        self._blurred = blurred_classes(job.blur, detector.labels)

    def sinks(self, address: Address | None) -> list[Sink]:
        """All but the window."""
        job, detector = self._job, self._detector
        sinks: list[Sink] = [self._stats, *json_sinks(job.json, detector)]
        if job.out is not None:
            info, path = self._camera.info, Path(job.out)
            sinks.append(live_video(path, self._renderer(), info.rate, self._progress, job.container, info.look))
        if address is not None:
            sinks.append(Page(address, self._renderer(), self._facts, self._progress))
        return sinks

    def run(self, sinks: Sequence[Sink]) -> Summary:
        """Detect until the end, in this thread."""
        self._progress.begin("watching", self._job.max_frames, "frames")
        try:
            return run(
                self._camera.items(),
                [self._detector],
                sinks,
                self._progress,
                options=PipelineOptions(live=True),
                filters=tracking_filters(self._job.track, float(self._camera.info.rate), self._controls),
                controls=self._controls,
            )
        finally:
            self._progress.end()

    def run_with_window(self, sinks: Sequence[Sink], slider: _Slider) -> Summary:
        """Detect on another thread, as a window belongs to the main one and must respond while no frames come."""
        self._controls.min_score = slider.start
        window = LiveWindow(
            self._renderer(), self._controls, caption=self._caption, lowest=slider.lowest, progress=self._progress
        )
        latest = LatestFrame()
        with stopping_on_signals(self._controls) as interrupted, window, ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run, [*sinks, latest])
            try:
                _show_until_done(running, window, latest)
            finally:
                self._controls.stop()
        summary = running.result()
        summary.interrupted = interrupted.exit_code
        return summary

    def _renderer(self) -> Renderer:
        """One for each thread that draws."""
        return Renderer(self._detector.labels, self._job.style, self._blurred)

    def _caption(self) -> str:
        ran = self._detector.ran
        what = f"{self._detector.name}, {ran.runtime} {ran.target} {ran.precision}"
        return f"{self._stats.now.fps:.1f} fps  {what}  {self._camera.dropped} dropped"

    def _facts(self) -> dict[str, Any]:
        """What the page shows beside the image."""
        now = self._stats.now
        return {
            "source": self._job.name,
            "model": self._detector.name,
            "ran": str(self._detector.ran),
            "state": "paused" if self._controls.paused else self._camera.state,
            "fps": round(now.fps, 2),
            "delay_ms": round(now.delay_s * 1000),
            "frame": now.index,
            "time": round(now.time_s, 3),
            "dropped": self._camera.dropped,
            "counts": dict(now.counts),
        }


def _show_until_done(running: Future[Summary], window: LiveWindow, latest: LatestFrame) -> None:
    while not running.done():
        result = latest.take(_LISTEN_S)
        if result is None:
            window.listen()
        else:
            window.write(*result)
