"""``cvdetect webcam`` as a library call: a camera or stream in; a window, a page, a video and JSON Lines out."""

from __future__ import annotations

import os

from cvdetect.core.errors import UsageError
from cvdetect.core.options import DetectOptions
from cvdetect.core.progress import Controls, Progress, Silent
from cvdetect.inference.detector import Detector, warm_up
from cvdetect.inference.pipeline import Summary
from cvdetect.jobs.job import WebcamJob, check
from cvdetect.jobs.live import LiveRun
from cvdetect.jobs.slider import slider_for
from cvdetect.media.pipe import is_pipe
from cvdetect.sinks.window import why_no_window
from cvdetect.sources.camera import Camera
from cvdetect.sources.live import device_opener, url_opener

__all__ = ["WebcamJob", "detect_webcam"]


def detect_webcam(
    job: WebcamJob,
    progress: Progress = Silent(),  # noqa: B008 - stateless
    controls: Controls | None = None,
) -> Summary:
    """Do `job` until the stream, the person or a limit ends it. The newest frame is always the next one looked at.

    A stream that breaks and does not come back counts as failed; what came before it is done.

    Raises:
        UsageError: an option that cannot be met, or nothing to show or write.
        ModelError: the model, backend or an extra package cannot be had.
        SourceError: the camera or stream cannot be opened.
        SinkError: an output, or the port, cannot be had.
    """
    controls = controls or Controls()
    serve = check(job)
    slider = slider_for(job.model, job.detect)  # finds out, too, whether there is such a model
    has_window = _has_window(job, progress)
    with _camera(job, controls, progress) as camera:
        for remark in camera.info.remarks:
            progress.warn(f"{job.name}: {remark}")
        detect = slider.detect if has_window else _without_window(job, controls)
        detector = Detector.load(job.model, detect, job.run, progress)
        progress.detail(f"{detector.name} runs on {detector.ran}")
        live = LiveRun(job, camera, detector, controls, progress)
        warm_up([detector], camera.info.wh, progress)
        sinks = live.sinks(serve)
        return live.run_with_window(sinks, slider) if has_window else live.run(sinks)


def _has_window(job: WebcamJob, progress: Progress) -> bool:
    """Whether there will be a window; says so where there will not.

    Raises:
        UsageError: without one there is nothing to do.
    """
    reason = why_no_window() if job.window else "--no-window"
    if reason is None:
        return True
    if job.out is None and job.json is None and job.serve is None:
        raise UsageError(f"no window: {reason}; and no other output: give --out, --json or --serve 127.0.0.1:8080")
    progress.note(f"no window: {reason}")
    return False


def _without_window(job: WebcamJob, controls: Controls) -> DetectOptions:
    """What the detector lets through where there is no slider."""
    if not job.track:
        return job.detect
    from cvdetect.inference.tracking import with_faint

    return with_faint(job.model, job.detect, controls)


def _camera(job: WebcamJob, controls: Controls, progress: Progress) -> Camera:
    opener = device_opener(job.device or 0) if job.url is None else url_opener(job.url, job.timeout)
    return Camera(
        opener,
        job.name,
        controls,
        progress,
        timeout_s=job.timeout,
        reconnect=job.reconnect,
        max_frames=job.max_frames,
        duration_s=job.duration,
        ends=job.url is not None and _ends(job.url),
    )


def _ends(url: str) -> bool:
    """Whether the end of a stream is no break: that of a pipe, or of a file, though it may not state its length."""
    return is_pipe(url) or os.path.isfile(url.removeprefix("file://"))  # noqa: PTH113 - of any length
