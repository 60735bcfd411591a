"""How TensorFlow 1's Object Detection API resizes an image to a graph's input: its size, and its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.frame import Image

__all__ = ["keep_aspect", "resize_as_tensorflow"]

Floats = NDArray[np.float32]


def resize_as_tensorflow(image: Image, wh: tuple[int, int]) -> Floats:
    """`image` (H, W, C) or (H, W) brought to `wh` as TensorFlow's legacy bilinear resize does it → float32, unrounded.

    A pixel `i` of the result lies at ``i * (source size / size)`` of the source, between the pixel there and the next,
    which is the last at the edge: corners lie on corners, not centres on centres as in OpenCV. This is ResizeBilinear
    with align_corners and half_pixel_centers both false (tensorflow/core/kernels/image/resize_bilinear_op.cc), which is
    what such graphs hold; computed in the same order in float32, it is equal to the last bit.
    """
    height, width = image.shape[:2]
    above, below, down = _neighbours(height, wh[1])
    left, right, across = _neighbours(width, wh[0])
    count = image.size // (height * width)
    channels = np.arange(count)
    rows = image.reshape(height, width * count)  # in two dimensions, NumPy's take is several times faster
    first, second = ((x[:, None] * count + channels).ravel() for x in (left, right))
    share = np.repeat(across, count)

    def line(y: NDArray[np.int64]) -> Floats:
        taken = rows.take(y, axis=0)
        return _interpolate(taken.take(first, axis=1), taken.take(second, axis=1), share)

    return _interpolate(line(above), line(below), down[:, None]).reshape(wh[1], wh[0], *image.shape[2:])


def _neighbours(source: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each of `size` pixels: the source's pixel at or before it, the next one, and the share of the way between."""
    at = np.arange(size, dtype=np.float32) * (np.float32(source) / np.float32(size))
    before = np.minimum(at.astype(np.int64), source - 1)
    return before, np.minimum(before + 1, source - 1), at - before.astype(np.float32)


def _interpolate(a: NDArray[np.generic], b: NDArray[np.generic], share: Floats) -> Floats:
    """``a + (b - a) * share``."""
    from_a, mixed = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    mixed -= from_a
    mixed *= share
    mixed += from_a
    return mixed


def keep_aspect(source_wh: tuple[int, int], min_max_size: tuple[int, int]) -> tuple[int, int]:
    """The size to which a keep_aspect_ratio_resizer brings an image of `source_wh`.

    Args:
        min_max_size: the size of the shorter side in pixels, and the limit of the longer one: where that would be
            exceeded, the longer side gets the limit. Sides are rounded, halves to even, as in
            object_detection/core/preprocessor.py, resize_to_range.
    """
    shorter, limit = min_max_size
    large = _scaled(source_wh, shorter, min(source_wh))
    return large if max(large) <= limit else _scaled(source_wh, limit, max(source_wh))


def _scaled(wh: tuple[int, int], to: int, of: int) -> tuple[int, int]:
    factor = np.float32(to) / np.float32(of)
    width, height = (max(1, int(np.rint(np.float32(side) * factor))) for side in wh)
    return width, height
