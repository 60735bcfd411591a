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

from cvdetect.errors import SourceError, SourceNotFound, UsageError

__all__ = ["Inputs", "Wanted", "find_inputs", "listed_paths"]

_PIECE = 1 << 16  # bytes of a list read at once


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
    root: Path
    wanted: Wanted | None


def find_inputs(text: str, root: Path | None = None, recursive: bool = True) -> Inputs:
    """What `text` means: a folder, a file, a pattern, ``@FILE`` or ``-`` for a list of paths.

    Names are relative to `root`; without one to the folder itself, to a file's folder, to the part of a pattern before
    its first wildcard, and for a list to the current folder.

    Raises:
        SourceNotFound: no such folder, file or list.
        UsageError: a `root` that the pictures cannot lie in.
    """
    path = Path(text)
    if text == "-" or (text.startswith("@") and not path.exists()):
        return Inputs(text, root or Path(), None)
    if path.is_dir():
        _check_root(root, path)
        return Inputs(text, path, Wanted(None if recursive else 0))
    if path.exists():
        return Inputs(text, root or path.parent, None)
    if glob.has_magic(text):
        return _pattern(text, root)
    raise SourceNotFound(f"{text}: no such folder, picture or pattern of pictures")


def _check_root(root: Path | None, folder: Path) -> None:
    if root is not None and root.resolve() != folder.resolve():
        raise UsageError(f"--root {root}: goes with a list of paths; names are relative to {folder}")


def _pattern(text: str, root: Path | None) -> Inputs:
    parts = Path(text).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    folder, rest = Path(*parts[:fixed]), parts[fixed:]
    _check_root(root, folder)
    if not folder.is_dir():
        raise SourceNotFound(f"{folder}: no such folder")
    return Inputs(text, folder, Wanted(None if "**" in rest else len(rest) - 1, _translate(rest)))


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


def listed_paths(inputs: Inputs) -> Iterator[Path]:
    """The paths of a list, one a line; where it holds NUL bytes (``find -print0``), they part the names instead.

    Raises:
        SourceError: the list cannot be read.
    """
    if inputs.text != "-" and not (inputs.text.startswith("@") and not Path(inputs.text).exists()):
        yield Path(inputs.text)
        return
    try:
        with _open(inputs.text) as stream:
            yield from (Path(os.fsdecode(name)) for name in _split(stream) if name)
    except FileNotFoundError:
        raise SourceNotFound(f"{inputs.text[1:]}: no such list of images") from None
    except OSError as error:
        raise SourceError(f"{inputs.text}: the list cannot be read: {error.strerror or error}") from error


def _open(text: str) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if text == "-" else Path(text[1:]).open("rb")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The names of a list, piece by piece; what parts them is decided by the first piece."""
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
