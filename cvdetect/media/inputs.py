"""Opens what a user typed as a PyAV input: files of any name, addresses, and pipes."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import av

from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.media.pipe import Pipe

__all__ = ["SPOOL_LIMIT", "TIMEOUTS", "index_at_end", "missing_bytes", "open_input"]


SPOOL_LIMIT = 16 << 30  # bytes of an MP4 from a pipe that are kept in a temporary file
TIMEOUTS = (10.0, 15.0)  # seconds to open, to read: for addresses; files do not need it
_PIECE = 1 << 16


def open_input(name: str, pipe: Pipe | None, timeouts: tuple[float, float] = TIMEOUTS) -> Any:
    """A PyAV input container.

    Args:
        name: as the user typed it.
        pipe: its bytes, where it is one.
        timeouts: seconds to open an address, and to wait for each of its packets.

    Raises:
        SourceNotFound: no such file.
        SourceError: it is not a video that can be read.
    """
    try:
        if pipe is not None:
            return av.open(_stream_or_spool(pipe), format=_format(pipe.peek(4)))
        if "://" in name:
            return av.open(name, options=_transport(name), timeout=timeouts)
        with Path(name).open("rb") as file:
            kind = _format(file.read(4))
        return av.open(f"file:{name}", format=kind)  # so that "a:b.mp4" names no protocol
    except FileNotFoundError:
        raise SourceNotFound(f"{name}: no such file") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{name}: {_why_unreadable(name, error)}") from error


def _transport(address: str) -> dict[str, str]:
    """FFmpeg's options for an address: RTSP over TCP, as over UDP lost packets spoil the picture.

    The environment variable that people know from OpenCV ("rtsp_transport;udp|max_delay;500000") has the last word.
    """
    options = {"rtsp_transport": "tcp"} if address.lower().startswith(("rtsp://", "rtsps://")) else {}
    asked = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    pairs = (pair.partition(";") for pair in asked.split("|") if ";" in pair)
    return options | {key.strip(): value.strip() for key, _, value in pairs}


def _format(head: bytes) -> str | None:
    """FFmpeg's name of the format where its own guess may be wrong: JPEG after JPEG is taken for one picture."""
    return "mjpeg" if head.startswith(b"\xff\xd8") else None


def _why_unreadable(name: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    if "://" not in name and (missing := missing_bytes(Path(name))):
        return f"is cut short ({missing:,} bytes are missing at its end) and cannot be read without them"
    return f"is not a video that can be read: {reason}"


def _stream_or_spool(pipe: Pipe) -> Any:
    """The pipe itself, or a temporary file with all of it where the index comes last."""
    if not index_at_end(pipe.peek()):
        return pipe
    spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - PyAV reads from it until the end
    try:
        _spool(pipe, spool)
    except SourceError:
        spool.close()
        raise
    except OSError as error:
        spool.close()
        raise SourceError(f"{pipe.name}: cannot be kept in a temporary file: {error.strerror or error}") from error
    return spool


def _spool(pipe: Pipe, spool: IO[bytes]) -> None:
    while piece := pipe.read(_PIECE):
        if spool.tell() > SPOOL_LIMIT:
            raise SourceError(
                f"{pipe.name}: an MP4 with its index last, and more than {SPOOL_LIMIT >> 30} GiB; give it as a file"
            )
        spool.write(piece)
    spool.seek(0)


# Whether all of a media file is there, by the sizes that its own structure states.

_HEAD = 64
_MATROSKA = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
# Boxes that begin an MP4 or QuickTime file (ISO/IEC 14496-12, QuickTime File Format).
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid", b"sidx"}
_NEEDED_BOXES = {b"mdat", b"moov", b"moof", b"sidx", b"styp"}


def missing_bytes(path: Path) -> int:
    """How many bytes a file's own structure states beyond its end; 0 where it is whole or does not say.

    MP4 and QuickTime state the size of each box, Matroska that of its segment, AVI that of its RIFF chunks, ASF that
    of the file, FLV and IVF that of each packet. Nothing that holds no picture or sound (free space, tags) counts.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
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
