"""The engine on one machine: the pipeline, from files to the manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cvdetect.annotate.dimensions import stated_wh
from cvdetect.annotate.job import AnnotateJob
from cvdetect.annotate.manifest import Manifest
from cvdetect.annotate.outcome import Outcome
from cvdetect.annotate.pictures import PictureOutputs, remove_files
from cvdetect.detections import Detections
from cvdetect.errors import SourceError, SourceNotFound
from cvdetect.events import Controls, Progress
from cvdetect.frame import Frame, Image
from cvdetect.pipeline import Detects, Flow, Summary, run
from cvdetect.sources.failed import Failed
from cvdetect.sources.images import read_image

__all__ = ["Recorder", "detect_waiting", "read_picture", "read_pictures", "reason_of"]

_BYTES_A_PIXEL = 8  # of the largest kind there is, 16 bits in four channels, without compression


def detect_waiting(
    root: Path,
    job: AnnotateJob,
    detectors: Sequence[Detects],
    recorder: Recorder,
    progress: Progress,
) -> Summary:
    """Detect in every image that waits; each is recorded as soon as it is done."""
    controls = Controls()
    names = recorder.manifest.waiting()
    items = _failures_recorded(read_pictures(root, names, job.max_pixels), root, recorder, job.fail_fast, controls)
    return run(items, detectors, [recorder], progress, flow=Flow(batch=job.batch), controls=controls)


class Recorder:
    """A `Sink` that writes an image's pictures and then its row: what has a row is never done again.

    Args:
        pictures: writes the pictures that are wanted.
        folders: kind → folder of those that earlier runs have written.
    """

    def __init__(self, manifest: Manifest, pictures: PictureOutputs, folders: Mapping[str, Path]) -> None:
        self.manifest = manifest
        self._pictures = pictures
        self._folders = folders

    def __enter__(self) -> Recorder:
        self._pictures.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pictures.__exit__()

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one image."""
        self.record(Outcome(frame.name, frame.wh, found, files=self._pictures.write(frame, found)))

    def record(self, *outcomes: Outcome) -> None:
        """Take what came of images; pictures of an earlier state of them that are no longer true go."""
        for outcome in outcomes:
            before = self.manifest.files_of(outcome.name)
            if before:
                remove_files(set(before) - set(outcome.files), self._folders)
        self.manifest.record_all(outcomes)


def _failures_recorded(
    items: Iterable[Frame | Failed], root: Path, recorder: Recorder, fail_fast: bool, controls: Controls
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


def reason_of(item: Failed, root: Path) -> str:
    """Why it failed, without the place where the pictures happen to lie."""
    path = str(root / item.name)
    return str(item.error).removeprefix(f"{path}: ").replace(path, item.name)


def read_pictures(root: Path, names: Iterable[str], max_pixels: int) -> Iterator[Frame | Failed]:
    """Each picture below `root` as a frame of that name, or as `Failed` where it cannot be read."""
    for index, name in enumerate(names):
        try:
            yield Frame(read_picture(root / name, max_pixels), name, index)
        except SourceError as error:
            yield Failed(name, error)


def read_picture(path: Path, max_pixels: int) -> Image:
    """As `read_image`, but a picture of more than `max_pixels` is not decoded.

    Raises:
        SourceError: it cannot be read, is no picture, or too large.
    """
    status, wh = _look_at(path)
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: is {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}")
    if wh is not None and wh[0] * wh[1] > max_pixels:
        raise SourceError(
            f"{path}: says it has {wh[0]}x{wh[1]} pixels, over the limit of {max_pixels:,} (--max-pixels raises it)"
        )
    if status.st_size > max_pixels * _BYTES_A_PIXEL + (1 << 20):
        raise SourceError(f"{path}: has {status.st_size:,} bytes, more than a picture of {max_pixels:,} pixels can")
    return read_image(path)


def _look_at(path: Path) -> tuple[os.stat_result, tuple[int, int] | None]:
    """What the folder says of a file, and the width and height that its header states."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            return status, None
        with path.open("rb") as stream:
            return status, stated_wh(stream)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in a listed name
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
