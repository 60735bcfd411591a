"""How a live run goes, in figures: what the window and the page tell."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet

__all__ = ["Figures", "Now"]

_WINDOW_S = 2.0  # the rate is that of the last two seconds


@dataclass(frozen=True, slots=True)
class Now:
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


class Figures:
    """A `Sink` that counts; `now` may be read from any thread. `age_s` tells how old a frame is, in seconds."""

    def __init__(self, labels: LabelSet, age_s: Callable[[Frame], float]) -> None:
        self._labels = labels
        self._age_s = age_s
        self._moments: deque[float] = deque()
        self.now = Now()

    def __enter__(self) -> Figures:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, found: Detections) -> None:
        """Take one frame into account."""
        counts = Counter(self._labels.label(int(c)) for c in found.class_id)
        fps = self._rate(time.monotonic())
        self.now = Now(fps, frame.index, frame.time_s or 0.0, self._age_s(frame), dict(counts.most_common()))

    def _rate(self, moment: float) -> float:
        self._moments.append(moment)
        while moment - self._moments[0] > _WINDOW_S:
            self._moments.popleft()
        span = moment - self._moments[0]
        return (len(self._moments) - 1) / span if span > 0 else 0.0
