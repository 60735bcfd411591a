"""What reading and writing need of a folder, wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cvdetect.core.errors import UnwritableName

__all__ = ["ABSENT", "Entry", "Folder", "Found", "State"]


@dataclass(frozen=True, slots=True)
class State:
    """What tells a change of a file: its size in bytes, and a number that changes with its content.

    The number is a disk's modification time in ns; a store's ETag, or else its modification time, as 63 bits of a hash.
    Both are -1 where the file cannot be looked at: reading it will say why.
    """

    size: int = -1
    stamp: int = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder right in a folder; `state` is None where listing does not tell it."""

    name: str
    is_folder: bool
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a name, links not followed.

    Attributes:
        kind: None where there is nothing; "blocked" where a file stands in place of one of the name's folders;
            "special" of pipes, devices and what must not be looked at.
        size, stamp: as in `State`; of a link itself, not of what it leads to.
        md5: hexadecimal, of the content, where the store states it without reading it; else "".
    """

    kind: Literal["file", "link", "folder", "blocked", "special"] | None = None
    size: int = -1
    stamp: int = -1
    md5: str = ""


ABSENT = Found()


class Folder(Protocol):
    """A folder. Names are relative to it, with forward slashes; "" is the folder itself. Can be pickled, and used from
    any thread: processes on other machines may be handed one.
    """

    @property
    def remote(self) -> bool:
        """Whether it is no folder of this machine's file system: then each call is a request or more."""

    def __str__(self) -> str:
        """The path or address as it was given."""

    def shown(self, name: str) -> str:
        """The path or address of a file, for people."""

    def absolute(self) -> str:
        """What `open_folder` makes the same folder of, whatever the current folder."""

    def folder(self, name: str) -> Folder:
        """A folder below it."""

    def identity(self, name: str = "") -> Hashable:
        """The same for the same folder, by whatever way it was reached. Raises SourceError where it is not there."""

    def within(self, other: Folder) -> bool:
        """Whether it is `other` or lies in it."""

    def relative(self, text: str) -> str | None:
        """The name of a file that is given by a path or address as typed; None where it lies outside."""

    def kind(self, name: str = "") -> Literal["file", "folder"] | None:
        """What there is of that name. Raises SourceError where that cannot be found out."""

    def entries(self, name: str = "") -> Iterator[Entry]:
        """What is right in the folder, in any order. Raises SourceError, SourceNotFound."""

    def look(self, names: Iterable[str]) -> Iterator[State]:
        """The state of each file, in the order given."""

    def start(self, name: str) -> tuple[bytes, int]:
        """A file's first bytes (8 MiB of a remote one) and its size. Raises SourceError, SourceNotFound."""

    def beginning(self, name: str, size: int) -> bytes:
        """A file's first bytes, at most `size`; empty where it is no regular file or cannot be read."""

    def read(self, name: str) -> bytes:
        """A whole file. Raises SourceError, SourceNotFound."""

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """What lies at each name, in the order given. Raises SourceError where that cannot be found out."""

    def finder(self) -> Callable[[Iterable[str]], Iterator[Found]]:
        """As `find`, for one pass over many names: what was listed for one name is remembered for others."""

    def digest(self, name: str) -> str:
        """SHA-256 of a file's content, hexadecimal; of a link, that of where it leads. Raises SourceError."""

    def write(self, name: str, data: bytes, over: Found | None = None) -> State:
        """Write a file that appears whole or not at all → its state, with stamp -1 where the store does not state it.

        Where `over` is given, that must be what lies there right before the file takes its place. Raises Occupied where
        it is not, UnwritableName, SinkError.
        """

    def create(self, name: str, data: bytes) -> bool:
        """As `write`, but False, and nothing done, where there is such a file already. Raises SinkError."""

    def move_in(self, source: Path, names: Mapping[str, Found]) -> dict[str, UnwritableName]:
        """Move finished files from a local folder to the same names here → those whose names it does not take.

        Each name's value must be what lies there right before, as in `write`, else its error is `Occupied`. Raises
        SinkError.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, where they are there, and folders that are empty then. Raises SinkError."""

    def prepare(self) -> None:
        """Make ready for `write`; what a killed run has left unfinished goes. Raises SinkError, UsageError."""

    def sweep(self) -> None:
        """Leave nothing unfinished."""
