"""Videos that can be read only once: standard input, named pipes, process substitutions."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

from cvdetect.core.errors import SourceError, UsageError

__all__ = ["Pipe", "is_pipe"]

_WRITER_S = 10.0  # how long a named pipe may be without a writer
_HEAD = 4096  # bytes; the first boxes of an MP4 lie in them


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
    """The bytes of a pipe, which can be looked at once before they are read.

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
        """Let go of it."""
        if self._file != 0:
            os.close(self._file)


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
    """What a pipe gives first: while nobody has it open for writing, a read ends at once with nothing."""
    deadline = time.monotonic() + _WRITER_S
    while time.monotonic() < deadline:
        try:
            if head := os.read(number, _HEAD):
                return head
        except BlockingIOError:  # a writer that has not written yet
            return b""
        time.sleep(0.02)
    raise SourceError(f"{name}: is a pipe into which nothing was written for {_WRITER_S:g} s")
