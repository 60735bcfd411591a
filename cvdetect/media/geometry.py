"""The geometry of a video's frames: turned and mirrored upright by the display matrix, and with square pixels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from cvdetect.core.frame import Image, Look

__all__ = ["DisplayTransform", "display_transform", "pixel_shape_of", "square_wh", "to_stored_pixels"]

_WIDEST = 8  # a pixel that is longer than so many times its width is a mistake in the file
_DEGREES = 1.0  # how far a matrix may be from a right angle


@dataclass(frozen=True, slots=True)
class DisplayTransform:
    """How a stored frame becomes upright: transposed first, then flipped left to right, then top to bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    def apply(self, image: Image) -> Image:
        """The upright image, contiguous."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.mirror:
            image = image[:, ::-1]
        return np.ascontiguousarray(image[::-1] if self.flip else image)

    def of_wh(self, wh: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the upright image of a stored one of `wh`."""
        return (wh[1], wh[0]) if self.transpose else wh


def display_transform(frame: Any) -> tuple[DisplayTransform, str | None]:
    """How a decoded PyAV frame becomes upright, and a remark where it does not quite.

    The display matrix (ISO/IEC 14496-12, 8.3.2: a stored pixel's (x, y) is shown at (a·x + c·y, b·x + d·y)) may mirror
    as well as turn. Where the angle is not a multiple of 90°, the nearest one is taken.
    """
    matrix = _matrix(frame)
    if matrix is None:
        return _quarter_turns(round(getattr(frame, "rotation", 0) / 90) % 4), None
    a, b, c, d = matrix
    upright = abs(a * d) >= abs(b * c)
    mirror, flip = (a < 0, d < 0) if upright else (c < 0, b < 0)
    off = math.degrees(math.atan2(abs(b), abs(a)) if upright else math.atan2(abs(a), abs(b)))
    remark = f"is to be rotated by an angle that is not a multiple of 90°; it is shown {off:.0f}° off"
    return DisplayTransform(not upright, mirror, flip), remark if off > _DEGREES else None


def _matrix(frame: Any) -> tuple[float, float, float, float] | None:
    """a, b, c, d of the frame's display matrix; None where it has none, or it is degenerate."""
    try:
        data = next((bytes(d) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV does not know another piece of side data in the frame
        return None
    if data is None or len(data) < 36:
        return None
    a, b, _, c, d = struct.unpack_from("=5i", data)
    return None if a * d == b * c else (a, b, c, d)


def _quarter_turns(turns: int) -> DisplayTransform:
    """`turns` counter-clockwise."""
    return DisplayTransform(transpose=turns in (1, 3), mirror=turns in (2, 3), flip=turns in (1, 2))


def pixel_shape_of(stream: Any) -> Fraction:
    """Width to height of a stored pixel as the container, else the codec states it; 1 where neither is plausible."""
    for stated in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if stated and Fraction(1, _WIDEST) <= stated <= _WIDEST:
            return Fraction(stated)
    return Fraction(1)


def square_wh(wh: tuple[int, int], shape: Fraction) -> tuple[int, int]:
    """The size in square pixels at which nothing is made smaller, as players do."""
    if shape >= 1:
        return round(wh[0] * shape), wh[1]
    return wh[0], round(wh[1] / shape)


def to_stored_pixels(image: Image, look: Look) -> Image:
    """An image in square pixels → (H, W, 3) in the pixels of `look`."""
    width, height = look.stored_wh
    if look.pixel_shape == 1 or image.shape[:2] == (height, width):
        return image
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    narrower: Any = frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray()
    return np.asarray(narrower, np.uint8)
