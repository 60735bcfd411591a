"""Video files and stream addresses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from cvdetect import media
from cvdetect.cv import cv2
from cvdetect.errors import SourceError, SourceNotFound
from cvdetect.frame import Frame, StreamInfo
from cvdetect.sniff import describe_foreign
from cvdetect.sources.failed import Failed

__all__ = ["VideoSource", "every", "open_video", "with_end"]


class VideoSource(Protocol):
    """A context manager whose frames are gone through once.

    Attributes:
        info: what the video says of itself.
        cut: after the last frame: why fewer came than there should be, None where all came.
    """

    info: StreamInfo
    cut: str | None

    def __enter__(self) -> VideoSource:
        """Open it and read its first frame."""

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""


def open_video(name: str, start: float = 0.0, end: float | None = None) -> VideoSource:
    """The frames of a file or address between two times (seconds), by PyAV where it is installed, else by OpenCV.

    Raises (when entered):
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
    """
    _check(name)
    if media.available():
        from cvdetect.media.reader import AvReader

        return AvReader(name, start, end)
    return _OpenCVVideo(name, start, end)


def _check(name: str) -> None:
    """Refuse what is certainly not a video file, with a better word than a decoder has."""
    if "://" in name:
        return
    path = Path(name)
    if path.is_dir():
        raise SourceError(f"{name}: is a folder, expected a video; cvdetect annotate takes folders")
    if not path.exists():
        raise SourceNotFound(f"{name}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    foreign = "an empty file" if not head else describe_foreign(head)
    if foreign:
        hint = f"; run cvdetect image '{name}'" if "picture" in foreign else ""
        raise SourceError(f"{name}: is {foreign}, not a video{hint}")


class _OpenCVVideo:
    """OpenCV's own reader; its times are those of a constant rate, and it does not hear sound."""

    def __init__(self, name: str, start: float, end: float | None) -> None:
        self._name = name
        self._start, self._end = start, end
        self.cut: str | None = None

    def __enter__(self) -> _OpenCVVideo:
        self._capture: Any = cv2.VideoCapture(self._name)
        if not self._capture.isOpened():
            raise SourceError(f"{self._name}: is not a video that OpenCV can read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate = Fraction(rate).limit_denominator(1001) if math.isfinite(rate) and rate > 0 else Fraction(25)
        claimed = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = self._skip(math.ceil(self._start * self._rate))
        done, self._image = self._capture.read()
        if not done:
            raise SourceError(f"{self._name}: holds no frame that can be decoded in that range")
        wh = self._image.shape[1], self._image.shape[0]
        self.info = StreamInfo(wh, self._rate, None, claimed if claimed > 0 else None)
        return self

    def _skip(self, frames: int) -> int:
        """Pass over so many frames; how many there really were."""
        return next((i for i in range(frames) if not self._capture.grab()), frames)

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        done, image = True, self._image
        while done and not self._is_over():
            yield Frame(image, self._name, self._index, float(self._index / self._rate))
            self._index += 1
            done, image = self._capture.read()
        claimed = self.info.frames
        if self._end is None and claimed and self._index < claimed - max(2, claimed // 100):
            self.cut = f"is cut short: {self._index} of {claimed} frames could be read"

    def _is_over(self) -> bool:
        return self._end is not None and self._index >= self._end * self._rate


def every(frames: Iterable[Frame], n: int) -> Iterator[Frame]:
    """The same frames, of which only each nth (the first, too) is to be looked at."""
    for place, frame in enumerate(frames):
        yield replace(frame, held=True) if place % n else frame


def with_end(frames: Iterable[Frame], source: VideoSource, name: str) -> Iterator[Frame | Failed]:
    """The same frames, and what was cut off or damaged as a failure at the end."""
    yield from frames
    if source.cut:
        yield Failed(name, SourceError(f"{name}: {source.cut}; what could be read is done"))
