"""HEIC images, by pillow-heif where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.sources.pixels import upright

__all__ = ["NEEDED", "heif_colours", "heif_orientation", "heif_profile", "read_heif"]


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


# What an AVIF or HEIC file states of its primary image besides the pixels (ISO/IEC 23008-12).


def heif_orientation(data: bytes) -> int:
    """The orientation, in EXIF's numbers, that an AVIF or HEIF file states of its primary image.

    That is of the properties ``irot`` and ``imir`` (ISO/IEC 23008-12, 6.5.10 and 6.5.12), which are done in the order
    in which they are associated; EXIF's orientation has no say in such files.
    """
    pixels = np.arange(6).reshape(2, 3)
    moved: Any = pixels
    for kind, body in _properties(data):
        if kind == "irot" and body:
            moved = np.rot90(moved, body[0] & 3)
        elif kind == "imir" and body:
            moved = moved[:, ::-1] if body[0] & 1 else moved[::-1]
    return next(n for n in range(1, 9) if np.array_equal(upright(pixels, n), moved))


def heif_profile(data: bytes) -> bytes:
    """The ICC profile of the primary image (a ``colr`` property, ISO/IEC 14496-12, 12.1.5); empty where it has none."""
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
