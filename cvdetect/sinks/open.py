"""Opens the output that a path's suffix asks for: an annotated video, or JSON Lines."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Protocol

from cvdetect.core.frame import StreamInfo
from cvdetect.core.labels import LabelSet
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import LoggingProgress, Progress
from cvdetect.sinks import Sink
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.json_lines import JsonLines
from cvdetect.sinks.live import live_video
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sinks.video import VideoFile

__all__ = ["open_sink"]

_JSON = (".json", ".jsonl", ".ndjson")


class _Ran(Protocol):
    def as_json(self) -> dict[str, str]: ...


class _Detector(Protocol):
    """What is asked of a `Detector`."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> LabelSet: ...
    @property
    def ran(self) -> _Ran: ...


class _Source(Protocol):
    """What is asked of a source."""

    @property
    def info(self) -> StreamInfo | None: ...


def open_sink(
    path: str | Path,
    detector: _Detector,
    source: _Source | None = None,
    *,
    style: DrawStyle = DrawStyle(),
    blur: tuple[str, ...] = (),
    codec: str | None = None,
    rate: float = 25.0,
    progress: Progress = LoggingProgress(),
) -> Sink:
    """An output for frames and their detections, as a context manager; it appears complete when it is left.

    >>> with open_source("in.mp4") as source, open_sink("out.mp4", detector, source) as sink:
    ...     for frame, found in detect_frames(source, detector):
    ...         sink.write(frame, found)

    Args:
        path: ``.jsonl`` or ``.json`` for JSON Lines, an object a frame; else a video, whose suffix chooses the
            container.
        detector: gives the classes' names, and what JSON states of the model.
        source: where the frames come from, open: a video keeps its rate and times.
        style: how boxes and labels look.
        blur: classes (names or ids, or "all") to pixelate.
        codec: a FOURCC; None for the container's usual.
        rate: frames a second of a video whose source is not given.
        progress: what reports; by default the logger "cvdetect".

    Raises:
        UsageError: no such container, codec or class; or the output is a file that `source` reads.
        SinkError (also when entered, written or left): it cannot be written.
    """
    Guard(getattr(source, "inputs", ())).check([Output("path", path)])
    path = Path(path)
    if path.suffix.lower() in _JSON:
        return JsonLines(path, detector.name, detector.ran.as_json(), detector.labels)
    renderer = Renderer(detector.labels, style, blurred_classes(blur, detector.labels))
    info = source.info if source else None
    if info is None:
        return VideoFile(path, renderer, Fraction(rate).limit_denominator(1001), codec, progress=progress)
    if info.frames is None:
        return live_video(path, renderer, info.rate, progress, codec=codec, look=info.look)
    return VideoFile(
        path,
        renderer,
        info.rate,
        codec,
        time_base=info.time_base,
        steady_rate=info.steady_rate,
        look=info.look,
        progress=progress,
    )
