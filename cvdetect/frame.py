"""What travels from a source to the sinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Image"]

Image = NDArray[np.uint8]  # (H, W, 3), BGR, as cv2 has it


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture on its way.

    Attributes:
        image: uint8 (H, W, 3), BGR, upright (EXIF or container rotation applied).
        name: where it comes from, as the user typed it.
        index: its number in the source, from 0.
        time_s: seconds from the source's start, None for a still picture.
    """

    image: Image
    name: str
    index: int = 0
    time_s: float | None = None

    def __post_init__(self) -> None:
        shape: tuple[Any, ...] = self.image.shape
        if self.image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"expected a BGR image, uint8 (H, W, 3), got {self.image.dtype} {shape}")

    @property
    def wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]
