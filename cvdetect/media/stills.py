"""Still images in formats that OpenCV does not read, by FFmpeg's decoders."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STILLS", "decode_still"]

# Kind (as `sources.kinds.kind_of` names it) → FFmpeg's decoder. Reading this table does not import PyAV.
STILLS = {
    "dds": "dds",
    "exr": "exr",
    "ico": "",  # a container of several
    "jls": "jpegls",
    "pam": "pam",
    "pcx": "pcx",
    "psd": "psd",
    "qoi": "qoi",
    "sgi": "sgi",
    "tga": "targa",
    "xbm": "xbm",
    "xpm": "xpm",
}


def decode_still(data: bytes, kind: str, max_pixels: int) -> NDArray[Any]:
    """The bytes of a file of one of STILLS → (H, W, 4) BGRA uint8; of light itself (OpenEXR) (H, W, 3) BGR float32.

    Raises:
        ValueError: it cannot be decoded, or has more than `max_pixels`.
    """
    import av

    try:
        frame = _largest_icon(data, max_pixels) if kind == "ico" else _decoded(data, STILLS[kind], max_pixels)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error
    if frame is None:
        raise ValueError("no image could be decoded")
    if "f32" in frame.format.name or "f16" in frame.format.name:
        return np.ascontiguousarray(frame.reformat(format="gbrpf32le").to_ndarray()[:, :, ::-1])
    if frame.format.name in ("monow", "monob"):
        frame = frame.reformat(format="gray")
    image: NDArray[Any] = frame.reformat(format="bgra").to_ndarray()
    return image


def _decoded(data: bytes, decoder: str, max_pixels: int) -> Any:
    import av

    context: Any = av.CodecContext.create(decoder, "r")
    context.options = _limit(max_pixels)
    return next(iter([*context.decode(av.Packet(data)), *context.decode(None)]), None)


def _largest_icon(data: bytes, max_pixels: int) -> Any:
    import av

    with av.open(BytesIO(data), format="ico") as container:
        stream = max(container.streams.video, key=lambda s: s.width * s.height, default=None)
        if stream is None:
            return None
        stream.codec_context.options = _limit(max_pixels)
        return next(iter(container.decode(stream)), None)


def _limit(max_pixels: int) -> dict[str, str]:
    return {"max_pixels": str(min(max_pixels, 2**31 - 1))}
