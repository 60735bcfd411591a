"""A worker on another machine: names of images in, their outcomes out. It has no manifest.

The driver sends an `Assignment` once and then a chunk of names at a time, which go through the same steps as on one
machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import Spelling, arg, python_spelling, spelled_by
from cvdetect.core.errors import SinkError, SourceError
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import NullProgress
from cvdetect.inference.detector import load_detectors
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.jobs.annotate.image_outputs import ImageOutputs, copy_name
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.local import ImageSink
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile
from cvdetect.jobs.annotate.reading import read_images, reason_of
from cvdetect.jobs.annotate.resume import Digest, model_digests, result_options
from cvdetect.runtime import Ran, runs_on_device
from cvdetect.sources import Failed
from cvdetect.storage import Folder, LocalFolder, is_url

__all__ = [
    "Assignment",
    "ChunkContext",
    "ContextRows",
    "Worker",
    "WorkerConfig",
    "absolute",
    "mark_outputs",
    "taken_copy_names",
]

_IMAGES = 1 << 30  # more than any chunk: a worker's networks are not chosen for a few images
_MARK = "seen-by-workers"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker needs to know once.

    Attributes:
        job: from `absolute`.
        root: the folder that names are relative to, absolute.
        sample: a file below `root` that the driver sees, to check that the worker sees the same folder.
        spelling: how messages name arguments.
    """

    job: AnnotateJob
    root: Folder
    sample: str | None = None
    spelling: Spelling = python_spelling


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker reports of the model it has loaded; the first three are a `Detector`'s.

    Attributes:
        options: `result_options` on that machine.
        digests: of the model's files.
        messages: what loading it reported: "note", "detail" or "warn", and the message.
    """

    name: str
    labels: LabelSet
    ran: Ran
    options: Mapping[str, Any]
    digests: Mapping[str, Digest]
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkContext:
    """What a worker needs to know of a chunk's images.

    Attributes:
        taken: names that copies must not have, from `taken_copy_names`.
        rows: of files that earlier runs wrote for them, and of those that a user lets them replace.
    """

    taken: frozenset[str] = frozenset()
    rows: tuple[WrittenFile, ...] = ()


class _Notes(NullProgress):
    """Keeps messages for the user at the driver."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def note(self, message: str) -> None:
        self.messages.append(("note", message))

    def detail(self, message: str) -> None:
        self.messages.append(("detail", message))

    def warn(self, message: str) -> None:
        self.messages.append(("warn", message))

    def error(self, message: str) -> None:
        self.messages.append(("error", message))


class Worker:
    """Loads the model once, then does one chunk after another.

    Raises:
        UsageError, ModelError: the model or backend is not available here.
        SourceError: this machine does not see the folder of images.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._seen = False
        with spelled_by(assignment.spelling):
            self._load(assignment)

    def _load(self, assignment: Assignment) -> None:
        _check_root(assignment)
        job = assignment.job
        # On a GPU two networks keep it busy; on a CPU each core has a worker of its own.
        several = None if runs_on_device(job.run) else 1
        notes = _Notes()
        self._detectors = load_detectors(job.model, job.detect, job.run, notes, most=_IMAGES, workers=several)
        first, digests = self._detectors[0], model_digests(job, {}, NullProgress())
        self.loaded = WorkerConfig(
            first.name, first.labels, first.ran, result_options(job), digests, tuple(notes.messages)
        )

    def do(self, names: Iterable[str], context: ChunkContext) -> tuple[list[Outcome], float]:
        """Detect in the images of these names → the outcome of each, as far as it got, and the seconds that took.

        Args:
            context: what the manifest knows of these images.

        Raises:
            SinkError: files cannot be written, or not into the folder that the driver sees.
        """
        begin = time.perf_counter()
        with spelled_by(self._assignment.spelling):
            return self._do(names, context), time.perf_counter() - begin

    def _do(self, names: Iterable[str], context: ChunkContext) -> list[Outcome]:
        job = self._assignment.job
        if not self._seen:
            _check_outputs(job)
            self._seen = True
        outcomes: list[Outcome] = []
        outputs = ImageOutputs.for_job(job, self.loaded.labels, ContextRows(context.rows), context.taken.__contains__)
        items = self._items(names, outcomes)
        # On a thread of its own, so that signals stay with whatever runs this process.
        with ThreadPoolExecutor(1) as pool:
            work = partial(
                run,
                items,
                self._detectors,
                [ImageSink(outputs, outcomes.append)],
                options=PipelineOptions(batch=job.batch),
            )
            pool.submit(work, progress=NullProgress()).result()
        return outcomes

    def _items(self, names: Iterable[str], outcomes: list[Outcome]) -> Iterator[Frame | Failed]:
        """The images; one that failed has its outcome as it passes, and is the last with `fail_fast`."""
        job, root = self._assignment.job, self._assignment.root
        for item in read_images(root, names, job.max_pixels):
            if isinstance(item, Failed):
                outcomes.append(Outcome(item.name, reason=reason_of(item, root)))
                if job.fail_fast:
                    return
            else:
                yield item


class ContextRows:
    """`FileRows` without a manifest: the driver records the outcomes, which include the new rows."""

    def __init__(self, rows: Iterable[WrittenFile]) -> None:
        self._rows: dict[str, list[WrittenFile]] = {}
        self.log_images("", rows)

    def known(self, keys: Iterable[str]) -> dict[str, list[WrittenFile]]:
        """As `FileRows.known`."""
        return {key: self._rows[key] for key in keys if key in self._rows}

    def log_images(self, _name: str, rows: Iterable[WrittenFile]) -> None:
        """For this process alone: files that a killed one leaves are known by their content."""
        for row in rows:
            self._rows.setdefault(row.key, []).append(row)

    def log(self, rows: Iterable[WrittenFile]) -> None:
        """Nothing to do: a chunk's files are inspected once."""

    def disown(self, keys: Iterable[str]) -> None:
        """As `FileRows.disown`."""
        for key in keys:
            self._rows.pop(key, None)


def taken_copy_names(names: Iterable[str], holds: Callable[[str], bool]) -> frozenset[str]:
    """Of the names that copies of `names` could get, those that inputs have: all that `taken` is called with."""
    taken: set[str] = set()

    def is_taken(name: str) -> bool:
        if holds(name):
            taken.add(name)
            return True
        return False

    for name in names:
        copy_name(name, is_taken)
    return frozenset(taken)


def absolute(job: AnnotateJob) -> AnnotateJob:
    """The same job with absolute paths, as a worker's current folder is another one."""
    return replace(
        job,
        images=job.images if job.images == "-" else str(_absolute(job.images)),
        root=_absolute(job.root),
        out=_absolute(job.out),
        draw=_absolute(job.draw),
        crops=_absolute(job.crops),
        model=_absolute_files(job.model),
    )


def _absolute_files(model: ModelChoice) -> ModelChoice:
    values = {field.name: getattr(model, field.name) for field in fields(model)}
    return replace(model, **{key: _absolute(value) for key, value in values.items() if isinstance(value, Path)})


def _absolute(place: Any) -> Any:
    """An absolute path, or an address as it is."""
    if place is None or (isinstance(place, str) and is_url(place)):
        return place
    return Path(os.path.abspath(place))  # noqa: PTH100 - links stay


def mark_outputs(job: AnnotateJob) -> None:
    """Leave a mark in the folders for images on a disk, by which workers recognise them; sweeping them removes it.

    Raises:
        SinkError: it cannot be written.
    """
    for folder in _on_disk(job).values():
        try:
            folder.scratch.mkdir(parents=True, exist_ok=True)
            (folder.scratch / _MARK).touch()
        except OSError as error:
            raise SinkError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _check_outputs(job: AnnotateJob) -> None:
    for kind, folder in _on_disk(job).items():
        if not (folder.scratch / _MARK).exists():
            raise SinkError(f"does not see the folder of {arg(kind)}, {folder}: {_shared()}")


def _on_disk(job: AnnotateJob) -> dict[str, LocalFolder]:
    return {kind: folder for kind, folder in job.folders().items() if isinstance(folder, LocalFolder)}


def _check_root(assignment: Assignment) -> None:
    root, sample = assignment.root, assignment.sample
    if root.kind() != "folder":
        raise SourceError(f"does not see the folder of images {root}: {_shared()}")
    if sample is not None and root.kind(sample) is None:
        raise SourceError(f"sees another {root}, without {sample}: {_shared()}")


def _shared() -> str:
    return (
        f"with {arg('engine', 'ray')} it has to lie in a store, or on a disk that all nodes share, under the same path"
    )
