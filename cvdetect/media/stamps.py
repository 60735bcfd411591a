"""Timestamps of frames where a container does not state when each of them is shown."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

__all__ = ["Stamps"]


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
