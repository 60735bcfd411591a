"""The manifest of a run: an SQLite file in OUT; where OUT is in a store, a local one, and a log of it in OUT."""

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
from cvdetect.jobs.annotate.manifest.log import LoggedManifest, LogSegments
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.storage import Folder, LocalFolder

__all__ = ["MANIFEST_FOLDER", "in_use_error", "open_manifest"]

MANIFEST_FOLDER = ".cvdetect"  # in OUT


@contextmanager
def open_manifest(job: AnnotateJob) -> Iterator[Manifest]:
    """The manifest, open. If no run was begun in it, no trace of it stays.

    Raises:
        UsageError: an `out` in a store is in use; that a local one is shows when its manifest is open.
        SinkError: another run is running here, or the disk or store cannot be read or written.
    """
    out = job.out_folder
    with _local(job, out.path) if isinstance(out, LocalFolder) else _remote(job, out) as manifest:
        yield manifest


def in_use_error(job: AnnotateJob) -> UsageError:
    """The error about an `out` that is in use."""
    hint = f"give {arg('resume', True)} to continue, {arg('overwrite', True)} to start again"
    return UsageError(f"{job.out}: holds an earlier run's results: {hint}")


@contextmanager
def _local(job: AnnotateJob, out: Path) -> Iterator[Manifest]:
    own = out / MANIFEST_FOLDER
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
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
                for folder in new:
                    folder.rmdir()


def _remove(own: Path) -> None:
    """Delete the manifest, and nothing else that lies in its folder."""
    shutil.rmtree(own / "export", ignore_errors=True)
    with suppress(OSError):
        for path in own.glob("manifest.sqlite*"):
            path.unlink()
        own.rmdir()


@contextmanager
def _remote(job: AnnotateJob, out: Folder) -> Iterator[Manifest]:
    segments = LogSegments(out.folder(f"{MANIFEST_FOLDER}/parts"))
    if not (job.resume or job.overwrite) and segments.names():  # known without reading them all
        raise in_use_error(job)
    try:
        folder = tempfile.TemporaryDirectory(prefix="cvdetect-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SinkError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}") from error
    with folder as name:
        try:
            manifest = LoggedManifest(Path(name) / "manifest.sqlite", segments)
        except DamagedManifest:
            if not job.overwrite:
                raise
            segments.remove()
            manifest = LoggedManifest(Path(name) / "again.sqlite", segments)
        with manifest:
            yield manifest
