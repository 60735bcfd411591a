"""AVIF and HEIC files: what they state of their primary image (ISO/IEC 23008-12), and HEIC's pixels by pillow-heif."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.sources.pixels import to_upright

__all__ = [
    "HEIF_NEEDED",
    "avif_white",
    "heif_colours",
    "heif_count",
    "heif_orientation",
    "heif_profile",
    "heif_wh",
    "read_heif",
]

HEIF_NEEDED = "is a HEIC image, which needs the extra: pip install 'cvdetect[heif]'"


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


def heif_wh(start: bytes) -> tuple[int, int] | None:
    """The largest size that an image of the file states (box ``ispe``), as a grid and its tiles differ; None: none."""
    sizes = [struct.unpack_from(">II", start, at.end() + 4) for at in re.finditer(b"ispe(?=.{12})", start, re.DOTALL)]
    return max(((w, h) for w, h in sizes), key=lambda wh: wh[0] * wh[1], default=None)


def heif_count(data: bytes) -> int:
    """How many samples the first track of a sequence has (``stsz``, ISO/IEC 14496-12, 8.7.3); 1 without a track."""
    at = data.find(b"stsz") + 12
    return max(1, int.from_bytes(data[at : at + 4], "big")) if at >= 12 and b"moov" in data[:at] else 1


def avif_white(data: bytes) -> int:
    """The sample that means white, by the depth (``av1C``: AV1 in ISOBMFF, 2.3.3, high_bitdepth and twelve_bit)."""
    at = data.find(b"av1C") + 6
    deep, twelve = (data[at] >> 6 & 1, data[at] >> 5 & 1) if 6 <= at < len(data) else (0, 0)
    return (1 << (8 + 2 * deep + 2 * twelve)) - 1


def heif_orientation(data: bytes) -> int:
    """The orientation of the primary image, in EXIF's numbers; EXIF's own orientation does not count in such files.

    The properties ``irot`` and ``imir`` (6.5.10 and 6.5.12) are applied in the order in which they are associated.
    """
    pixels = np.arange(6).reshape(2, 3)
    turned: Any = pixels
    for kind, body in _properties(data):
        if kind == "irot" and body:
            turned = np.rot90(turned, body[0] & 3)
        elif kind == "imir" and body:
            turned = turned[:, ::-1] if body[0] & 1 else turned[::-1]
    return next(n for n in range(1, 9) if np.array_equal(to_upright(pixels, n), turned))


def heif_profile(data: bytes) -> bytes:
    """The ICC profile of the primary image (``colr``, ISO/IEC 14496-12, 12.1.5); empty where it has none."""
    profiles = (body[4:] for kind, body in _properties(data) if kind == "colr" and body[:4] in (b"prof", b"rICC"))
    return next(profiles, b"")


def heif_colours(data: bytes) -> tuple[int, int]:
    """Primaries and transfer of the primary image, as code points of ITU-T H.273; 2 is unspecified."""
    for kind, body in _properties(data):
        if kind == "colr" and body[:4] == b"nclx" and len(body) >= 8:
            return int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
    return 2, 2


def _properties(data: bytes) -> list[tuple[str, bytes]]:
    """The properties of the primary image, in the order in which they are associated: kind and content."""
    meta = _find(data, "meta")[4:]
    of_items = _find(meta, "iprp")
    every = list(_boxes(_find(of_items, "ipco")))
    indices = _associated(_find(of_items, "ipma"), _primary(_find(meta, "pitm")))
    return [every[index - 1] for index in indices if 0 < index <= len(every)]


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The boxes (ISO/IEC 14496-12, 4.2) one after another: kind and content."""
    at = 0
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or len(data) - at
        if size < head:
            return
        yield data[at + 4 : at + 8].decode("latin-1"), data[at + head : at + size]
        at += size


def _find(data: bytes, kind: str) -> bytes:
    return next((body for found, body in _boxes(data) if found == kind), b"")


def _primary(pitm: bytes) -> int:
    return int.from_bytes(pitm[4:6] if pitm[:1] == b"\0" else pitm[4:8], "big")


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of the properties that belong to an item, in order."""
    wide_item, wide_index = ipma[:1] != b"\0", bool(ipma[3:4] and ipma[3] & 1)
    at = 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        number = int.from_bytes(ipma[at : at + (4 if wide_item else 2)], "big")
        at += 4 if wide_item else 2
        if at >= len(ipma):
            break
        count, step = ipma[at], 2 if wide_index else 1
        at += 1
        words = [int.from_bytes(ipma[at + step * i : at + step * (i + 1)], "big") for i in range(count)]
        if number == item:
            return [word & (0x7FFF if wide_index else 0x7F) for word in words]
        at += step * count
    return []
