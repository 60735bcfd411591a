"""A folder on this machine's file system."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cvdetect.core.errors import Occupied, SinkError, SourceError, SourceNotFound, UnwritableName, UsageError
from cvdetect.core.files import check_writable, inherit_mode, safe_join, temporary_beside
from cvdetect.core.targets import check_regular, not_written
from cvdetect.storage.folder import ABSENT, Entry, Folder, Found, State
from cvdetect.storage.urls import is_url

__all__ = ["LocalFolder"]

_PIECE = 1 << 20  # bytes of a file read at once


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A `Folder`: that at `path`."""

    path: Path

    @property
    def remote(self) -> bool:
        """No."""
        return False

    @property
    def scratch(self) -> Path:
        """Where files are until they are whole; what a killed run leaves there is deleted by the next one."""
        return self.path / ".cvdetect-unfinished"

    def __str__(self) -> str:
        return str(self.path)

    def shown(self, name: str) -> str:
        """The file's path."""
        return str(self.path / name)

    def absolute(self) -> str:
        """The absolute path."""
        return str(self.path.absolute())

    def folder(self, name: str) -> LocalFolder:
        """A folder below it."""
        return LocalFolder(self.path / name)

    def identity(self, name: str = "") -> Hashable:
        """Device and inode."""
        try:
            status = (self.path / name).stat()
        except OSError as error:
            raise self._unread(name, error) from error
        return status.st_dev, status.st_ino

    def within(self, other: Folder) -> bool:
        """Links are followed."""
        return isinstance(other, LocalFolder) and self.path.resolve().is_relative_to(other.path.resolve())

    def relative(self, text: str) -> str | None:
        """Links are not followed: names stay as typed."""
        if is_url(text):
            return None
        try:
            return Path(os.path.abspath(text)).relative_to(os.path.abspath(self.path)).as_posix()  # noqa: PTH100
        except ValueError:
            return None

    def kind(self, name: str = "") -> Literal["file", "folder"] | None:
        """Pipes and the like count as files."""
        path = self.path / name
        try:
            return "folder" if path.is_dir() else "file" if path.exists() else None
        except OSError:  # a name that cannot be one
            return None

    def entries(self, name: str = "") -> Iterator[Entry]:
        """What is directly in the folder."""
        try:
            with os.scandir(self.path / name) as entries:
                for entry in entries:
                    yield Entry(entry.name, _is_folder(entry))
        except OSError as error:
            raise self._unread(name, error) from error

    def look(self, names: Iterable[str]) -> Iterator[State]:
        """Size and modification time."""
        yield from map(self._look, names)

    def _look(self, name: str) -> State:
        try:
            status = (self.path / name).stat()
        except (OSError, ValueError):  # ValueError: a NUL byte in a listed name
            return State()
        return State(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else State()

    def start(self, name: str) -> tuple[bytes, int]:
        """The whole file."""
        data = self.read(name)
        return data, len(data)

    def beginning(self, name: str, size: int) -> bytes:
        """A pipe is not opened, as that could wait for ever."""
        path = self.path / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return b""
            with path.open("rb") as stream:
                return stream.read(size)
        except (OSError, ValueError):
            return b""

    def read(self, name: str) -> bytes:
        """The whole file."""
        try:
            check_regular(self.path / name, "a file")
            return (self.path / name).read_bytes()
        except UsageError as error:
            raise SourceError(str(error)) from None
        except FileNotFoundError:
            raise SourceNotFound(f"{self.shown(name)}: no such file") from None
        except OSError as error:
            raise self._unread(name, error) from error

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """One system call a name."""
        yield from (_found(self.path / name) for name in names)

    def finder(self) -> Callable[[Iterable[str]], Iterator[Found]]:
        """Nothing is remembered."""
        return self.find

    def digest(self, name: str) -> str:
        """The file is read once, piece by piece."""
        path = self.path / name
        try:
            if path.is_symlink():
                return hashlib.sha256(b"link to " + os.fsencode(path.readlink())).hexdigest()
            with path.open("rb") as stream:
                digest = hashlib.sha256()
                while piece := stream.read(_PIECE):
                    digest.update(piece)
                return digest.hexdigest()
        except OSError as error:
            raise self._unread(name, error) from error

    def write(self, name: str, data: bytes, over: Found | None = None) -> State:
        """Write under a temporary name, then rename: the state is the same before and after."""
        target = safe_join(self.path, name)
        temporary = temporary_beside(self.scratch / target.name)
        try:
            temporary.write_bytes(data)
            status = temporary.stat()
            _rename(temporary, target, over)
        except OSError as error:
            raise _not_written(target, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        return State(status.st_size, status.st_mtime_ns)

    def create(self, name: str, data: bytes) -> bool:
        """Write the whole file, unless it exists."""
        if (self.path / name).exists():
            return False
        self.write(name, data)
        return True

    def move_in(self, source: Path, names: Mapping[str, Found]) -> dict[str, UnwritableName]:
        """Rename files of a folder on the same disk."""
        refused = {}
        for name, over in names.items():
            target = safe_join(self.path, name)
            try:
                _rename(source / name, target, over)
            except OSError as error:
                failure = _not_written(target, error)
                if not isinstance(failure, UnwritableName):
                    raise failure from error
                refused[name] = failure
        return refused

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, and the folders up to this one that are empty then."""
        for name in names:
            self._remove(safe_join(self.path, name))

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:  # its folder is a file, so it does not exist
            return
        except OSError as error:
            raise SinkError(f"{path}: cannot be deleted: {error.strerror or error}") from error
        for folder in path.parents:
            if folder == self.path or not _removed(folder):
                break

    def prepare(self) -> None:
        """Check that it can be written to."""
        self.sweep()
        check_writable(self.scratch / "x")

    def sweep(self) -> None:
        """Delete what is unfinished."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _unread(self, name: str, error: OSError) -> SourceError:
        return SourceError(f"{self.shown(name)}: cannot be read: {error.strerror or error}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in circles: reading it raises the reason
        return False


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:  # not empty
        return False
    return True


def _found(path: Path) -> Found:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return ABSENT
    except NotADirectoryError:
        return Found("blocked")
    except (OSError, ValueError) as error:  # a name that cannot be one, or that cannot be looked at
        return Found("special") if isinstance(error, PermissionError) else ABSENT
    if stat.S_ISDIR(status.st_mode):
        return Found("folder")
    if stat.S_ISLNK(status.st_mode):
        return Found("link", status.st_size, status.st_mtime_ns)
    return Found("file", status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else Found("special")


def _rename(temporary: Path, target: Path, over: Found | None) -> None:
    """Give a finished file its place, where only `over` may be, with the permissions of the file it replaces."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if over is not None and _found(target) != over:
        raise Occupied(f"{target}: cannot be written: a file that is not this run's own lies there")
    if over is None or over.kind == "file":
        _take_after(temporary, target)
    temporary.replace(target)


def _take_after(temporary: Path, target: Path) -> None:
    own = temporary.lstat()
    if stat.S_ISREG(own.st_mode) and own.st_nlink == 1:  # a link's mode is that of the image
        with suppress(FileNotFoundError):
            status = target.lstat()
            if stat.S_ISREG(status.st_mode):
                inherit_mode(temporary, status)


def _not_written(target: Path, error: OSError) -> SinkError:
    return error if isinstance(error, SinkError) else not_written(target, error)
