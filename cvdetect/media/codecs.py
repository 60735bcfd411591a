"""Which FOURCC goes into which container, and how FFmpeg is told to encode it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from cvdetect.core.frame import Look
from cvdetect.media.colour import tag

__all__ = ["CODECS", "FORMATS", "Codec", "default_codec", "open_stream", "opens", "steady_rate"]

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings, and more, on standard error; 1: errors alone

# FFmpeg's muxer of each suffix.
FORMATS = {
    ".avi": "avi",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
}
_LARGEST_TERM = 65_535  # of a rate or time base in MPEG-4: it has 16 bits (ISO/IEC 14496-2, vop_time_increment)

# FFmpeg's quality scale of the older codecs: 2 is very good, 31 poor; its option is in units of 118.
_QSCALE = {"flags": "+qscale", "global_quality": str(3 * 118)}
_X264 = {"preset": "veryfast", "crf": "20"}
_VPX = {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"}


@dataclass(frozen=True, slots=True)
class Codec:
    """One FOURCC: FFmpeg's encoder, its pixel format and options; `even` sizes are needed where it halves colours."""

    encoder: str
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False
    tag: str = ""


_H264 = Codec("libx264", options=_X264, even=True)
_H265 = Codec("libx265", options={"preset": "veryfast", "crf": "24", "x265-params": "log-level=error"}, even=True)
_AV1 = Codec("libsvtav1", options={"preset": "10", "crf": "32"}, even=True)
CODECS: dict[str, Codec] = {
    "XVID": Codec("mpeg4", options=_QSCALE, tag="XVID"),
    "DIVX": Codec("mpeg4", options=_QSCALE, tag="DIVX"),
    "MP4V": Codec("mpeg4", options=_QSCALE, tag="mp4v"),
    "MJPG": Codec("mjpeg", "yuvj420p", {**_QSCALE, "strict": "unofficial"}),
    "WMV1": Codec("wmv1", options=_QSCALE, even=True),
    "WMV2": Codec("wmv2", options=_QSCALE, even=True),
    "VP80": Codec("libvpx", options={**_VPX, "b": "4M"}),
    "VP90": Codec("libvpx-vp9", options={**_VPX, "row-mt": "1"}),
    "FFV1": Codec("ffv1", "bgr0"),
    "H264": _H264,
    "X264": _H264,
    "AVC1": _H264,
    "H265": _H265,
    "HEVC": _H265,
    "HEV1": _H265,
    "AV01": _AV1,
    "AV1": _AV1,
}
_DEFAULTS = {".avi": "XVID", ".webm": "VP90"}


def default_codec(suffix: str) -> str | None:
    """The FOURCC a container gets when none is asked for; None: no such container."""
    suffix = suffix.lower()
    return _DEFAULTS.get(suffix, "H264") if suffix in FORMATS else None


def steady_rate(average: Fraction, base: Fraction | None) -> Fraction:
    """The rate for a container that has no times, from a video's average and its base rate.

    The base rate is the lowest that all timestamps fit (FFmpeg's ``r_frame_rate``). It is taken where frames really
    come at varying distances, so that none need be dropped; not where the clock only trembles, nor where it counts
    fields.
    """
    base = average if base is None else Fraction(base)
    if not average * Fraction(101, 100) < base <= 120 or abs(base / average - 2) < Fraction(1, 100):
        base = average if base <= 120 else max(average, Fraction(30))
    return _with_small_terms(base)


def _with_small_terms(rate: Fraction) -> Fraction:
    """The nearest rate whose terms MPEG-4 can hold: off by a millionth of a frame in an hour at most."""
    if rate >= 1:
        return 1 / (1 / rate).limit_denominator(_LARGEST_TERM)
    return rate.limit_denominator(_LARGEST_TERM)


def _time_base(codec: Codec, wanted: Fraction | None) -> Fraction | None:
    """The source's clock, unless the encoder cannot count in it."""
    if wanted is None:
        return None
    if codec.encoder == "mpeg4" and wanted.denominator > _LARGEST_TERM:
        return Fraction(1, 60_000)
    return wanted if wanted.denominator <= 1_200_000 else Fraction(1, 90_000)


def open_stream(
    container: Any,
    codec: Codec,
    wh: tuple[int, int],
    rate: Fraction,
    time_base: Fraction | None,
    look: Look | None = None,
) -> Any:
    """Add a video stream to a PyAV output container.

    Args:
        time_base: seconds a tick of the stream's clock; None for 1 / rate.
        look: the colours and the shape of pixels that it states; None: none.
    """
    time_base = _time_base(codec, time_base)
    stream = container.add_stream(codec.encoder, rate=_with_small_terms(rate), options=dict(codec.options))
    stream.width, stream.height = wh
    stream.pix_fmt = codec.pix_fmt
    if time_base:
        stream.codec_context.time_base = time_base
    if look:
        tag(stream, look, codec.pix_fmt)
    # MP4 and its kin have tags of their own; a foreign one is refused there.
    if codec.tag and container.format.name in ("avi", "matroska"):
        stream.codec_context.codec_tag = codec.tag
    return stream


@cache
def opens(suffix: str, fourcc: str) -> bool:
    """Whether a video of this FOURCC can really be written into this container, found out by writing one frame.

    A transport stream takes anything and gives back bytes of no known kind, so what was written is looked at again.
    """
    import av

    codec = CODECS.get(fourcc.upper())
    if codec is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "x")
        try:
            with av.open(path, "w", format=FORMATS[suffix]) as container:
                stream = open_stream(container, codec, (128, 96), Fraction(25), None)
                frame = av.VideoFrame(128, 96, codec.pix_fmt)
                frame.pts = 0
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            with av.open(path) as container:
                return bool(container.streams.video)
        except (av.error.FFmpegError, ValueError, OSError):
            return False
