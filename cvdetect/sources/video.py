"""Video files and stream addresses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cvdetect import media
from cvdetect.core.cv import cv2
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.filetype import not_a_video
from cvdetect.core.frame import Frame, StreamInfo
from cvdetect.core.printable import is_utf8
from cvdetect.media.pipe import is_pipe
from cvdetect.sources.failed import Failed
from cvdetect.sources.sequence import ImageSequence, first_frame, sequence_of

if TYPE_CHECKING:
    from cvdetect.media.sound import Sound

__all__ = ["VideoSource", "every", "open_video", "usual_stem", "with_end"]


class VideoSource(Protocol):
    """A context manager whose frames are gone through once.

    Attributes:
        info: what the video says of itself.
        cut: after the last frame: why fewer came than there should be, None where all came.
        sound: the sound that was read so far; None where there is none or none is wanted.
        remarks: lines for the user, known when it is open.
    """

    info: StreamInfo
    cut: str | None
    sound: Sound | None
    remarks: list[str]

    def __enter__(self) -> VideoSource:
        """Open it and read its first frame."""

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""


def open_video(name: str, start: float = 0.0, end: float | None = None, *, with_sound: bool = False) -> VideoSource:
    """The frames of a file or address between two times (seconds), by PyAV where it is installed, else by OpenCV.

    The sound of the same part is read beside them where it is asked for and PyAV is there.

    Raises (when entered):
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
    """
    pattern = sequence_of(name)
    if pattern:
        return ImageSequence(name, pattern, start, end)
    _check(name)
    if media.available():
        from cvdetect.media.reader import AvReader

        return AvReader(name, start, end, with_sound=with_sound)
    return _OpenCVVideo(name, start, end)


def usual_stem(name: str) -> str:
    """What the output of an input that is no address is called: its file name without suffix, or what it is."""
    if name == "-" or is_pipe(name):
        return "stream" if name != "-" else "stdin"
    stem = Path(name).stem
    if not Path(name).exists():  # a pattern: what is left without its placeholders
        stem = re.sub(r"%\d*d|[*?]|\[[^]]*\]", "", stem).strip("_-. ") or "sequence"
    return stem


def _check(name: str) -> None:
    """Refuse what is certainly not a video file, with a better word than a decoder has."""
    if "://" in name or (media.available() and is_pipe(name)):
        return
    path = Path(name)
    if is_pipe(name):
        raise SourceError(f"{name}: a video from a pipe needs PyAV: {media.CURE}")
    if path.is_dir():
        raise SourceError(f"{name}: is a folder, expected a video; cvdetect annotate takes folders")
    if not path.exists():
        raise SourceNotFound(f"{name}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    if foreign := not_a_video(head, name):
        raise SourceError(f"{name}: {foreign}")


class _OpenCVVideo:
    """OpenCV's own reader; its times are those of a constant rate, and it does not hear sound."""

    def __init__(self, name: str, start: float, end: float | None) -> None:
        self._name = name
        self._start, self._end = start, end
        self.cut: str | None = None
        self.sound: Sound | None = None
        self.remarks: list[str] = []

    def __enter__(self) -> _OpenCVVideo:
        if not is_utf8(self._name):  # OpenCV 4.14 crashes
            raise SourceError(f"{self._name}: its name is not UTF-8, and OpenCV cannot open it; rename it")
        self._capture: Any = cv2.VideoCapture(
            f"file:{self._name}" if ":" in self._name and "://" not in self._name else self._name
        )
        if not self._capture.isOpened():
            raise SourceError(f"{self._name}: is not a video that OpenCV can read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate = Fraction(rate).limit_denominator(1001) if math.isfinite(rate) and rate > 0 else Fraction(25)
        claimed = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = self._skip(first_frame(self._start, self._rate))
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
        return self._end is not None and self._index >= first_frame(self._end, self._rate)


def every(frames: Iterable[Frame], n: int) -> Iterator[Frame]:
    """The same frames, of which only each nth (the first, too) is to be looked at."""
    for place, frame in enumerate(frames):
        yield replace(frame, held=True) if place % n else frame


def with_end(frames: Iterable[Frame], source: VideoSource, name: str) -> Iterator[Frame | Failed]:
    """The same frames, and what was cut off or damaged as a failure at the end."""
    yield from frames
    if source.cut:
        yield Failed(name, SourceError(f"{name}: {source.cut}; what could be read is done"))
