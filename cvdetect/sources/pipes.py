"""Images that come through a pipe: standard input (``-``, ``/dev/stdin``) and what a shell opens (``<(…)``).

A pipe can be read only once, so it is read whole before anything else is done.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.targets import own_descriptor
from cvdetect.sources.kinds import HEAD, kind_of

__all__ = ["Piped", "file_name", "is_piped", "read_pipes", "shown"]

Piped = dict[str, "NDArray[np.uint8] | SourceError"]

_MOST = 1 << 30  # bytes; no image that OpenCV decodes has more
_PIECE = 1 << 20
# The suffix of each kind that OpenCV writes.
_SUFFIXES = {
    "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "jp2": ".jp2", "gif": ".gif", "webp": ".webp", "avif": ".avif"
}  # fmt: skip


def is_piped(name: str) -> bool:
    """Whether the input is standard input or another open file of this process."""
    return name == "-" or own_descriptor(name) is not None


def read_pipes(names: Iterable[str]) -> Piped:
    """The bytes of every piped input of `names`; an error in the place of those that cannot be read.

    Raises:
        UsageError: it is a terminal.
    """
    found: Piped = {}
    for name in dict.fromkeys(name for name in names if is_piped(name)):
        try:
            found[name] = _read(name)
        except SourceError as error:
            found[name] = error
        except OSError as error:
            found[name] = SourceError(f"{shown(name)}: cannot be read: {error.strerror or error}")
    return found


def shown(name: str) -> str:
    """What the input is called in messages."""
    return "standard input" if name == "-" else name


def file_name(name: str, piped: Piped) -> str:
    """What outputs are named after: for a pipe ``stdin`` or ``pipe63``, with the suffix of what came through it."""
    if name not in piped:
        return name
    number, data = own_descriptor(name), piped[name]
    kind = None if isinstance(data, SourceError) else kind_of(data[:HEAD].tobytes())
    suffix = _SUFFIXES.get(kind or "", ".png")
    return f"{'stdin' if number in (None, 0) else f'pipe{number}'}{suffix}"


def _read(name: str) -> NDArray[np.uint8]:
    descriptor = os.dup(own_descriptor(name) or 0)
    try:
        if os.isatty(descriptor):
            raise UsageError(f"{shown(name)}: is a terminal; pipe an image into it: cat photo.jpg | cvdetect image -")
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise SourceError(f"{shown(name)}: is a folder, expected an image")
        return np.frombuffer(_content(descriptor, shown(name)), np.uint8)
    finally:
        os.close(descriptor)


def _content(descriptor: int, name: str) -> bytes:
    pieces, size = [], 0
    while piece := os.read(descriptor, _PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            raise SourceError(f"{name}: more than {_MOST >> 30} GiB came: it is no image")
    return b"".join(pieces)
