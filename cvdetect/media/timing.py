"""One timeline for all tracks of a file, also where its timestamps jump (joined recordings, restarted counters)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

__all__ = ["Stamps", "Tail", "Timeline"]


_BACK = Fraction(1, 10)  # seconds; a smaller step back is jitter (FFmpeg's own limit)
_AHEAD = Fraction(10)  # seconds; a larger step ahead is another recording, in formats where that happens (FFmpeg's)
_NEAR = Fraction(10)  # seconds; how far a track may lie from where it is due to belong to a known recording
# Their timestamps are those of a transmission; elsewhere a gap is what the author wanted.
_TRANSMITTED = ("mpegts", "mpegtsraw", "mpeg", "hls")


class Timeline:
    """Shifts packets so that every recording in a file follows the one before it.

    A jump is seen in decoding timestamps. Whichever track jumps first begins a new recording behind the end of all
    tracks; the others follow with the same shift, so that picture and sound of it stay together.
    """

    def __init__(self, format_name: str) -> None:
        self._closes_gaps = format_name in _TRANSMITTED
        self._shifts = [Fraction(0)]  # seconds, of each recording
        self._recording: dict[int, int] = {}  # of each track
        self._last: dict[int, Fraction] = {}  # decoding time of each track's last packet
        self._ends: dict[int, Fraction] = {}

    @property
    def joined(self) -> bool:
        """Whether timestamps have jumped."""
        return len(self._shifts) > 1

    def place(self, packet: Any) -> None:
        """Shift a packet's timestamps, in place."""
        track, base = packet.stream.index, packet.time_base
        if packet.dts is not None:
            raw = packet.dts * base
            self._follow(track, raw)
            self._last[track] = raw + self._shift(track)
            self._ends[track] = self._last[track] + (packet.duration or 0) * base
        if shift := self._shift(track):
            ticks = round(shift / base)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks

    def _shift(self, track: int) -> Fraction:
        return self._shifts[self._recording.get(track, 0)]

    def _follow(self, track: int, raw: Fraction) -> None:
        """Find the recording this packet belongs to."""
        if track not in self._last:
            self._recording.setdefault(track, self._nearest(raw))
        elif self._jumps(track, raw):
            last = self._last[track]
            for number in range(self._recording.get(track, 0) + 1, len(self._shifts)):
                if -_BACK * 10 <= raw + self._shifts[number] - last <= _NEAR:
                    self._recording[track] = number
                    return
            self._shifts.append(max(self._ends.values()) - raw)
            self._recording[track] = len(self._shifts) - 1

    def _jumps(self, track: int, raw: Fraction) -> bool:
        step = raw + self._shift(track) - self._last[track]
        return step < -_BACK or (self._closes_gaps and step > _AHEAD)

    def _nearest(self, raw: Fraction) -> int:
        """The recording in which a track begins that had no packet yet."""
        now = max(self._ends.values(), default=raw)
        return min(range(len(self._shifts)), key=lambda number: abs(raw + self._shifts[number] - now))


# Timestamps of frames where a container does not state when each of them is shown.


class Stamps:
    """When each decoded frame is shown, in the order the decoder gives them.

    Three cases: the container states it (the rule); it states it for some packets (MPEG program streams): the others
    follow the frame before them; it states only when packets are decoded (AVI; what FFmpeg gives there for the time of
    a frame is made up, and wrong where frames are reordered): the nth frame is shown when the nth packet is decoded, or
    as much later as FFmpeg has it for the first one.

    Args:
        format_name: FFmpeg's name of the container.
        time_base: seconds a tick.
        zero: seconds on the container's clock that are time 0.
        rate: frames a second.

    Attributes:
        stated: whether a frame had a timestamp.
    """

    def __init__(self, format_name: str, time_base: Fraction, zero: Fraction, rate: Fraction) -> None:
        self._never_stated = format_name == "avi"
        self._delay: int | None = None  # ticks from decoding to showing where that is not stated
        self._time_base, self._zero, self._rate = time_base, zero, rate
        self.stated = False
        self._by_packet = False  # whether packets say when their frames are shown
        self._decoded: deque[int] = deque()  # decoding times of packets whose frames have not come yet
        self._held_back: int | None = None  # how many packets the decoder keeps
        self._last: Fraction | None = None
        self._due = Fraction(0)

    def feed(self, packet: Any) -> None:
        """Look at a packet before it is decoded; a decoding time is kept from passing for the time of a frame."""
        if packet.pts is not None and not self._never_stated:
            self._by_packet = True
        elif self._by_packet:
            packet.dts = None
        elif packet.dts is not None:
            if self._delay is None:
                self._delay = (packet.duration or 0) if packet.pts is None else packet.pts - packet.dts
            self._decoded.append(packet.dts + self._delay)

    def time(self, frame: Any) -> Fraction:
        """Seconds from the beginning, later than the frame before; without a timestamp a frame follows by the rate."""
        ticks = self._nth_decoded() if self._decoded and not self._by_packet else frame.pts
        self.stated = self.stated or ticks is not None
        time = self._due if ticks is None else ticks * self._time_base - self._zero
        if self._last is not None and time <= self._last:
            # Half a frame, so that one wrong timestamp does not put all that follow a frame late.
            near = self._last - time < 2 / self._rate
            time = self._last + (1 / (2 * self._rate) if near else 1 / self._rate)
        self._last = time
        self._due = time + (self.lasts(frame) or 1 / self._rate)
        return time

    def lasts(self, frame: Any) -> Fraction | None:
        """How long a frame is shown, in seconds, where that is stated."""
        return (frame.duration or 0) * self._time_base or None

    def _nth_decoded(self) -> int:
        if self._held_back is None:
            self._held_back = len(self._decoded)
        while len(self._decoded) > self._held_back:  # a packet without a frame
            self._decoded.popleft()
        return self._decoded.popleft()


# The last frames of a damaged video, which a decoder with several threads loses when it is emptied.

_LEAST = 64  # packets: more than a decoder's threads and its reordering hold back
_MOST = 4096  # packets from one key frame to the next; with more the tail is given up


class Tail:
    """Keeps the last packets from a key frame on, to decode them once more with one thread.

    PyAV's ``decode(None)`` ends at the first error, in silence where frames came before it, and FFmpeg's decoder then
    gives nothing more; with one thread an error comes with its own packet.
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
        if self._owed <= 0 or self._last_pts is None or not self._old + self._new or not self._begins_whole():
            return
        for frame in self._decode():
            if frame.pts is not None and frame.pts > self._last_pts:
                yield frame

    def _begins_whole(self) -> bool:
        return bool((self._old or self._new)[0].is_keyframe)

    def _decode(self) -> Iterator[Any]:
        source = self._stream.codec_context
        decoder: Any = av.CodecContext.create(source.name, "r")
        decoder.extradata, decoder.codec_tag = source.extradata, source.codec_tag
        decoder.width, decoder.height = source.width, source.height
        decoder.thread_type = "NONE"
        for packet in [*self._old, *self._new, None]:
            try:
                yield from decoder.decode(packet)
            except (av.error.FFmpegError, EOFError):
                continue
