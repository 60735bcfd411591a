"""Lists of paths: one a line, or separated by NUL bytes (``find -print0``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.sources.kinds import HEAD, kind_of

__all__ = ["is_list_file", "names_of", "reading_list"]

_PIECE = 1 << 16  # bytes of a list read at once


def is_list_file(text: str) -> bool:
    """Whether ``@FILE`` was typed, and no file has that name."""
    return text.startswith("@") and len(text) > 1 and not os.path.exists(text)  # noqa: PTH110 - of any length


@contextmanager
def reading_list(shown: str) -> Iterator[None]:
    """Within, an OSError becomes a SourceError about the list, which is called `shown` in messages.

    Raises:
        SourceNotFound, SourceError: in place of an OSError.
    """
    try:
        yield
    except SourceError:  # some are an OSError, too
        raise
    except FileNotFoundError:
        raise SourceNotFound(f"{shown}: no such list of images") from None
    except OSError as error:
        raise SourceError(f"{shown}: the list cannot be read: {error.strerror or error}") from error


def names_of(stream: IO[bytes], shown: str) -> Iterator[bytes]:
    """The names of a list, piece by piece, none of them empty; what separates them is decided by the first piece.

    Args:
        shown: what the list is called in messages.

    Raises:
        SourceError: it is an image.
    """
    return (name for name in _split(stream, shown) if name)


def _split(stream: IO[bytes], shown: str) -> Iterator[bytes]:
    rest = stream.read(_PIECE)
    if kind_of(rest[:HEAD]) is not None:
        raise SourceError(f"{shown}: is an image, expected a list of images, one a line")
    separator = b"\0" if b"\0" in rest else b"\n"
    while True:
        *whole, rest = rest.split(separator)
        yield from (name if separator == b"\0" else name.removesuffix(b"\r") for name in whole)
        piece = stream.read(_PIECE)
        if not piece:
            break
        rest += piece
    yield rest if separator == b"\0" else rest.removesuffix(b"\r")
