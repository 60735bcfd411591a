"""Which way up a still image is, in the numbers of EXIF."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvdetect.core.tags import ORIENTATION, directories

__all__ = ["exif_orientation", "upright"]


def upright(image: Any, orientation: int) -> Any:
    """An array (H, W, …) as it is stored → upright, for EXIF's orientation 1 to 8 (EXIF 2.32, 4.6.4.A)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def exif_orientation(exif: bytes) -> int:
    """The orientation that an EXIF block or TIFF file states; 1 where it states none."""
    first = next(iter(directories(exif.removeprefix(b"Exif\0\0"), 1)), {})
    stated = (first[ORIENTATION].number() if ORIENTATION in first else None) or 1
    return stated if 1 <= stated <= 8 else 1
