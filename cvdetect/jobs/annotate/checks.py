"""What is checked before any work: options and folders, and the files that a run would write.

A user's files in the places of these end the run, or with `overwrite` are recorded as ones that it may replace.
Files of one image that an earlier run wrote and a user has corrected since are kept.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ImageRecord
from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import check_least
from cvdetect.core.outputs import claimed_by
from cvdetect.core.printable import closest
from cvdetect.jobs.annotate.dataset_images import check_images
from cvdetect.jobs.annotate.export import write_files
from cvdetect.jobs.annotate.image_outputs import copy_name
from cvdetect.jobs.annotate.inputs import Inputs, Selection, images_below
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest import MANIFEST_FOLDER
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import WrittenFile
from cvdetect.jobs.annotate.ownership import InputFiles, InspectedFile, NamedFiles, OwnFiles, conflict_error
from cvdetect.jobs.annotate.review import thumbnail_path
from cvdetect.storage import Folder, LocalFolder

__all__ = [
    "check_folder",
    "check_job",
    "check_outputs",
    "identities",
    "image_of_crop",
    "images_not_entered",
    "planned_images",
]

ENGINES = ("local", "ray")

_FILES_AT_ONCE = 2000  # files that are inspected together
_NAMED = 5  # files that a message names
_NO_DETECTIONS = Detections(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))
_NO_LABELS = LabelSet({}, {})
_CROP = re.compile(r"crops/[^/]+/(?P<image>.+)_[0-9]+\.jpg", re.DOTALL)


def check_job(job: AnnotateJob, inputs: Inputs) -> None:
    """Raise UsageError for options that do not go together, SinkError where a store cannot be written to."""
    if job.resume and job.overwrite:
        raise UsageError(f"{arg('resume')} and {arg('overwrite')} contradict each other: give one")
    _check_formats(job)
    for argument, value in (("workers", job.workers), ("batch", job.batch), ("max_pixels", job.max_pixels)):
        if value is not None:
            check_least(value, 1, argument)
    _check_engine(job)
    check_images(job, inputs.root)
    _check_folders(job, inputs)


def _check_formats(job: AnnotateJob) -> None:
    for name in job.formats:
        if name not in FORMATS:
            near = closest(name, FORMATS)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(FORMATS)}"
            raise UsageError(f"{arg('formats')} {name}: no such format; {hint}")
    if not job.formats:
        raise UsageError(f"{arg('formats')}: give one or more of {', '.join(FORMATS)}")


def _check_engine(job: AnnotateJob) -> None:
    if job.engine not in ENGINES:
        raise UsageError(f"{arg('engine')} {job.engine}: there are {' and '.join(ENGINES)}")
    if job.engine != "ray" and job.ray_address is not None:
        raise UsageError(f"{arg('ray_address')} {job.ray_address} goes with {arg('engine', 'ray')}")
    if job.engine == "ray" and job.run.device_id is not None:
        raise UsageError(
            f"{arg('device_id')} {job.run.device_id} goes with {arg('engine', 'local')}: Ray gives each worker its GPU"
        )


def _check_folders(job: AnnotateJob, inputs: Inputs) -> None:
    """No image that is written may take the place of one that is read, or of one of another kind."""
    for kind, folder in job.folders().items():
        if inputs.root.within(folder):
            raise UsageError(f"{arg(kind)} {folder}: holds the input folder {inputs.root}; give another one")
        check_folder(kind, folder)
        _check_unclaimed(kind, folder, job.out_folder)
        if folder.within(job.out_folder.folder(MANIFEST_FOLDER)):
            raise UsageError(f"{arg(kind)} {folder}: lies in the manifest's own folder; give another one")
    for (kind, folder), (other, same) in combinations(job.folders().items(), 2):
        if folder.within(same) and same.within(folder):
            raise UsageError(f"{arg(kind)} and {arg(other)} are the same folder {folder}: give two")
    for folder in (job.out_folder, *job.folders().values()):
        if folder.remote:  # before anything is listed, fetched or loaded
            folder.prepare()


def check_folder(kind: str, folder: Folder) -> None:
    """Raise UsageError where a file lies in the place of a folder that is to be written into."""
    if not folder.remote and folder.kind() == "file":
        raise UsageError(f"{folder}: is a file; {arg(kind)} takes a folder")


def _check_unclaimed(kind: str, folder: Folder, out: Folder) -> None:
    """Nothing is written into the OUT of another run, whose manifest records every file there."""
    owner = claimed_by(folder.path) if isinstance(folder, LocalFolder) else None
    if owner is not None and not (isinstance(out, LocalFolder) and out.path.resolve() == owner):
        raise UsageError(
            f"{arg(kind)} {folder}: lies in {owner}, which holds the results of another run; choose another"
        )


def check_outputs(
    job: AnnotateJob, root: Folder, manifest: Manifest, met: bool, edited: NamedFiles
) -> list[WrittenFile]:
    """Inspect every file that `job` may write → a user's files among them, which `overwrite` lets it replace.

    Args:
        root: the folder of the images.
        met: only for images that the last walk found.
        edited: takes the files of single images that were edited since an earlier run wrote them; these are kept.

    Raises:
        UsageError: there are files that are not the run's own, and it must not replace them; or inputs, which it never
            replaces.
        SourceError: a folder cannot be read.
        SinkError: an image's name leads out of OUT, or there is no room for temporary files.
    """
    begun = manifest.fact("options") is not None and not job.overwrite
    folders: Mapping[str, Folder] = {"out": job.out_folder, **job.folders()}
    own = OwnFiles(manifest, folders, once=True)
    inputs = InputFiles(job, root, manifest)
    check = _OutputCheck(own, manifest, inputs, job.overwrite, _may_be_unlogged(manifest) if begun else None, edited)
    _plan(job, root, manifest, met, check.take)
    check.flush()
    if "crops" in folders:
        for key, image in _possible_crops(folders["crops"], manifest):
            check.take(key, image)
        check.flush()
    if check.conflicts:
        raise conflict_error(job.out_folder, check.conflicts, check.count - len(check.conflicts))
    return check.claims


def _may_be_unlogged(manifest: Manifest) -> Callable[[str], bool] | None:
    """Whether a killed run may have left files of an image that no row names; None: it logged all."""
    return manifest.waits if manifest.fact("untold") else None


@dataclass(slots=True)
class _OutputCheck:
    own: OwnFiles
    manifest: Manifest
    inputs: InputFiles
    overwrite: bool
    may_be_unlogged: Callable[[str], bool] | None
    edited: NamedFiles
    claims: list[WrittenFile] = field(default_factory=list)
    conflicts: list[tuple[str, InspectedFile]] = field(default_factory=list)  # the first few
    count: int = 0
    waiting: dict[str, str | None] = field(default_factory=dict)

    def take(self, key: str, image: str | None) -> None:
        """Check a file, together with others."""
        self.waiting[key] = image
        if len(self.waiting) >= _FILES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Check the files that wait."""
        for file in self.own.inspect(list(self.waiting)):
            if not file.free:
                self._check(file, self.waiting[file.key])
        self.waiting.clear()

    def _check(self, file: InspectedFile, image: str | None) -> None:
        """Decide about something that is not the run's own."""
        is_file = file.found.kind in ("file", "link")
        if not is_file and (image is not None and self._has_own(file)):
            return  # a folder of the run is called like another image's file: that image fails, or the file goes
        if is_file and self.overwrite:
            self._check_input(file.key)
            self.claims.append(WrittenFile(file.key, "", "", file.found.size, file.found.stamp))
        elif file.edited and image is not None:
            self.edited.add(file.key, self.own.shown(file.key))
        elif not (is_file and image is not None and self._left_by_kill(file, image)):
            self._check_input(file.key)
            self.count += 1
            if len(self.conflicts) < _NAMED:
                self.conflicts.append((self.own.shown(file.key), file))

    def _check_input(self, key: str) -> None:
        kind, _, path = key.partition("/")
        original = self.inputs.at(self.own.folders[kind], path)
        if original is not None:
            option, shown = kind if kind in ("draw", "crops") else "out", self.own.shown(key)
            called = "" if shown == original else f" {original}"
            raise UsageError(
                f"{shown}: is the input{called} itself, which is never overwritten; give another {arg(option)}"
            )

    def _has_own(self, file: InspectedFile) -> bool:
        """Whether a folder holds a file of the run, or has the path of one."""
        if file.found.kind == "folder":
            return self.manifest.has_below(file.key)
        return bool(self.manifest.known(_parents(file.key)))

    def _left_by_kill(self, file: InspectedFile, image: str) -> bool:
        """Whether a killed run may have left it: then its content decides, when it is made again."""
        is_image = not file.key.startswith("out/")
        return is_image and self.may_be_unlogged is not None and self.may_be_unlogged(image)


def _parents(key: str) -> Iterator[str]:
    """The keys of the folders that a file lies in."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


@dataclass(frozen=True, slots=True)
class _EmptyRecords:
    """All images of a manifest as records without detections, for a dry run of the writers."""

    manifest: Manifest
    met: bool

    def names(self) -> Iterator[str]:
        yield from (name for name, _ in self.manifest.listed(self.met))

    def __iter__(self) -> Iterator[ImageRecord]:
        yield from (ImageRecord(name, (1, 1), _NO_DETECTIONS) for name in self.names())


def _plan(
    job: AnnotateJob, root: Folder, manifest: Manifest, met: bool, take: Callable[[str, str | None], None]
) -> None:
    """`take` the key of each annotation file, annotated copy and thumbnail that `job` may write, and the image it
    belongs to (None: to all). Names of crops depend on detections, so crops are not among these.
    """
    records = _EmptyRecords(manifest, met)
    with tempfile.TemporaryDirectory(prefix="cvdetect-") as name:
        write_files(job, root, records, _NO_LABELS, Path(name), lambda path, image: take(f"out/{path}", image))
    for image in records.names():
        for key in planned_images(job, image, manifest.holds):
            take(key, image)


def planned_images(job: AnnotateJob, image: str, holds: Callable[[str], bool]) -> Iterator[str]:
    """Keys of an image's annotated copy and thumbnail; `holds`: whether there is an image of a name."""
    if job.draw is not None:
        yield f"draw/{copy_name(image, holds)}"
    if job.review:
        yield f"review/{thumbnail_path(image)}"


def image_of_crop(key: str) -> str | None:
    """The image that a file is a crop of, by its key; None where it is not a crop."""
    found = _CROP.fullmatch(key)
    return found["image"] if found else None


def _possible_crops(folder: Folder, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Key and image of every file in the crops' folder that could be a crop of one of the images."""
    for path in _files_below(folder, "", ()):
        image = image_of_crop(f"crops/{path}")
        if image is not None and manifest.holds(image):
            yield f"crops/{path}", image


def _files_below(folder: Folder, name: str, parents: Iterable[Hashable]) -> Iterator[str]:
    with suppress(SourceError):  # it is not there, or cannot be read: nor can a crop be written there
        own = folder.identity(name)
        if own in parents:
            return
        for entry in folder.entries(name):
            path = f"{name}/{entry.name}" if name else entry.name
            if entry.is_folder:
                yield from _files_below(folder, path, (*parents, own))
            else:
                yield path


def identities(folders: Iterable[Folder]) -> frozenset[Hashable]:
    """The identities of those folders that exist."""
    return frozenset(found for folder in folders if (found := _identity(folder)))


def _identity(folder: Folder) -> Hashable:
    try:
        return folder.identity()
    except SourceError:
        return None


def images_not_entered(
    inputs: Inputs, names: Iterable[str], written: Iterable[tuple[str, Folder]], manifest: Manifest
) -> Iterator[tuple[str, int]]:
    """Images that no run made, in folders that the walk does not enter because runs write there.

    Args:
        names: of these folders below the root.
        written: kind and folder of what this run and earlier ones write.

    Yields:
        Each folder that holds such images, as messages show it, and their number.
    """
    real = [(kind, _without_links(folder)) for kind, folder in written]
    for name in names:
        number = _count_images(inputs, name, real, manifest)
        if number:
            yield inputs.root.shown(name), number


def _count_images(inputs: Inputs, name: str, written: Sequence[tuple[str, Folder]], manifest: Manifest) -> int:
    folder, number, wanted = _without_links(inputs.root.folder(name.rstrip("/"))), 0, inputs.selection or Selection()
    depth = None if wanted.depth is None else wanted.depth - name.count("/")
    found = (path for path in images_below(folder, depth) if wanted.takes(name + path))
    while some := list(islice(found, _FILES_AT_ONCE)):
        keys = [{*_keys(folder.shown(path), written)} for path in some]
        known = manifest.known({key for of_image in keys for key in of_image}).keys()
        number += sum(not of_image & known for of_image in keys)
    return number


def _keys(path: str, written: Sequence[tuple[str, Folder]]) -> Iterator[str]:
    """The keys that runs have for a file, if it lies in their folders."""
    for kind, folder in written:
        name = folder.relative(path)
        if name is not None:
            yield f"{kind}/{name}"


def _without_links(folder: Folder) -> Folder:
    return LocalFolder(folder.path.resolve()) if isinstance(folder, LocalFolder) else folder
