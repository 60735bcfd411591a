"""What is done and what is not: SQLite on a disk, or a log in numbered parts in an object store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SinkError, UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.database import DamagedManifest
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.log import PartedManifest, Parts
from cvdetect.storage import Folder, LocalFolder

__all__ = ["manifest_of", "used"]


# Where a run keeps its manifest: in OUT, or, where OUT is in a store, on this machine and in parts in OUT.

_OWN = ".cvdetect"  # the manifest's folder in OUT


@contextmanager
def manifest_of(job: AnnotateJob) -> Iterator[Manifest]:
    """The manifest, open; if nothing was begun in it, no trace of it stays.

    Raises:
        UsageError: `out` is in use, in a store; a local one is asked when it is open.
        SinkError: another run is at work here, or the disk or store does not take or give what is asked for.
    """
    out = job.out_folder
    with _local(job, out.path) if isinstance(out, LocalFolder) else _remote(job, out) as manifest:
        yield manifest


def used(job: AnnotateJob) -> UsageError:
    """The error about an `out` that is in use."""
    return UsageError(
        f"{job.out}: holds an earlier run's results: give {arg('resume')} to go on, {arg('overwrite')} to start again"
    )


@contextmanager
def _local(job: AnnotateJob, out: Path) -> Iterator[Manifest]:
    own = out / _OWN
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        manifest = Manifest(own / "manifest.sqlite")
    except DamagedManifest:
        if not job.overwrite:
            raise
        _remove(own)
        manifest = Manifest(own / "manifest.sqlite")
    begun = True
    try:
        with manifest:
            try:
                yield manifest
            finally:
                begun = manifest.fact("options") is not None
    finally:
        if not begun:
            _remove(own)
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()


def _remove(own: Path) -> None:
    """Delete the manifest, and nothing else that may lie in its folder."""
    shutil.rmtree(own / "export", ignore_errors=True)
    with suppress(OSError):
        for path in own.glob("manifest.sqlite*"):
            path.unlink()
        own.rmdir()


@contextmanager
def _remote(job: AnnotateJob, out: Folder) -> Iterator[Manifest]:
    parts = Parts(out.folder(f"{_OWN}/parts"))
    if not (job.resume or job.overwrite) and parts.names():  # told without reading them all
        raise used(job)
    try:
        folder = tempfile.TemporaryDirectory(prefix="cvdetect-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SinkError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}") from error
    with folder as name:
        try:
            manifest = PartedManifest(Path(name) / "manifest.sqlite", parts)
        except DamagedManifest:
            if not job.overwrite:
                raise
            parts.remove()
            manifest = PartedManifest(Path(name) / "again.sqlite", parts)
        with manifest:
            yield manifest
