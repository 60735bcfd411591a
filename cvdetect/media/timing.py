"""One timeline for all tracks of a file, also where its timestamps jump (joined recordings, restarted counters)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

__all__ = ["Timeline"]

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
