"""The engine on one machine: the pipeline, from files to the manifest."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError, SourceError, SourceNotFound
from cvdetect.core.frame import Frame
from cvdetect.core.progress import Controls, Progress
from cvdetect.inference.pipeline import Detects, PipelineOptions, Summary, run
from cvdetect.jobs.annotate.ahead import AT_ONCE, ahead
from cvdetect.jobs.annotate.images import PictureOutputs
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.own import FileTally, OwnFiles
from cvdetect.sources import Failed
from cvdetect.sources.decode import DecodedImage, decode
from cvdetect.sources.headers import check_wh, stated_wh
from cvdetect.sources.images import read_image_file
from cvdetect.storage import Folder, LocalFolder

__all__ = ["PictureSink", "Recorder", "detect_waiting", "read_picture", "read_pictures", "reason_of"]

_BYTES_A_PIXEL = 8  # of the largest kind there is, 16 bits in four channels, without compression


def detect_waiting(
    root: Folder,
    job: AnnotateJob,
    detectors: Sequence[Detects],
    recorder: Recorder,
    progress: Progress,
) -> Summary:
    """Detect in every image that waits; each is recorded as soon as it is done."""
    controls = Controls()

    def take(outcome: Outcome) -> None:
        recorder.record(outcome)
        if outcome.reason is not None:
            progress.error(f"{root.shown(outcome.name)}: {outcome.reason}")
            if job.fail_fast:
                controls.stop()

    names = recorder.manifest.waiting()
    items = _failures_recorded(read_pictures(root, names, job.max_pixels), root, recorder, job.fail_fast, controls)
    with recorder:
        sink = PictureSink(recorder.pictures, take)
        return run(items, detectors, [sink], progress, options=PipelineOptions(batch=job.batch), controls=controls)


class Recorder:
    """Keeps what came of images: what has a row is never done again. A context manager, in which folders of pictures
    are ready to be written to.

    Args:
        pictures: writes the pictures that are wanted.
        folders: kind → folder of those that earlier runs have written.
        files: takes what came of them.
    """

    def __init__(
        self, manifest: Manifest, pictures: PictureOutputs, folders: Mapping[str, Folder], files: FileTally
    ) -> None:
        self.manifest = manifest
        self.pictures = pictures
        self._own = OwnFiles(manifest, folders)
        self._files = files

    def __enter__(self) -> Recorder:
        self.pictures.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.pictures.__exit__()

    def record(self, *outcomes: Outcome) -> None:
        """Take what came of images; pictures of an earlier state of them that are no longer true go."""
        recorded = [self._without_earlier(outcome) for outcome in outcomes]
        for outcome in recorded:
            self._files.take(self._own, outcome)
        self.manifest.record_all(recorded)

    def _without_earlier(self, outcome: Outcome) -> Outcome:
        """Delete what the image has no more; what was edited of it stays its own."""
        now = {row.key for row in outcome.files} | {*outcome.kept}
        stay = self._own.remove(sorted({*self.manifest.files_of(outcome.name)} - now))
        return replace(outcome, kept=(*outcome.kept, *stay))


class PictureSink:
    """A `Sink` that writes an image's pictures and hands on what came of it, in order.

    Where a folder of pictures is remote, the pictures of several images are on their way at once.
    """

    def __init__(self, pictures: PictureOutputs, take: Callable[[Outcome], object]) -> None:
        self._pictures = pictures
        self._take = take
        self._waiting: deque[Future[Outcome]] = deque()
        remote = any(folder.remote for folder in pictures.folders.values())
        self._pool = ThreadPoolExecutor(AT_ONCE) if remote else None

    def __enter__(self) -> PictureSink:
        return self

    def __exit__(self, error: object = None, *_: object) -> None:
        try:
            while self._waiting:
                with suppress(*([SinkError] if error else [])):  # the first failure is the one to tell
                    self._take(self._waiting.popleft().result())
        finally:
            if self._pool:
                self._pool.shutdown(cancel_futures=True)

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one image."""
        if self._pool is None:
            self._take(self._pictures.write(frame, found))
            return
        made = self._pictures.make(frame, found)
        self._waiting.append(self._pool.submit(self._pictures.put, Outcome(frame.name, frame.wh, found), made))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > 2 * AT_ONCE):
            self._take(self._waiting.popleft().result())


def _failures_recorded(
    items: Iterable[Frame | Failed], root: Folder, recorder: Recorder, fail_fast: bool, controls: Controls
) -> Iterator[Frame | Failed]:
    """The same items; one that failed has its row when it passes, and ends the run if `fail_fast`."""
    for item in items:
        if isinstance(item, Failed):
            recorder.record(Outcome(item.name, reason=reason_of(item, root)))
            if fail_fast:
                controls.stop()
        yield item
        if controls.stopping:
            return


def reason_of(item: Failed, root: Folder) -> str:
    """Why it failed, without the place where the pictures happen to lie."""
    place = root.shown(item.name)
    return str(item.error).removeprefix(f"{place}: ").replace(place, item.name)


def read_pictures(root: Folder, names: Iterable[str], max_pixels: int) -> Iterator[Frame | Failed]:
    """Each picture below `root` as a frame of that name, or as `Failed` where it cannot be read.

    Where `root` is remote, several are on their way at once.
    """

    def fetch(name: str) -> tuple[str, bytes | SourceError | None]:
        try:
            return name, _fetched(root, name, max_pixels)
        except SourceError as error:
            return name, error

    fetched = ahead(fetch, names) if root.remote else ((name, None) for name in names)
    for index, (name, data) in enumerate(fetched):
        try:
            if isinstance(data, SourceError):
                raise data
            yield read_picture(root, name, max_pixels, data).frame(name, index)
        except SourceError as error:
            yield Failed(name, error)


def read_picture(root: Folder, name: str, max_pixels: int, data: bytes | None = None) -> DecodedImage:
    """A picture, unless it has more than `max_pixels`: it is not decoded then. `data`: its bytes, where they are here.

    Raises:
        SourceError: it cannot be read, is no picture, or too large.
    """
    shown = root.shown(name)
    if isinstance(root, LocalFolder):
        path = root.path / name
        size, wh = _look_at(path)
        check_wh(shown, wh, max_pixels)
        _check_size(shown, size, max_pixels)
        return read_image_file(path, max_pixels)
    data = _fetched(root, name, max_pixels) if data is None else data
    return decode(np.frombuffer(data, np.uint8), shown, max_pixels)


def _fetched(root: Folder, name: str, max_pixels: int) -> bytes:
    """A picture's bytes, unless there are more than a picture can have."""
    data, size = root.start(name)
    _check_size(root.shown(name), size, max_pixels)
    if size == len(data):
        return data
    check_wh(root.shown(name), stated_wh(BytesIO(data)), max_pixels)
    return root.read(name)


def _check_size(shown: str, size: int, max_pixels: int) -> None:
    if size > max_pixels * _BYTES_A_PIXEL + (1 << 20):
        raise SourceError(f"{shown}: has {size:,} bytes, more than a picture of {max_pixels:,} pixels can")


def _look_at(path: Path) -> tuple[int, tuple[int, int] | None]:
    """A file's size, and the width and height that its header states."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            with path.open("rb") as stream:
                return status.st_size, stated_wh(stream)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in a listed name
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    raise SourceError(f"{path}: is {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}")
