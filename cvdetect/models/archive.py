"""One member of a downloaded archive, by its exact name, as a stream: nothing is extracted by path, nothing is run."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cvdetect.core.filetype import describe_foreign
from cvdetect.models.failures import PullError, writing

__all__ = ["take_member"]


def _lzma_errors() -> list[type[Exception]]:
    try:
        from lzma import LZMAError
    except ImportError:  # a Python that was built without it
        return []
    return [LZMAError]


# RuntimeError is what an encrypted zip gives, NotImplementedError a compression that this Python lacks
_DAMAGE: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    *_lzma_errors(),
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def take_member(archive: Path, member: str, target: Path, limit: int | None = None) -> None:
    """Copies the member of a zip, wheel, tar or tar.gz into the file `target`.

    Raises:
        PullError: no such archive or member, a damaged one, or one of more than `limit` bytes.
        FetchError: `target` cannot be written.
    """
    try:
        with _open_member(archive, member) as stream:
            _copy(stream, target, member, limit)
    except _DAMAGE as problem:
        raise PullError(f"the archive is damaged: {problem}") from None


def _copy(stream: IO[bytes], target: Path, member: str, limit: int | None) -> None:
    with writing(target):
        out = target.open("wb")
    with out:
        left = limit
        while piece := stream.read(1 << 20):
            if left is not None and (left := left - len(piece)) < 0:
                raise PullError(f"{member} in the archive is longer than the {limit:,} bytes it must have")
            with writing(target):
                out.write(piece)


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with _open_zip_member(archive, member) as stream:
            yield stream
    elif _is_tar(archive):
        with _open_tar_member(archive, member) as stream:
            yield stream
    else:
        with archive.open("rb") as file:
            foreign = describe_foreign(file.read(512))
        raise PullError(f"what came is {foreign or 'neither a zip nor a tar archive'}")


def _is_tar(archive: Path) -> bool:
    try:
        return tarfile.is_tarfile(archive)
    except _DAMAGE:
        return False


@contextmanager
def _open_zip_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(archive) as opened:
        if member not in opened.namelist():
            raise PullError(f"the archive has no member {member}")
        with opened.open(member) as stream:
            yield stream


@contextmanager
def _open_tar_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    with tarfile.open(archive) as opened:
        entry = next((entry for entry in opened if entry.name == member), None)
        stream = opened.extractfile(entry) if entry is not None and entry.isreg() else None
        if stream is None:
            raise PullError(f"the archive has no file {member}")
        with stream:
            yield stream
