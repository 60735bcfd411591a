"""What the header of an image file states: its size, how many images it holds, and how its samples are meant."""

from __future__ import annotations

import re
import struct
from typing import IO

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError
from cvdetect.core.tags import read_directories
from cvdetect.sources.heif import avif_white, heif_count, heif_wh
from cvdetect.sources.kinds import HEAD, kind_of

__all__ = ["check_wh", "count_images", "png_colours", "stated_wh", "white_of"]

_IMAGESIZE = frozenset("gif jp2 jpeg png pnm tiff webp".split())  # what the package reads
_META = 1 << 17  # bytes in which a HEIF file has its boxes before the pixels
# Radiance's and PFM's headers are text.
_IN_WORDS = {
    "hdr": re.compile(rb"\n[-+]Y (?P<h>\d{1,9}) [-+]X (?P<w>\d{1,9})\n"),
    "pfm": re.compile(rb"^P[Ff]\s+(?P<w>\d{1,9})\s+(?P<h>\d{1,9})\s"),
}
_PNM_WHITE = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d{1,5})\s")
_SUBFILE, _REDUCED_OR_MASK = 254, 0b101
Wh = tuple[int, int]


def stated_wh(stream: IO[bytes]) -> Wh | None:
    """Width and height that an image's header states, as stored; None where it is damaged or of an unknown kind."""
    start = stream.tell()
    head = stream.read(HEAD)
    stream.seek(start)
    kind = kind_of(head)
    if kind in ("avif", "heic"):
        return heif_wh(stream.read(_META))
    if kind in _IMAGESIZE:
        import imagesize  # 19 ms (it brings urllib.request), which a video does not need

        width, height = imagesize.get(stream, exif_rotation=False)
        return (abs(width), abs(height)) if (width, height) != (-1, -1) else None
    return _fixed(head, kind)


def check_wh(shown: str, wh: tuple[int, int] | None, max_pixels: int) -> None:
    """Refuse an image of that size, so that one that would fill the memory is never decoded; `shown` is its name.

    Raises:
        SourceError: it has more than `max_pixels`.
    """
    if wh is not None and wh[0] * wh[1] > max_pixels:
        raise SourceError(
            f"{shown}: has {wh[0]}x{wh[1]} pixels, over the limit of {max_pixels:,} ({arg('max_pixels')} raises it)"
        )


def count_images(data: bytes, kind: str | None) -> tuple[int, str]:
    """How many images the bytes of a file hold, and what they are called: "frames" or "pages"."""
    if kind == "gif":
        return _gif(data), "frames"
    if kind == "png":
        return _apng(data), "frames"
    if kind == "webp":
        return max(1, _riff(data).count(b"ANMF")), "frames"
    if kind in ("avif", "heic"):
        return heif_count(data), "frames"
    if kind == "tiff":
        return _tiff_pages(data), "pages"
    return 1, "frames"


def white_of(data: bytes, kind: str | None) -> int | None:
    """The sample that means white, where the file states it."""
    if kind == "pnm":
        found = _PNM_WHITE.match(data[:4096])
        return int(found[1]) if found and int(found[1]) > 0 else None
    if kind == "avif":
        return avif_white(data)
    if kind == "jp2":  # ISO/IEC 15444-1, I.5.3.1
        at = data.find(b"ihdr") + 14
        bits = (data[at] & 0x7F) + 1 if 14 <= at < len(data) else 0
        return (1 << bits) - 1 if 0 < bits <= 16 else None
    return None


def png_colours(data: bytes) -> tuple[int, int]:
    """Primaries and transfer (ITU-T H.273; 2 is unspecified) of a PNG by the chunk ``cICP`` (PNG 3, 11.3.2.6).

    It comes before the first ``IDAT``.
    """
    found = re.search(rb"\x00\x00\x00\x04cICP(.{4})", data[: max(0, data.find(b"IDAT"))], re.DOTALL)
    return (found[1][0], found[1][1]) if found else (2, 2)


def _bmp(head: bytes) -> Wh:
    """OS/2's header of 12 bytes has 16-bit numbers; imagesize takes all for Windows'. A negative height is top-down."""
    layout = "<HH" if head[14] == 12 else "<ii"
    width, height = struct.unpack_from(layout, head, 18)
    return abs(width), abs(height)


def _fixed(head: bytes, kind: str | None) -> Wh | None:
    """Formats of which imagesize does not know and whose size has a fixed place."""
    place = {"psd": (">II", 14), "qoi": (">II", 4), "dds": ("<II", 12), "sgi": (">HH", 6), "ras": (">II", 4)}
    if kind == "bmp":
        return _bmp(head)
    if kind in _IN_WORDS:
        found = _IN_WORDS[kind].search(head)
        return (int(found["w"]), int(found["h"])) if found else None
    if kind not in place or len(head) < 24:
        return None
    layout, at = place[kind]
    first, second = struct.unpack_from(layout, head, at)
    return (second, first) if kind in ("psd", "dds") else (first, second)


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


def _tiff_pages(data: bytes) -> int:
    """Pages that are neither a small version of another nor its mask."""
    pages = [page[_SUBFILE].number() if _SUBFILE in page else 0 for page in read_directories(data)]
    return max(1, sum(1 for kind in pages if not (kind or 0) & _REDUCED_OR_MASK))
