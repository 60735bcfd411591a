"""Writes videos with PyAV: with exact frame rates and times, and with the sound of the source."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from cvdetect.core.errors import SinkError
from cvdetect.core.frame import Image, Look
from cvdetect.core.progress import Progress
from cvdetect.media.codecs import CODECS, CONTAINERS, Codec
from cvdetect.media.conversion import as_written, from_bgr, tag, usual_look
from cvdetect.media.geometry import to_stored_pixels
from cvdetect.media.sound import Sound
from cvdetect.media.sound_writer import SoundWriter
from cvdetect.media.timing import LARGEST_TERM, with_small_terms

__all__ = ["AvWriter", "can_write", "count_frames"]

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings, and more, on standard error; 1: errors alone

_X265_UNTIMED = 2  # frames


class AvWriter:
    """Encodes frames into a file of any name; its container is that of `suffix`.

    Args:
        target: where to write: a path, or a binary stream that cannot seek.
        name: what messages call the file.
        suffix: e.g. ".mp4".
        fourcc: a key of CODECS.
        wh: width and height of the frames in pixels.
        rate: frames a second.
        time_base: seconds a tick of the source's clock, for times that vary; None for a constant rate: then frame n is
            shown n / rate seconds after 0.
        sound: the audio tracks to write beside the frames; None for none.
        start_s: the time in the source, in seconds, that becomes 0.
        shift_s: with a constant rate, the time of the first frame in seconds of the run (0 is `start_s`).
        look: how the source is stored and is meant to be shown, which is kept; None for what is usual at `wh`, in
            square pixels.
    """

    def __init__(
        self,
        target: Path | IO[bytes],
        name: Path,
        suffix: str,
        fourcc: str,
        wh: tuple[int, int],
        rate: Fraction,
        progress: Progress,
        *,
        time_base: Fraction | None = None,
        sound: Sound | None = None,
        start_s: float = 0.0,
        shift_s: float = 0.0,
        look: Look | None = None,
    ) -> None:
        self._target = target if isinstance(target, Path) else _Unseekable(target)
        self._name = name
        self._kind, self._codec = CONTAINERS[suffix], CODECS[fourcc.upper()]
        self._look = as_written(look or usual_look(wh), self._kind, self._codec, wh)
        self._rate, self._progress = rate, progress
        self._wanted_base = time_base
        self._start_s, self._shift_s = start_s, shift_s
        self._converter = VideoReformatter()
        self._written = 0
        self._last_pts = -1
        self._durations: dict[int, int] = {}  # pts → ticks, of frames in the encoder
        self._open(sound)

    def _open(self, sound: Sound | None) -> None:
        """Open it with the sound copied; where the container refuses that, re-encoded; where even that, without."""
        attempts = [(sound, False), (sound, True), (None, False)] if sound else [(None, False)]
        for number, (tracks, recode) in enumerate(attempts, start=1):
            try:
                self._try_to_open(tracks, recode)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if number == len(attempts) or not isinstance(self._target, Path):
                    raise SinkError(f"{self._name}: cannot be opened for writing: {error}") from error
            else:
                if sound and tracks is None:
                    self._progress.warn(f"{self._name}: the sound is left out, as its container takes none of it")
                return

    def _try_to_open(self, sound: Sound | None, recode: bool) -> None:
        options = {"movflags": "+faststart"} if self._kind.fast_start else {}
        target = f"file:{self._target}" if isinstance(self._target, Path) else self._target
        self._container: Any = av.open(target, "w", format=self._kind.muxer, options=options)
        wh = self._even(self._look.stored_wh)
        self._stream = _add_stream(self._container, self._codec, wh, self._rate, self._wanted_base, self._look)
        self._time_base = (
            Fraction(self._stream.codec_context.time_base) if self._wanted_base else 1 / self._stream.average_rate
        )
        self._sound = self._sound_writer(sound, recode) if sound else None
        self._container.start_encoding()

    def _sound_writer(self, sound: Sound, recode: bool) -> SoundWriter:
        name = str(self._name)
        return SoundWriter(sound, self._container, self._kind, name, self._progress, self._shift_s, recode)

    def _even(self, wh: tuple[int, int]) -> tuple[int, int]:
        return (wh[0] + wh[0] % 2, wh[1] + wh[1] % 2) if self._codec.even else wh

    @property
    def written(self) -> int:
        """How many frames were encoded."""
        return self._written

    def write(self, image: Image, time_s: float | None, duration_s: float | None = None) -> None:
        """Encode one frame (H, W, 3) BGR in square pixels; `time_s` counts from the source's beginning."""
        image = to_stored_pixels(image, self._look)
        width, height = self._even(self._look.stored_wh)
        if (height, width) != image.shape[:2]:
            image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
        frame = from_bgr(image, self._codec.pix_fmt, self._look, self._converter)
        frame.pts = self._pts(time_s)
        if self._wanted_base:
            frame.time_base = self._time_base
            if duration_s:
                self._durations[frame.pts] = max(1, round(duration_s / self._time_base))
        self._mux(self._stream.encode(frame))
        self._written += 1
        if self._sound and time_s is not None:
            self._mux_sound(time_s - self._start_s)

    def _pts(self, time_s: float | None) -> int:
        """The frame's place on the stream's clock; always later than the last one's."""
        if not self._wanted_base or time_s is None:
            return self._written
        self._last_pts = max(self._last_pts + 1, round((time_s - self._start_s) / self._time_base))
        return self._last_pts

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            duration = self._durations.pop(packet.pts, None)
            if duration:
                packet.duration = duration
        try:
            self._container.mux(packets)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _mux_sound(self, until_s: float, last: bool = False) -> None:
        if self._sound is None:
            return
        try:
            self._sound.write(until_s)
            if last:
                self._sound.finish()
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Exception:
        cause = getattr(self._target, "error", None) or error
        if isinstance(cause, BrokenPipeError):
            return cause
        return SinkError(f"{self._name}: cannot be written: {getattr(cause, 'strerror', None) or cause}")

    def close(self, until_s: float | None) -> None:
        """Flush the encoder, write the rest of the sound, and finish the file.

        Args:
            until_s: where the sound ends, in seconds of the source; None for its own end.
        """
        try:
            rest = self._stream.encode(None)
            self._mux(_with_decode_times(rest, self._codec) if len(rest) == self._written else rest)
            self._mux_sound(float("inf") if until_s is None else until_s - self._start_s, last=True)
        finally:
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._failure(error) from error
            finally:
                if not isinstance(self._target, Path):
                    self._target.close()


@cache
def can_write(suffix: str, fourcc: str) -> bool:
    """Whether a video of this FOURCC can really be written into this container, found out by writing one frame.

    A transport stream accepts any codec and may give back bytes of no known kind, so what was written is opened again.
    """
    codec = CODECS.get(fourcc.upper())
    if codec is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "x")
        try:
            with av.open(path, "w", format=CONTAINERS[suffix].muxer) as container:
                stream = _add_stream(container, codec, (128, 96), Fraction(25), None)
                frame = av.VideoFrame(128, 96, codec.pix_fmt)
                frame.pts = 0
                container.mux(_with_decode_times([*stream.encode(frame), *stream.encode(None)], codec))
            with av.open(path) as container:
                return bool(container.streams.video)
        except (av.error.FFmpegError, ValueError, OSError):
            return False


def count_frames(path: Path, suffix: str) -> int:
    """How many video frames a finished file of that container holds, by its packets.

    FFmpeg does not recognise a transport stream of a few packets, so it is not left to guess.
    """
    with av.open(f"file:{path}", format=CONTAINERS[suffix].muxer) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _with_decode_times(packets: list[Any], codec: Codec) -> list[Any]:
    """All packets of a stream, with decoding times where x265 leaves them undefined.

    Seen in FFmpeg 8.1: decoding times of a stream of one or two frames are what lay in memory, which
    muxers refuse ("pts/dts pair unsupported") now and then.
    """
    if codec.encoder == "libx265" and len(packets) <= _X265_UNTIMED:
        shown = sorted(packet.pts for packet in packets)
        delay = max((time - packet.pts for time, packet in zip(shown, packets, strict=True)), default=0)
        for time, packet in zip(shown, packets, strict=True):
            packet.dts = time - delay
    return packets


def _time_base(codec: Codec, wanted: Fraction | None) -> Fraction | None:
    """The source's clock, unless the encoder cannot count in it."""
    if wanted is None:
        return None
    if codec.encoder == "mpeg4" and wanted.denominator > LARGEST_TERM:
        return Fraction(1, 60_000)
    return wanted if wanted.denominator <= 1_200_000 else Fraction(1, 90_000)


def _add_stream(
    container: Any,
    codec: Codec,
    wh: tuple[int, int],
    rate: Fraction,
    time_base: Fraction | None,
    look: Look | None = None,
) -> Any:
    """Add a video stream to a PyAV output container.

    Args:
        time_base: seconds a tick of the stream's clock; None for 1 / rate.
        look: the colours and the shape of pixels that it states; None for none.
    """
    time_base = _time_base(codec, time_base)
    stream = container.add_stream(codec.encoder, rate=with_small_terms(rate), options=dict(codec.options))
    stream.width, stream.height = wh
    stream.pix_fmt = codec.pix_fmt
    if time_base:
        stream.codec_context.time_base = time_base
    if look:
        tag(stream, look, codec.pix_fmt)
    # MP4 and its kin have tags of their own; a foreign one is refused there.
    if codec.tag and container.format.name in ("avi", "matroska"):
        stream.codec_context.codec_tag = codec.tag
    return stream


class _Unseekable:
    """A stream that FFmpeg can only write to, not seek in."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of it; FFmpeg does not pass an error on, so it is kept."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._stream.write(left) :]
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
