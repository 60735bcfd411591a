"""The last frames of a damaged video, which a decoder with several threads loses when it is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

__all__ = ["Tail"]

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
