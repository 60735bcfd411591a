"""Is a file on this disk the one that models.yaml means? Size, digest, and what it is instead."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cvdetect.core.filetype import describe_foreign
from cvdetect.core.spec import ModelFile

__all__ = ["digest_of", "fault", "size_fault"]


def size_fault(path: Path, file: ModelFile) -> str | None:
    """What is wrong with the size of the file at `path`, or None. It costs one look at the directory."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size:,} bytes, must have {file.size:,}"
    return None if size else "is empty"


def fault(path: Path, file: ModelFile) -> str | None:
    """What is wrong with the content of the file at `path`, e.g. "is an HTML page", or None. Reads all of it."""
    problem = size_fault(path, file) or _digest_fault(path, file)
    if problem is None and (file.sha256 or file.sha1):
        return None
    foreign = _foreign(path, file)
    return f"is {foreign}" if foreign else problem


def _digest_fault(path: Path, file: ModelFile) -> str | None:
    for algorithm, expected in (("sha256", file.sha256), ("sha1", file.sha1)):
        if expected and (found := digest_of(path, algorithm)) != expected:
            return f"has {algorithm} {found}, must have {expected}"
    return None


def digest_of(path: Path, algorithm: str) -> str:
    """The digest of a file's content in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _foreign(path: Path, file: ModelFile) -> str | None:
    with path.open("rb") as content:
        return describe_foreign(content.read(512), text_expected=file.role in ("cfg", "config", "names", "prototxt"))
