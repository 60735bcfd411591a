"""A frame of a video or a still image, with what is known of it, and what a video states about itself."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_PIXELS", "NOTHING_KEPT", "Frame", "Image", "Kept", "Look", "StreamInfo"]

MAX_PIXELS = 200_000_000  # of a still image, unless another limit is given: 600 MB once decoded
Image = NDArray[np.uint8]  # (H, W, 3), BGR, as cv2 has it


@dataclass(frozen=True, slots=True)
class Kept:
    """The metadata of an image's file that a copy keeps.

    Attributes:
        icc: the ICC profile that its RGB numbers are meant with; empty: sRGB.
        exif: camera, exposure and date as a TIFF block, without orientation, place and serial numbers; may be empty.
    """

    icc: bytes = b""
    exif: bytes = b""


NOTHING_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Look:
    """How a video's stored frames are meant to be shown, so that a copy of it states the same.

    Attributes:
        stored_wh: width and height in pixels of an upright frame as it is stored.
        pixel_shape: width to height of a stored pixel as a viewer shows it.
        matrix, primaries, transfer: code points of ITU-T H.273; 2 is unspecified.
        full_range: its numbers go from 0 to 255 rather than from 16 to 235.
    """

    stored_wh: tuple[int, int]
    pixel_shape: Fraction = Fraction(1)
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image on its way from a source to the sinks.

    Attributes:
        image: uint8 (H, W, 3), BGR, upright (EXIF or container rotation applied).
        name: its source, as the user typed it.
        index: its number in the source, from 0.
        time_s: seconds from the source's start; None for a still image.
        skipped: the network does not run on it; it carries the detections of the frame before.
        kept: the metadata of its file that a copy keeps.
        remarks: what to report about how it was read, to follow its name and a colon.
        duration_s: how long it is shown, in seconds, where the source states it.
    """

    image: Image
    name: str
    index: int = 0
    time_s: float | None = None
    skipped: bool = False
    kept: Kept = NOTHING_KEPT
    remarks: tuple[str, ...] = ()
    duration_s: float | None = None

    def __post_init__(self) -> None:
        shape: tuple[Any, ...] = self.image.shape
        if self.image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"expected a BGR image, uint8 (H, W, 3), got {self.image.dtype} {shape}")

    @property
    def wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a video states about itself.

    Attributes:
        wh: width and height of its upright frames in square pixels.
        rate: frames a second.
        time_base: seconds a tick of its clock; times are whole multiples of it. None: frames are 1/rate apart.
        frames: how many frames it states to have; None where it states none (a stream).
        sound: whether it has an audio track.
        look: how its stored frames are meant to be shown; None where that is not known.
        remarks: what to report about how it is read, to follow its name and a colon.
        steady_rate: frames a second that suit a container without times; None: `rate`.
    """

    wh: tuple[int, int]
    rate: Fraction
    time_base: Fraction | None = None
    frames: int | None = None
    sound: bool = False
    steady_rate: Fraction | None = None
    look: Look | None = None
    remarks: tuple[str, ...] = ()
