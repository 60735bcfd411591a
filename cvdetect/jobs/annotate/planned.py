"""Which files a run would write, before it detects anything: the writers themselves are asked, on a trial run.

Only the crops' names depend on what is found: there, what lies in their folder is held against what an image can have.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvdetect.annotations.types import ImageRecord
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.annotate.export import write_files
from cvdetect.jobs.annotate.images import copy_name, thumbnail_path
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.storage import Folder

__all__ = ["Planned", "each_planned", "image_of_crop", "planned_pictures", "possible_crops"]

_NOTHING = Detections(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))
_LABELS = LabelSet({}, {})
_CROP = re.compile(r"crops/[^/]+/(?P<image>.+)_[0-9]+\.jpg", re.DOTALL)

Planned = Callable[[str, str | None], None]  # takes a file's key, and the image it belongs to; None: to all


@dataclass(frozen=True, slots=True)
class _AsIfDone:
    """All images of a manifest as records of nothing found."""

    manifest: Manifest
    met: bool

    def names(self) -> Iterator[str]:
        yield from (name for name, _ in self.manifest.listed(self.met))

    def __iter__(self) -> Iterator[ImageRecord]:
        yield from (ImageRecord(name, (1, 1), _NOTHING) for name in self.names())


def each_planned(job: AnnotateJob, root: Folder, manifest: Manifest, met: bool, take: Planned) -> None:
    """`take` each annotation file, annotated copy and thumbnail that `job` may write for the images of `manifest`.

    Args:
        root: the folder of the images.
        met: only for those that the last walk met.

    Raises:
        SinkError: an image's name leads out of OUT, or there is no room for temporary files.
    """
    records = _AsIfDone(manifest, met)
    with tempfile.TemporaryDirectory(prefix="cvdetect-") as name:
        write_files(job, root, records, _LABELS, Path(name), lambda path, image: take(f"out/{path}", image))
    for image in records.names():
        for key in planned_pictures(job, image, manifest.holds):
            take(key, image)


def planned_pictures(job: AnnotateJob, image: str, holds: Callable[[str], bool]) -> Iterator[str]:
    """Keys of an image's pictures, the crops apart; `holds`: whether there is an image of a name."""
    if job.draw is not None:
        yield f"draw/{copy_name(image, holds)}"
    if job.review:
        yield f"review/{thumbnail_path(image)}"


def image_of_crop(key: str) -> str | None:
    """The image that a file is a crop of, by its key; None where it is none."""
    found = _CROP.fullmatch(key)
    return found["image"] if found else None


def possible_crops(folder: Folder, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Key and image of every file in the crops' folder that could be a crop of one of the images."""
    for path in _files_below(folder, "", ()):
        image = image_of_crop(f"crops/{path}")
        if image is not None and manifest.holds(image):
            yield f"crops/{path}", image


def _files_below(folder: Folder, name: str, parents: tuple[Hashable, ...]) -> Iterator[str]:
    with suppress(SourceError):  # it is not there, or cannot be entered: nor can a crop be written there
        own = folder.identity(name)
        if own in parents:
            return
        for entry in folder.entries(name):
            path = f"{name}/{entry.name}" if name else entry.name
            if entry.is_folder:
                yield from _files_below(folder, path, (*parents, own))
            else:
                yield path
