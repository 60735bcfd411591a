"""Before any work: what lies where a run would write, and is not its own.

Such files end the run, or with `overwrite` are listed as ones that it may replace. Files of one image that an
earlier run has written and a user has corrected since are kept.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cvdetect.annotations.types import ImageRecord
from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.annotate.export import write_files
from cvdetect.jobs.annotate.images import copy_name, thumbnail_path
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Written
from cvdetect.jobs.annotate.own import Left, Look, Originals, OwnFiles, refusal
from cvdetect.storage import Folder

__all__ = ["Planned", "check_outputs", "each_planned", "image_of_crop", "planned_pictures", "possible_crops"]


_TOGETHER = 2000  # files that are looked at together
_NAMED = 5


def check_outputs(job: AnnotateJob, root: Folder, manifest: Manifest, met: bool, edited: Left) -> list[Written]:
    """Look at every file that `job` may write → a user's files among them, which `overwrite` lets it replace.

    Args:
        root, met: as `each_planned`.
        edited: takes the files of single images that were edited since an earlier run wrote them; these are kept.

    Raises:
        UsageError: there are files that are not the run's own, and it must not replace them; or inputs, which it never
            replaces.
        SourceError: a folder cannot be read.
    """
    begun = manifest.fact("options") is not None and not job.overwrite
    folders: Mapping[str, Folder] = {"out": job.out_folder, **job.folders()}
    own = OwnFiles(manifest, folders, once=True)
    originals = Originals(job, root, manifest)
    check = _Check(own, manifest, originals, job.overwrite, _traces(manifest) if begun else None, edited)
    each_planned(job, root, manifest, met, check.take)
    check.flush()
    if "crops" in folders:
        for key, image in possible_crops(folders["crops"], manifest):
            check.take(key, image)
        check.flush()
    if check.refused:
        raise refusal(job.out_folder, check.refused, check.count - len(check.refused))
    return check.claims


def _traces(manifest: Manifest) -> Callable[[str], bool] | None:
    """Whether a killed run may have left pictures of an image that no row names; None: it has named all."""
    return manifest.waits if manifest.fact("untold") else None


@dataclass(slots=True)
class _Check:
    own: OwnFiles
    manifest: Manifest
    originals: Originals
    overwrite: bool
    traces: Callable[[str], bool] | None
    edited: Left
    claims: list[Written] = field(default_factory=list)
    refused: list[tuple[str, Look]] = field(default_factory=list)
    count: int = 0
    waiting: dict[str, str | None] = field(default_factory=dict)

    def take(self, key: str, image: str | None) -> None:
        """Look at a file, together with others."""
        self.waiting[key] = image
        if len(self.waiting) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Look at those that wait."""
        for look in self.own.look(list(self.waiting)):
            if not look.free:
                self._judge(look, self.waiting[look.key])
        self.waiting.clear()

    def _judge(self, look: Look, image: str | None) -> None:
        """What to do about something that is not the run's own."""
        is_file = look.found.kind in ("file", "link")
        if not is_file and (image is not None and self._ours(look)):
            return  # a folder of ours is called like another image's file: that image fails, or the file goes
        if is_file and self.overwrite:
            self._check_original(look.key)
            self.claims.append(Written(look.key, "", "", look.found.size, look.found.stamp))
        elif look.edited and image is not None:
            self.edited.add(look.key, self.own.shown(look.key))
        elif not (is_file and image is not None and self._left_by_kill(look, image)):
            self._check_original(look.key)
            self.count += 1
            if len(self.refused) < _NAMED:
                self.refused.append((self.own.shown(look.key), look))

    def _check_original(self, key: str) -> None:
        kind, _, path = key.partition("/")
        original = self.originals.at(self.own.folders[kind], path)
        if original is not None:
            option, shown = kind if kind in ("draw", "crops") else "out", self.own.shown(key)
            called = "" if shown == original else f" {original}"
            raise UsageError(
                f"{shown}: is the input{called} itself, which is never written over; give another {arg(option)}"
            )

    def _ours(self, look: Look) -> bool:
        """Whether a folder has a file of ours, or is the path of one."""
        if look.found.kind == "folder":
            return self.manifest.has_below(look.key)
        return bool(self.manifest.known(_above(look.key)))

    def _left_by_kill(self, look: Look, image: str) -> bool:
        """Whether it may be a picture that a killed run has left: then its content decides, when it is made again."""
        is_picture = not look.key.startswith("out/")
        return is_picture and self.traces is not None and self.traces(image)


def _above(key: str) -> Iterator[str]:
    """The keys of the folders that a file lies in."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


# Which files a run would write, before it detects anything: the writers themselves are asked, on a trial run.
#
# Only the crops' names depend on what is found: there, what lies in their folder is held against what an image can
# have.

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
