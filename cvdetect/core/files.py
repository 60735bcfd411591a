"""Writing files: they appear complete or not at all; links are followed, devices and pipes are written to.

A file is written under a temporary name beside its place and renamed, with the mode and, where possible, the owner of
the file it replaces. The target of a symbolic link is replaced, the link stays. A device or pipe (``/dev/null``,
``/dev/stderr``, ``/dev/fd/3``, a named pipe) is opened and written, never replaced.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from cvdetect.core.errors import CvdetectError, SinkError, UsageError
from cvdetect.core.targets import Target, is_standard_output, names_a_folder, not_written

__all__ = [
    "TextFile",
    "check_writable",
    "finish",
    "inherit_mode",
    "not_written",
    "safe_join",
    "temporary_beside",
    "whole_file",
    "write_text",
    "write_whole",
]


def safe_join(folder: Path, relative: str) -> Path:
    """The path `relative` inside `folder`.

    Raises:
        SinkError: it leads out of the folder.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts:
        raise SinkError(
            f"{relative!r}: leads out of the output folder {folder}; give images by paths inside one folder"
        )
    return folder / pure


def check_writable(path: str | Path) -> None:
    """Check before any work that `path` can be written; leaves nothing behind.

    Raises:
        UsageError: it is a folder, a socket or a disk.
        SinkError: its folder cannot be written to, or the file is write-protected.
    """
    target = Target.of(path)
    if target.is_folder or names_a_folder(path):
        raise UsageError(f"{path}: is a folder, expected a file name")
    if target.streams:
        return
    if target.status is not None:
        _check_replaceable(path, target)
    _check_new(path, target.path)


def _check_replaceable(path: str | Path, target: Target) -> None:
    assert target.status is not None
    if not stat.S_ISREG(target.status.st_mode):
        what = "a socket" if stat.S_ISSOCK(target.status.st_mode) else "a disk"
        raise UsageError(f"{path}: is {what}, expected a file, a device or a pipe")
    if not os.access(target.path, os.W_OK):
        raise SinkError(f"{path}: cannot be written: it is write-protected")


def _check_new(path: str | Path, final: Path) -> None:
    """Check that the file, and the folders on the way to it, can be made."""
    folder, missing = final.parent, [final.name]
    while not os.path.lexists(folder) and folder.parent != folder:
        missing.append(folder.name)
        folder = folder.parent
    try:
        for name in missing:
            _fits(folder, name)
        temporary = _new_file(Path(os.path.realpath(folder)) if folder.is_symlink() else folder, "check")
    except FileNotFoundError:  # a link to a folder that is still to be made
        return
    except OSError as error:
        raise not_written(path, error) from error
    temporary.unlink()


def _fits(folder: Path, name: str) -> None:
    """Raise OSError where `name` is too long for the disk of `folder`."""
    with suppress(ValueError, AttributeError, FileNotFoundError):  # the limit is not known
        if len(os.fsencode(name)) > os.pathconf(folder, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def temporary_beside(path: Path) -> Path:
    """A new empty file beside the file that `path` leads to, with its suffix, to be written and passed to `finish`.

    For a device or pipe it lies in the folder for temporary files.

    Raises:
        SinkError: the folder cannot be written to.
    """
    target = Target.of(path)
    try:
        if target.streams:
            return _new_file(Path(tempfile.gettempdir()), path.name)
        folder = Path(os.path.realpath(target.path.parent))
        folder.mkdir(parents=True, exist_ok=True)
        # Who may not read the file that is replaced may not read the new one either, before it has the same mode.
        return _new_file(folder, target.path.name, 0o666 if target.status is None else 0o600)
    except OSError as error:
        raise not_written(path, error) from error


def _new_file(folder: Path, name: str, mode: int = 0o666) -> Path:
    """An empty hidden file; the user's umask acts on its mode."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    while True:
        path = folder / f".{stem[:20]}.{secrets.token_hex(4)}{suffix if len(suffix) <= 10 else ''}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        except FileExistsError:
            continue
        return path


def finish(temporary: Path, path: Path) -> None:
    """Put a complete file, from `temporary_beside`, where `path` leads.

    Raises:
        SinkError: that is not possible; UnwritableName where only the name is the reason. The file keeps its temporary
            name.
    """
    target = Target.of(path)
    try:
        if target.streams:
            with temporary.open("rb") as whole, os.fdopen(target.open(), "wb") as stream:
                shutil.copyfileobj(whole, stream)
            temporary.unlink()
        else:
            _rename(temporary, target)
    except OSError as error:
        raise not_written(path, error) from error


def _rename(temporary: Path, target: Target) -> None:
    if target.status is not None:
        inherit_mode(temporary, target.status)
    target.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.replace(target.path)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):  # a single file that is mounted, as into a container
            raise
        shutil.copyfile(temporary, target.path)
        temporary.unlink()


def inherit_mode(temporary: Path, status: os.stat_result) -> None:
    """Take the mode, and where allowed the owner and group, of the file that is replaced."""
    own = temporary.stat()
    for user, group in ((status.st_uid, -1), (-1, status.st_gid)):
        if (user, group) not in ((own.st_uid, -1), (-1, own.st_gid)) and hasattr(os, "chown"):
            with suppress(OSError):
                os.chown(temporary, user, group)
    with suppress(OSError):  # a disk without modes
        temporary.chmod(stat.S_IMODE(status.st_mode))


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, completely or not at all.

    Raises:
        SinkError: the folder or disk refuses it; nothing half-written stays.
        UnwritableName: only the name is the reason.
    """
    with _temporary(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to a file, completely or not at all; to standard output where the path is ``-`` or a name of it.

    Raises:
        SinkError: as `write_whole`.
    """
    if is_standard_output(path):
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_whole(Path(path), text.encode("utf-8", "backslashreplace"))


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A file to write in the block; it becomes `path` at the end unless the block fails."""
    temporary = temporary_beside(path)
    try:
        yield temporary
        finish(temporary, path)
    except CvdetectError:
        raise
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file that is written piece by piece and appears under `path` when the block ends, or not at all.

    Line ends are written as given. What UTF-8 cannot encode (a file name that is not UTF-8) becomes backslash escapes.

    Raises:
        SinkError: the folder or disk refuses it; nothing half-written stays.
        UnwritableName: only the name is the reason.
    """
    with _temporary(path) as temporary, _text(temporary.open("wb")) as stream:
        yield stream


class TextFile:
    """UTF-8 text that is written piece by piece as results come.

    A file appears under its name when it is closed; until then, and where nothing was written, an earlier one stays. A
    device or pipe gets each piece at once; ``-`` and ``/dev/stdout`` are standard output.

    Raises:
        SinkError: it cannot be opened; so does every method where it cannot be written.
        BrokenPipeError: in `write`, where the reader of standard output has gone.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._standard = is_standard_output(path)
        self._temporary: Path | None = None
        self._written = False
        self._stream: IO[str] = sys.stdout if self._standard else self._open()

    def _open(self) -> IO[str]:
        target = Target.of(self._path)
        try:
            if target.streams:
                return _text(os.fdopen(target.open(), "wb"))
            self._temporary = temporary_beside(self._path)
            return _text(self._temporary.open("wb"))
        except OSError as error:
            raise not_written(self._path, error) from error

    def write(self, text: str) -> None:
        """Write a piece and flush it, for whoever reads along."""
        try:
            self._stream.write(text)
            self._stream.flush()
            self._written = True
        except OSError as error:
            if self._standard and isinstance(error, BrokenPipeError):
                raise
            raise not_written(self._path, error) from error

    def close(self) -> None:
        """Finish it: the file gets its name."""
        if self._standard:
            return
        try:
            with suppress(BrokenPipeError):  # reported when it was written
                self._stream.close()
            if self._temporary is not None and self._written:
                finish(self._temporary, self._path)
        except OSError as error:
            raise not_written(self._path, error) from error
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)


def _text(stream: IO[bytes]) -> IO[str]:
    return io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="")
