"""Detection on this machine, and how outcomes are recorded, whichever engine they come from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError
from cvdetect.core.frame import Frame
from cvdetect.core.progress import Controls, Progress
from cvdetect.inference.pipeline import Detects, PipelineOptions, Summary, run
from cvdetect.jobs.annotate.image_outputs import ImageOutputs
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.ownership import FileStats, OwnFiles
from cvdetect.jobs.annotate.prefetch import AT_ONCE
from cvdetect.jobs.annotate.reading import read_images, reason_of
from cvdetect.sources import Failed
from cvdetect.storage import Folder

__all__ = ["ImageSink", "Recorder", "detect_waiting"]


def detect_waiting(
    root: Folder,
    job: AnnotateJob,
    detectors: Sequence[Detects],
    recorder: Recorder,
    progress: Progress,
    controls: Controls,
) -> Summary:
    """Detect in every image that is not done; each is recorded as soon as it is."""

    def take(outcome: Outcome) -> None:
        recorder.record(outcome)
        if outcome.reason is not None:
            progress.error(f"{root.shown(outcome.name)}: {outcome.reason}")
            if job.fail_fast:
                controls.stop()

    names = recorder.manifest.waiting()
    items = _record_failures(read_images(root, names, job.max_pixels), root, recorder, job.fail_fast, controls)
    with recorder:
        sink = ImageSink(recorder.outputs, take)
        return run(items, detectors, [sink], progress, options=PipelineOptions(batch=job.batch), controls=controls)


class Recorder:
    """Records outcomes in the manifest: an image with an outcome is never done again. A context manager, inside which
    the folders for images can be written to.

    Args:
        outputs: writes the copies, crops and thumbnails that are wanted.
        folders: kind → folder of those that earlier runs wrote.
        stats: counts what happened to them.
    """

    def __init__(
        self, manifest: Manifest, outputs: ImageOutputs, folders: Mapping[str, Folder], stats: FileStats
    ) -> None:
        self.manifest = manifest
        self.outputs = outputs
        self._own = OwnFiles(manifest, folders)
        self._stats = stats

    def __enter__(self) -> Recorder:
        self.outputs.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.outputs.__exit__()

    def record(self, *outcomes: Outcome) -> None:
        """Record outcomes; files of an earlier state of their images that are no longer true are deleted."""
        recorded = [self._without_earlier(outcome) for outcome in outcomes]
        for outcome in recorded:
            self._stats.add(self._own, outcome)
        self.manifest.record_all(recorded)

    def _without_earlier(self, outcome: Outcome) -> Outcome:
        """Delete what the image no longer has; files that were edited stay, and stay the image's."""
        now = {row.key for row in outcome.files} | {*outcome.kept}
        edited = self._own.remove(sorted({*self.manifest.files_of(outcome.name)} - now))
        return replace(outcome, kept=(*outcome.kept, *edited))


class ImageSink:
    """A `Sink` that writes the files of each image and passes its outcome on, in order.

    Where a folder is remote, the files of several images are sent at once.
    """

    def __init__(self, outputs: ImageOutputs, take: Callable[[Outcome], object]) -> None:
        self._outputs = outputs
        self._take = take
        self._waiting: deque[Future[Outcome]] = deque()
        remote = any(folder.remote for folder in outputs.folders.values())
        self._pool = ThreadPoolExecutor(AT_ONCE) if remote else None

    def __enter__(self) -> ImageSink:
        return self

    def __exit__(self, error: object = None, *_: object) -> None:
        try:
            while self._waiting:
                with suppress(*([SinkError] if error else [])):  # the first failure is the one to report
                    self._take(self._waiting.popleft().result())
        finally:
            if self._pool:
                self._pool.shutdown(cancel_futures=True)

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one image."""
        if self._pool is None:
            self._take(self._outputs.write(frame, found))
            return
        encoded = self._outputs.encode(frame, found)
        self._waiting.append(self._pool.submit(self._outputs.put, Outcome(frame.name, frame.wh, found), encoded))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > 2 * AT_ONCE):
            self._take(self._waiting.popleft().result())


def _record_failures(
    items: Iterable[Frame | Failed], root: Folder, recorder: Recorder, fail_fast: bool, controls: Controls
) -> Iterator[Frame | Failed]:
    """The same items; one that failed is recorded as it passes, and ends the run if `fail_fast`."""
    for item in items:
        if isinstance(item, Failed):
            recorder.record(Outcome(item.name, reason=reason_of(item, root)))
            if fail_fast:
                controls.stop()
        yield item
        if controls.stopping:
            return
