"""Export: from the manifest to annotation files, the review page, and the list of failures.

All files are written into a staging folder, then moved to their places one by one: each is whole or not there, and
nothing in them depends on when or in which order the images were done. A user's file in such a place stays there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ExportInfo, ImageRecord, Records
from cvdetect.core.errors import Occupied, SourceError, UnwritableName
from cvdetect.core.files import whole_file
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line
from cvdetect.jobs.annotate.dataset_images import export_folders, image_paths, image_place, stage_images
from cvdetect.jobs.annotate.image_outputs import ImageOutputs, why_unwritable
from cvdetect.jobs.annotate.job import AnnotateJob, ModelInfo
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import WrittenFile
from cvdetect.jobs.annotate.ownership import (
    FileStats,
    InputFiles,
    InspectedFile,
    OwnFiles,
    conflict_error,
    rows_of_files,
)
from cvdetect.jobs.annotate.reading import read_image
from cvdetect.jobs.annotate.review import thumbnail_path, write_review
from cvdetect.storage import Folder

__all__ = ["FAILURES", "export", "restore_images", "write_files"]

FAILURES = "failures.jsonl"
_PAGE = "review/index.html"
_FILES_AT_ONCE = 2000  # files that are inspected, logged and moved together
_IMAGES_AT_ONCE = 500  # images whose files are looked for together


def restore_images(job: AnnotateJob, root: Folder, manifest: Manifest, model: ModelInfo, stats: FileStats) -> None:
    """Write again the copies, crops and thumbnails that images which are done lack, from their recorded detections.

    Somebody deleted them, or the review page is wanted only now. An image that is gone meanwhile has none.

    Raises:
        SinkError: the folder or disk does not take it.
        SourceError: a folder cannot be read.
    """
    own = OwnFiles(manifest, job.folders(), once=True)
    with ImageOutputs.for_job(job, model.labels, manifest, manifest.holds) as outputs:
        for record in _with_missing_files(job, manifest, own):
            with suppress(SourceError):
                frame = read_image(root, record.name, job.max_pixels).frame(record.name)
                outcome = outputs.write(frame, record.found)
                stats.add(own, outcome)
                if outcome.reason is None:
                    manifest.add_files(record.name, outcome.files)
                else:
                    manifest.record(outcome)


def _with_missing_files(job: AnnotateJob, manifest: Manifest, own: OwnFiles) -> Iterator[ImageRecord]:
    records = iter(manifest)
    while some := list(islice(records, _IMAGES_AT_ONCE)):
        keys = {record.name: _keys(job, manifest, record.name) for record in some}
        inspected = own.inspect(key for of_image in keys.values() for key in of_image)
        missing = {file.key for file in inspected if not file.found.kind}
        yield from (record for record in some if missing.intersection(keys[record.name]))


def _keys(job: AnnotateJob, manifest: Manifest, name: str) -> list[str]:
    return manifest.files_of(name) + ([f"review/{thumbnail_path(name)}"] if job.review else [])


def export(job: AnnotateJob, manifest: Manifest, model: ModelInfo, root: Folder, stats: FileStats) -> None:
    """Write every format, the review page and the list of failures, and link or copy the images if that is wanted;
    delete what earlier exports wrote and this one does not.

    Args:
        root: the folder of the images.
        stats: counts what happened to files.

    Raises:
        UsageError: a file for all images was edited, or somebody made one in its place; nothing is written.
        SinkError: the folder or disk does not take it.
    """
    staging = manifest.path.parent / "export"  # where OUT is local, on its disk
    shutil.rmtree(staging, ignore_errors=True)
    try:
        shared = _write(job, manifest, model, root, staging, stats.unwritable)
        _Placement(manifest, staging, job.out_folder, InputFiles(job, root, manifest), stats).run(shared)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(
    job: AnnotateJob, manifest: Manifest, model: ModelInfo, root: Folder, staging: Path, unwritable: dict[str, str]
) -> set[str]:
    """Write into `staging` → the files that belong to all images."""
    shared: set[str] = set()

    def opens(path: Path, image: str | None) -> AbstractContextManager[IO[str]]:
        if image is None:
            shared.add(_below(staging, path))
        return whole_file(path)

    def unfit(image: str, error: UnwritableName) -> None:
        unwritable.setdefault(image, f"its label file cannot be written: {why_unwritable(error)}")

    info = ExportInfo(model=model.model, ran=model.ran, yolo_conf=bool(job.yolo_conf), opens=opens, unfit=unfit)
    for name, folder in export_folders(job).items():
        of_format = replace(info, images=image_place(job, name, root))
        FORMATS[name].write(staging / folder, manifest, model.labels, of_format)
    unwritable |= stage_images(job, root, manifest.names(), staging)
    if job.review:
        shared.add(_PAGE)
        write_review(staging / _PAGE, manifest, model)
    if unwritable or manifest.counts().failed:
        shared.add(FAILURES)
        _write_failures(staging / FAILURES, manifest.failures(), unwritable)
    return shared


def write_files(
    job: AnnotateJob,
    root: Folder,
    records: Records,
    labels: LabelSet,
    folder: Path,
    take: Callable[[str, str | None], None],
) -> None:
    """A dry run of `export`: call `take` with each file that it may write, relative to OUT, and the image it belongs to
    (None: to all).

    Args:
        root: the folder of the images.
        folder: an empty one, for temporary files of writers.
    """
    with Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere:

        def opens(path: Path, image: str | None) -> AbstractContextManager[IO[str]]:
            take(_below(folder, path), image)
            return nullcontext(nowhere)

        info = ExportInfo(model="", yolo_conf=bool(job.yolo_conf), opens=opens)
        for name, sub in export_folders(job).items():
            FORMATS[name].write(folder / sub, records, labels, replace(info, images=image_place(job, name, root)))
    if job.review:
        take(_PAGE, None)
    take(FAILURES, None)
    for image, path in image_paths(job, root, records.names()):
        take(path, image)


def _below(folder: Path, path: Path) -> str:
    """As `relative_to`, in half the time: this is called for each image and format."""
    return path.as_posix().removeprefix(f"{folder.as_posix()}/")


def _write_failures(path: Path, failures: Iterable[tuple[str, str]], unwritable: Mapping[str, str]) -> None:
    with whole_file(path) as stream:
        for some in (failures, unwritable.items()):
            stream.writelines(as_line({"source": name, "error": reason}) + "\n" for name, reason in some)


class _Placement:
    """Moves the files of `staging` into `out`; each has its row in the manifest before it is in its place."""

    def __init__(self, manifest: Manifest, staging: Path, out: Folder, inputs: InputFiles, stats: FileStats) -> None:
        self._manifest = manifest
        self._staging = staging
        self._out = out
        self._inputs = inputs
        self._own = OwnFiles(manifest, {"out": out}, once=True)
        self._stats = stats
        self._number = manifest.next_export()
        self._identical: list[WrittenFile] = []  # what is in its place already, though no row matched it

    def run(self, shared: set[str]) -> None:
        """Move all files, delete stale ones, and try again to move those that the stale ones blocked.

        Raises:
            UsageError: a user's file lies in the place of one of the `shared`; nothing has been moved.
            UnwritableName: a folder of the user, or a file, has a file's name; all others are in their places.
        """
        self._check(shared)
        blocked: dict[str, UnwritableName] = {}
        names = _files(self._staging)
        while some := list(islice(names, _FILES_AT_ONCE)):
            blocked |= self._move(some)
        for key in self._own.remove(self._stale()):
            self._stats.edited.add(key, self._own.shown(key))
            self._manifest.keep([key], self._number)
        blocked = self._move(list(blocked)) if blocked else blocked
        if blocked:
            raise next(iter(blocked.values()))
        self._manifest.end_export(self._number)

    def _stale(self) -> Iterator[str]:
        """Files that earlier exports wrote and this one does not. A copy that is all that is left of an image now
        belongs to the user.
        """
        for key in self._manifest.stale(self._number):
            if self._inputs.at(self._out, key.partition("/")[2]) is None:
                yield key
            else:
                self._manifest.disown([key])
                self._stats.inputs.add(key, self._own.shown(key))

    def _check(self, shared: set[str]) -> None:
        inspected = self._own.inspect(f"out/{path}" for path in sorted(shared))
        conflicts = [(self._own.shown(file.key), file) for file in inspected if not file.free]
        if conflicts:
            raise conflict_error(self._out, conflicts)

    def _move(self, names: list[str]) -> dict[str, UnwritableName]:
        """Move the files that may be moved → those that something blocks."""
        files = {file.key.partition("/")[2]: file for file in self._own.inspect(f"out/{name}" for name in names)}
        rows = rows_of_files(self._staging, names, self._out.remote)
        moving = {name: file for name, file in files.items() if self._may_move(file, rows[name])}
        self._manifest.keep((file.key for name, file in files.items() if name not in moving), self._number)
        self._manifest.log([*self._identical, *(rows[name] for name in moving)], self._number)
        self._identical.clear()
        failed = self._out.move_in(self._staging, {name: file.found for name, file in moving.items()})
        for name, file in moving.items():
            if isinstance(failed.get(name), Occupied):
                self._stats.occupied.add(file.key, self._own.shown(file.key))
            elif name not in failed and file.claimed:
                self._stats.replaced.add(file.key, self._own.shown(file.key))
        return {name: error for name, error in failed.items() if not isinstance(error, Occupied)}

    def _may_move(self, file: InspectedFile, row: WrittenFile) -> bool:
        """Whether the new file is moved: not where it is in its place already, nor where a user's file is."""
        if file.free:
            return file.own is None or file.own.digest != row.digest
        if file.found.kind in ("folder", "blocked"):
            return True  # moving it reports why it cannot be
        shown = self._own.shown(file.key)
        if file.found.size == row.size and self._out.digest(file.key.partition("/")[2]) == row.digest:
            self._identical.append(replace(row, stamp=file.found.stamp))
            self._stats.edited.discard(file.key, shown)
        else:
            (self._stats.edited if file.edited else self._stats.occupied).add(file.key, shown)
        return False


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path relative to it, with forward slashes."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)
