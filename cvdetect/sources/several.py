"""How many images a file holds, of which only the first is taken: animations and pages."""

from __future__ import annotations

import re

from cvdetect.core.tags import directories

__all__ = ["count_images"]

_SUBFILE, _REDUCED_OR_MASK = 254, 0b101


def count_images(data: bytes, kind: str | None) -> tuple[int, str]:
    """How many images the bytes of a file hold, and what they are called: "frames" or "pages"."""
    if kind == "gif":
        return _gif(data), "frames"
    if kind == "png":
        return _apng(data), "frames"
    if kind == "webp":
        return max(1, _riff(data).count(b"ANMF")), "frames"
    if kind in ("avif", "heic"):
        return _samples(data), "frames"
    if kind == "tiff":
        return _tiff(data), "pages"
    return 1, "frames"


def _gif(data: bytes) -> int:
    """GIF89a, appendix A: image descriptors, past extensions and colour tables."""
    at = 13 + _table(data[10:11])
    found = 0
    while at < len(data):
        if data[at] == 0x2C:
            found += 1
            at = _blocks_end(data, at + 11 + _table(data[at + 9 : at + 10]))
        elif data[at] == 0x21:
            at = _blocks_end(data, at + 2)
        else:
            break
    return max(1, found)


def _table(packed: bytes) -> int:
    return 3 << ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _apng(data: bytes) -> int:
    """APNG 1.0: the count in ``acTL``, which comes before the first ``IDAT``."""
    found = re.search(rb"acTL(.{4})", data[: max(0, data.find(b"IDAT"))], re.DOTALL)
    return max(1, int.from_bytes(found[1], "big")) if found else 1


def _riff(data: bytes) -> list[bytes]:
    """The names of a RIFF file's chunks."""
    names, at = [], 12
    while at + 8 <= len(data):
        names.append(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return names


def _samples(data: bytes) -> int:
    """How many samples the first track of a sequence has (``stsz``, ISO/IEC 14496-12, 8.7.3); 1 without a track."""
    at = data.find(b"stsz") + 12
    return max(1, int.from_bytes(data[at : at + 4], "big")) if at >= 12 and b"moov" in data[:at] else 1


def _tiff(data: bytes) -> int:
    """Pages that are neither a small version of another nor its mask."""
    pages = [page[_SUBFILE].number() if _SUBFILE in page else 0 for page in directories(data)]
    return max(1, sum(1 for kind in pages if not (kind or 0) & _REDUCED_OR_MASK))
