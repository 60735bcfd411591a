"""What a person gave to annotate: a folder, a pattern, one picture, ``@list.txt``, or ``-``."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cvdetect.core.errors import SourceNotFound, UsageError
from cvdetect.core.targets import check_regular, own_descriptor
from cvdetect.sources.lists import is_list_file, names_of, reading_list
from cvdetect.storage import Folder, LocalFolder, is_url, open_folder, open_stream
from cvdetect.storage.urls import parent_and_name

__all__ = ["Inputs", "Wanted", "find_inputs", "listed_paths"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take of a folder: how many levels below it (None: all), and which names."""

    depth: int | None = None
    pattern: re.Pattern[str] | None = None

    def takes(self, name: str) -> bool:
        """Whether the file of this name, relative to the folder, is wanted."""
        return self.pattern is None or self.pattern.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where pictures come from.

    Attributes:
        text: as it was typed.
        root: the folder that names are relative to.
        wanted: what to take below `root`; None where the paths are listed.
    """

    text: str
    root: Folder
    wanted: Wanted | None


def find_inputs(text: str, root: str | Path | None = None, recursive: bool = True) -> Inputs:
    """What `text` means: a folder, a file, a pattern, ``@FILE`` or ``-`` for a list of paths; each may be an address.

    Names are relative to `root`; without one to the folder itself, to a file's folder, to the part of a pattern before
    its first wildcard, and for a list to the current folder.

    Raises:
        SourceNotFound: no such folder, file or list.
        SourceError: the store cannot be asked.
        UsageError: a `root` that the pictures cannot lie in.
        MissingPackage: what the address needs is not installed.
    """
    given = None if root is None else open_folder(root)
    _check_pipe(text)
    if _is_list(text):
        return Inputs(text, given or LocalFolder(Path()), None)
    if is_url(text):
        folder, parent = open_folder(text), open_folder(parent_and_name(text)[0])
    else:
        folder, parent = LocalFolder(Path(text)), LocalFolder(Path(text).parent)
    kind = folder.kind()
    if kind == "folder":
        _check_root(given, folder)
        return Inputs(text, folder, Wanted(None if recursive else 0))
    if kind == "file":
        return Inputs(text, given or parent, None)
    if glob.has_magic(text):
        return _pattern(text, given)
    raise SourceNotFound(f"{text}: no such folder, picture or pattern of pictures")


def _check_pipe(text: str) -> None:
    """Refuse a named pipe, which would be waited for; a list may come through one that the shell has opened."""
    if is_list_file(text) and own_descriptor(text[1:]) is None:
        check_regular(text[1:], "a list of images")
    check_regular(text, "a folder or an image")


def _is_list(text: str) -> bool:
    return text == "-" or is_list_file(text)


def _check_root(root: Folder | None, folder: Folder) -> None:
    if root is not None and not (root.within(folder) and folder.within(root)):
        raise UsageError(f"--root {root}: goes with a list of paths; names are relative to {folder}")


def _pattern(text: str, root: Folder | None) -> Inputs:
    start, parts = _parts(text)
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    folder, rest = open_folder(start + "/".join(parts[:fixed])), parts[fixed:]
    _check_root(root, folder)
    if folder.kind() != "folder":
        raise SourceNotFound(f"{folder}: no such folder")
    return Inputs(text, folder, Wanted(None if "**" in rest else len(rest) - 1, _translate(rest)))


def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the first folder, and the names of folders and file."""
    if is_url(text):
        start, slashes, path = text.partition("://")
        return start + slashes, tuple(path.split("/"))
    parts = Path(text).parts
    return (parts[0], parts[1:]) if Path(text).is_absolute() else ("", parts)


def _translate(parts: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern's parts → what relative names must match; ``**`` is any number of folders."""
    if parts[-1] == "**":
        parts = (*parts, "*")
    folders = "".join(r"(?:[^/]+/)*" if part == "**" else _translate_part(part) + "/" for part in parts[:-1])
    try:
        return re.compile(folders + _translate_part(parts[-1]), re.DOTALL)
    except re.error as error:
        raise UsageError(f"{'/'.join(parts)}: is no pattern: {error}") from error


def _translate_part(part: str) -> str:
    pieces = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    return "".join(_translate_piece(piece) for piece in pieces)


def _translate_piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
        return "[^" + inner[1:] + "]" if inner.startswith("!") else "[" + inner.replace("^", "\\^", 1) + "]"
    return re.escape(piece)


def listed_paths(inputs: Inputs) -> Iterator[str]:
    """The paths of a list, one a line; where it holds NUL bytes (``find -print0``), they part the names instead.

    Raises:
        SourceError: the list cannot be read.
    """
    if not _is_list(inputs.text):
        yield inputs.text
        return
    shown = "standard input" if inputs.text == "-" else inputs.text[1:]
    with reading_list(shown), _open(inputs.text) as stream:
        yield from map(os.fsdecode, names_of(stream, shown))


def _open(text: str) -> AbstractContextManager[IO[bytes]]:
    if text == "-":
        return nullcontext(sys.stdin.buffer)
    return open_stream(text[1:]) if is_url(text[1:]) else Path(text[1:]).open("rb")
