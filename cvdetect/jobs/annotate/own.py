"""What is the run's own among the files where it writes, and what is a user's, which is never replaced nor deleted.

A file is the run's own where the manifest has a row of it (`Written`) and it is unchanged: its size and stamp are the
row's, or the MD5 that the store states, or else its SHA-256, for which it is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome, Written
from cvdetect.sources.kinds import is_list_file
from cvdetect.storage import Folder, Found, LocalFolder

__all__ = ["FileTally", "Left", "Look", "Originals", "OwnFiles", "Rows", "refusal", "row_of", "rows_of_files"]


_TOGETHER = 1000  # files looked at together
_NAMED = 5  # of a list of files, in a message


class Rows(Protocol):
    """What is known of files: a manifest, or what a worker was sent of it."""

    def known(self, keys: Iterable[str]) -> Mapping[str, Sequence[Written]]:
        """Those of the files that have rows, and these."""

    def log_pictures(self, name: str, rows: Iterable[Written]) -> None:
        """Pictures of the image `name` that are about to be written."""

    def log(self, rows: Iterable[Written]) -> None:
        """Files whose stamps are known now."""

    def disown(self, keys: Iterable[str]) -> None:
        """These files are gone."""


@dataclass(slots=True)
class Left:
    """Files that stay as they are because they are a user's; the first few by name."""

    keys: set[str] = field(default_factory=set)
    first: list[str] = field(default_factory=list)

    def add(self, key: str, shown: str) -> None:
        """Count a file once."""
        if key not in self.keys:
            self.keys.add(key)
            if len(self.first) < _NAMED:
                self.first.append(shown)

    def discard(self, key: str, shown: str) -> None:
        """Do not count it after all."""
        self.keys.discard(key)
        if shown in self.first:
            self.first.remove(shown)

    def __len__(self) -> int:
        return len(self.keys)

    def __str__(self) -> str:
        more = len(self) - len(self.first)
        return ", ".join(self.first) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Look:
    """A file: what lies there, and what is known of it.

    Attributes:
        own: the row that it matches, with its stamp of now; None where there is nothing or something else.
        known: whether there are rows of it, so that another content is an edit.
    """

    key: str
    found: Found
    own: Written | None
    known: bool

    @property
    def free(self) -> bool:
        """Whether the run may write here."""
        return self.found.kind is None or self.own is not None

    @property
    def edited(self) -> bool:
        """Whether an earlier run wrote it and somebody has changed it since."""
        return self.known and not self.free and self.found.kind in ("file", "link")


class OwnFiles:
    """Files by their keys (`Written.key`), in the `folders` of their kinds.

    Args:
        once: each file is looked at once, in one pass over many, so that a store's listings serve for many of them.
    """

    def __init__(self, rows: Rows, folders: Mapping[str, Folder], once: bool = False) -> None:
        self._rows = rows
        self.folders = folders
        self._finders = {kind: folder.finder() if once else folder.find for kind, folder in folders.items()}

    def shown(self, key: str) -> str:
        """A file's path or address, for people."""
        kind, _, path = key.partition("/")
        return self.folders[kind].shown(path)

    def look(self, keys: Iterable[str]) -> Iterator[Look]:
        """What lies at each key whose kind has a folder. A file that had to be read is remembered by its stamp.

        Raises:
            SourceError: that cannot be found out.
        """
        remaining = (key for key in keys if key.partition("/")[0] in self.folders)
        while some := list(islice(remaining, _TOGETHER)):
            known = self._rows.known(some)
            looks = [self._look(key, found, known.get(key, ())) for key, found in self._find(some)]
            fresh = [look.own for look in looks if look.own and look.own not in known[look.key]]
            if fresh:
                self._rows.log(fresh)
            yield from looks

    def _find(self, keys: Sequence[str]) -> Iterator[tuple[str, Found]]:
        for kind, of_kind in groupby(keys, key=lambda key: key.partition("/")[0]):
            together = list(of_kind)
            yield from zip(together, self._finders[kind](k.partition("/")[2] for k in together), strict=True)

    def _look(self, key: str, found: Found, known: Sequence[Written]) -> Look:
        kind, _, path = key.partition("/")
        return Look(key, found, _match(self.folders[kind], path, found, known), bool(known))

    def remove(self, keys: Iterable[str]) -> Iterator[str]:
        """Delete those of the files that are the run's own, and the folders that are empty then → the others.

        Raises:
            SinkError: one cannot be deleted.
        """
        remaining = iter(keys)
        while some := list(islice(remaining, _TOGETHER)):
            looks = list(self.look(some))
            yield from (look.key for look in looks if not look.free)
            # A row without digest is of a user's file that was not replaced.
            ours = [look.key for look in looks if look.own is not None and look.own.digest]
            for kind, of_kind in groupby(ours, key=lambda key: key.partition("/")[0]):
                self.folders[kind].remove(key.partition("/")[2] for key in of_kind)
            self._rows.disown(look.key for look in looks if look.free)


@dataclass(slots=True)
class FileTally:
    """What came of the files of a run.

    Attributes:
        unfit: name of an image → why a file of its own has a name that is not taken; all others are written.
        edited: files that were edited since an earlier run wrote them, and stayed.
        occupied: files that somebody has put, meanwhile, where an image's own file was to be; they stayed.
        replaced: a user's files that were replaced, as `overwrite` allows.
        originals: files of earlier runs that inputs lead to by now; they stayed.
    """

    unfit: dict[str, str] = field(default_factory=dict)
    edited: Left = field(default_factory=Left)
    occupied: Left = field(default_factory=Left)
    replaced: Left = field(default_factory=Left)
    originals: Left = field(default_factory=Left)

    def take(self, own: OwnFiles, outcome: Outcome) -> None:
        """Count what came of the pictures of an image."""
        for keys, left in ((outcome.kept, self.edited), (outcome.replaced, self.replaced)):
            for key in keys:
                left.add(key, own.shown(key))


def _match(folder: Folder, path: str, found: Found, known: Sequence[Written]) -> Written | None:
    """The row that is true of what lies at `path`, with its stamp of now; None where none is."""
    if found.kind not in ("file", "link"):
        return None
    alike = [row for row in known if row.size == found.size != -1]
    for row in alike:
        if row.stamp == found.stamp != -1:
            return row
        if row.md5 and row.md5 == found.md5:
            return row
    if not any(row.digest for row in alike):
        return None
    digest = folder.digest(path)
    return next((replace(row, stamp=found.stamp) for row in alike if row.digest == digest), None)


def row_of(key: str, data: bytes, remote: bool) -> Written:
    """The row of a file that is about to be written; `remote`: where the store may state its MD5."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() if remote else ""
    return Written(key, hashlib.sha256(data).hexdigest(), md5, len(data))


def rows_of_files(folder: Path, names: Sequence[str], remote: bool) -> dict[str, Written]:
    """Name of each finished file below `folder`, that is about to be moved into OUT → its row.

    In a store a link is sent as what it leads to.
    """
    if remote:
        return {name: row_of(f"out/{name}", (folder / name).read_bytes(), remote) for name in names}
    here = LocalFolder(folder)
    return {
        name: Written(f"out/{name}", here.digest(name), "", found.size, found.stamp)
        for name, found in zip(names, here.find(names), strict=True)
    }


# Where the files that a run reads really lie: none of them is written over or deleted, by whatever way it is reached.
#
# Only whose place in its folder a new file would take is lost: what a hard link has under another name stays.


class Originals:
    """The images of the last walk, the files of the model, and the list of images. Stores have no links: there, no
    folder that is written to holds images that are read.

    Args:
        root: the folder of the images.
    """

    def __init__(self, job: AnnotateJob, root: Folder, manifest: Manifest) -> None:
        self._job = job
        self._root = root
        self._manifest = manifest

    def at(self, folder: Folder, path: str) -> str | None:
        """The input, as it is shown, whose own place `path` in `folder` is when links on the way are followed."""
        if not isinstance(folder, LocalFolder):
            return None
        place = _place(folder.path / path)
        return self._elsewhere.get(place) or self._below_root(place)

    def _below_root(self, place: str) -> str | None:
        start, is_inside = self._real_root
        if not is_inside or not place.startswith(start):
            return None
        name = place[len(start) :].replace(os.sep, "/")
        return self._root.shown(name) if self._manifest.met(name) else None

    @cached_property
    def _real_root(self) -> tuple[str, bool]:
        """The images' folder, links followed, with a slash at its end, and whether it is on this machine."""
        if not isinstance(self._root, LocalFolder):
            return "", False
        return os.path.join(os.path.realpath(self._root.path), ""), True  # noqa: PTH118

    @cached_property
    def _elsewhere(self) -> dict[str, str]:
        """The real place of each file that is no plain one below the root → how it is shown."""
        files = [value for value in asdict(self._job.model).values() if isinstance(value, Path)]
        if is_list_file(self._job.images):
            files.append(Path(self._job.images[1:]))
        return {os.path.realpath(path): str(path) for path in files} | dict(self._linked())

    def _linked(self) -> Iterator[tuple[str, str]]:
        """The images that are links or lie behind one, below the root: what they lead to."""
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


def _place(path: Path) -> str:
    """The path with all links followed but one at its end, which would be replaced itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


# The sentence about a user's files that lie where a run would write.


def refusal(out: Folder, files: Sequence[tuple[str, Look]], more: int = 0) -> UsageError:
    """Why nothing is written: each file as it is shown, with what lies there, and how many there are beyond these."""
    sorts: dict[str, Callable[[Look], bool]] = {
        "are not this run's own": lambda look: not look.edited and look.found.kind in ("file", "link"),
        "were edited since they were written": lambda look: look.edited,
        "are folders or pipes, lie below a file, or may not be looked at": lambda look: (
            look.found.kind not in ("file", "link")
        ),
    }
    reasons = {why: [shown for shown, look in files if of_sort(look)] for why, of_sort in sorts.items()}
    told = "; ".join(f"{', '.join(names)} {why}" for why, names in reasons.items() if names)
    rest = f", and {more} more" if more > 0 else ""
    return UsageError(
        f"{out}: files would be replaced that may be somebody's work: {told}{rest}.\n"
        f"Give another {arg('out')}, or move them away; {arg('overwrite')} replaces files, not folders or pipes"
    )
