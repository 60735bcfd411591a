"""Folders on a disk or in an object store, through one protocol: a path, or a URL that fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cvdetect.storage.folder import ABSENT, Entry, Folder, Found, State
from cvdetect.storage.local import LocalFolder
from cvdetect.storage.urls import is_url

__all__ = ["ABSENT", "Entry", "Folder", "Found", "LocalFolder", "State", "is_url", "open_folder", "open_stream"]


def open_folder(place: str | Path) -> Folder:
    """The folder at a path or URL; whether it exists is not checked.

    Raises:
        MissingPackage: fsspec or the store's own package is not installed.
        UsageError: no such protocol, or an address with a password in it.
    """
    if isinstance(place, str) and is_url(place):
        from cvdetect.storage.remote import open_remote

        return open_remote(place)
    return LocalFolder(Path(place))


@contextmanager
def open_stream(url: str) -> Iterator[IO[bytes]]:
    """The file at an address, to be read piece by piece.

    Raises:
        MissingPackage, UsageError: as `open_folder`.
        SourceError, SourceNotFound: it cannot be read.
    """
    from cvdetect.storage.filesystem import open_url, reading

    _, system, path = open_url(url)
    with reading(url), system.open(path, "rb") as stream:
        yield stream
