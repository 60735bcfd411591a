"""Packets of silence, for gaps in copied sound where a container has no times."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

__all__ = ["silent_packet"]

_PACKETS = 6  # the first ones of an encoder are shorter or hold its delay
_PIECE = Fraction(1, 50)  # seconds of PCM, which has no frames of its own


def silent_packet(stream: Any) -> tuple[bytes, float]:
    """A packet of silence that the decoder of an audio stream takes, and how many seconds it lasts.

    Raises:
        ValueError: there is no encoder for the stream's codec.
        av.error.FFmpegError: it does not take the stream's rate or channels.
    """
    source = stream.codec_context
    rate, layout = source.sample_rate, source.layout.name
    encoder: Any = av.CodecContext.create(source.codec.canonical_name, "w")
    encoder.sample_rate, encoder.layout, encoder.time_base = rate, layout, Fraction(1, rate)
    encoder.format = encoder.codec.audio_formats[0]
    encoder.open()
    samples = encoder.frame_size or round(rate * _PIECE)
    packets: list[bytes] = []
    for number in range(_PACKETS):
        frame = _silence(encoder, samples)
        frame.pts, frame.time_base = number * samples, encoder.time_base
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    # A decoder that doubles the rate (HE-AAC) gives more samples than this encoder takes.
    lasts = source.frame_size if encoder.frame_size and source.frame_size else samples
    return packets[-1], lasts / rate


def _silence(encoder: Any, samples: int) -> Any:
    frame = av.AudioFrame(format=encoder.format.name, layout=encoder.layout.name, samples=samples)
    frame.sample_rate = encoder.sample_rate
    zero = 0x80 if encoder.format.name.startswith("u8") else 0
    for plane in frame.planes:
        plane.update(bytes([zero]) * plane.buffer_size)
    return frame
