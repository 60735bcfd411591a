"""The table of video containers and codecs: which suffix means which container, and what each can hold.

`CONTAINERS` has a `Container` for each suffix, `CODECS` a `Codec` for each FOURCC. They state what cvdetect can write.
Whether the FFmpeg (or OpenCV) of this machine really writes a codec into a container is found out by writing a frame:
`cvdetect.sinks.video.writable` does that with the writer in use. Reading the tables does not import PyAV.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CODECS", "CONTAINERS", "OPENCV_CODECS", "Codec", "Container"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container.

    Attributes:
        muxer: FFmpeg's name for it.
        codec: the FOURCC that is written with PyAV where none is asked for.
        opencv_codec: the same for OpenCV's own writer, which has no H.264.
        sound: the audio codecs that its players expect, which are copied; None for all that FFmpeg can put there.
        sound_encoder: FFmpeg's encoder of sound in another codec.
        has_times: it stores the time of each frame; else frames have a rate alone.
        can_stream: it can be written into a pipe, as it needs no seeking back.
        fast_start: its index is moved to the front, so that playing can begin before all of it is there.
        keeps_pixel_shape, keeps_colours, keeps_range: it has a place for the shape of a pixel, for the code points of
            matrix, primaries and transfer, and for the range of numbers. Some codecs have one of their own.
    """

    muxer: str
    codec: str = "H264"
    opencv_codec: str = "XVID"
    sound: tuple[str, ...] | None = None
    sound_encoder: str = "aac"
    has_times: bool = True
    can_stream: bool = False
    fast_start: bool = False
    keeps_pixel_shape: bool = False
    keeps_colours: bool = True
    keeps_range: bool = True


_MP4_SOUND = ("aac", "mp3", "mp2", "ac3", "eac3", "dts", "alac", "opus", "flac")
_TS_SOUND = ("aac", "aac_latm", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "truehd")
_PCM = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_alaw", "pcm_mulaw")
_AVI_SOUND = ("mp3", "mp2", "aac", "ac3", "wmav1", "wmav2", "flac", *_PCM)
_MP4 = Container(muxer="mp4", opencv_codec="mp4v", sound=_MP4_SOUND, fast_start=True, keeps_pixel_shape=True)
_WEBM = Container(muxer="webm", codec="VP90", opencv_codec="VP80", sound=("opus", "vorbis"), sound_encoder="libopus")

CONTAINERS = {
    ".avi": Container(muxer="avi", codec="XVID", sound=_AVI_SOUND, has_times=False, keeps_colours=False),
    ".mp4": _MP4,
    ".mkv": Container(muxer="matroska", can_stream=True),
    ".webm": _WEBM,
    ".mov": Container(muxer="mov", opencv_codec="mp4v", fast_start=True, keeps_pixel_shape=True, keeps_range=False),
    ".m4v": _MP4,
    ".ts": Container(muxer="mpegts", sound=_TS_SOUND, can_stream=True, keeps_colours=False),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """How FFmpeg encodes one FOURCC.

    Attributes:
        encoder: FFmpeg's name for the encoder.
        pix_fmt: the pixel format that it is given.
        options: its settings.
        even: width and height have to be even, as colours have half the resolution.
        tag: the FOURCC that AVI and Matroska state; empty for the encoder's own.
        matrix: the only matrix (ITU-T H.273) that the codec allows: that of BT.601; None where it is free.
        keeps_pixel_shape, keeps_colours: its own headers have a place for it, whatever the container.
    """

    encoder: str
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False
    tag: str = ""
    matrix: int | None = None
    keeps_pixel_shape: bool = False
    keeps_colours: bool = False


# FFmpeg's quality scale of the older codecs: 2 is very good, 31 poor; its option is in units of 118.
_QSCALE = {"flags": "+qscale", "global_quality": str(3 * 118)}
_VPX = {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"}
_X265 = {"preset": "veryfast", "crf": "24", "x265-params": "log-level=error"}
_BT601 = 6
_H264 = Codec(
    "libx264", options={"preset": "veryfast", "crf": "20"}, even=True, keeps_pixel_shape=True, keeps_colours=True
)
_H265 = Codec("libx265", options=_X265, even=True, keeps_pixel_shape=True, keeps_colours=True)
_AV1 = Codec("libsvtav1", options={"preset": "10", "crf": "32"}, even=True, keeps_colours=True)

CODECS = {
    "XVID": Codec("mpeg4", options=_QSCALE, tag="XVID", keeps_pixel_shape=True),
    "DIVX": Codec("mpeg4", options=_QSCALE, tag="DIVX", keeps_pixel_shape=True),
    "MP4V": Codec("mpeg4", options=_QSCALE, tag="mp4v", keeps_pixel_shape=True),
    # JPEG is always BT.601 in full range (JFIF 1.02).
    "MJPG": Codec("mjpeg", "yuvj420p", {**_QSCALE, "strict": "unofficial"}, matrix=_BT601),
    "WMV1": Codec("wmv1", options=_QSCALE, even=True),
    "WMV2": Codec("wmv2", options=_QSCALE, even=True),
    "VP80": Codec("libvpx", options={**_VPX, "b": "4M"}, matrix=_BT601),  # always BT.601 (RFC 6386, 9.2)
    "VP90": Codec("libvpx-vp9", options={**_VPX, "row-mt": "1"}, keeps_colours=True),
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
# The FOURCCs that OpenCV's own writer may know, as it spells them.
OPENCV_CODECS = ("XVID", "MJPG", "DIVX", "mp4v", "WMV1", "WMV2", "VP80", "VP90", "FFV1")
