"""Which files are the run's own, and which are a user's: those are never replaced or deleted.

A file is the run's own where the manifest has a row for it (`WrittenFile`) and it is unchanged: its size and stamp are
the row's, or the MD5 that the store states, or else its SHA-256, for which it is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile
from cvdetect.sources.lists import is_list_file
from cvdetect.storage import Folder, Found, LocalFolder

__all__ = [
    "FileRows",
    "FileStats",
    "InputFiles",
    "InspectedFile",
    "NamedFiles",
    "OwnFiles",
    "conflict_error",
    "row_of",
    "rows_of_files",
]


_AT_ONCE = 1000  # files inspected at once
_NAMED = 5  # of a list of files, in a message


class FileRows(Protocol):
    """The rows of files: a manifest, or the part of it that a worker was sent."""

    def known(self, keys: Iterable[str]) -> Mapping[str, Sequence[WrittenFile]]:
        """The files among these that have rows → their rows."""

    def log_images(self, name: str, rows: Iterable[WrittenFile]) -> None:
        """Record files of the image `name` that are about to be written."""

    def log(self, rows: Iterable[WrittenFile]) -> None:
        """Record files whose stamps are known now."""

    def disown(self, keys: Iterable[str]) -> None:
        """Delete the rows of files that are gone."""


@dataclass(slots=True)
class NamedFiles:
    """A number of files, of which the first few are known by name."""

    keys: set[str] = field(default_factory=set)
    first: list[str] = field(default_factory=list)

    def add(self, key: str, shown: str) -> None:
        """Count a file once."""
        if key not in self.keys:
            self.keys.add(key)
            if len(self.first) < _NAMED:
                self.first.append(shown)

    def discard(self, key: str, shown: str) -> None:
        """Do not count a file after all."""
        self.keys.discard(key)
        if shown in self.first:
            self.first.remove(shown)

    def __len__(self) -> int:
        return len(self.keys)

    def __str__(self) -> str:
        more = len(self) - len(self.first)
        return ", ".join(self.first) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """What lies at the place of a file, and what is known of it.

    Attributes:
        key: as `WrittenFile.key`.
        found: what lies there.
        own: the row that it matches, with its current stamp; None where there is nothing or something else.
        known: whether the file has rows, so that another content is an edit.
    """

    key: str
    found: Found
    own: WrittenFile | None
    known: bool

    @property
    def free(self) -> bool:
        """Whether the run may write here."""
        return self.found.kind is None or self.own is not None

    @property
    def claimed(self) -> bool:
        """Whether it is a user's file that `overwrite` lets the run replace."""
        return self.own is not None and not self.own.digest

    @property
    def edited(self) -> bool:
        """Whether an earlier run wrote it and somebody has changed it since."""
        return self.known and not self.free and self.found.kind in ("file", "link")


class OwnFiles:
    """Files by their keys (`WrittenFile.key`), in the `folders` of their kinds.

    Args:
        once: each file is inspected once, in one pass over many, so that one listing of a store serves many of them.
    """

    def __init__(self, rows: FileRows, folders: Mapping[str, Folder], once: bool = False) -> None:
        self._rows = rows
        self.folders = folders
        self._finders = {kind: folder.finder() if once else folder.find for kind, folder in folders.items()}

    def shown(self, key: str) -> str:
        """A file's path or address, for messages."""
        kind, _, path = key.partition("/")
        return self.folders[kind].shown(path)

    def inspect(self, keys: Iterable[str]) -> Iterator[InspectedFile]:
        """What lies at each key whose kind has a folder. A file that had to be read is recorded with its stamp.

        Raises:
            SourceError: the folder or store cannot be read.
        """
        remaining = (key for key in keys if key.partition("/")[0] in self.folders)
        while some := list(islice(remaining, _AT_ONCE)):
            known = self._rows.known(some)
            files = [self._inspect(key, found, known.get(key, ())) for key, found in self._find(some)]
            fresh = [file.own for file in files if file.own and file.own not in known[file.key]]
            if fresh:
                self._rows.log(fresh)
            yield from files

    def _find(self, keys: Sequence[str]) -> Iterator[tuple[str, Found]]:
        for kind, of_kind in groupby(keys, key=lambda key: key.partition("/")[0]):
            together = list(of_kind)
            yield from zip(together, self._finders[kind](k.partition("/")[2] for k in together), strict=True)

    def _inspect(self, key: str, found: Found, known: Sequence[WrittenFile]) -> InspectedFile:
        kind, _, path = key.partition("/")
        return InspectedFile(key, found, _match(self.folders[kind], path, found, known), bool(known))

    def remove(self, keys: Iterable[str]) -> Iterator[str]:
        """Delete the files that are the run's own, and folders that become empty → the keys of the other files.

        Raises:
            SinkError: one cannot be deleted.
        """
        remaining = iter(keys)
        while some := list(islice(remaining, _AT_ONCE)):
            files = list(self.inspect(some))
            yield from (file.key for file in files if not file.free)
            ours = [file.key for file in files if file.own is not None and not file.claimed]
            for kind, of_kind in groupby(ours, key=lambda key: key.partition("/")[0]):
                self.folders[kind].remove(key.partition("/")[2] for key in of_kind)
            self._rows.disown(file.key for file in files if file.free)


@dataclass(slots=True)
class FileStats:
    """What happened to the files of a run.

    Attributes:
        unwritable: name of an image → why a file of its own cannot be written under its name; all others are written.
        edited: files that were edited since an earlier run wrote them, and were kept.
        occupied: files that appeared during the run where an image's own file was to be written, and were kept.
        replaced: a user's files that were replaced, as `overwrite` allows.
        inputs: files of earlier runs that inputs are links to by now, and were kept.
    """

    unwritable: dict[str, str] = field(default_factory=dict)
    edited: NamedFiles = field(default_factory=NamedFiles)
    occupied: NamedFiles = field(default_factory=NamedFiles)
    replaced: NamedFiles = field(default_factory=NamedFiles)
    inputs: NamedFiles = field(default_factory=NamedFiles)

    def add(self, own: OwnFiles, outcome: Outcome) -> None:
        """Count what happened to the files of an image."""
        for keys, files in ((outcome.kept, self.edited), (outcome.replaced, self.replaced)):
            for key in keys:
                files.add(key, own.shown(key))


def _match(folder: Folder, path: str, found: Found, known: Sequence[WrittenFile]) -> WrittenFile | None:
    """The row that what lies at `path` matches, with its current stamp; None where there is none."""
    if found.kind not in ("file", "link"):
        return None
    same_size = [row for row in known if row.size == found.size != -1]
    for row in same_size:
        if row.stamp == found.stamp != -1:
            return row
        if row.md5 and row.md5 == found.md5:
            return row
    if not any(row.digest for row in same_size):
        return None
    digest = folder.digest(path)
    return next((replace(row, stamp=found.stamp) for row in same_size if row.digest == digest), None)


def row_of(key: str, data: bytes, remote: bool) -> WrittenFile:
    """The row of a file that is about to be written; `remote`: into a store, which may state its MD5."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() if remote else ""
    return WrittenFile(key, hashlib.sha256(data).hexdigest(), md5, len(data))


def rows_of_files(folder: Path, names: Sequence[str], remote: bool) -> dict[str, WrittenFile]:
    """Name of each finished file below `folder`, which is about to be moved into OUT → its row.

    A link is sent to a store as the file it leads to.
    """
    if remote:
        return {name: row_of(f"out/{name}", (folder / name).read_bytes(), remote) for name in names}
    here = LocalFolder(folder)
    return {
        name: WrittenFile(f"out/{name}", here.digest(name), "", found.size, found.stamp)
        for name, found in zip(names, here.find(names), strict=True)
    }


class InputFiles:
    """The files that a run reads, and where they lie when links are followed: none is overwritten or deleted.

    These are the images of the last walk, the files of the model, and the list of images. A file is lost only where a
    new one takes its place in its folder: what a hard link has under another name stays. Stores have no links: there,
    no folder that is written to holds images that are read.

    Args:
        root: the folder of the images.
    """

    def __init__(self, job: AnnotateJob, root: Folder, manifest: Manifest) -> None:
        self._job = job
        self._root = root
        self._manifest = manifest

    def at(self, folder: Folder, path: str) -> str | None:
        """The input that lies at `path` in `folder` when links on the way are followed, as messages show it."""
        if not isinstance(folder, LocalFolder):
            return None
        real = _real_path(folder.path / path)
        return self._elsewhere.get(real) or self._below_root(real)

    def _below_root(self, real: str) -> str | None:
        start, is_inside = self._real_root
        if not is_inside or not real.startswith(start):
            return None
        name = real[len(start) :].replace(os.sep, "/")
        return self._root.shown(name) if self._manifest.met(name) else None

    @cached_property
    def _real_root(self) -> tuple[str, bool]:
        """The images' folder, links followed, with a slash at its end, and whether it is on a disk."""
        if not isinstance(self._root, LocalFolder):
            return "", False
        return os.path.join(os.path.realpath(self._root.path), ""), True  # noqa: PTH118

    @cached_property
    def _elsewhere(self) -> dict[str, str]:
        """The real path of each input that is not a plain file below the root → how messages show it."""
        files = [value for value in asdict(self._job.model).values() if isinstance(value, Path)]
        if is_list_file(self._job.images):
            files.append(Path(self._job.images[1:]))
        return {os.path.realpath(path): str(path) for path in files} | dict(self._linked())

    def _linked(self) -> Iterator[tuple[str, str]]:
        """The images that are links, or lie behind one: where they lead to, and how messages show them."""
        if not isinstance(self._root, LocalFolder):
            return
        start, folders = self._real_root[0], {"": self._real_root[0]}
        for name, _ in self._manifest.listed():
            above, _, last = name.rpartition("/")
            if above not in folders:  # names come folder by folder
                folders = {above: os.path.realpath(start + above)}
            plain = os.path.join(folders[above], last)  # noqa: PTH118
            real = os.path.realpath(plain) if os.path.islink(plain) else plain  # noqa: PTH114
            if real != start + name:
                yield real, self._root.shown(name)


def _real_path(path: Path) -> str:
    """The path with all links followed, except one at its end, which would itself be replaced."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


_Conflict = tuple[str, str]  # of one file, and of several
_NOT_OWN = ("is not this run's own", "are not this run's own")
_EDITED = ("was edited since it was written", "were edited since they were written")
_NOT_A_FILE = (
    "is a folder or a pipe, lies below a file, or cannot be inspected",
    "are folders or pipes, lie below a file, or cannot be inspected",
)
_CONFLICTS = (_NOT_OWN, _EDITED, _NOT_A_FILE)


def _conflict_of(file: InspectedFile) -> _Conflict:
    if file.found.kind not in ("file", "link"):
        return _NOT_A_FILE
    return _EDITED if file.edited else _NOT_OWN


def conflict_error(out: Folder, files: Sequence[tuple[str, InspectedFile]], more: int = 0) -> UsageError:
    """The error about a user's files where a run would write.

    Args:
        files: each file as messages show it, with what lies there.
        more: how many there are beyond these.
    """
    reasons: dict[_Conflict, list[str]] = {conflict: [] for conflict in _CONFLICTS}
    for shown, file in files:
        reasons[_conflict_of(file)].append(shown)
    listed = "; ".join(f"{', '.join(names)} {why[len(names) > 1]}" for why, names in reasons.items() if names)
    rest = f", and {more} more" if more > 0 else ""
    return UsageError(
        f"{out}: files would be replaced that may be somebody's work: {listed}{rest}.\n"
        f"Give another {arg('out')}, or move them away; {arg('overwrite')} replaces files, not folders or pipes"
    )
