"""The loop over a video, a camera or a stream: frame after frame with what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import Frame
from cvdetect.core.progress import Controls
from cvdetect.inference.detector import Detector
from cvdetect.sources import Source
from cvdetect.sources.open import open_source

__all__ = ["detect_frames"]

_RATE = 25.0  # frames a second of still images


def detect_frames(
    source: int | str | Path | Sequence[str | Path] | Source,
    detector: Detector,
    *,
    track: bool = False,
    every: int = 1,
    start: float = 0.0,
    end: float | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Frames in order, each with its detections. The source is closed when the loop ends, also by ``break``.

    >>> for frame, found in detect_frames("in.mp4", detector, track=True):
    ...     for d in found:
    ...         print(frame.time_s, d.track_id, d.label, d.xyxy)

    A frame is detected in when the loop asks for it, in the loop's own thread. Of a camera or a live stream it is the
    newest one.

    Args:
        source: as `open_source` takes it, or what that has opened, which stays open.
        detector: a loaded model.
        track: give objects numbers that stay with them (`Detection.track_id`; the extra ``[track]``).
        every: detect in each nth frame; those between carry the last detections, and their `Frame.skipped` is true.
        start, end: seconds of a video; None for all.

    Raises:
        UsageError: `every` is below 1.
        MissingPackage: what `track` needs is not installed.
        SourceError: the source cannot be opened; by the loop, after the last frame: a video is cut short, or a stream
            broke and did not come back.
    """
    if every < 1:
        raise UsageError(f"{arg('every')} {every}: at least 1 is needed")
    if track:
        from cvdetect.inference import tracking

        tracking.require_tracking()
    opened = source if isinstance(source, Source) else open_source(source, start=start, end=end)
    return _detected(opened, opened is source, detector, track, every)


def _detected(
    source: Source, is_open: bool, detector: Detector, track: bool, every: int
) -> Iterator[tuple[Frame, Detections]]:
    last = Detections.empty()
    with nullcontext() if is_open else source:
        detect = _tracking(source, detector, every) if track else _detecting(detector)
        for place, frame in enumerate(source):
            if place % every:
                yield replace(frame, skipped=True), last
                continue
            last = detect(frame)
            yield frame, last


def _detecting(detector: Detector) -> Callable[[Frame], Detections]:
    return lambda frame: detector.detect(frame.image)


def _tracking(source: Source, detector: Detector, every: int) -> Callable[[Frame], Detections]:
    """Detects and tracks; low scores continue tracks, and are not in the results."""
    from cvdetect.inference.tracking import Tracker, low_score

    conf = detector.model.options.thresholds.default
    lower = detector.with_low_scores(low_score)
    controls = Controls()
    controls.min_score = conf if lower is not detector else 0.0
    tracker = Tracker(float(source.info.rate if source.info else _RATE) / every, controls)

    def detect(frame: Frame) -> Detections:
        found = tracker(frame, lower.detect(frame.image))
        return found[found.score >= controls.min_score]

    return detect
