"""One live run: which sinks it has, and which thread does what."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cvdetect.core.progress import Controls, Progress
from cvdetect.core.signals import stopping_on_signals
from cvdetect.inference.detector import Detector
from cvdetect.inference.pipeline import Filter, Flow, Summary, run
from cvdetect.jobs.job import WebcamJob
from cvdetect.jobs.slider import Slider
from cvdetect.sinks import Sink
from cvdetect.sinks.figures import Figures
from cvdetect.sinks.json_lines import JsonLines
from cvdetect.sinks.live import live_video
from cvdetect.sinks.live_window import LiveWindow
from cvdetect.sinks.newest import Newest
from cvdetect.sinks.page import Address, Page
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sources.camera import Camera

__all__ = ["LiveRun"]

_LISTEN_S = 0.02  # how often the window looks for keys where no frames come


class LiveRun:
    """One run: what its sinks are, and on which thread it runs."""

    def __init__(
        self, job: WebcamJob, camera: Camera, detector: Detector, controls: Controls, progress: Progress
    ) -> None:
        self._job = job
        self._camera = camera
        self._detector = detector
        self._controls = controls
        self._progress = progress
        self._figures = Figures(detector.labels, camera.age_s)
        self._blurred = blurred_classes(job.blur, detector.labels)

    def run(self, sinks: Sequence[Sink]) -> Summary:
        """Watch until the end, in this thread."""
        self._progress.begin("watching", self._job.max_frames, "frames")
        flow, filters = Flow(live=True), self._filters()
        begin = time.perf_counter()
        try:
            summary = run(
                self._camera, [self._detector], sinks, self._progress,
                flow=flow, filters=filters, controls=self._controls,
            )  # fmt: skip
        finally:
            self._progress.end()
        seconds, dropped = time.perf_counter() - begin, self._camera.dropped
        rate = summary.done / seconds
        self._progress.note(f"{summary.done} frames in {seconds:.1f} s, {rate:.1f} a second; {dropped} dropped")
        return summary

    def run_with_window(self, sinks: Sequence[Sink], slider: Slider) -> Summary:
        """Watch on another thread, as a window belongs to the main one and must answer while no frames come."""
        self._controls.min_score = slider.start
        window = LiveWindow(
            self._renderer(), self._controls, caption=self._caption, lowest=slider.lowest, progress=self._progress
        )
        newest = Newest()
        with stopping_on_signals(self._controls) as interrupted, window, ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run, [*sinks, newest])
            try:
                _show_until_done(running, window, newest)
            finally:
                self._controls.stop()
        summary = running.result()
        summary.interrupted = interrupted.exit_code
        return summary

    def sinks(self, serve: Address | None) -> list[Sink]:
        """All but the window."""
        job, detector = self._job, self._detector
        sinks: list[Sink] = [self._figures]
        if job.json is not None:
            sinks.append(JsonLines(job.json, detector.name, detector.ran.as_json(), detector.labels))
        if job.out is not None:
            info, path = self._camera.info, Path(job.out)
            sinks.append(live_video(path, self._renderer(), info.rate, self._progress, job.container, info.look))
        if serve is not None:
            sinks.append(Page(serve, self._renderer(), self._facts, self._progress))
        return sinks

    def _filters(self) -> list[Filter]:
        if not self._job.track:
            return []
        from cvdetect.inference.tracking import Tracker

        return [Tracker(float(self._camera.info.rate), self._controls)]

    def _renderer(self) -> Renderer:
        """One for each thread that draws."""
        return Renderer(self._detector.labels, self._job.style, self._blurred)

    def _caption(self) -> str:
        ran = self._detector.ran
        what = f"{self._detector.name}, {ran.runtime} {ran.target} {ran.precision}"
        return f"{self._figures.now.fps:.1f} fps  {what}  {self._camera.dropped} dropped"

    def _facts(self) -> dict[str, Any]:
        now = self._figures.now
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


def _show_until_done(running: Future[Summary], window: LiveWindow, newest: Newest) -> None:
    while not running.done():
        shown = newest.take(_LISTEN_S)
        if shown is None:
            window.listen()
        else:
            window.write(*shown)
