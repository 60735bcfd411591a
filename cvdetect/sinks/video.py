"""Annotated videos: which container and codec a path gets, and the sink that writes every frame into the file.

PyAV writes where it is installed; elsewhere OpenCV does, at a constant rate and without sound.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from cvdetect import media
from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError, UsageError
from cvdetect.core.files import check_writable, finish, temporary_beside
from cvdetect.core.frame import Frame, Image, Look
from cvdetect.core.printable import counted, is_utf8
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.targets import Target, not_written
from cvdetect.media.codecs import CODECS, CONTAINERS, OPENCV_CODECS
from cvdetect.sinks.render import Renderer

if TYPE_CHECKING:
    from cvdetect.media.sound import Sound

__all__ = ["VideoFile", "choose_codec", "container_of", "writable"]

_GAP_S = 0.1  # sound that begins this much before the first frame loses its beginning where there are no times
_OFF = 0.9  # frames that one may be away from its time before one is repeated or left out


def container_of(path: Path, asked: str | None) -> str:
    """The suffix of the container to write `path` as: the one that is asked for by name ("mkv"), else the path's own.

    Raises:
        UsageError: no such container, or one that cannot be written into a pipe.
    """
    suffix = path.suffix.lower() if asked is None else f".{asked.lower().removeprefix('.')}"
    if _is_stream(path):
        if asked is None or suffix not in CONTAINERS or not CONTAINERS[suffix].can_stream:
            raise UsageError(f"{path}: is a pipe or a device; a video written there needs {arg('container')} mkv or ts")
        if not media.available():
            raise UsageError(f"{path}: a video into a pipe needs PyAV, and {media.why_absent()}: {media.INSTALL}")
    if suffix in CONTAINERS:
        return suffix
    if asked is not None:
        raise UsageError(
            f"{arg('container')} {asked}: no such container; there are {', '.join(c[1:] for c in CONTAINERS)}"
        )
    hint = f"there are {', '.join(CONTAINERS)}, or {arg('container')} names one"
    raise UsageError(f"{path}: no video container is called {suffix!r}; {hint}")


def _is_stream(path: Path) -> bool:
    """Whether a path is standard output ("-"), a pipe or a device: written as it comes, and never replaced."""
    return str(path) == "-" or Target.of(path).streams


def choose_codec(path: Path, asked: str | None, container: str | None) -> str:
    """The FOURCC to write `path` with: `asked`, or the container's default.

    Raises:
        UsageError: no such container, or a codec that cannot be written into it here; the message lists those that can.
    """
    suffix = container_of(path, container)
    default = CONTAINERS[suffix].codec if media.available() else CONTAINERS[suffix].opencv_codec
    fourcc = asked or default
    if not _writer()[1](suffix, fourcc):
        hint = "" if media.available() else f" ({media.why_absent()}: {media.LIMITS})"
        can = ", ".join(writable(suffix))
        raise UsageError(f"{arg('codec')} {fourcc}: cannot be written into {suffix} here; these can: {can}{hint}")
    return fourcc


def writable(suffix: str) -> list[str]:
    """The FOURCCs that this machine can write into a container, found out by writing a frame with each."""
    known, works = _writer()
    return [fourcc for fourcc in known if works(suffix, fourcc)]


def _writer() -> tuple[tuple[str, ...], Callable[[str, str], bool]]:
    """The FOURCCs that PyAV, else OpenCV, knows, and a function that tries one in a container."""
    if media.available():
        from cvdetect.media.writer import can_write

        return tuple(CODECS), can_write
    return OPENCV_CODECS, _opencv_opens


def _opencv_opens(suffix: str, fourcc: str) -> bool:
    if len(fourcc) != 4:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 25.0, (128, 96))
        if opened := bool(writer.isOpened()):
            writer.write(np.zeros((96, 128, 3), np.uint8))
        writer.release()
        return opened and path.stat().st_size > 0


class _Encoder(Protocol):
    """Writes frames into a container."""

    @property
    def written(self) -> int:
        """How many frames were encoded."""

    def write(self, image: Image, time_s: float | None, duration_s: float | None = None) -> None:
        """Encode one frame, shown at `time_s` of the source for `duration_s` seconds."""

    def close(self, until_s: float | None) -> None:
        """Finish the file; its sound ends at `until_s` of the source; None: where it ends there."""


class _OpenCVEncoder:
    """OpenCV's own writer. It drops frames silently, so the finished file is counted."""

    def __init__(self, path: Path, name: Path, fourcc: str, wh: tuple[int, int], rate: float) -> None:
        if not is_utf8(str(path)):  # OpenCV 4.14 crashes
            raise SinkError(f"{name}: the name is not UTF-8, and OpenCV cannot write it; give another one")
        self._writer: Any = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), rate, wh)
        if not self._writer.isOpened():
            raise SinkError(f"{name}: OpenCV cannot open it as {fourcc} {wh[0]}x{wh[1]}")
        self.written = 0

    def write(self, image: Image, _time_s: float | None, _duration_s: float | None = None) -> None:
        self._writer.write(image)
        self.written += 1

    def close(self, _until_s: float | None) -> None:
        self._writer.release()


class _Resampled:
    """Repeats and leaves out frames, so that each is shown at its time in a container that has a rate but no times.

    A jitter of less than a frame changes nothing.

    Args:
        encoder: writes the frames.
        rate: frames a second.
        zero_s: the source's time, in seconds, of the first frame.
    """

    def __init__(self, encoder: _Encoder, rate: Fraction, zero_s: float) -> None:
        self._encoder = encoder
        self._rate = rate
        self._zero_s = zero_s
        self._last: tuple[Image, float, float | None] | None = None
        self._repeated = self._left_out = 0

    @property
    def written(self) -> int:
        """How many frames were encoded, with those that were repeated."""
        return self._encoder.written

    @property
    def changes(self) -> str:
        """What was changed to keep time; empty where nothing was."""
        if not self._repeated and not self._left_out:
            return ""
        rate = f"{float(self._rate):.4g}"
        return (
            f"frames come unevenly and this container stores no times: at {rate} a second, "
            f"{counted(self._repeated, 'frame')} repeated and {self._left_out} left out (.mp4, .mkv keep their times)"
        )

    def write(self, image: Image, time_s: float | None, duration_s: float | None = None) -> None:
        """Encode one frame when it is due."""
        if time_s is not None:
            off = (time_s - self._zero_s) * float(self._rate) - self._encoder.written
            if off <= -_OFF:
                self._left_out += 1
                return
            self._repeat(self._last[0] if self._last else image, off)
            self._last = (image, time_s, duration_s)
        self._encoder.write(image, time_s, duration_s)

    def _repeat(self, image: Image, missing: float) -> None:
        for _ in range(round(missing) if missing >= _OFF else 0):
            self._encoder.write(image, None)
            self._repeated += 1

    def close(self, until_s: float | None) -> None:
        """Show the last frame as long as it lasts, and finish the file."""
        if self._last and self._last[2]:
            image, time_s, duration_s = self._last
            ends = time_s + min(duration_s or 0.0, (until_s or float("inf")) - time_s)
            self._repeat(image, (ends - self._zero_s) * float(self._rate) - self._encoder.written)
        self._encoder.close(until_s)


class VideoFile:
    """Writes each frame, drawn, into a video file that appears complete when it is finished.

    Args:
        path: the container follows its suffix.
        renderer: draws.
        rate: frames a second.
        codec: a FOURCC; None for the container's default.
        time_base: seconds a tick of the source's clock: frames keep their times where the container can; None writes
            at a constant rate.
        steady_rate: frames a second in a container that has no times (AVI); None: `rate`.
        sound: the audio tracks to add; None for none.
        start: the time in the source, in seconds, that becomes 0.
        end: where the sound ends; None for its end.
        look: how the source is stored and meant to be shown, which is kept; None where that is unknown.
        container: its name ("mkv"), where the path has another suffix or none; needed for a pipe or device.
    """

    def __init__(
        self,
        path: Path,
        renderer: Renderer,
        rate: Fraction,
        codec: str | None = None,
        *,
        time_base: Fraction | None = None,
        steady_rate: Fraction | None = None,
        sound: Sound | None = None,
        start: float = 0.0,
        end: float | None = None,
        look: Look | None = None,
        container: str | None = None,
        progress: Progress = NullProgress(),
    ) -> None:
        self._path = path
        self._suffix = container_of(path, container)
        self._temporary: Path | None = None
        self._renderer = renderer
        self._fourcc = choose_codec(path, codec, container)
        keeps_times = time_base is not None and media.available() and CONTAINERS[self._suffix].has_times
        self._rate = rate if keeps_times else (steady_rate or rate)
        self._time_base = time_base if keeps_times else None
        self._resamples = time_base is not None and not keeps_times
        self._sound, self._start, self._end, self._look = sound, start, end, look
        self._progress = progress
        self._encoder: _Encoder | None = None
        self._wh = (0, 0)
        self._size_reported = False
        self._last: Frame | None = None

    def __enter__(self) -> VideoFile:
        if not media.available():
            self._progress.note(f"{media.why_absent()}: {media.LIMITS}")
        if not _is_stream(self._path):
            check_writable(self._path)
            self._temporary = temporary_beside(self._path)
        return self

    def write(self, frame: Frame, found: Detections) -> None:
        """Draw and encode one frame; one of another size than the first is resized to it, with one warning."""
        drawn = self._renderer.drawn(frame, found)
        if self._encoder is None:
            self._wh = frame.wh
            self._encoder = self._open(frame)
        if frame.wh != self._wh:
            self._report_size(frame)
            drawn = cv2.resize(drawn, self._wh, interpolation=cv2.INTER_AREA)
        self._encoder.write(drawn, frame.time_s, frame.duration_s)
        self._last = frame

    def _report_size(self, frame: Frame) -> None:
        if not self._size_reported:
            old, new = ("x".join(map(str, wh)) for wh in (self._wh, frame.wh))
            self._progress.warn(
                f"{frame.name}: frames change from {old} to {new} at frame {frame.index}; {old} is kept"
            )
            self._size_reported = True

    def _open(self, first: Frame) -> _Encoder:
        # Without times the first frame is at 0, unless it is so late that it is repeated to fill the gap.
        begins = max(0.0, (first.time_s or 0.0) - self._start)
        shift = begins if begins <= _GAP_S else 0.0
        encoder = self._open_encoder(shift)
        return _Resampled(encoder, self._rate, self._start + shift) if self._resamples else encoder

    def _open_encoder(self, shift: float) -> _Encoder:
        if not media.available():
            assert self._temporary is not None
            return _OpenCVEncoder(self._temporary, self._path, self._fourcc, self._wh, float(self._rate))
        from cvdetect.media.writer import AvWriter

        return AvWriter(
            self._temporary or _open_stream(self._path),
            self._path,
            self._suffix,
            self._fourcc,
            self._wh,
            self._rate,
            self._progress,
            time_base=self._time_base,
            sound=self._sound,
            start_s=self._start,
            shift_s=shift,
            look=self._look,
        )

    def __exit__(self, *error: object) -> None:
        """Finish the file and check that it holds every frame; without any frame there is no file."""
        try:
            if self._encoder is not None:
                self._finish(self._encoder, whole=not any(error))
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def _finish(self, encoder: _Encoder, whole: bool) -> None:
        encoder.close(self._sound_until(whole))
        if isinstance(encoder, _Resampled) and encoder.changes:
            self._progress.note(f"{self._path}: {encoder.changes}")
        if self._temporary is None:
            return
        held = _count(self._temporary, self._suffix)
        finish(self._temporary, self._path)
        if held != encoder.written:
            raise SinkError(
                f"{self._path}: holds {held} of {counted(encoder.written, 'frame')}: the disk or the codec lost some"
            )

    def _sound_until(self, whole: bool) -> float | None:
        """Where the sound ends, in seconds of the source: with the last frame where the run was interrupted."""
        if whole or self._last is None:
            return self._end
        return self._last.time_s


def _open_stream(path: Path) -> IO[bytes]:
    """A pipe or device opened for writing; unbuffered, so that its reader gets each packet at once."""
    try:
        number = os.dup(1) if str(path) == "-" else Target.of(path).open()
    except OSError as error:
        raise not_written(path, error) from error
    return os.fdopen(number, "wb", buffering=0)


def _count(path: Path, suffix: str) -> int:
    """How many frames a finished file really holds."""
    if media.available():
        from cvdetect.media.writer import count_frames

        return count_frames(path, suffix)
    capture = cv2.VideoCapture(str(path))
    held = 0
    while capture.grab():
        held += 1
    capture.release()
    return held
