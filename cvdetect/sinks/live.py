"""Videos of live streams: their frames come unevenly, because the network takes the newest and drops the others."""

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
from cvdetect.core.labels import LabelSet
from cvdetect.core.progress import Progress
from cvdetect.sinks import PlainSink, Sink
from cvdetect.sinks.render import Renderer
from cvdetect.sinks.video import STEADY, VideoFile, container_of

__all__ = ["ConstantFrameRate", "LatestFrame", "LiveStats", "Snapshot", "live_video"]


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
    return ConstantFrameRate(file, rate) if steady else file


class ConstantFrameRate:
    """Repeats frames, so that `rate` frames a second go on to another sink whatever came."""

    def __init__(self, sink: Sink, rate: Fraction) -> None:
        self._sink = sink
        self._rate = float(rate)
        self._last: tuple[Frame, Detections] | None = None
        self._zero_s = 0.0  # the time of the frame that is number 0 going on
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


# The newest result, for a thread that shows it in its own time.


class LatestFrame(PlainSink):
    """A `Sink` that keeps one frame with its detections until it is taken or a newer one comes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: tuple[Frame, Detections] | None = None

    def write(self, frame: Frame, found: Detections) -> None:
        """Keep this one."""
        with self._changed:
            self._kept = (frame, found)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[Frame, Detections] | None:
        """What is kept, once; waits for it up to `timeout_s`. None: nothing new."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept, timeout_s)
            kept, self._kept = self._kept, None
        return kept


# How a live run goes, in figures: what the window and the page tell.

_WINDOW_S = 2.0  # the rate is that of the last two seconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after the newest frame.

    Attributes:
        fps: frames a second of the last two seconds.
        index, time_s: the frame's own.
        delay_s: its age when its detections were there, in seconds.
        counts: label → how many are in it, most first.
    """

    fps: float = 0.0
    index: int = 0
    time_s: float = 0.0
    delay_s: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)


class LiveStats(PlainSink):
    """A `Sink` that counts; `now` may be read from any thread. `age_s` tells how old a frame is, in seconds."""

    def __init__(self, labels: LabelSet, age_s: Callable[[Frame], float]) -> None:
        self._labels = labels
        self._age_s = age_s
        self._moments: deque[float] = deque()
        self.now = Snapshot()

    def write(self, frame: Frame, found: Detections) -> None:
        """Take one frame into account."""
        counts = Counter(self._labels.label(int(c)) for c in found.class_id)
        fps = self._rate(time.monotonic())
        self.now = Snapshot(fps, frame.index, frame.time_s or 0.0, self._age_s(frame), dict(counts.most_common()))

    def _rate(self, moment: float) -> float:
        self._moments.append(moment)
        while moment - self._moments[0] > _WINDOW_S:
            self._moments.popleft()
        span = moment - self._moments[0]
        return (len(self._moments) - 1) / span if span > 0 else 0.0
