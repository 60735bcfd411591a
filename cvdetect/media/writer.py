"""Writes videos with PyAV: exact frame rates and times, and the sound of the source copied unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cvdetect.errors import SinkError
from cvdetect.events import Progress
from cvdetect.frame import Image, Look
from cvdetect.media.codecs import CODECS, open_stream
from cvdetect.media.colour import as_written, from_bgr, stored, usual_look

__all__ = ["AvWriter", "count_frames"]


class AvWriter:
    """Encodes frames into a file of any name; its container is that of `suffix`.

    Args:
        path: where to write.
        name: what errors call the file.
        suffix: e.g. ".mp4".
        fourcc: a key of CODECS.
        wh: width and height of the frames in pixels.
        rate: frames a second.
        time_base: seconds a tick of the source's clock, for times that vary; None for a constant rate.
        sound: the file or address whose audio tracks are copied; None for none.
        start: the time in the source, in seconds, that becomes 0.
        end: where the copied sound ends; None for its end.
        look: how the source is stored and meant, which is kept; None: as is usual for `wh`, in square pixels.
    """

    def __init__(
        self,
        path: Path,
        name: Path,
        suffix: str,
        fourcc: str,
        wh: tuple[int, int],
        rate: Fraction,
        progress: Progress,
        time_base: Fraction | None = None,
        sound: str | None = None,
        start: float = 0.0,
        end: float | None = None,
        look: Look | None = None,
    ) -> None:
        self._name = name
        self._codec = CODECS[fourcc.upper()]
        self._look = as_written(look or usual_look(wh), suffix, self._codec.encoder, wh)
        self._start = start
        self._written = 0
        self._last_pts = -1
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        try:
            self._container: Any = av.open(str(path), "w", format=_FORMATS[suffix], options=options)
            # AVI has no times, only a rate.
            self._time_base = None if suffix == ".avi" else time_base
            self._stream = open_stream(
                self._container, self._codec, self._even(self._look.stored_wh), rate, self._time_base, self._look
            )
            self._sound = _Sound(sound, self._container, suffix, start, end, progress) if sound else None
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"{name}: cannot be opened for writing: {error}") from error

    def _even(self, wh: tuple[int, int]) -> tuple[int, int]:
        return (wh[0] + wh[0] % 2, wh[1] + wh[1] % 2) if self._codec.even else wh

    def write(self, image: Image, time_s: float | None) -> None:
        """Encode one frame (H, W, 3) BGR in square pixels; `time_s` counts from the source's beginning."""
        image = stored(image, self._look)
        width, height = self._even(self._look.stored_wh)
        if (height, width) != image.shape[:2]:
            image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
        frame = from_bgr(image, self._codec.pix_fmt, self._look)
        frame.pts = self._pts(time_s)
        if self._time_base:
            frame.time_base = self._time_base
        self._mux(self._stream.encode(frame))
        self._written += 1
        if self._sound and time_s is not None:
            self._mux(self._sound.until(time_s))

    def _pts(self, time_s: float | None) -> int:
        """The frame's place on the stream's clock; always later than the last one's."""
        if not self._time_base or time_s is None:
            return self._written
        self._last_pts = max(self._last_pts + 1, round((time_s - self._start) / self._time_base))
        return self._last_pts

    def _mux(self, packets: Any) -> None:
        try:
            self._container.mux(packets)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"{self._name}: cannot be written: {getattr(error, 'strerror', None) or error}") from error

    def close(self, last_time_s: float | None) -> None:
        """Encode what is still held back, copy the rest of the sound up to the last frame, and finish the file."""
        try:
            self._mux(self._stream.encode(None))
            if self._sound:
                self._mux(self._sound.rest(last_time_s))
        finally:
            if self._sound:
                self._sound.close()
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError) as error:
                raise SinkError(f"{self._name}: cannot be finished: {error}") from error


_FORMATS = {".avi": "avi", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# What each container holds of sound; None: whatever FFmpeg can put there.
_SOUND_FOR: dict[str, set[str] | None] = {
    ".webm": {"opus", "vorbis"},
    ".mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "mp2"},
    ".m4v": {"aac", "mp3", "ac3", "alac"},
}


class _Sound:
    """The audio packets of the source, in the order the container wants them."""

    def __init__(
        self, source: str, output: Any, suffix: str, start: float, end: float | None, progress: Progress
    ) -> None:
        self._container: Any = av.open(source)
        self._start, self._end = start, end
        taken = [s for s in self._container.streams.audio if _fits(s, suffix, progress)]
        self._streams = {s.index: output.add_stream_from_template(s) for s in taken}
        self._packets = self._in_range(taken) if taken else iter(())
        self._next: Any = next(self._packets, None)

    def _in_range(self, streams: list[Any]) -> Iterator[Any]:
        """Packets between start and end, moved so that the start is 0."""
        video = self._container.streams.video[0]
        zero = float((video.start_time or 0) * (video.time_base or 0)) + self._start
        for packet in self._container.demux(streams):
            if packet.dts is None:
                continue
            time = float(packet.pts * packet.time_base) - zero
            if (time < 0 and self._start) or (self._end is not None and time >= self._end - self._start):
                continue
            if self._start:
                shift = round(zero / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._streams[packet.stream.index]
            yield packet

    def until(self, time_s: float) -> list[Any]:
        """The packets not yet taken up to `time_s`, in seconds of the source."""
        taken = []
        while self._next is not None and float(self._next.pts * self._next.time_base) <= time_s - self._start:
            taken.append(self._next)
            self._next = next(self._packets, None)
        return taken

    def rest(self, last_time_s: float | None) -> list[Any]:
        """All that is left, or what goes with the last frame where the video ended before its source."""
        return self.until(float("inf") if last_time_s is None else last_time_s)

    def close(self) -> None:
        """Close the source."""
        self._container.close()


def _fits(stream: Any, suffix: str, progress: Progress) -> bool:
    holds = _SOUND_FOR.get(suffix)
    name = stream.codec_context.name
    if holds is None or name in holds:
        return True
    progress.warn(f"{suffix} cannot hold {name} sound, it is left out; .mkv, .mov and .mp4 keep it (or --no-audio)")
    return False


def count_frames(path: Path) -> int:
    """How many video frames a finished file holds, by its packets."""
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)
