"""Pictures that images which are done lack: somebody has deleted them, or the review page is wanted later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from cvdetect.annotations.types import ImageRecord
from cvdetect.core.errors import SourceError
from cvdetect.jobs.annotate.about import About
from cvdetect.jobs.annotate.images import thumbnail_path
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.local import read_picture
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.own import FileTally, OwnFiles
from cvdetect.jobs.annotate.ray.work import picture_outputs
from cvdetect.storage import Folder

__all__ = ["restore_pictures"]

_TOGETHER = 500  # images whose pictures are looked at together


def restore_pictures(job: AnnotateJob, root: Folder, manifest: Manifest, about: About, files: FileTally) -> None:
    """Make them again from what was found; an image that is gone meanwhile goes without.

    Raises:
        SinkError: the folder or disk does not take it.
        SourceError: it cannot be found out what is there.
    """
    folders = job.folders()
    own = OwnFiles(manifest, folders, once=True)
    with picture_outputs(job, about.labels, folders, manifest, manifest.holds) as pictures:
        for record in _lacking(job, manifest, own):
            with suppress(SourceError):
                frame = read_picture(root, record.name, job.max_pixels).frame(record.name)
                outcome = pictures.write(frame, record.found)
                files.take(own, outcome)
                if outcome.reason is None:
                    manifest.add_files(record.name, outcome.files)
                else:
                    manifest.record(outcome)


def _lacking(job: AnnotateJob, manifest: Manifest, own: OwnFiles) -> Iterator[ImageRecord]:
    """The images that a picture is missing of."""
    records = iter(manifest)
    while some := list(islice(records, _TOGETHER)):
        files = {record.name: _files(job, manifest, record.name) for record in some}
        missing = {look.key for look in own.look(key for keys in files.values() for key in keys) if not look.found.kind}
        yield from (record for record in some if missing.intersection(files[record.name]))


def _files(job: AnnotateJob, manifest: Manifest, name: str) -> list[str]:
    return manifest.files_of(name) + ([f"review/{thumbnail_path(name)}"] if job.review else [])
