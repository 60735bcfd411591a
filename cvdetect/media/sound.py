"""The sound of a video on its way from the reader, which demuxes it beside the frames, to the writer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["Sound", "Track", "duration"]

_FINE = Fraction(1, 1000)  # seconds a tick
_PRIMING = Fraction(1, 10)  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One audio track.

    Attributes:
        stream: PyAV's input stream: a template, and a decoder.
        codec: the codec's name (not the decoder's): "mp3", "aac", …
        begins_s: when it begins, in seconds of the run (0 is where the run starts).
    """

    stream: Any
    codec: str
    begins_s: float

    @property
    def index(self) -> int:
        """The number of the stream in the file."""
        return int(self.stream.index)


class Sound:
    """Packets of all audio tracks, in the order they were read; one thread puts them in, another takes them out.

    Their timestamps are shifted so that 0 is where the run starts. Only what the tracks hold beyond the frames that
    were read so far is kept here: compressed sound, a few kB a second.

    Args:
        streams: PyAV's audio streams.
        zero: seconds on the file's clock that are time 0 of the video.
        start, end: seconds of the part that is wanted; sound before and after it is left out; `end` None for all.
    """

    def __init__(self, streams: list[Any], zero: Fraction, start: Fraction, end: Fraction | None) -> None:
        self._zero = zero + start
        self._from = self._zero if start else None
        self._until = None if end is None else zero + end
        self.tracks = [self._track(stream) for stream in streams]
        self._last: dict[int, int] = {}
        self._due: dict[int, int] = {}
        self._unfinished = {track.index for track in self.tracks}
        self._packets: deque[tuple[float, Any]] = deque()

    def _track(self, stream: Any) -> Track:
        begins = (stream.start_time or 0) * stream.time_base - self._zero
        return Track(stream, stream.codec_context.codec.canonical_name, float(begins))

    def put(self, packet: Any) -> None:
        """Keep a packet of one of the tracks.

        One whose time is not later than the last one's (recordings that overlap where they were joined) is left out,
        as no container takes it.
        """
        if packet.time_base > _FINE:  # a tick a packet, as in AVI: a shift would be rounded to whole packets
            _refine(packet)
        if packet.dts is None and packet.pts is None:
            # While FFmpeg probes a pipe, its packets have no times: they follow the one before.
            packet.pts = packet.dts = self._due.get(packet.stream.index)
            if packet.dts is None:
                return
        stamp = packet.pts if packet.pts is not None else packet.dts
        self._due[packet.stream.index] = stamp + duration(packet)
        time = stamp * packet.time_base
        if self._until is not None and time >= self._until:
            self._unfinished.discard(packet.stream.index)
            return
        if self._from is not None and time < self._from:
            return
        # What an edit list cuts off stays cut off, except for what starts the decoder.
        if packet.is_discard and not -_PRIMING < time - self._zero < 0:
            return
        ticks = round(self._zero / packet.time_base)
        dts = (packet.dts if packet.dts is not None else stamp) - ticks
        if dts <= self._last.get(packet.stream.index, dts - 1):
            return
        self._last[packet.stream.index] = dts
        packet.pts, packet.dts = stamp - ticks, dts
        self._packets.append((float(time - self._zero), packet))

    @property
    def finished(self) -> bool:
        """Whether every track was read up to the end of the run's part."""
        return not self._unfinished

    def take(self, until_s: float) -> list[Any]:
        """The packets up to `until_s` (seconds of the run) that were not taken before."""
        taken = []
        while self._packets and self._packets[0][0] <= until_s:
            taken.append(self._packets.popleft()[1])
        return taken


def duration(packet: Any) -> int:
    """How long a packet of sound lasts, in ticks."""
    if packet.duration:
        return int(packet.duration)
    codec = packet.stream.codec_context
    seconds = Fraction(codec.frame_size or 0, codec.sample_rate or 1)
    return int(seconds / packet.time_base)


def _refine(packet: Any) -> None:
    """Count a packet's times in ticks of 1/90000 s."""
    scale = packet.time_base * 90_000
    packet.pts = None if packet.pts is None else round(packet.pts * scale)
    packet.dts = None if packet.dts is None else round(packet.dts * scale)
    packet.duration = round((packet.duration or 0) * scale)
    packet.time_base = Fraction(1, 90_000)
