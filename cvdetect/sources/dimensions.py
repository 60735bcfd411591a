"""How large a picture states to be, from its header alone, so that one that would fill the memory is never decoded."""

from __future__ import annotations

import re
import struct
from typing import IO

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError
from cvdetect.sources.kinds import HEAD, kind_of

__all__ = ["check_wh", "stated_wh"]

# Radiance's and PFM's headers are text.
_IN_WORDS = {
    "hdr": re.compile(rb"\n[-+]Y (?P<h>\d{1,9}) [-+]X (?P<w>\d{1,9})\n"),
    "pfm": re.compile(rb"^P[Ff]\s+(?P<w>\d{1,9})\s+(?P<h>\d{1,9})\s"),
}
_META = 1 << 17  # bytes in which a HEIF file has its boxes before the pixels
Wh = tuple[int, int]

_READ = frozenset("gif jp2 jpeg png pnm tiff webp".split())  # by imagesize


def stated_wh(stream: IO[bytes]) -> Wh | None:
    """Width and height that the picture's header states, as stored; None where it is damaged or not known here."""
    start = stream.tell()
    head = stream.read(HEAD)
    stream.seek(start)
    kind = kind_of(head)
    if kind in ("avif", "heic"):
        return _largest_item(stream.read(_META))
    if kind in _READ:
        import imagesize  # 19 ms (it brings urllib.request), which a video does not need

        width, height = imagesize.get(stream, exif_rotation=False)
        return (abs(width), abs(height)) if (width, height) != (-1, -1) else None
    return _fixed(head, kind)


def check_wh(shown: str, wh: tuple[int, int] | None, max_pixels: int) -> None:
    """Refuse what `stated_wh` says of a picture that is called `shown`.

    Raises:
        SourceError: it has more than `max_pixels`.
    """
    if wh is not None and wh[0] * wh[1] > max_pixels:
        raise SourceError(
            f"{shown}: says it has {wh[0]}x{wh[1]} pixels, over the limit of {max_pixels:,} "
            f"({arg('max_pixels')} raises it)"
        )


def _largest_item(start: bytes) -> Wh | None:
    """The largest size that an image of an AVIF or HEIC file states (box ``ispe``): a grid and its tiles differ."""
    sizes = [struct.unpack_from(">II", start, at.end() + 4) for at in re.finditer(b"ispe(?=.{12})", start, re.DOTALL)]
    return max(((w, h) for w, h in sizes), key=lambda wh: wh[0] * wh[1], default=None)


def _bmp(head: bytes) -> Wh:
    """OS/2's header of 12 bytes has 16-bit numbers; imagesize takes all for Windows'. A negative height is top-down."""
    layout = "<HH" if head[14] == 12 else "<ii"
    width, height = struct.unpack_from(layout, head, 18)
    return abs(width), abs(height)


def _fixed(head: bytes, kind: str | None) -> Wh | None:
    """Formats of which imagesize knows nothing and whose size stands at a fixed place."""
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
