"""HEIC images, by pillow-heif where it is installed."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEEDED", "read_heif"]

NEEDED = "is a HEIC image, which needs the extra: pip install 'cvdetect[heif]'"


def read_heif(data: bytes) -> tuple[NDArray[np.uint8], bytes, bytes, int]:
    """The primary image (H, W, 3 or 4) BGR or BGRA, upright; its ICC profile; its EXIF block; the number of images.

    Raises:
        ImportError: pillow-heif is not installed.
        ValueError: it cannot be decoded.
    """
    import pillow_heif

    try:
        file: Any = pillow_heif.open_heif(BytesIO(data), convert_hdr_to_8bit=True)
        image = np.asarray(file)
    except (ValueError, RuntimeError, OSError, SyntaxError, EOFError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    info = file.info
    order = [2, 1, 0, 3][: image.shape[2]] if image.ndim == 3 else [0]
    pixels = image[:, :, order] if image.ndim == 3 else image
    return np.ascontiguousarray(pixels, np.uint8), info.get("icc_profile") or b"", info.get("exif") or b"", len(file)
