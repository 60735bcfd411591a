"""Opens what a user named as a video with PyAV: a file of any name, an address, or a pipe, which is read only once."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.media.completeness import index_at_end, missing_bytes

__all__ = ["SPOOL_LIMIT", "TIMEOUTS", "Pipe", "is_pipe", "open_input"]

SPOOL_LIMIT = 16 << 30  # bytes of an MP4 from a pipe that are kept in a temporary file
TIMEOUTS = (10.0, 15.0)  # seconds to open, to read: for addresses; files do not need it
_WRITER_S = 10.0  # how long a named pipe may be without a writer
_HEAD = 4096  # bytes; the first boxes of an MP4 lie in them
_PIECE = 1 << 16  # bytes


def open_input(name: str, pipe: Pipe | None, timeouts: tuple[float, float]) -> Any:
    """A PyAV input container.

    Args:
        name: as the user typed it.
        pipe: its bytes, where it is one.
        timeouts: seconds to open an address, and to wait for each of its packets.

    Raises:
        SourceNotFound: no such file.
        SourceError: it is not a video that can be read.
    """
    import av  # whoever asks only whether a name is a pipe does not need it

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


def is_pipe(name: str) -> bool:
    """Whether a name stands for something that can be read only once: "-", a FIFO, ``/dev/fd/N``, a socket."""
    if name == "-":
        return True
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


class Pipe:
    """The bytes of a pipe; the first ones can be looked at before they are read.

    Args:
        name: "-" for standard input, or a path.

    Raises:
        UsageError: standard input is a terminal, or the path is that of a socket.
        SourceError: it cannot be opened, or nobody writes into it for ten seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._file, self._head = (_standard_input(), b"") if name == "-" else _open_pipe(name)
        self._ended = False

    def peek(self, size: int = _HEAD) -> bytes:
        """The first bytes, up to `size`; they are read again afterwards."""
        while len(self._head) < size and not self._ended:
            piece = os.read(self._file, size - len(self._head))
            self._ended = not piece
            self._head += piece
        return self._head

    def read(self, size: int) -> bytes:
        """Whatever comes next, at most `size` bytes; none at the end."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return os.read(self._file, size)

    def close(self) -> None:
        """Close it; standard input stays open."""
        if self._file != 0:
            os.close(self._file)


def _transport(address: str) -> dict[str, str]:
    """FFmpeg's options for an address: RTSP over TCP, as lost packets over UDP damage the image.

    The environment variable that people know from OpenCV ("rtsp_transport;udp|max_delay;500000") has the last word.
    """
    options = {"rtsp_transport": "tcp"} if address.lower().startswith(("rtsp://", "rtsps://")) else {}
    asked = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    pairs = (pair.partition(";") for pair in asked.split("|") if ";" in pair)
    return options | {key.strip(): value.strip() for key, _, value in pairs}


def _format(head: bytes) -> str | None:
    """FFmpeg's name of the format where its own guess may be wrong: it takes JPEG after JPEG for one image."""
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


def _standard_input() -> int:
    if sys.stdin is None:
        raise SourceError("-: standard input is closed; pipe a video into it, e.g. cvdetect video - < in.mp4")
    if sys.stdin.isatty():
        raise UsageError("-: standard input is a terminal; pipe a video into it, e.g. cvdetect video - < in.mp4")
    return 0


def _open_pipe(name: str) -> tuple[int, bytes]:
    """A pipe's descriptor, and what was read from it; a named one is waited for until somebody writes into it."""
    try:
        number = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if stat.S_ISSOCK(Path(name).stat().st_mode):
            raise UsageError(f"{name}: is a socket, expected a video") from None
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    head = b""
    if stat.S_ISFIFO(os.fstat(number).st_mode):
        try:
            head = _wait_for_writer(number, name)
        except SourceError:
            os.close(number)
            raise
    os.set_blocking(number, True)
    return number, head


def _wait_for_writer(number: int, name: str) -> bytes:
    """The first bytes of a pipe: while nobody has it open for writing, a read returns at once with nothing."""
    deadline = time.monotonic() + _WRITER_S
    while time.monotonic() < deadline:
        try:
            if head := os.read(number, _HEAD):
                return head
        except BlockingIOError:  # a writer that has not written yet
            return b""
        time.sleep(0.02)
    raise SourceError(f"{name}: is a pipe, and nothing was written into it for {_WRITER_S:g} s")
