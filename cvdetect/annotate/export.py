"""From the manifest to annotation files.

All are written in the manifest's own folder, then moved to their places one by one: each is whole or not there, and
nothing in them depends on when or in which order the images were done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cvdetect.annotate.about import About
from cvdetect.annotate.job import AnnotateJob
from cvdetect.annotate.manifest import Manifest
from cvdetect.annotate.pictures import remove_file
from cvdetect.annotate.review import write_review
from cvdetect.annotations.naming import place
from cvdetect.annotations.record import Facts
from cvdetect.annotations.writers import WRITERS
from cvdetect.errors import SinkError
from cvdetect.files import whole_file
from cvdetect.json_records import as_line

__all__ = ["FAILURES", "export", "export_folders"]

FAILURES = "failures.jsonl"


def export_folders(job: AnnotateJob) -> dict[str, Path]:
    """Each format → the folder of its files."""
    if len(job.formats) == 1:
        return {job.formats[0]: job.out}
    return {name: job.out / name for name in job.formats}


def export(job: AnnotateJob, manifest: Manifest, about: About, images: str) -> None:
    """Write every format, the review page, and the list of failures; delete what earlier exports had besides.

    Args:
        images: the folder of images as the user typed it.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    staging = job.own_folder / "export"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _write(job, manifest, about, images, staging)
        _put_down(manifest, staging, job.out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(job: AnnotateJob, manifest: Manifest, about: About, images: str, staging: Path) -> None:
    facts = Facts(model=about.model, ran=about.ran, images=images, yolo_conf=job.yolo_conf)
    for name, folder in export_folders(job).items():
        WRITERS[name](staging / folder.relative_to(job.out), manifest, about.labels, facts)
    if job.review:
        write_review(staging / "review" / "index.html", manifest, about)
    if manifest.counts().failed:
        with whole_file(staging / FAILURES) as stream:
            for name, reason in manifest.failures():
                stream.write(as_line({"source": name, "error": reason}) + "\n")


def _put_down(manifest: Manifest, staging: Path, out: Path) -> None:
    """Move the files of `staging` into `out`. They are remembered first, so that a later export knows them."""
    stale = list(manifest.outputs_before(_files(staging)))
    for name in _files(staging):
        target = out / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(target)
        except OSError as error:
            raise SinkError(f"{target}: cannot be written: {error.strerror or error}") from error
    for name in stale:
        remove_file(place(out, name), out)
    manifest.forget_outputs()


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path relative to it, with forward slashes."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)
