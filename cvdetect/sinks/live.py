"""Videos of live streams: their frames come unevenly, because the network takes the newest and drops the others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from cvdetect import media
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Look
from cvdetect.core.progress import Progress
from cvdetect.sinks import Sink
from cvdetect.sinks.render import Renderer
from cvdetect.sinks.video import STEADY, VideoFile, container_of

__all__ = ["Steady", "live_video"]

_LONGEST_S = 5.0  # a longer gap (a lost connection) is shortened to this
_TIME_BASE = Fraction(1, 90_000)  # seconds, the clock of MPEG streams


def live_video(
    path: Path,
    renderer: Renderer,
    rate: Fraction,
    progress: Progress,
    container: str | None = None,
    look: Look | None = None,
) -> Sink:
    """A video file that plays as fast as life: with the frames' own times where the container has them, else steady."""
    steady = container_of(path, container) in STEADY or not media.available()
    time_base = None if steady else _TIME_BASE
    file = VideoFile(path, renderer, rate, time_base=time_base, container=container, look=look, progress=progress)
    return Steady(file, rate) if steady else file


class Steady:
    """Repeats frames, so that `rate` frames a second go on to another sink whatever came."""

    def __init__(self, sink: Sink, rate: Fraction) -> None:
        self._sink = sink
        self._rate = float(rate)
        self._last: tuple[Frame, Detections] | None = None
        self._zero_s = 0.0  # the time of the frame that is number 0 going on
        self._written = 0

    def __enter__(self) -> Steady:
        self._sink.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._sink.__exit__(*error)

    def write(self, frame: Frame, found: Detections) -> None:
        """Fill the time since the last frame with it, then write this one."""
        time_s = frame.time_s or 0.0
        if self._last is None:
            self._zero_s = time_s
        else:
            self._repeat(*self._last, time_s)
        self._sink.write(frame, found)
        self._written += 1
        self._last = (frame, found)

    def _repeat(self, frame: Frame, found: Detections, until_s: float) -> None:
        missing = round((until_s - self._zero_s) * self._rate) - self._written
        most = round(_LONGEST_S * self._rate)
        if missing > most:
            self._zero_s += (missing - most) / self._rate
        for _ in range(min(missing, most)):
            self._sink.write(frame, found)
            self._written += 1
