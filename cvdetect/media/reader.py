"""Reads videos with PyAV in one pass: every frame with its exact time, and the sound beside the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av

from cvdetect.core.errors import SourceError
from cvdetect.core.filetype import not_a_video
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import counted
from cvdetect.media.completeness import cut_short, missing_bytes, missing_seconds, no_frames
from cvdetect.media.conversion import FrameConverter
from cvdetect.media.inputs import TIMEOUTS, Pipe, is_pipe, open_input
from cvdetect.media.sound import Sound
from cvdetect.media.timing import NEAR, FrameTimes, Timeline, file_rate, steady_rate

__all__ = ["AvReader"]

_LONGEST_FLV = Fraction(1 << 32, 1000)  # seconds: a timestamp has 32 bits of milliseconds
_OVERRUN_S = 5  # how far beyond the wanted part sound is looked for: tracks are interleaved more closely
# Where each packet is one frame. Elsewhere (AVI with packed B-frames, fields in a transport stream, VP8 with frames
# that are not shown) only decoding shows how many frames there are.
_COUNTED_FORMATS = {"mov", "matroska", "flv"}
_COUNTED_CODECS = {"h264", "hevc", "av1", "vp9", "mjpeg"}
_LEAST = 64  # packets: more than a decoder's threads and its reordering hold back
_MOST = 4096  # packets from one key frame to the next; with more the tail is given up


class AvReader:
    """The frames of a video file, address or pipe between two times.

    Times are those that a player shows: seconds from where the file's first track (video or sound) begins. Frames are
    numbered as they are decoded, from the file's first one on.

    Args:
        name: path, URL, or "-" for standard input, as the user typed it.
        start: seconds at which to start.
        end: seconds at which to end (not included); None for all.
        with_sound: collect the sound of the same part in `sound`.
        timeouts: seconds to open an address, and to wait for each of its packets.

    Attributes:
        sound: the packets of all audio tracks so far; None where there are none or none are wanted.
        notes: what of the file is left out, to follow its name and a colon: tracks that no output keeps.

    Raises (when entered):
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
    """

    def __init__(
        self,
        name: str,
        start: float = 0.0,
        end: float | None = None,
        *,
        with_sound: bool = False,
        timeouts: tuple[float, float] = TIMEOUTS,
    ) -> None:
        self._name = name
        self._timeouts = timeouts
        self._pipe: Pipe | None = None
        self._start, self._end = Fraction(start), None if end is None else Fraction(end)
        self._with_sound = with_sound
        self.cut: str | None = None
        self.sound: Sound | None = None
        self.notes: tuple[str, ...] = ()
        self._damaged = 0
        self._index = 0  # of the next decoded frame
        self._counted = False  # whether frames before the start are in the number already
        self._reached = Fraction(0)  # where the tracks read so far end

    def __enter__(self) -> AvReader:
        self._pipe = Pipe(self._name) if is_pipe(self._name) else None
        if self._pipe and (foreign := not_a_video(self._pipe.peek(), self._name, piped=True)):
            raise SourceError(f"{self._name}: {foreign}")
        self._container = open_input(self._name, self._pipe, self._timeouts)
        try:
            self._prepare()
        except BaseException:
            self._container.close()
            raise
        return self

    def _prepare(self) -> None:
        self._stream = self._choose_track()
        # Without true timestamps the tail of a damaged file cannot be recognised; one thread loses nothing of it.
        untimed = self._stream.start_time is None or self._container.format.name == "avi"
        self._stream.thread_type = "SLICE" if untimed else "AUTO"
        self._rate = file_rate(self._stream.average_rate or self._stream.guessed_rate)
        self._timeline = Timeline(self._container.format.name)
        self._near = min(NEAR, 1 / (2 * self._rate))
        self._zero = self._find_zero()
        self._frame_times = FrameTimes(self._container.format.name, self._stream.time_base, self._zero, self._rate)
        if self._with_sound and (tracks := self._audio_tracks()):
            self.sound = Sound(tracks, self._zero, self._start, self._end)
        self.notes = self._other_tracks()
        self._packets = self._demux()
        self._decoded = self._in_range()
        self._pending = next(self._decoded, None)
        if self._pending is None:
            raise SourceError(f"{self._name}: {no_frames(self._start, self._end)}")
        if not self._frame_times.stated and self._pending[3]:
            self._rate = 1 / self._pending[3]  # FFmpeg's average is a mere guess without timestamps
        self._converter = FrameConverter(self._stream, self._pending[0])
        self.info = self._info(self._converter.image(self._pending[0]))

    def __exit__(self, *_: object) -> None:
        self._container.close()
        if self._pipe:
            self._pipe.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""
        following = self._pending
        while following is not None:
            decoded, index, time, duration = following
            image = self._converter.image(decoded)
            yield Frame(image, self._name, index, float(time), duration_s=None if duration is None else float(duration))
            following = next(self._decoded, None)
        self._read_on_for_sound()
        self._check_whole()

    def _choose_track(self) -> Any:
        """The video track that FFmpeg would choose; a cover image does not count."""
        if self._container.format.name.endswith("_pipe") or self._container.format.name == "image2":
            raise SourceError(f"{self._name}: is an image, not a video; run cvdetect image '{self._name}'")
        tracks = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not tracks:
            what = "only sound" if self._container.streams.audio else "neither video nor sound"
            raise SourceError(f"{self._name}: has no video track: it holds {what}")
        best = self._container.streams.best("video")
        return best if best in tracks else tracks[0]

    def _audio_tracks(self) -> list[Any]:
        return [s for s in self._container.streams.audio if s.codec_context is not None]

    def _other_tracks(self) -> tuple[str, ...]:
        others = [s for s in self._container.streams if s.type == "subtitle"]
        videos = len(self._container.streams.video) - 1
        parts = [counted(len(others), "subtitle track")] if others else []
        parts += [counted(videos, "further video track")] if videos else []
        return (f"{' and '.join(parts)} left out: only the first video track and its sound are used",) if parts else ()

    def _find_zero(self) -> Fraction:
        """Where the file begins on its clock, exactly: FFmpeg's own figure is rounded to microseconds."""
        known = Fraction(self._container.start_time or 0, 1_000_000)
        tracks = (s for s in self._container.streams if s.start_time is not None and s.time_base is not None)
        starts = [s.start_time * s.time_base for s in tracks]
        exact = min(starts, key=lambda start: abs(start - known), default=known)
        zero = exact if abs(exact - known) < Fraction(1, 1000) else known
        # Sound may begin before 0 with samples that only start the decoder; a frame below 0 is meant to be shown.
        return zero if zero >= 0 or (self._stream.start_time or 0) < 0 else Fraction(0)

    def _info(self, upright: Image) -> StreamInfo:
        stream = self._stream
        frames = stream.frames or round(self._expected_s() * self._rate) or None
        return StreamInfo(
            (upright.shape[1], upright.shape[0]),
            self._rate,
            stream.time_base if self._frame_times.stated else None,
            frames,
            self.sound is not None,
            steady_rate(self._rate, stream.base_rate),
            look=self._converter.look,
            remarks=self._converter.remarks,
        )

    def _expected_s(self) -> Fraction:
        """How long the video will be, as stated or estimated; 0 where that is not known."""
        stream = self._stream
        return stream.duration * stream.time_base if stream.duration else self._length_s()

    def _length_s(self) -> Fraction:
        """The length of the file as FFmpeg states it; 0 where it states none, or one that cannot be."""
        length = Fraction(self._container.duration or 0, 1_000_000)
        return Fraction(0) if self._format == "flv" and length > _LONGEST_FLV else length

    @property
    def _format(self) -> str:
        return str(self._container.format.name.split(",")[0])

    def _demux(self) -> Iterator[Any]:
        """The packets of the video track, on one timeline; sound is collected on the way."""
        for packet in self._read_packets():
            if not packet.size:
                continue
            self._timeline.place(packet)
            self._note_reached(packet)
            if packet.stream is self._stream:
                yield packet
            elif self.sound is not None and packet.stream.type == "audio":
                self.sound.put(packet)

    def _read_packets(self) -> Iterator[Any]:
        """All packets, also those behind a damaged place.

        FFmpeg ends a cut file where the first of its tracks ends; the video may go on, then the others are passed over.
        """
        try:
            yield from self._demux_all()
        except IndexError:  # PyAV at the end of a file in which FFmpeg found a further track on the way (FLV, MPEG-PS)
            pass
        except av.error.InvalidDataError as error:
            self.cut = f"reading broke off: {error.strerror}"
        except (av.error.FFmpegError, OSError) as error:  # the network, the disk
            self.cut = f"reading broke off: {getattr(error, 'strerror', None) or error}"
            return
        if self.cut is None and not self._lacks_bytes():
            return
        for stream in self._container.streams:
            if stream is not self._stream:
                stream.discard = av.stream.Discard.all
        with suppress(av.error.FFmpegError):
            yield from self._container.demux(self._stream)

    def _demux_all(self) -> Iterator[Any]:
        yield from self._container.demux()

    def _lacks_bytes(self) -> int:
        local = self._pipe is None and "://" not in self._name
        return missing_bytes(Path(self._name)) if local else 0

    def _note_reached(self, packet: Any) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            self._reached = max(self._reached, (stamp + (packet.duration or 0)) * packet.time_base - self._zero)

    def _time(self, stamp: int | None) -> Fraction | None:
        """Seconds from the file's beginning."""
        return None if stamp is None else stamp * self._stream.time_base - self._zero

    def _in_range(self) -> Iterator[tuple[Any, int, Fraction, Fraction | None]]:
        """(frame, number, time, duration) of the frames between start and end."""
        for frame in self._frames():
            time = self._frame_times.time(frame)
            if self._counted and time < self._start - self._near:
                continue
            index = self._index
            self._index += 1
            if self._end is not None and time >= self._end - self._near:
                return
            if not self._start or time >= self._start - self._near:
                yield frame, index, time, self._frame_times.duration(frame)

    def _frames(self) -> Iterator[Any]:
        """Decoded frames; a packet that cannot be decoded is counted and passed over."""
        tail = _Tail(self._stream)
        for packet in self._from_start():
            tail.keep(packet)
            self._frame_times.feed(packet)
            try:
                frames = packet.decode()
            except av.error.FFmpegError:  # which one depends on the decoder: EPERM for DV, EINVAL for raw video
                self._damaged += 1
                continue
            tail.note(frames)
            yield from frames
        yield from self._flush(tail)

    def _from_start(self) -> Iterator[Any]:
        if not self._start or not _counts_by_packets(self._container, self._stream):
            return self._packets
        self._index, packets = _skip_packets(self._packets, self._time, self._start, self._near)
        self._counted = True
        return packets

    def _flush(self, tail: _Tail) -> Iterator[Any]:
        """The frames that the decoder has held back."""
        try:
            frames = self._stream.codec_context.decode(None)
        except (av.error.FFmpegError, EOFError):
            self._damaged += 1
            frames = []
        tail.note(frames)
        yield from frames
        yield from tail.lost()

    def _read_on_for_sound(self) -> None:
        """After the last frame of the part that is wanted: read its sound that lies behind it in the file."""
        if self._end is None or self.sound is None:
            return
        for packet in self._packets:
            time = self._time(packet.dts)
            if self.sound.finished or (time is not None and time > self._end + _OVERRUN_S):
                return

    def _check_whole(self) -> None:
        """Set `cut` where frames are missing at the end or in between."""
        if self._end is None and (missing := self._missing()):
            self.cut = cut_short(missing, self._index)
        elif self.cut is None and self._damaged:
            self.cut = f"is damaged at {counted(self._damaged, 'place')}, {counted(self._index, 'frame')} could be read"

    def _missing(self) -> str:
        """What a whole file would have beyond what was read: bytes by its structure, else seconds that it states."""
        if missing := self._lacks_bytes():
            return f"{missing:,} bytes are missing at its end"
        stated = Fraction(0) if self._timeline.joined else self._length_s()
        return missing_seconds(self._format, self._reached, stated, sized=self._pipe is None)


def _counts_by_packets(container: Any, stream: Any) -> bool:
    """Whether the frames of a track can be counted without decoding them."""
    codec = stream.codec_context.codec.canonical_name
    return container.format.name.split(",")[0] in _COUNTED_FORMATS and codec in _COUNTED_CODECS


def _skip_packets(
    packets: Iterator[Any], time: Callable[[int | None], Fraction | None], start: Fraction, near: Fraction
) -> tuple[int, Iterator[Any]]:
    """Read up to `start` (seconds).

    Args:
        time: a packet's timestamp → seconds.
        near: seconds before `start` that still count as there.

    Returns:
        How many frames are shown before `start` (not all of them need come when the packets are decoded), and the
        packets from a key frame at or before it on. That is the last but one, as frames just behind an open group's key
        frame want the group before it.
    """
    held: list[Any] = []
    last_key, before = 0, 0
    for packet in packets:
        shown, decoded = time(packet.pts), time(packet.dts)
        if shown is not None and shown <= start and packet.is_keyframe:
            held = held[last_key:]
            last_key = len(held)
        held.append(packet)
        before += shown is not None and shown < start - near and not packet.is_discard
        if decoded is not None and decoded >= start:
            break
    return before, chain(held, packets)


class _Tail:
    """The last packets of a video from a key frame on, kept to be decoded once more with one thread.

    A decoder with several threads loses the last frames of a damaged video: PyAV's ``decode(None)`` ends at the first
    error, in silence where frames came before it, and FFmpeg's decoder then gives nothing more. With one thread an
    error comes with its own packet.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._old: list[Any] = []
        self._new: list[Any] = []
        self._owed = 0  # packets without a frame so far
        self._last_pts: int | None = None

    def keep(self, packet: Any) -> None:
        """Remember a packet before it is decoded."""
        self._owed += not packet.is_discard
        if packet.is_keyframe and len(self._new) >= _LEAST:
            self._old, self._new = self._new, []
        elif len(self._new) >= _MOST:
            self._old, self._new = [], []
        self._new.append(packet)

    def note(self, frames: list[Any]) -> None:
        """Remember which frames came."""
        self._owed -= len(frames)
        if frames and frames[-1].pts is not None:
            self._last_pts = frames[-1].pts

    def lost(self) -> Iterator[Any]:
        """The frames behind the last one that came."""
        kept = self._old + self._new
        if self._owed <= 0 or self._last_pts is None or not kept or not kept[0].is_keyframe:
            return
        for frame in self._decode(kept):
            if frame.pts is not None and frame.pts > self._last_pts:
                yield frame

    def _decode(self, packets: list[Any]) -> Iterator[Any]:
        source = self._stream.codec_context
        decoder: Any = av.CodecContext.create(source.name, "r")
        decoder.extradata, decoder.codec_tag = source.extradata, source.codec_tag
        decoder.width, decoder.height = source.width, source.height
        decoder.thread_type = "NONE"
        for packet in [*packets, None]:
            try:
                yield from decoder.decode(packet)
            except (av.error.FFmpegError, EOFError):
                continue
