"""From the manifest to annotation files.

All are written into a folder of their own, then moved to their places one by one: each is whole or not there, and
nothing in them depends on when or in which order the images were done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from cvdetect.annotate.about import About
from cvdetect.annotate.job import AnnotateJob
from cvdetect.annotate.manifest.images import Manifest
from cvdetect.annotate.pictures import why_unfit
from cvdetect.annotate.review import write_review
from cvdetect.annotations.record import Facts
from cvdetect.annotations.writers import WRITERS
from cvdetect.errors import UnfitName
from cvdetect.files import whole_file
from cvdetect.json_records import as_line
from cvdetect.storage import Folder

__all__ = ["FAILURES", "export", "export_folders"]

FAILURES = "failures.jsonl"


def export_folders(job: AnnotateJob) -> dict[str, str]:
    """Each format → the folder of its files, relative to `out`."""
    return {name: "" if len(job.formats) == 1 else name for name in job.formats}


def export(job: AnnotateJob, manifest: Manifest, about: About, images: str) -> dict[str, str]:
    """Write every format, the review page, and the list of failures; delete what earlier exports had besides.

    Args:
        images: the folder of images as the user typed it.

    Returns:
        Name of an image → why a file of its own has a name that is not taken; all others are written.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    staging = manifest.path.parent / "export"  # where OUT is local, on its disk
    shutil.rmtree(staging, ignore_errors=True)
    try:
        unfit = _write(job, manifest, about, images, staging)
        _put_down(manifest, staging, job.out_folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return unfit


def _write(job: AnnotateJob, manifest: Manifest, about: About, images: str, staging: Path) -> dict[str, str]:
    unfit: dict[str, str] = {}

    def told(image: str, error: UnfitName) -> None:
        unfit.setdefault(image, f"its label file cannot be written: {why_unfit(error)}")

    facts = Facts(model=about.model, ran=about.ran, images=images, yolo_conf=job.yolo_conf, unfit=told)
    for name, folder in export_folders(job).items():
        WRITERS[name](staging / folder, manifest, about.labels, facts)
    if job.review:
        write_review(staging / "review" / "index.html", manifest, about)
    if unfit or manifest.counts().failed:
        _write_failures(staging / FAILURES, manifest, unfit)
    return unfit


def _write_failures(path: Path, manifest: Manifest, unfit: Mapping[str, str]) -> None:
    with whole_file(path) as stream:
        for failures in (manifest.failures(), unfit.items()):
            stream.writelines(as_line({"source": name, "error": reason}) + "\n" for name, reason in failures)


def _put_down(manifest: Manifest, staging: Path, out: Folder) -> None:
    """Move the files of `staging` into `out`. They are remembered first, so that a later export knows them.

    Raises:
        UnfitName: a folder of the user's own, or a file, has a file's name; all others are in their places.
    """
    stale = list(manifest.outputs_before(_files(staging)))
    unfit = out.move_in(staging, _files(staging))
    out.remove(stale)
    unfit = out.move_in(staging, list(unfit))  # where the stale ones were in the way
    if unfit:
        raise next(iter(unfit.values()))
    manifest.forget_outputs()


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path relative to it, with forward slashes."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)
