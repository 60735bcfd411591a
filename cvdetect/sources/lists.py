"""Lists of paths: one a line, or parted by NUL bytes (``find -print0``); playlists of videos (``.m3u8``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO

__all__ = ["is_list_file", "names_of", "played_files"]

_PIECE = 1 << 16  # bytes of a list read at once
_LONGEST_PLAYLIST = 16 << 20  # bytes
_URI = re.compile(rb'URI="([^"]+)"')


def is_list_file(text: str) -> bool:
    """Whether ``@FILE`` was typed, and no file is called so."""
    return text.startswith("@") and len(text) > 1 and not os.path.exists(text)  # noqa: PTH110 - of any length


def names_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The names of a list, piece by piece, none of them empty; what parts them is decided by the first piece."""
    return (name for name in _split(stream) if name)


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    rest = stream.read(_PIECE)
    separator = b"\0" if b"\0" in rest else b"\n"
    while True:
        *whole, rest = rest.split(separator)
        yield from (name if separator == b"\0" else name.removesuffix(b"\r") for name in whole)
        piece = stream.read(_PIECE)
        if not piece:
            break
        rest += piece
    yield rest if separator == b"\0" else rest.removesuffix(b"\r")


def played_files(path: str, depth: int = 2) -> Iterator[str]:
    """What a playlist on disk (RFC 8216) names, as paths; also what playlists in it name, so many deep.

    Nothing for any other file. Addresses among the names stand for no file and do no harm.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - of any length; a pipe would be waited for
        return
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - a name as it was typed
            text = stream.read(_LONGEST_PLAYLIST) if stream.read(7) == b"#EXTM3U" else b""
    except OSError:
        return
    for line in text.splitlines():
        for uri in _URI.findall(line) if line.startswith(b"#") else [line.strip()] if line.strip() else []:
            file = os.path.join(os.path.dirname(path), os.fsdecode(uri).removeprefix("file://"))  # noqa: PTH118, PTH120
            yield file
            if depth:
                yield from played_files(file, depth - 1)
