"""What travels from a source to the sinks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Image", "StreamInfo"]

Image = NDArray[np.uint8]  # (H, W, 3), BGR, as cv2 has it


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture on its way.

    Attributes:
        image: uint8 (H, W, 3), BGR, upright (EXIF or container rotation applied).
        name: where it comes from, as the user typed it.
        index: its number in the source, from 0.
        time_s: seconds from the source's start, None for a still picture.
        held: not looked at by the network: it carries the last detections.
    """

    image: Image
    name: str
    index: int = 0
    time_s: float | None = None
    held: bool = False

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
    """What a video says of itself.

    Attributes:
        wh: width and height of its upright frames in pixels.
        rate: frames a second.
        time_base: seconds a tick of its clock; times are whole multiples of it. None: frames are 1/rate apart.
        frames: how many frames it claims to have; None where it does not say (a stream).
        sound: whether it has an audio track.
    """

    wh: tuple[int, int]
    rate: Fraction
    time_base: Fraction | None = None
    frames: int | None = None
    sound: bool = False
