"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from cvdetect.errors import CvdetectError, SinkError, UnfitName, UsageError

__all__ = ["UNFIT", "check_writable", "not_written", "place", "temporary_beside", "whole_file", "write_whole"]

# Where not the disk but the file's own name is the reason: too long, a file where a folder must be, or the reverse.
UNFIT = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EILSEQ, errno.ELOOP}
)


def place(folder: Path, relative: str) -> Path:
    """`relative` under `folder`.

    Raises:
        SinkError: it leads out of the folder.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts:
        raise SinkError(
            f"{relative!r}: leads out of the output folder {folder}; give images by paths inside one folder"
        )
    return folder / pure


def not_written(path: Path, error: OSError) -> SinkError:
    """Why `path` could not be written: `UnfitName` where its name alone is the reason."""
    kind = UnfitName if error.errno in UNFIT else SinkError
    return kind(f"{path}: cannot be written: {error.strerror or error}")


def temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, with its suffix, to be written and then renamed to it.

    Raises:
        SinkError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise not_written(path, error) from error
    # mkstemp makes files private; what a user's tool writes follows their umask.
    Path(name).chmod(0o666 & ~_umask())
    return Path(name)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_whole(path: Path, data: bytes, scratch: Path | None = None) -> None:
    """Write `data` to `path` under a temporary name and rename it.

    `scratch` is a folder on the same disk where it lies until it is whole; None: the folder of `path`.

    Raises:
        SinkError: the folder or disk does not take it; nothing half-written stays. UnfitName: its name alone is why.
    """
    temporary = temporary_beside(path if scratch is None else scratch / path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, scratch: Path | None = None) -> Iterator[IO[str]]:
    """A UTF-8 text file to be written piece by piece: it appears under `path` when the block ends, or not at all.

    Line ends are written as given. What UTF-8 cannot hold (a file name that is not UTF-8) comes out as backslash
    escapes. `scratch` is a folder on the same disk where the file lies until it is whole, so that a killed process
    leaves nothing beside `path`; None: the folder of `path`.

    Raises:
        SinkError: the folder or disk does not take it; nothing half-written stays. UnfitName: its name alone is why.
    """
    temporary = temporary_beside(path if scratch is None else scratch / path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            yield stream
        temporary.replace(path)
    except CvdetectError:
        raise
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Find out before any work whether `path` can be written.

    Raises:
        UsageError: it is a folder.
        SinkError: its folder cannot be written to.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, expected a file name")
    temporary_beside(path).unlink()
