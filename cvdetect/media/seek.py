"""Passing over the beginning of a video without decoding all of it, and without miscounting its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

__all__ = ["counts_by_packets", "skip_packets"]

# Where each packet is one frame. Elsewhere (AVI with packed B-frames, fields in a transport stream, VP8 with frames
# that are not shown) only decoding shows how many frames there are.
_FORMATS = {"mov", "matroska", "flv"}
_CODECS = {"h264", "hevc", "av1", "vp9", "mjpeg"}


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
