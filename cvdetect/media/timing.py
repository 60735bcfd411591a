"""When frames are shown: frame rates that can be trusted, the time of each frame, and one timeline for all tracks."""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction
from typing import Any

__all__ = [
    "LARGEST_TERM",
    "LIVE_RATE",
    "NEAR",
    "RATE",
    "FrameTimes",
    "Timeline",
    "file_rate",
    "first_frame",
    "live_rate",
    "steady_rate",
    "with_small_terms",
]

RATE = Fraction(25)  # frames a second of a file that does not state it, and of numbered images, as FFmpeg has it
LIVE_RATE = Fraction(30)  # of a camera or stream that does not state it
NEAR = Fraction(1, 2000)  # seconds; a time typed in thousandths means the frame there
LARGEST_TERM = 65_535  # of a rate or time base in MPEG-4: it has 16 bits (ISO/IEC 14496-2, vop_time_increment)
_SANE_LIVE = (1, 240)  # frames a second
_LARGEST_SIMPLE = 1001  # denominator: 30000/1001 is the rate of NTSC
_BACK = Fraction(1, 10)  # seconds; a smaller step back is jitter (FFmpeg's own limit)
_AHEAD = Fraction(10)  # seconds; a larger step ahead is another recording, in formats where that happens (FFmpeg's)
_REACH = Fraction(10)  # seconds; how far a track may lie from where it is due to belong to a known recording
# Their timestamps are those of a transmission; elsewhere a gap is what the author wanted.
_TRANSMITTED = ("mpegts", "mpegtsraw", "mpeg", "hls")


def file_rate(stated: float | Fraction | None) -> Fraction:
    """The frame rate of a file from what its reader states; a number that cannot be one gives `RATE`."""
    if not stated or not math.isfinite(stated) or stated <= 0:
        return RATE
    return stated if isinstance(stated, Fraction) else Fraction(stated).limit_denominator(_LARGEST_SIMPLE)


def live_rate(stated: float | Fraction | None) -> Fraction:
    """The same for a camera or stream; some state the rate of their clock, so what no camera has gives `LIVE_RATE`."""
    if not stated or not _SANE_LIVE[0] <= stated <= _SANE_LIVE[1]:
        return LIVE_RATE
    return Fraction(stated).limit_denominator(_LARGEST_SIMPLE)


def steady_rate(average: Fraction, base: Fraction | None) -> Fraction:
    """The rate for a container that has no times, from a video's average and its base rate.

    The base rate is the lowest that all timestamps fit (FFmpeg's ``r_frame_rate``). It is taken where frames really
    come at varying distances, so that none need be dropped; not where the clock only trembles, nor where it counts
    fields.
    """
    base = average if base is None else Fraction(base)
    if not average * Fraction(101, 100) < base <= 120 or abs(base / average - 2) < Fraction(1, 100):
        base = average if base <= 120 else max(average, Fraction(30))
    return with_small_terms(base)


def with_small_terms(rate: Fraction) -> Fraction:
    """The nearest rate whose terms MPEG-4 can hold: off by a millionth of a frame in an hour at most."""
    if rate >= 1:
        return 1 / (1 / rate).limit_denominator(LARGEST_TERM)
    return rate.limit_denominator(LARGEST_TERM)


def first_frame(time_s: float, rate: Fraction) -> int:
    """The first of frames 0, 1 / rate, 2 / rate, … that does not lie before a time.

    0.2 s is frame 5 of 25 a second, though the nearest number that a computer has for it is a little more.
    """
    return max(0, math.ceil((Fraction(time_s) - NEAR) * rate))


class FrameTimes:
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
        self._by_packet = False  # whether packets state when their frames are shown
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
        self._due = time + (self.duration(frame) or 1 / self._rate)
        return time

    def duration(self, frame: Any) -> Fraction | None:
        """How long a frame is shown, in seconds, where that is stated."""
        return (frame.duration or 0) * self._time_base or None

    def _nth_decoded(self) -> int:
        if self._held_back is None:
            self._held_back = len(self._decoded)
        while len(self._decoded) > self._held_back:  # a packet without a frame
            self._decoded.popleft()
        return self._decoded.popleft()


class Timeline:
    """Shifts packets so that every recording in a file follows the one before it.

    A jump shows in decoding timestamps. Whichever track jumps first begins a new recording behind the end of all
    tracks; the others follow with the same shift, so that its video and sound stay together.
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
                if -_BACK * 10 <= raw + self._shifts[number] - last <= _REACH:
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
