"""Packets that are not decoded in one go: those before the start of a run, and the last ones of a damaged video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import av

__all__ = ["Tail", "counts_by_packets", "skip_packets"]

# Where each packet is one frame. Elsewhere (AVI with packed B-frames, fields in a transport stream, VP8 with frames
# that are not shown) only decoding shows how many frames there are.
_FORMATS = {"mov", "matroska", "flv"}
_CODECS = {"h264", "hevc", "av1", "vp9", "mjpeg"}
_LEAST = 64  # packets: more than a decoder's threads and its reordering hold back
_MOST = 4096  # packets from one key frame to the next; with more the tail is given up


def counts_by_packets(container: Any, stream: Any) -> bool:
    """Whether the frames of a track can be counted without decoding them."""
    codec = stream.codec_context.codec.canonical_name
    return container.format.name.split(",")[0] in _FORMATS and codec in _CODECS


def skip_packets(
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


class Tail:
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
