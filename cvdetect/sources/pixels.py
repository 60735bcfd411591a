"""Decoded samples of any depth → 8-bit BGR, as a viewer shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.frame import Image
from cvdetect.core.tags import ORIENTATION, read_directories
from cvdetect.media.tone import tone_map

__all__ = ["exif_orientation", "expose", "hdr_to_sdr", "to_eight_bits", "to_opaque", "to_upright", "unit_to_eight_bits"]


_DEPTHS = (8, 10, 12, 14, 16, 24, 32)


def to_eight_bits(samples: NDArray[Any], white: int | None = None) -> NDArray[np.uint8]:
    """Whole-number samples → uint8.

    `white` is the sample that means white. Files of 16 bits often hold 10, 12 or 14 bits and do not state it: white is
    then the largest number of the fewest bits (8, 10, 12, 14, 16, 24 or 32) that hold all samples. Less than 0 is
    black. Where each sample holds the same byte twice, 8 bits were spread over 16, however dark the image is.
    """
    if samples.ndim == 3 and samples.shape[2] == 4 and samples.dtype != np.uint8:  # alpha has a depth of its own
        return np.dstack([to_eight_bits(samples[:, :, :3], white), to_eight_bits(samples[:, :, 3], white)])
    largest = int(samples.max(initial=0))
    if white is None or largest > white:
        if samples.dtype == np.uint8:
            return samples
        if samples.dtype == np.uint16 and not (samples % 257).any():
            return np.asarray(samples >> 8, np.uint8)
        white = (1 << next((bits for bits in _DEPTHS if largest < 1 << bits), 32)) - 1
    return np.asarray(np.clip(samples, 0, None) * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8)


def unit_to_eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Floating-point samples from 0 to 1 → uint8.

    Raises:
        ValueError: they are not in that range.
    """
    low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
    if not (low >= -0.01 and high <= 1.01):
        raise ValueError(f"has samples from {low:g} to {high:g}; only 0 (black) to 1 (white) is supported")
    return np.asarray(np.clip(np.nan_to_num(samples), 0, 1) * 255 + 0.5).astype(np.uint8)


def expose(light: NDArray[Any]) -> NDArray[np.uint8]:
    """Linear light (H, W) or (H, W, 3) BGR of any scale → uint8 in sRGB.

    The operator of Reinhard et al., "Photographic tone reproduction for digital images" (2002), equations 1 to 4 with
    key 0.18; the brightest hundredth of the image is clipped to white. Negative and undefined values are black.
    """
    light = np.maximum(np.nan_to_num(light.astype(np.float32), posinf=1e6, neginf=0), 0)
    luma = light @ np.array([0.0722, 0.7152, 0.2126], np.float32) if light.ndim == 3 else light
    key = 0.18 / float(np.exp(np.log(luma + 1e-6).mean()))
    scaled = luma * key
    white = max(float(np.percentile(scaled, 99)), 1e-6)
    shown = scaled * (1 + scaled / white**2) / (1 + scaled)
    ratio = np.where(luma > 0, shown / np.maximum(luma, 1e-9), 0)
    linear = np.clip(light * (ratio[..., None] if light.ndim == 3 else ratio), 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return np.asarray(coded * 255 + 0.5).astype(np.uint8)


def hdr_to_sdr(samples: NDArray[Any], white: int, hlg: bool, wide: bool) -> NDArray[np.uint8]:
    """HDR samples (H, W, 3 or 4) BGR or BGRA from 0 to `white` → uint8, tone-mapped as `tone_map` does; row by row."""
    shown = np.empty(samples.shape, np.uint8)
    for row in range(len(samples)):
        rgb = tone_map(samples[row, :, 2::-1] / white, hlg, wide=wide)
        shown[row, :, 2::-1] = rgb * 255 + 0.5
    if samples.shape[2] == 4:
        shown[:, :, 3] = to_eight_bits(samples[:, :, 3], white)
    return shown


def to_opaque(image: NDArray[np.uint8], premultiplied: bool = False) -> Image:
    """Grey, BGR or BGRA uint8 → (H, W, 3) BGR; transparent parts are put on white, as on a page.

    Where the whole image is transparent, its alpha channel is ignored, as it was probably never filled in.
    """
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    colours, alpha = image[:, :, :3], image[:, :, 3:]
    if image.shape[2] == 3 or not alpha.any() or alpha.min() == 255:
        return np.ascontiguousarray(colours)
    a = alpha.astype(np.uint16)
    over = colours + (255 - a) if premultiplied else (colours * a + 255 * (255 - a) + 127) // 255
    return np.asarray(np.minimum(over, 255), np.uint8)


def to_upright(image: Any, orientation: int) -> Any:
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
    first = next(iter(read_directories(exif.removeprefix(b"Exif\0\0"), 1)), {})
    stated = (first[ORIENTATION].number() if ORIENTATION in first else None) or 1
    return stated if 1 <= stated <= 8 else 1
