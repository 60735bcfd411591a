"""What a worker on another machine does: a chunk of names in, their outcomes out. It has no manifest.

The driver sends an `Order` once and a chunk of names at a time; the same steps as on one machine run on them.
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
from cvdetect.jobs.annotate.images import PictureOutputs, copy_name
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.local import PictureSink, read_pictures, reason_of
from cvdetect.jobs.annotate.manifest.outcome import Outcome, Written
from cvdetect.jobs.annotate.own import Rows
from cvdetect.jobs.annotate.settle import Digest, model_digests, options_of
from cvdetect.runtime import Ran, runs_on_device
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.sources import Failed
from cvdetect.storage import Folder, LocalFolder, is_url

__all__ = [
    "Order",
    "Sent",
    "SentRows",
    "Worker",
    "WorkerConfig",
    "absolute",
    "mark_outputs",
    "picture_outputs",
    "taken_names",
]

_IMAGES = 1 << 30  # more than any chunk: a worker's networks are not chosen for a few images


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker has to know once.

    Attributes:
        job: with absolute paths, as a worker's current folder is another one.
        root: the folder that names are relative to, absolute.
        sample: a file below `root` that the driver sees, to find out whether the worker sees the same folder.
        spelling: how messages name arguments.
    """

    job: AnnotateJob
    root: Folder
    sample: str | None = None
    spelling: Spelling = python_spelling


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker says of the model it has loaded; the first three are a `Detector`'s.

    Attributes:
        options: all that decides about results, as `options_of` has it there.
        digests: of the model's files.
        told: what loading it has told: "note", "detail" or "warn", and the message.
    """

    name: str
    labels: LabelSet
    ran: Ran
    options: Mapping[str, Any]
    digests: Mapping[str, Digest]
    told: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """What a worker has to know of a chunk's images.

    Attributes:
        taken: names of copies that belong to other inputs, from `taken_names`.
        rows: of pictures that earlier runs wrote for them, and that a user let them replace.
    """

    taken: frozenset[str] = frozenset()
    rows: tuple[Written, ...] = ()


class _Notes(NullProgress):
    """Keeps what it is told, for the person at the driver."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def note(self, message: str) -> None:
        self.told.append(("note", message))

    def detail(self, message: str) -> None:
        self.told.append(("detail", message))

    def warn(self, message: str) -> None:
        self.told.append(("warn", message))

    def error(self, message: str) -> None:
        self.told.append(("error", message))


class Worker:
    """Loads the model once, then does one chunk after another.

    Raises:
        UsageError, ModelError: the model or backend cannot be had here.
        SourceError: this machine does not see the folder of images.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._seen = False
        with spelled_by(order.spelling):
            self._load(order)

    def _load(self, order: Order) -> None:
        _check_root(order)
        job = order.job
        # On a GPU two networks keep it busy; on a CPU each core has a worker of its own.
        several = None if runs_on_device(job.run) else 1
        notes = _Notes()
        self._detectors = load_detectors(job.model, job.detect, job.run, notes, most=_IMAGES, workers=several)
        first, digests = self._detectors[0], model_digests(job, {}, NullProgress())
        self.loaded = WorkerConfig(first.name, first.labels, first.ran, options_of(job), digests, tuple(notes.told))

    def do(self, names: Iterable[str], sent: Sent) -> tuple[list[Outcome], float]:
        """Detect in the images of these names → what came of each, as far as it got, and the seconds that took.

        Args:
            sent: what the manifest knows that concerns them.

        Raises:
            SinkError: pictures cannot be written, or not into the folder that the driver sees.
        """
        begin = time.perf_counter()
        with spelled_by(self._order.spelling):
            return self._do(names, sent), time.perf_counter() - begin

    def _do(self, names: Iterable[str], sent: Sent) -> list[Outcome]:
        job = self._order.job
        if not self._seen:
            _check_outputs(job)
            self._seen = True
        outcomes: list[Outcome] = []
        pictures = picture_outputs(job, self.loaded.labels, job.folders(), SentRows(sent.rows), sent.taken.__contains__)
        items = self._items(names, outcomes)
        # On a thread of its own, so that signals stay with whatever runs this process.
        with ThreadPoolExecutor(1) as pool:
            work = partial(
                run,
                items,
                self._detectors,
                [PictureSink(pictures, outcomes.append)],
                options=PipelineOptions(batch=job.batch),
            )
            pool.submit(work, progress=NullProgress()).result()
        return outcomes

    def _items(self, names: Iterable[str], outcomes: list[Outcome]) -> Iterator[Frame | Failed]:
        """The pictures; what failed has its outcome when it passes, and is the last with `fail_fast`."""
        job, root = self._order.job, self._order.root
        for item in read_pictures(root, names, job.max_pixels):
            if isinstance(item, Failed):
                outcomes.append(Outcome(item.name, reason=reason_of(item, root)))
                if job.fail_fast:
                    return
            else:
                yield item


def picture_outputs(
    job: AnnotateJob, labels: LabelSet, folders: Mapping[str, Folder], rows: Rows, taken: Callable[[str], bool]
) -> PictureOutputs:
    """The writer of the pictures that `job` wants in `folders`; `rows` and `taken` as it has them."""
    renderer = Renderer(labels, job.style, blurred_classes(job.blur, labels))
    return PictureOutputs(folders, labels, renderer, rows, taken, bool(job.blur))


class SentRows:
    """`Rows` where there is no manifest: the driver records the outcomes, which have the new ones."""

    def __init__(self, rows: Iterable[Written]) -> None:
        self._rows: dict[str, list[Written]] = {}
        self.log_pictures("", rows)

    def known(self, keys: Iterable[str]) -> dict[str, list[Written]]:
        """As `Rows.known`."""
        return {key: self._rows[key] for key in keys if key in self._rows}

    def log_pictures(self, _name: str, rows: Iterable[Written]) -> None:
        """For this process alone: what a killed one leaves is known by its content."""
        for row in rows:
            self._rows.setdefault(row.key, []).append(row)

    def log(self, rows: Iterable[Written]) -> None:
        """Nobody asks again."""

    def disown(self, keys: Iterable[str]) -> None:
        """As `Rows.disown`."""
        for key in keys:
            self._rows.pop(key, None)


def taken_names(names: Iterable[str], holds: Callable[[str], bool]) -> frozenset[str]:
    """Of the names that copies of `names` might get, those that belong to other inputs: what `taken` is asked for."""
    taken: set[str] = set()

    def ask(name: str) -> bool:
        if holds(name):
            taken.add(name)
            return True
        return False

    for name in names:
        copy_name(name, ask)
    return frozenset(taken)


def absolute(job: AnnotateJob) -> AnnotateJob:
    """The same job wherever the current folder is."""
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
    """A path or an address wherever the current folder is."""
    if place is None or (isinstance(place, str) and is_url(place)):
        return place
    return Path(os.path.abspath(place))  # noqa: PTH100 - links stay


_MARK = "seen-by-workers"


def mark_outputs(job: AnnotateJob) -> None:
    """Leave a mark in the folders of pictures on a disk, by which workers know them; it goes when they are swept.

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


def _check_root(order: Order) -> None:
    if order.root.kind() != "folder":
        raise SourceError(f"does not see the folder of images {order.root}: {_shared()}")
    if order.sample is not None and order.root.kind(order.sample) is None:
        raise SourceError(f"sees another {order.root}, without {order.sample}: {_shared()}")


def _shared() -> str:
    return (
        f"with {arg('engine', 'ray')} it has to lie in a store, or on a disk that all nodes share, under the same path"
    )
