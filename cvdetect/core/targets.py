"""What an output's path leads to: a file, also through links; a device or pipe; an open file of this process."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.errors import SinkError, UnwritableName, UsageError

__all__ = [
    "UNWRITABLE_NAME",
    "Target",
    "check_regular",
    "is_standard_output",
    "names_a_folder",
    "not_written",
    "own_descriptor",
]

# Where not the disk but the file's own name is the reason: too long, a file where a folder must be, or the reverse.
UNWRITABLE_NAME = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EILSEQ, errno.ELOOP}
)
READER_SECONDS = 10.0  # how long to wait for somebody to read a named pipe
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # Windows has neither
_MOST_LINKS = 40  # Linux follows as many
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/(?:self|thread-self|(?P<process>\d+))/fd)/(?P<number>\d{1,9})")


def not_written(path: Path | str, error: OSError) -> SinkError:
    """The error that `path` could not be written; `UnwritableName` where its name alone is the reason."""
    kind = UnwritableName if error.errno in UNWRITABLE_NAME else SinkError
    why = "its reader has gone" if isinstance(error, BrokenPipeError) else error.strerror or str(error)
    return kind(f"{'standard output' if str(path) == '-' else path}: cannot be written: {why}")


def names_a_folder(path: str | Path) -> bool:
    """Whether the path as typed means a folder: it ends with a slash (which `Path` forgets), or is one."""
    ends = tuple(sign for sign in (os.sep, os.altsep) if sign)
    try:
        return (isinstance(path, str) and path.endswith(ends)) or Path(path).is_dir()
    except OSError:
        return False


def own_descriptor(path: str | Path) -> int | None:
    """The number of this process's open file that a name like ``/dev/stdout`` or ``/dev/fd/3`` stands for."""
    text = os.path.abspath(path)  # noqa: PTH100 - links are not followed
    if text in _STANDARD:
        return _STANDARD[text]
    found = _DESCRIPTOR.fullmatch(text)
    return int(found["number"]) if found and found["process"] in (None, str(os.getpid())) else None


def is_standard_output(path: str | Path | None) -> bool:
    """Whether an output goes to standard output: ``-``, or a name of it."""
    return path is not None and (str(path) == "-" or own_descriptor(path) == 1)


@dataclass(frozen=True, slots=True)
class Target:
    """What an output's path leads to.

    Attributes:
        path: the file itself, where the path is a symbolic link.
        descriptor: the number of this process's open file that it stands for; None for all others.
        status: None where nothing is there yet.
    """

    path: Path
    descriptor: int | None = None
    status: os.stat_result | None = None

    @classmethod
    def of(cls, path: str | Path) -> Target:
        """Follow `path` to its end.

        Raises:
            SinkError: links lead in circles, or a folder on the way cannot be entered.
        """
        try:
            final, descriptor = _follow(str(path))
            return cls(Path(final), descriptor, _status(final, descriptor))
        except OSError as error:
            raise not_written(path, error) from error

    @property
    def streams(self) -> bool:
        """Whether it is a device or pipe, which is opened and written to, never replaced."""
        mode = 0 if self.status is None else self.status.st_mode
        return self.descriptor is not None or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def open(self) -> int:
        """A descriptor to write to a device or pipe; waits ten seconds for somebody to read a named pipe.

        Raises:
            OSError: it cannot be opened.
        """
        if self.descriptor is not None:
            return os.dup(self.descriptor)  # shares its place in the file with the program that opened it
        until = time.monotonic() + READER_SECONDS
        while True:
            try:
                number = os.open(self.path, os.O_WRONLY | _AT_ONCE)
            except OSError as error:
                if error.errno != errno.ENXIO or not self._is_pipe:
                    raise
                if time.monotonic() >= until:
                    raise OSError(errno.ENXIO, f"nobody reads this pipe (waited {READER_SECONDS:g} s)") from None
                time.sleep(0.02)
            else:
                os.set_blocking(number, True)
                return number

    @property
    def _is_pipe(self) -> bool:
        return self.status is not None and stat.S_ISFIFO(self.status.st_mode)


def _follow(path: str) -> tuple[str, int | None]:
    """The path at the end of a chain of symbolic links, and which open file of this process it stands for."""
    for _ in range(_MOST_LINKS):
        descriptor = own_descriptor(path)
        if descriptor is not None or not os.path.islink(path):  # noqa: PTH114 - a text as it was typed
            return path, descriptor
        path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _status(path: str, descriptor: int | None) -> os.stat_result | None:
    try:
        return os.stat(path) if descriptor is None else os.fstat(descriptor)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):  # that a file is where a folder must be is found when it is made
        return None


def check_regular(path: str | Path, what: str) -> None:
    """Refuse what is no regular file before it is opened: a pipe would block, a device may never end.

    Args:
        what: what was expected, e.g. "a model file".

    Raises:
        UsageError: it is a pipe, a socket or a device. A path that is missing or a folder is left to the reader.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return
    if stat.S_ISFIFO(mode):
        kind = "a named pipe" if own_descriptor(path) is None else "a pipe"
        raise UsageError(f"{path}: is {kind}, expected {what}; save its data to a file first")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{path}: is {'a socket' if stat.S_ISSOCK(mode) else 'a device'}, expected {what}")
