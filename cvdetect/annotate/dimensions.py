"""How large a picture says it is, from its header alone, so that one that would fill the memory is never decoded."""

from __future__ import annotations

import re
import struct
from typing import IO

__all__ = ["stated_wh"]

Wh = tuple[int, int]

_HEAD = 4096  # bytes in which all formats but JPEG and TIFF have their size
_MOST_SEGMENTS = 1000  # of a JPEG before its frame header
_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})")


def stated_wh(stream: IO[bytes]) -> Wh | None:
    """Width and height that the picture's header states; None where it is of no format known here, or damaged.

    Formats: JPEG (ITU-T T.81, B.1 and B.2.2), PNG, GIF, BMP, WebP, TIFF 6.0, JPEG 2000 (box ``ihdr``), AVIF (box
    ``ispe``), PNM.
    """
    head = stream.read(_HEAD)
    try:
        if head.startswith(b"\xff\xd8"):
            return _jpeg(stream)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(stream, "<" if head[:1] == b"I" else ">")
        return _fixed(head) or _webp(head) or _boxes(head)
    except struct.error:  # cut short: decoding it will say so
        return None


def _fixed(head: bytes) -> Wh | None:
    """Formats whose size stands at a fixed place or in plain text."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pair(struct.unpack_from(">II", head, 16))
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _pair(struct.unpack_from("<HH", head, 6))
    if head.startswith(b"BM"):
        return _pair(struct.unpack_from("<ii", head, 18))
    found = _PNM.match(head)
    return (int(found[1]), int(found[2])) if found else None


def _pair(values: tuple[int, ...]) -> Wh:
    return abs(values[0]), abs(values[1])  # a BMP's height is negative where its rows run downwards


def _webp(head: bytes) -> Wh | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _boxes(head: bytes) -> Wh | None:
    """The largest size that a box of a JPEG 2000 or AVIF file states."""
    sizes = [_pair(struct.unpack_from(">II", head, at.end())[::-1]) for at in re.finditer(b"ihdr", head)]
    if head[4:8] == b"ftyp":
        sizes += [_pair(struct.unpack_from(">II", head, at.end() + 4)) for at in re.finditer(b"ispe", head)]
    return max(sizes, key=lambda wh: wh[0] * wh[1], default=None)


def _jpeg(stream: IO[bytes]) -> Wh | None:
    """Go from segment to segment to the frame header (SOF0 to SOF15)."""
    stream.seek(2)
    for _ in range(_MOST_SEGMENTS):
        marker = stream.read(1)
        while marker and marker != b"\xff":
            marker = stream.read(1)
        while marker == b"\xff":
            marker = stream.read(1)
        if not marker:
            return None
        if 0xC0 <= marker[0] <= 0xCF and marker[0] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">3xHH", stream.read(7))
            return width, height
        if marker[0] in (0x00, 0x01) or 0xD0 <= marker[0] <= 0xD8:  # these stand alone
            continue
        stream.seek(struct.unpack(">H", stream.read(2))[0] - 2, 1)
    return None


def _tiff(stream: IO[bytes], order: str) -> Wh | None:
    """Tags 256 and 257 of the first directory."""
    stream.seek(4)
    stream.seek(struct.unpack(order + "I", stream.read(4))[0])
    (count,) = struct.unpack(order + "H", stream.read(2))
    sizes: dict[int, int] = {}
    for _ in range(count):
        entry = stream.read(12)
        tag, kind = struct.unpack_from(order + "HH", entry)
        if tag in (256, 257):
            sizes[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), entry, 8)[0]
    return (sizes[256], sizes[257]) if len(sizes) == 2 else None
