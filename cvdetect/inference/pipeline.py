"""Runs frames from a source through detectors into sinks, on several threads at once.

One thread reads and makes numbered batches of frames. K workers detect, each with a network of its own. The caller's
thread, which windows need, puts the batches back in order, filters and writes. The number of batches on their way is
limited, so memory does not grow with the length of the source. OpenCV releases Python's lock while it reads, runs
networks, draws and encodes, so all of these run at the same time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import Protocol

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Image
from cvdetect.core.progress import Controls, Progress
from cvdetect.core.signals import stopping_on_signals
from cvdetect.sinks import Sink
from cvdetect.sources import Failed

__all__ = ["Detects", "Filter", "PipelineOptions", "Summary", "run"]


class Detects(Protocol):
    """What the pipeline calls of a detector."""

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """One `Detections` an image."""


# Gets the detections of every frame that is not skipped, in order (a tracker): (frame, detections) -> detections
Filter = Callable[[Frame, Detections], Detections]


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How frames go through the pipeline.

    Attributes:
        batch: frames that go through the network at once.
        ahead: batches that may be on their way beyond one for each worker.
        live: the source gives its newest frame on request, so it is read only when the one worker is free.
    """

    batch: int = 1
    ahead: int = 3
    live: bool = False


@dataclass(slots=True)
class Summary:
    """How a run went.

    Attributes:
        done: frames that were written.
        detected: those of them that the network ran on; the others carry the detections before.
        failed: inputs that could not be read.
        interrupted: 130 or 143 where SIGINT or SIGTERM ended the run.
    """

    done: int = 0
    detected: int = 0
    failed: list[Failed] = field(default_factory=list)
    interrupted: int = 0

    @property
    def exit_code(self) -> int:
        """0 all was done, 1 part of it, 4 nothing could be read, 130 or 143 interrupted."""
        if self.interrupted:
            return self.interrupted
        if not self.failed:
            return 0
        return 1 if self.done else 4


@dataclass(slots=True)
class _Job:
    """A batch of frames on its way; `found` has one entry for each frame that is not skipped."""

    number: int
    items: list[Frame | Failed]
    found: list[Detections] = field(default_factory=list)


def run(
    source: Iterable[Frame | Failed],
    detectors: Sequence[Detects],
    sinks: Sequence[Sink],
    progress: Progress,
    *,
    options: PipelineOptions = PipelineOptions(),
    filters: Sequence[Filter] = (),
    controls: Controls | None = None,
) -> Summary:
    """Detect in every frame and pass the results to every sink, in the source's order.

    An input that cannot be read is reported and counted. An error in any stage ends all of them, closes the sinks, and
    is raised here. SIGINT and SIGTERM end the reading; what is on its way is finished.

    Args:
        source: gives frames, and a `Failed` for each input that cannot be read.
        detectors: one for each worker.
        sinks: entered before the first frame, left after the last.
        progress: advanced once a frame.
        options: sizes of batches and queues.
        filters: applied in this order.
        controls: stops and pauses the run.

    Raises:
        ValueError: a live source with several detectors.
        CvdetectError: what a source, detector, filter or sink raises.
    """
    if options.live and len(detectors) != 1:
        raise ValueError(f"a live source needs one detector, got {len(detectors)}")
    controls = controls or Controls()
    summary = Summary()
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        interrupted = stack.enter_context(stopping_on_signals(controls))
        stages = stack.enter_context(_Stages(source, detectors, options, controls))
        _write(stages, _Writer(sinks, filters, controls, progress, summary))
    summary.interrupted = interrupted.exit_code
    return summary


def _write(stages: _Stages, writer: _Writer) -> None:
    for job in stages.in_order():
        found = iter(job.found)
        for item in job.items:
            writer.take(item, None if isinstance(item, Failed) or item.skipped else next(found))
        stages.written()


class _Stages:
    """The reader's and the workers' threads, and the queues between them."""

    def __init__(
        self,
        source: Iterable[Frame | Failed],
        detectors: Sequence[Detects],
        options: PipelineOptions,
        controls: Controls,
    ) -> None:
        self._source = source
        self._options = options
        self._controls = controls
        self._workers = len(detectors)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Job | BaseException | None] = queue.SimpleQueue()
        # For a live source, a place is the free worker, and one result may wait; else it is a job anywhere on its way.
        self._places = threading.Semaphore(self._workers + (0 if options.live else self._workers + options.ahead))
        self._waiting_results = threading.Semaphore(1)
        stages = [self._read, *(partial(self._detect, detector) for detector in detectors)]
        self._threads = [threading.Thread(target=self._guard, args=(stage,), daemon=True) for stage in stages]

    def __enter__(self) -> _Stages:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until every thread has ended, also after an error; a source that hangs is left behind."""
        self._controls.stop()
        deadline = time.monotonic() + 5
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < deadline:
                self._places.release()
                self._waiting_results.release()
                thread.join(timeout=0.05)

    def in_order(self) -> Iterator[_Job]:
        """Finished jobs in the order of their numbers; raises what a stage has raised."""
        waiting: dict[int, _Job] = {}
        following, running = 0, self._workers
        while running or waiting:
            done = self._done.get()
            if isinstance(done, BaseException):
                raise done
            if done is None:
                running -= 1
                continue
            waiting[done.number] = done
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def written(self) -> None:
        """The last job is written; another may take its place."""
        (self._waiting_results if self._options.live else self._places).release()

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # raised again in the caller's thread
            self._done.put(error)

    def _read(self) -> None:
        """The reader's thread: makes a job whenever a place becomes free."""
        items = iter(self._source)
        try:
            for number in count():
                self._places.acquire()
                self._controls.wait_while_paused()
                batch = [] if self._controls.stopping else list(islice(items, self._options.batch))
                if not batch:
                    break
                self._jobs.put(_Job(number, batch))
        finally:
            for _ in range(self._workers):
                self._jobs.put(None)

    def _detect(self, detector: Detects) -> None:
        """A worker's thread: detects in one job after another."""
        while (job := self._jobs.get()) is not None:
            images = [item.image for item in job.items if isinstance(item, Frame) and not item.skipped]
            job.found = detector.detect_batch(images) if images else []
            if self._options.live:
                self._waiting_results.acquire()
                self._places.release()
            self._done.put(job)
        self._done.put(None)


@dataclass(slots=True)
class _Writer:
    """The last stage: filters and sinks, one frame after another."""

    sinks: Sequence[Sink]
    filters: Sequence[Filter]
    controls: Controls
    progress: Progress
    summary: Summary
    last: Detections = field(default_factory=Detections.empty)

    def take(self, item: Frame | Failed, found: Detections | None) -> None:
        """Pass one frame on; a skipped one, `found` is None, carries the last detections."""
        self.progress.advance()
        if isinstance(item, Failed):
            self.summary.failed.append(item)
            self.progress.error(str(item.error))
            return
        for remark in item.remarks:
            self.progress.note(f"{item.name}: {remark}")
        if found is not None:
            for change in self.filters:
                found = change(item, found)
            self.last = found
            self.summary.detected += 1
        shown = self.last[self.last.score >= self.controls.min_score] if self.controls.min_score else self.last
        for sink in self.sinks:
            sink.write(item, shown)
        self.summary.done += 1
