"""Sinks of live streams: a video that plays as fast as life, the latest result for a window, and the run's figures.

Frames come unevenly, because the network takes the newest one and the others are dropped.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from cvdetect import media
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Look
from cvdetect.core.progress import Progress
from cvdetect.media.codecs import CONTAINERS
from cvdetect.sinks import PlainSink, Sink
from cvdetect.sinks.render import Renderer
from cvdetect.sinks.video import VideoFile, container_of

__all__ = ["ConstantFrameRate", "LatestFrame", "LiveStats", "Snapshot", "live_video"]

_LONGEST_S = 5.0  # a longer gap (a lost connection) is shortened to this
_TIME_BASE = Fraction(1, 90_000)  # seconds, the clock of MPEG streams
_RATE_S = 2.0  # the frame rate is that of the last seconds


def live_video(
    path: Path,
    renderer: Renderer,
    rate: Fraction,
    progress: Progress,
    container: str | None = None,
    look: Look | None = None,
    codec: str | None = None,
) -> Sink:
    """A video file of a live stream: with the frames' own times where the container has them, else at a steady rate."""
    steady = not CONTAINERS[container_of(path, container)].has_times or not media.available()
    time_base = None if steady else _TIME_BASE
    file = VideoFile(
        path, renderer, rate, codec, time_base=time_base, container=container, look=look, progress=progress
    )
    return ConstantFrameRate(file, rate) if steady else file


class ConstantFrameRate:
    """Repeats frames, so that another sink gets `rate` frames a second whatever comes."""

    def __init__(self, sink: Sink, rate: Fraction) -> None:
        self._sink = sink
        self._rate = float(rate)
        self._last: tuple[Frame, Detections] | None = None
        self._zero_s = 0.0  # the time from which frames are counted
        self._written = 0

    def __enter__(self) -> ConstantFrameRate:
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


class LatestFrame(PlainSink):
    """Keeps the latest frame with its detections until another thread takes it or a newer one comes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: tuple[Frame, Detections] | None = None

    def write(self, frame: Frame, found: Detections) -> None:
        """Keep this frame in place of the one before it."""
        with self._changed:
            self._kept = (frame, found)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[Frame, Detections] | None:
        """The latest frame, each only once; waits up to `timeout_s` for one. None: nothing new."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept, timeout_s)
            kept, self._kept = self._kept, None
        return kept


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures after the latest frame.

    Attributes:
        fps: frames a second of the last two seconds.
        index, time_s: the frame's number in the source and its time in seconds.
        delay_s: its age in seconds when its detections were there.
        counts: label → objects in it, most first.
    """

    fps: float = 0.0
    index: int = 0
    time_s: float = 0.0
    delay_s: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)


class LiveStats(PlainSink):
    """Keeps a run's figures; `now` may be read from any thread. `age_s` gives the age of a frame in seconds."""

    def __init__(self, age_s: Callable[[Frame], float]) -> None:
        self._age_s = age_s
        self._moments: deque[float] = deque()
        self.now = Snapshot()

    def write(self, frame: Frame, found: Detections) -> None:
        """Update the figures."""
        counts = Counter(found.label(int(c)) for c in found.class_id)
        fps = self._rate(time.monotonic())
        self.now = Snapshot(fps, frame.index, frame.time_s or 0.0, self._age_s(frame), dict(counts.most_common()))

    def _rate(self, moment: float) -> float:
        self._moments.append(moment)
        while moment - self._moments[0] > _RATE_S:
            self._moments.popleft()
        span = moment - self._moments[0]
        return (len(self._moments) - 1) / span if span > 0 else 0.0
