"""A part of a file that is known only after parts that follow it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["spool"]


@contextmanager
def spool(folder: Path) -> Iterator[IO[str]]:
    """A text file without a name, on the disk of `folder`: write it, rewind it, copy it; it is gone with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="", dir=folder) as stream:
        yield stream
