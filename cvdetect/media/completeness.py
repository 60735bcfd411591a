"""Whether all of a video is there: by the sizes in the file's own structure, else by the length that it states."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO

from cvdetect.core.arguments import arg
from cvdetect.core.printable import counted

__all__ = ["cut_short", "index_at_end", "missing_bytes", "missing_frames", "missing_seconds", "no_frames"]

_FROM_BYTES = 64  # the beginning of a file that decides how its structure is read
_MATROSKA = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
# Boxes that begin an MP4 or QuickTime file (ISO/IEC 14496-12, QuickTime File Format).
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid", b"sidx"}
_NEEDED_BOXES = {b"mdat", b"moov", b"moof", b"sidx", b"styp"}


# Formats that state how many bytes they have.
_SIZED = ("mov", "matroska", "avi", "asf")
# Formats that state how long they are. For others FFmpeg estimates it, from the last timestamps or from the size and
# the bit rate, which a raw MPEG video may state as far too low.
_TIMED = (*_SIZED, "flv", "ivf", "rm", "mxf", "hls", "dash")


def cut_short(missing: str, frames_read: int) -> str:
    """The sentence for a video whose end is missing, to follow its name and a colon."""
    return f"is cut short: {missing}, {counted(frames_read, 'frame')} could be read"


def no_frames(start: float | Fraction, end: float | Fraction | None) -> str:
    """The sentence for a video without any frame between two times (seconds), to follow its name and a colon."""
    if start or end is not None:
        return f"has no frames between {arg('start')} and {arg('end')}"
    return "holds no frame that can be decoded"


def missing_frames(read: int, stated: int | None) -> str:
    """The sentence where OpenCV, which has a number of frames alone, read fewer than that; empty where it read all.

    The number is often computed from the length and the rate, so a hundredth, or two frames, may be wanting.
    """
    if not stated or read >= stated - max(2, stated // 100):
        return ""
    return f"is cut short: {read} of {stated} frames could be read"


def missing_seconds(format_name: str, reached: Fraction, stated: Fraction, *, sized: bool) -> str:
    """What is missing by the stated length, "" for nothing: more than a second and a fiftieth of it.

    Args:
        format_name: FFmpeg's name for the container.
        reached: seconds at which the tracks that were read end.
        stated: the length in seconds; 0 where it is not known.
        sized: its bytes were compared already, where the format states their number: then they decide.
    """
    if format_name not in _TIMED or (format_name in _SIZED and sized):
        return ""
    if stated and reached < stated * Fraction(98, 100) - 1:
        return f"it ends after {float(reached):.1f} of {float(stated):.1f} seconds"
    return ""


def missing_bytes(path: Path) -> int:
    """How many bytes beyond its end a file's own structure states; 0 where it is whole or states nothing.

    MP4 and QuickTime state the size of each box, Matroska that of its segment, AVI that of its RIFF chunks, ASF that
    of the file, FLV and IVF that of each packet. What holds neither video nor sound (free space, tags) does not count.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_FROM_BYTES)
            return max(0, _claimed_end(file, head, size) - size)
    except (OSError, struct.error):
        return 0


def index_at_end(head: bytes) -> bool:
    """Whether these first bytes begin an MP4 or QuickTime file whose index (moov) comes after its data (mdat)."""
    position = 0
    while position + 8 <= len(head):
        kind, length = head[position + 4 : position + 8], struct.unpack_from(">I", head, position)[0]
        if kind not in _FIRST_BOXES:
            return False
        if kind in (b"moov", b"moof", b"mdat"):
            return kind == b"mdat"
        position += max(8, length)
    return False


def _claimed_end(file: IO[bytes], head: bytes, size: int) -> int:
    if head[4:8] in _FIRST_BOXES:
        return _end_of_boxes(file, size)
    if head.startswith(_MATROSKA):
        return _end_of_segment(file)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _end_of_riff(file, size)
    if head.startswith(b"FLV"):
        return _end_of_flv(file, size)
    if head.startswith(b"DKIF"):
        return _end_of_records(file, size, 32, lambda record: 12 + struct.unpack_from("<I", record)[0])
    if head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
        return _end_of_asf(file)
    return 0


def _end_of_boxes(file: IO[bytes], size: int) -> int:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length < 8:  # 0: up to the end of the file
            return 0
        if position + length > size:
            return position + length if kind in _NEEDED_BOXES else 0
        position += length
    return 0


def _end_of_segment(file: IO[bytes]) -> int:
    """Where a Matroska segment ends (RFC 9559: an EBML header, then the segment); 0 where its size is unknown."""
    file.seek(4)
    header = _vint(file) or 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: IO[bytes]) -> int | None:
    """An EBML variable-size integer (RFC 8794, section 4); None where all of its bits are set: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        raise struct.error("no EBML integer")
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value


def _end_of_riff(file: IO[bytes], size: int) -> int:
    """Where the last RIFF chunk ends (OpenDML files have several); 0 where a recorder has not filled a size in."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):
            return 0
        position += 8 + length + length % 2
    return position - 1 if position == size + 1 else position


def _end_of_flv(file: IO[bytes], size: int) -> int:
    """Where the last tag ends (Adobe Flash Video File Format, annex E); each is followed by its own size."""
    file.seek(max(0, size - 4))
    last = int.from_bytes(file.read(4), "big")
    if 11 <= last <= size - 13:
        file.seek(size - 4 - last)
        if int.from_bytes(file.read(4)[1:], "big") + 11 == last:
            return size
    return _end_of_records(file, size, 13, lambda tag: 15 + int.from_bytes(tag[1:4], "big"))


def _end_of_records(file: IO[bytes], size: int, begin: int, length: Callable[[bytes], int]) -> int:
    """Where the last of a chain of records ends whose length their first 12 bytes state."""
    if size < begin:
        return 0
    while begin + 12 <= size:
        file.seek(begin)
        begin += length(file.read(12))
    return max(begin, size)


def _end_of_asf(file: IO[bytes]) -> int:
    """The size in the File Properties Object (ASF specification, section 3.2)."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")
    if at < 0 or at + 92 > len(head):
        return 0
    size: int = struct.unpack_from("<Q", head, at + 40)[0]
    broadcast = struct.unpack_from("<I", head, at + 88)[0] & 1  # then sizes are not valid
    return 0 if broadcast else size
