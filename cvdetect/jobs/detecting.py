"""What the jobs image, video and webcam have in common: the base of their reports, JSON Lines, and tracking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.options import DetectOptions
from cvdetect.core.progress import Controls
from cvdetect.inference.detector import Detector
from cvdetect.inference.pipeline import Filter, Summary
from cvdetect.models.resolve import ModelLookup
from cvdetect.sinks import Sink
from cvdetect.sinks.json_lines import JsonLines

__all__ = ["DetectReport", "check_tracking", "json_sinks", "tracking_filters", "tracking_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectReport:
    """How a run went.

    Attributes:
        summary: how many frames were done, in how many the network looked for objects, and which inputs failed.
        ran: what ran the network; empty where there was nothing to run it on.
        seconds: wall time from the first frame to the last finished file, without loading and warming up.
    """

    summary: Summary
    ran: str = ""
    seconds: float = 0.0

    @property
    def fps(self) -> float:
        """Frames a second, end to end."""
        return self.summary.done / self.seconds if self.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """0 all was done, 1 part of it, 4 nothing could be read, 130 or 143 interrupted."""
        return self.summary.exit_code


def json_sinks(path: str | Path | None, detector: Detector) -> list[Sink]:
    """The sink that writes JSON Lines to `path`; none where it is None."""
    if path is None:
        return []
    return [JsonLines(path, detector.name, detector.ran.as_json(), detector.labels)]


def check_tracking(track: bool) -> None:
    """Raise MissingPackage where tracking is wanted and its package is not installed."""
    if track:
        from cvdetect.inference import tracking

        tracking.require_tracking()


def tracking_options(track: bool, model: ModelLookup, detect: DetectOptions, controls: Controls) -> DetectOptions:
    """The detector's options; a tracker also uses weaker detections than the results show."""
    if not track:
        return detect
    from cvdetect.inference.tracking import with_low_scores

    return with_low_scores(model, detect, controls)


def tracking_filters(track: bool, rate: float, controls: Controls) -> list[Filter]:
    """The tracker, for `rate` frames a second that the network looks at; none where there is no tracking."""
    if not track:
        return []
    from cvdetect.inference.tracking import Tracker

    return [Tracker(rate, controls)]
