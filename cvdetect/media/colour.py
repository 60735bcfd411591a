"""A video's numbers to colours and back: which matrix and range they are meant with, and how a copy is tagged.

Code points are those of ITU-T H.273 (matrix_coefficients, colour_primaries, transfer_characteristics), which FFmpeg's
enumerations follow.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from cvdetect.core.frame import Image, Look

__all__ = ["BT709", "as_written", "from_bgr", "look_of", "stored", "tag", "to_bgr", "usual_look"]

UNSPECIFIED, BT709, BT601 = 2, 1, 6  # BT601: SMPTE 170M, whose matrix is also that of BT.470 System B, G (5)
_RGB, _BT2020 = 0, 9
# H.273 matrix → FFmpeg's table of coefficients (SWS_CS_*); others are not converted.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_LIMITED, _FULL = 1, 2  # FFmpeg's AVColorRange
_HOLDS_SHAPE = (".mp4", ".m4v", ".mov")  # in the container
_HOLD_COLOURS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1")  # in the pictures' own headers
_STATES_NO_COLOURS = (".avi", ".ts")
_HOLD_SHAPE = ("mpeg4", "libx264", "libx265")  # in the pictures' own headers
# Without rounding each copy is darker by 1.5 levels; PyAV 17 cannot ask for it.
_ACCURATE = Interpolation.BILINEAR | getattr(Interpolation, "ACCURATE_RND", 0)


def usual_look(wh: tuple[int, int]) -> Look:
    """What players take a video of this size for that does not state it: BT.709 from HD on, else BT.601."""
    if wh[0] >= 1280 or wh[1] > 576:
        return Look(wh, matrix=BT709, primaries=BT709, transfer=BT709)
    return Look(wh, matrix=BT601)


def look_of(frame: Any, wh: tuple[int, int]) -> tuple[Look, tuple[str, ...]]:
    """How a decoded PyAV frame is meant to be shown, and what of that is not done.

    What it does not state is filled in by `usual_look`.
    """
    usual = usual_look(wh)
    stated = _stated(frame.colorspace)
    remarks = []
    if stated in (None, _RGB) or frame.format.is_rgb:
        matrix = usual.matrix
    elif stated in _COEFFICIENTS:
        matrix = stated
    else:
        matrix = usual.matrix
        remarks.append(f"its colours are coded in a way (matrix {stated}) that is not converted: they are only near")
    if _shows_through(frame):
        remarks.append("its transparency is not kept: the colours beneath are shown")
    look = replace(
        usual,
        matrix=matrix,
        primaries=_stated(frame.color_primaries) or usual.primaries,
        transfer=_stated(frame.color_trc) or usual.transfer,
        full_range=_is_full(frame),
    )
    return look, tuple(remarks)


def _stated(code: int) -> int | None:
    return None if code in (UNSPECIFIED, 3) else int(code)


def _is_full(frame: Any) -> bool:
    if frame.color_range in (_LIMITED, _FULL):
        return bool(frame.color_range == _FULL) and not frame.format.is_rgb
    return str(frame.format.name).startswith(("yuvj", "gray"))  # FFmpeg's own reading where it is not stated


def _shows_through(frame: Any) -> bool:
    """Whether any of its pixels is transparent."""
    if not frame.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8")):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[:, :, 3].min() < 255)


def to_bgr(frame: Any, look: Look, wh: tuple[int, int] | None = None, pix_fmt: str = "bgr24") -> Any:
    """A decoded frame → a frame of `pix_fmt` (RGB in some order), of another size where `wh` is given."""
    size: dict[str, Any] = {"width": wh[0], "height": wh[1], "interpolation": "BICUBIC"} if wh else {}
    if not frame.format.is_rgb:
        size |= {
            "src_colorspace": _COEFFICIENTS[look.matrix],
            "src_color_range": _FULL if look.full_range else _LIMITED,
            "dst_color_range": _FULL,
        }
    return frame.reformat(format=pix_fmt, **size)


def from_bgr(image: Image, pix_fmt: str, look: Look, converter: VideoReformatter) -> Any:
    """An image (H, W, 3) BGR → a PyAV frame of `pix_fmt` with the colours of `look`, tagged so.

    `converter` is kept from frame to frame: to set one up takes a third as long as to convert a frame.
    """
    frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    if pix_fmt in ("bgr0", "bgr24", "rgb24", "gbrp"):
        return converter.reformat(frame, format=pix_fmt)
    frame = converter.reformat(
        frame,
        format=pix_fmt,
        dst_colorspace=_COEFFICIENTS[look.matrix],
        src_color_range=_FULL,
        dst_color_range=_FULL if look.full_range else _LIMITED,
        interpolation=_ACCURATE,
    )
    _set_tags(frame, look)
    return frame


def as_written(look: Look, suffix: str, encoder: str, wh: tuple[int, int]) -> Look:
    """What a container and an encoder can hold of it.

    JPEG is always BT.601 in full range (JFIF 1.02), VP8 always BT.601 (RFC 6386, 9.2). Where colours cannot be stated
    (MPEG-4 Part 2 or WMV in AVI) they are those that players take a video of that size for; QuickTime states no range.
    Where the shape of pixels has no place they are made square, that is, the frames have the size `wh` at which they
    are shown.
    """
    if suffix not in _HOLDS_SHAPE and encoder not in _HOLD_SHAPE:
        look = replace(look, stored_wh=wh, pixel_shape=Fraction(1))
    if encoder in ("mjpeg", "libvpx"):
        return replace(look, matrix=BT601, full_range=encoder == "mjpeg")
    if encoder in _HOLD_COLOURS:
        return look
    if suffix in _STATES_NO_COLOURS:
        return replace(usual_look(look.stored_wh), pixel_shape=look.pixel_shape)
    return replace(look, full_range=False) if suffix == ".mov" else look


def stored(image: Image, look: Look) -> Image:
    """An image in square pixels → (H, W, 3) in the pixels of `look`."""
    width, height = look.stored_wh
    if look.pixel_shape == 1 or image.shape[:2] == (height, width):
        return image
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    narrower: Any = frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray()
    return np.asarray(narrower, np.uint8)


def tag(stream: Any, look: Look, pix_fmt: str) -> None:
    """State the colours and the shape of pixels in an output stream, before it is opened."""
    context = stream.codec_context
    if pix_fmt.startswith(("bgr", "rgb", "gbr")):
        context.color_primaries, context.color_trc = look.primaries, look.transfer
    else:
        _set_tags(context, look)
    if look.pixel_shape != 1:
        context.sample_aspect_ratio = look.pixel_shape
        stream.sample_aspect_ratio = look.pixel_shape


def _set_tags(target: Any, look: Look) -> None:
    target.colorspace, target.color_primaries, target.color_trc = look.matrix, look.primaries, look.transfer
    target.color_range = _FULL if look.full_range else _LIMITED
