"""Images as people have them (BGR, RGB, grey, with alpha, or PIL's) → BGR arrays, which everything else here takes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import UsageError
from cvdetect.core.frame import Image

__all__ = ["ColorOrder", "as_bgr"]

ColorOrder = Literal["bgr", "rgb"]
_EXPECTED = "uint8 of shape (H, W, 3), (H, W) for grey, or (H, W, 4) with alpha"


def as_bgr(image: Any, color: ColorOrder = "bgr") -> Image:
    """An image as BGR, uint8 (H, W, 3); where it is that already, it is returned as it is.

    Args:
        image: an array uint8 (H, W, 3); (H, W) or (H, W, 1), grey; (H, W, 4), with alpha, through which white shows; or
            a PIL image of 8 bits or fewer (all modes but I, I;16 and F).
        color: the order of the channels of an array: "bgr", as OpenCV has it, or "rgb". PIL images state their own.

    Raises:
        UsageError: it is none of these.
    """
    if color not in ("bgr", "rgb"):
        raise UsageError(f"color {color!r}: expected 'bgr' or 'rgb'")
    if type(image).__module__.partition(".")[0] == "PIL":
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        if image.mode.startswith(("I", "F")):
            raise UsageError(_deep(image.mode))
        image, color = np.asarray(image.convert("RGBA" if has_alpha else "RGB")), "rgb"
    array = _checked(image)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.shape[2] == 4:
        array = _on_white(array)
    return np.ascontiguousarray(array[:, :, ::-1]) if color == "rgb" else array


def _deep(mode: str) -> str:
    """Pillow cuts these off at 255 where it converts them, which makes most of an image white."""
    return f"PIL image of mode {mode}: it has no 8 bits; give the path of its file, or an 8-bit array of its values"


def _checked(image: Any) -> Image:
    if not isinstance(image, np.ndarray):
        raise UsageError(f"expected an image, {_EXPECTED}, got {type(image).__name__}")
    got = f"got {image.dtype} {image.shape}"
    if image.dtype != np.uint8:
        hint = "; for values from 0 to 1: (image * 255).astype('uint8')" if image.dtype.kind == "f" else ""
        raise UsageError(f"expected an image, {_EXPECTED}, {got}{hint}")
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
        raise UsageError(f"expected an image, {_EXPECTED}, {got}: channels come last: image.transpose(1, 2, 0)")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or 0 in image.shape:
        raise UsageError(f"expected an image, {_EXPECTED}, {got}")
    return np.asarray(image)


def _on_white(image: NDArray[np.uint8]) -> Image:
    """(H, W, 4) → (H, W, 3) in the same order, white where it is transparent."""
    alpha = image[:, :, 3:].astype(np.uint16)
    mixed = (image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
