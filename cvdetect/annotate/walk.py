"""Which pictures there are: a folder, a pattern, one file, or a list of paths, one after another in any order.

Nothing is kept, so that a folder of any size can be walked; the manifest puts them in order.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cvdetect.annotate.inputs import Inputs, Wanted, listed_paths
from cvdetect.errors import SourceError, UsageError
from cvdetect.sources.images import PICTURE_SUFFIXES

__all__ = ["Listed", "Tally", "list_pictures", "nothing_found"]


@dataclass(frozen=True, slots=True)
class Listed:
    """One picture: its path relative to the inputs' root with forward slashes, and what tells a change.

    A file that cannot be looked at has size and mtime_ns -1: reading it will say why.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Tally:
    """What the walk passed by.

    Attributes:
        ignored: files that are no pictures, by suffix ("" for none).
        loops: folders not entered because they are one of their own parents.
        folders: sub-folders not entered because the walk is not recursive.
        unreadable: folders that could not be read, and why.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)
    folders: int = 0
    unreadable: list[str] = field(default_factory=list)


Identity = tuple[int, int]  # device and inode of a folder


def list_pictures(inputs: Inputs, outputs: frozenset[Identity], tally: Tally) -> Iterator[Listed]:
    """Every picture of `inputs`; folders among `outputs` and hidden files are passed over.

    Raises:
        SourceError: the folder or the list cannot be read.
        UsageError: a listed file lies outside of the root.
    """
    if inputs.wanted is None:
        for path in listed_paths(inputs):
            yield _listed(_relative(path, inputs.root), path)
    else:
        yield from _walk(inputs.root, inputs.wanted, outputs, tally)


def nothing_found(inputs: Inputs, tally: Tally) -> SourceError:
    """The error that says what was looked for, and what was there instead."""
    if inputs.wanted is None:
        return SourceError(f"{inputs.text}: no images: the list is empty")
    looked = f"looked for {', '.join(sorted(PICTURE_SUFFIXES))}"
    if tally.ignored:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in tally.ignored.most_common(4))
        looked += f"; there are {tally.ignored.total()} other files ({kinds})"
    if tally.folders:
        looked += f"; {tally.folders} sub-folders were not entered"
    return SourceError("\n".join([f"{inputs.text}: no images: {looked}", *tally.unreadable]))


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way: where it is, its name relative to the root, and the identities of its parents."""

    path: Path
    name: str
    parents: tuple[Identity, ...]

    def child(self, name: str, own: Identity) -> _Folder:
        return _Folder(self.path / name, f"{self.name}{name}/", (*self.parents, own))


def _walk(root: Path, wanted: Wanted, outputs: frozenset[Identity], tally: Tally) -> Iterator[Listed]:
    waiting = [_Folder(root, "", ())]
    while waiting:
        folder = waiting.pop()
        try:
            own = _identity(folder.path)
            if own in folder.parents:
                tally.loops.append(folder.name)
            elif not folder.parents or own not in outputs:
                with os.scandir(folder.path) as entries:
                    yield from _entries(folder, own, entries, wanted, waiting, tally)
        except OSError as error:
            reason = f"{folder.path}: cannot be read: {error.strerror or error}"
            if not folder.parents:
                raise SourceError(reason) from error
            tally.unreadable.append(reason)


def _entries(
    folder: _Folder,
    own: Identity,
    entries: Iterable[os.DirEntry[str]],
    wanted: Wanted,
    waiting: list[_Folder],
    tally: Tally,
) -> Iterator[Listed]:
    """The pictures right in a folder; its sub-folders are put on `waiting`."""
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            yield from _file(folder, entry.name, wanted, tally)
        elif wanted.depth is None or len(folder.parents) < wanted.depth:
            waiting.append(folder.child(entry.name, own))
        else:
            tally.folders += 1


def _file(folder: _Folder, name: str, wanted: Wanted, tally: Tally) -> Iterator[Listed]:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file would cost more than the look
    if suffix not in PICTURE_SUFFIXES:
        tally.ignored[suffix] += 1
    elif wanted.takes(folder.name + name):
        yield _listed(folder.name + name, folder.path / name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in circles: reading it will say so
        return False


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino


def _listed(name: str, path: Path) -> Listed:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return Listed(name, -1, -1)
    return Listed(name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else Listed(name, -1, -1)


def _relative(path: Path, root: Path) -> str:
    """The path's name below the root; links are not resolved, names stay as they were typed."""
    try:
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()  # noqa: PTH100
    except ValueError:
        raise UsageError(f"{path}: lies outside of {root.absolute()}: give --root, a folder that holds all") from None
