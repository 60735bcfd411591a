"""Reads videos with PyAV: exact times, rotation, and what is damaged is told."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from cvdetect.errors import SourceError, SourceNotFound
from cvdetect.frame import Frame, Image, StreamInfo
from cvdetect.media.viewed import Viewed

__all__ = ["AvReader"]

_TIMEOUT_S = (10.0, 15.0)  # to open, to read: for addresses; files do not need it


class AvReader:
    """The frames of a video file or address between two times.

    Args:
        name: path or URL, as the user typed it.
        start: seconds from the video's beginning at which to start.
        end: seconds at which to end (not included); None for all.

    Raises:
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
    """

    def __init__(self, name: str, start: float = 0.0, end: float | None = None) -> None:
        self._name = name
        self._start, self._end = start, end
        self.cut: str | None = None
        self._damaged = 0
        self._last_time = 0.0

    def __enter__(self) -> AvReader:
        self._container = self._open()
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{self._name}: has no video track")
        self._stream: Any = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._offset = (self._stream.start_time or 0) * (self._stream.time_base or Fraction(1))
        self._first_index = self._seek()
        self._decoded = self._decode()
        self._pending = next(self._decoded, None)
        if self._pending is None:
            self._container.close()
            raise SourceError(f"{self._name}: {self._why_empty()}")
        self._viewed = Viewed(self._stream, self._pending)
        self.info = self._info(self._viewed.image(self._pending))
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""
        index = self._first_index
        frame = self._pending
        while frame is not None:
            yield Frame(self._viewed.image(frame), self._name, index, self._time(frame))
            self._last_time = self._time(frame)
            index += 1
            frame = next(self._decoded, None)
        self._check_whole(index)

    def _open(self) -> Any:
        remote = "://" in self._name
        try:
            return av.open(self._name, timeout=_TIMEOUT_S if remote else None)
        except FileNotFoundError:
            raise SourceNotFound(f"{self._name}: no such file") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{self._name}: is not a video that can be read: {reason}") from error

    def _info(self, upright: Image) -> StreamInfo:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        frames = stream.frames or self._frames_by_duration(rate)
        wh = upright.shape[1], upright.shape[0]
        sound, viewed = bool(self._container.streams.audio), self._viewed
        return StreamInfo(wh, Fraction(rate), stream.time_base, frames, sound, viewed.look, viewed.remarks)

    def _frames_by_duration(self, rate: Fraction) -> int | None:
        return round(self._seconds() * rate) or None

    def _seconds(self) -> Fraction:
        """How long the video claims to be, 0 where it does not say."""
        stream, whole = self._stream, self._container.duration  # ticks of its clock; microseconds
        return stream.duration * stream.time_base if stream.duration else Fraction(whole or 0, 1_000_000)

    def _seek(self) -> int:
        """Go to the last key frame at or before `start`; the number of the first frame at or after it."""
        if self._start <= 0:
            return 0
        before = sum(
            1 for p in self._container.demux(self._stream) if p.pts is not None and self._time(p) < self._start
        )
        self._container.seek(int((self._start + float(self._offset)) / self._stream.time_base), stream=self._stream)
        return before

    def _time(self, timed: Any) -> float:
        """Seconds from the video's beginning of a packet or frame."""
        return 0.0 if timed.pts is None else float(timed.pts * self._stream.time_base - self._offset)

    def _decode(self) -> Iterator[Any]:
        """Decoded frames of the range; a packet that cannot be decoded is counted and passed over."""
        half_a_tick = float(self._stream.time_base or 0) / 2
        for frame in self._frames():
            time = self._time(frame)
            if self._end is not None and time >= self._end - half_a_tick:
                return
            if time >= self._start - half_a_tick:
                yield frame

    def _frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except (av.error.InvalidDataError, av.error.UndefinedError):
                self._damaged += 1
                continue
            except (av.error.FFmpegError, OSError) as error:  # the network or the disk
                self.cut = f"reading broke off: {getattr(error, 'strerror', None) or error}"
                return
            yield from frames

    def _why_empty(self) -> str:
        if self._start or self._end is not None:
            return "has no frames between --start and --end"
        return "holds no frame that can be decoded"

    def _check_whole(self, read: int) -> None:
        """Set `cut` where frames are missing at the end or in between."""
        if self.cut is None and self._damaged:
            self.cut = f"is damaged: {self._damaged} places could not be decoded, {read} frames were read"
        elif self.cut is None and self._end is None:
            self.cut = self._what_is_missing(read)

    def _what_is_missing(self, read: int) -> str | None:
        """What a whole file would have beyond `read` frames: by its own count, else by its duration."""
        claimed, seconds = self._stream.frames, float(self._seconds())
        if claimed:
            return f"is cut short: {read} of {claimed} frames could be read" if read < claimed * 0.99 - 2 else None
        if seconds and self._last_time < seconds * 0.98 - 1:  # sound may go on a little after the picture
            return f"is cut short: it ends after {self._last_time:.1f} of {seconds:.1f} seconds"
        return None
