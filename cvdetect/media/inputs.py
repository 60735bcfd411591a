"""Opens what a user typed as a PyAV input: files of any name, addresses, and pipes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO, Any

import av

from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.media.pipe import Pipe
from cvdetect.media.whole import index_at_end, missing_bytes

__all__ = ["SPOOL_LIMIT", "TIMEOUTS", "open_input"]

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
