"""Video files with boxes drawn in."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from cvdetect import media
from cvdetect.cv import cv2
from cvdetect.detections import Detections
from cvdetect.errors import SinkError, UsageError
from cvdetect.events import Progress, Silent
from cvdetect.files import check_writable, finish, temporary_beside
from cvdetect.frame import Frame, Image, Look
from cvdetect.sinks.render import Renderer

__all__ = ["CONTAINERS", "VideoFile", "choose_codec"]

CONTAINERS = (".avi", ".mp4", ".mkv", ".webm", ".mov", ".m4v")
# What OpenCV's own writer takes where none is asked for; it has no H.264.
_OPENCV_DEFAULTS = {".avi": "XVID", ".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "XVID", ".webm": "VP80"}
_OPENCV_CODECS = ("XVID", "MJPG", "DIVX", "mp4v", "WMV1", "WMV2", "VP80", "VP90", "FFV1")
_LOST = "PyAV is not installed: no H.264 and no sound; pip install 'cvdetect[video]' brings both"


class _Encoder(Protocol):
    def write(self, image: Image, time_s: float | None) -> None: ...

    def close(self, last_time_s: float | None) -> None: ...


def choose_codec(path: Path, asked: str | None, progress: Progress) -> str:
    """The FOURCC to write `path` with: `asked`, or the container's usual.

    Raises:
        UsageError: no such container, or a codec that cannot be written into it here; the message lists those that can.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"{path}: no video container is called {suffix!r}; there are {', '.join(CONTAINERS)}")
    if media.available():
        from cvdetect.media.codecs import CODECS, default_codec, opens

        usual, known = default_codec(suffix), list(CODECS)
        works: Callable[[str, str], bool] = opens
    else:
        progress.note(_LOST)
        usual, known = _OPENCV_DEFAULTS[suffix], list(_OPENCV_CODECS)
        works = _opencv_opens
    fourcc = asked or str(usual)
    if not works(suffix, fourcc):
        can = ", ".join(name for name in known if works(suffix, name))
        hint = "" if media.available() else f" ({_LOST})"
        raise UsageError(f"--codec {fourcc}: cannot be written into {suffix} here; these can: {can}{hint}")
    return fourcc


def _opencv_opens(suffix: str, fourcc: str) -> bool:
    if len(fourcc) != 4:
        return False
    path = temporary_beside(Path(f"probe{suffix}").absolute())
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 25.0, (128, 96))
    opened = bool(writer.isOpened())
    writer.release()
    path.unlink(missing_ok=True)
    return opened


class VideoFile:
    """Writes each frame, drawn, into a video file that appears whole when it is finished.

    Args:
        path: the container follows its suffix.
        renderer: draws.
        rate: frames a second.
        codec: a FOURCC; None for the container's usual.
        time_base: seconds a tick of the source's clock: frames keep their times where the container can; None writes
            at a constant rate.
        sound: the file or address whose audio is copied; None for none.
        start, end: the range of the source, in seconds, that the frames are from.
        look: how the source is stored and meant, which is kept; None where there is no telling.
    """

    def __init__(
        self,
        path: Path,
        renderer: Renderer,
        rate: Fraction | float,
        codec: str | None = None,
        *,
        time_base: Fraction | None = None,
        sound: str | None = None,
        start: float = 0.0,
        end: float | None = None,
        look: Look | None = None,
        progress: Progress = Silent(),  # noqa: B008 - stateless
    ) -> None:
        self._path = path
        self._renderer = renderer
        self._rate = Fraction(rate).limit_denominator(1_000_000)
        self._fourcc = choose_codec(path, codec, progress)
        self._options = {"time_base": time_base, "sound": sound, "start": start, "end": end, "look": look}
        self._progress = progress
        self._encoder: _Encoder | None = None
        self._wh = (0, 0)
        self._written = 0
        self._size_told = False
        self._last_time: float | None = None

    def __enter__(self) -> VideoFile:
        check_writable(self._path)
        self._temporary = temporary_beside(self._path)
        return self

    def write(self, frame: Frame, found: Detections) -> None:
        """Draw and encode one frame; one of another size than the first is brought to that size, which is told."""
        picture = self._renderer.drawn(frame, found)
        if self._encoder is None:
            self._wh = frame.wh
            self._encoder = self._open()
        if frame.wh != self._wh:
            self._tell_size(frame)
            picture = cv2.resize(picture, self._wh, interpolation=cv2.INTER_AREA)
        self._encoder.write(picture, frame.time_s)
        self._written += 1
        self._last_time = frame.time_s

    def _tell_size(self, frame: Frame) -> None:
        if not self._size_told:
            old, new = ("x".join(map(str, wh)) for wh in (self._wh, frame.wh))
            self._progress.warn(
                f"{frame.name}: frames change from {old} to {new} at frame {frame.index}; {old} is kept"
            )
            self._size_told = True

    def _open(self) -> _Encoder:
        if not media.available():
            return _OpenCVEncoder(self._temporary, self._path, self._fourcc, self._wh, float(self._rate))
        from cvdetect.media.writer import AvWriter

        suffix = self._path.suffix.lower()
        options: dict[str, Any] = self._options
        return AvWriter(
            self._temporary, self._path, suffix, self._fourcc, self._wh, self._rate, self._progress, **options
        )

    def __exit__(self, *error: object) -> None:
        """Finish the file and check that it holds every frame; without any frame there is no file."""
        try:
            if self._encoder is not None:
                self._finish(self._encoder, whole=not any(error))
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self, encoder: _Encoder, whole: bool) -> None:
        encoder.close(self._last_time if self._options["end"] is not None or not whole else None)
        held = _count(self._temporary)
        finish(self._temporary, self._path)
        if held != self._written:
            raise SinkError(
                f"{self._path}: holds {held} of {self._written} frames: the disk or the codec lost the others"
            )


def _count(path: Path) -> int:
    """How many frames a finished file really holds."""
    if media.available():
        from cvdetect.media.writer import count_frames

        return count_frames(path)
    capture = cv2.VideoCapture(str(path))
    held = 0
    while capture.grab():
        held += 1
    capture.release()
    return held


class _OpenCVEncoder:
    """OpenCV's own writer, which drops frames in silence unless it is watched."""

    def __init__(self, path: Path, name: Path, fourcc: str, wh: tuple[int, int], rate: float) -> None:
        self._writer: Any = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), rate, wh)
        if not self._writer.isOpened():
            raise SinkError(f"{name}: OpenCV cannot open it as {fourcc} {wh[0]}x{wh[1]}")

    def write(self, image: Image, _time_s: float | None) -> None:
        self._writer.write(image)

    def close(self, _last_time_s: float | None) -> None:
        self._writer.release()
