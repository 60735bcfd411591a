"""The protocol of a folder, wherever it is: what reading and writing need of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cvdetect.core.errors import UnwritableName

__all__ = ["ABSENT", "Entry", "Folder", "Found", "Listings", "State"]

_LISTINGS = 16  # kept at once: names come in natural order, so few folders take turns
_NAMES = 500_000  # in all of them, if there is more than one


@dataclass(frozen=True, slots=True)
class State:
    """By what a change of a file is recognised: its size in bytes, and a number that changes with its content.

    The number is a disk's modification time in ns; a store's ETag, or else its modification time, as 63 bits of a hash.
    Both are -1 where the file's state cannot be read: reading the file then raises the reason.
    """

    size: int = -1
    stamp: int = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder directly in a folder; `state` is None where a listing does not include it."""

    name: str
    is_folder: bool
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What exists under a name, links not followed.

    Attributes:
        kind: None where there is nothing; "blocked" where a file is in place of one of the name's folders; "special"
            for pipes, devices and what there is no permission to see.
        size, stamp: as in `State`; of a link itself, not of its target.
        md5: hexadecimal, of the content, where the store states it without reading it; else "".
    """

    kind: Literal["file", "link", "folder", "blocked", "special"] | None = None
    size: int = -1
    stamp: int = -1
    md5: str = ""


ABSENT = Found()


class Folder(Protocol):
    """A folder. Names are relative to it, with forward slashes; "" is the folder itself.

    It can be pickled and sent to processes on other machines, and used from any thread.
    """

    @property
    def remote(self) -> bool:
        """Whether it is outside this machine's file system, so that each call is one request or more."""

    def __str__(self) -> str:
        """The path or address as it was given."""

    def shown(self, name: str) -> str:
        """The path or address of a file, for messages."""

    def absolute(self) -> str:
        """The text from which `open_folder` makes the same folder, whatever the current folder."""

    def folder(self, name: str) -> Folder:
        """A folder below it."""

    def identity(self, name: str = "") -> Hashable:
        """Equal for the same folder, however it was reached. Raises SourceError where it does not exist."""

    def within(self, other: Folder) -> bool:
        """Whether it is `other` or inside it."""

    def relative(self, text: str) -> str | None:
        """The name here of a file given by a path or address as typed; None where it is outside."""

    def kind(self, name: str = "") -> Literal["file", "folder"] | None:
        """What exists under that name, links followed. Raises SourceError where that cannot be determined."""

    def entries(self, name: str = "") -> Iterator[Entry]:
        """What is directly in the folder, in any order. Raises SourceError, SourceNotFound."""

    def look(self, names: Iterable[str]) -> Iterator[State]:
        """The state of each file, in the order given."""

    def start(self, name: str) -> tuple[bytes, int]:
        """A file's first bytes (8 MiB of a remote one) and its size. Raises SourceError, SourceNotFound."""

    def beginning(self, name: str, size: int) -> bytes:
        """A file's first bytes, at most `size`; empty where it is not a regular file or cannot be read."""

    def read(self, name: str) -> bytes:
        """A whole file. Raises SourceError, SourceNotFound."""

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """What exists under each name, in the order given. Raises SourceError where that cannot be determined."""

    def finder(self) -> Callable[[Iterable[str]], Iterator[Found]]:
        """As `find`, for one pass over many names: a listing made for one name serves others."""

    def digest(self, name: str) -> str:
        """SHA-256 of a file's content, hexadecimal; of a link, that of its target's path. Raises SourceError."""

    def write(self, name: str, data: bytes, over: Found | None = None) -> State:
        """Write a file that appears whole or not at all → its state, with stamp -1 where the store does not state it.

        Where `over` is given, it must be what exists there right before the file takes its place. Raises Occupied where
        it is not; UnwritableName, SinkError.
        """

    def create(self, name: str, data: bytes) -> bool:
        """As `write`; returns False, and does nothing, where the file exists already. Raises SinkError."""

    def move_in(self, source: Path, names: Mapping[str, Found]) -> dict[str, UnwritableName]:
        """Move finished files from a local folder to the same names here → the errors of names that cannot be written.

        Each name's value must be what exists there right before, as in `write`, else its error is `Occupied`. Raises
        SinkError.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Delete files that exist, and folders that are empty then. Raises SinkError."""

    def prepare(self) -> None:
        """Make ready for `write`, and delete what a killed run left unfinished. Raises SinkError, UsageError."""

    def sweep(self) -> None:
        """Delete what is unfinished."""


class Listings:
    """Looks many names up by the listings of their folders, which takes a thousandth of the requests.

    `list_folder` gives what is directly in a folder, by name.
    """

    def __init__(self, list_folder: Callable[[str], Mapping[str, Found]]) -> None:
        self._list = list_folder
        self._kept: OrderedDict[str, Mapping[str, Found]] = OrderedDict()

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """What exists under each name."""
        for name in names:
            folder, _, base = name.rpartition("/")
            yield self._listing(folder).get(base, ABSENT)

    def _listing(self, folder: str) -> Mapping[str, Found]:
        if folder not in self._kept:
            self._kept[folder] = self._list(folder)
        self._kept.move_to_end(folder)
        while len(self._kept) > _LISTINGS or (len(self._kept) > 1 and sum(map(len, self._kept.values())) > _NAMES):
            self._kept.popitem(last=False)
        return self._kept[folder]
