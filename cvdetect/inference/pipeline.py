"""From frames to sinks: a reader, K detectors and a writer, each on a thread of its own.

The reader hands over numbered jobs (a batch of frames each), K workers with a network each detect, and the writer, who
is the caller's own thread because windows want that, puts the jobs back in order. At most `ahead` jobs are on their
way, so memory does not grow with the length of the source. OpenCV lets go of Python's lock while it reads, forwards,
draws and encodes, so all of these run at the same time.
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
    """What the pipeline needs of a detector."""

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """One `Detections` an image."""


# Sees every frame's detections in order, once (a tracker): (frame, detections) -> detections
Filter = Callable[[Frame, Detections], Detections]


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How frames flow.

    Attributes:
        batch: frames that go through the network at once.
        ahead: jobs that may be on their way beyond one a worker.
        live: the source gives its newest frame when asked, so it is asked only when the one worker is free.
    """

    batch: int = 1
    ahead: int = 3
    live: bool = False


@dataclass(slots=True)
class Summary:
    """How a run went: how many frames were written, how many of them the network looked at (the others carry the last
    detections), which inputs failed, and by which signal it was ended."""

    done: int = 0
    looked: int = 0
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
    """Frames on their way together; `found` has one entry for each that was looked at."""

    number: int
    items: list[Frame | Failed]
    found: list[Detections] = field(default_factory=list)


def run(
    source: Iterable[Frame | Failed],
    detectors: Sequence[Detects],
    sinks: Sequence[Sink],
    progress: Progress,
    *,
    flow: PipelineOptions = PipelineOptions(),
    filters: Sequence[Filter] = (),
    controls: Controls | None = None,
) -> Summary:
    """Detect in every frame and hand the results to every sink, in the source's order.

    An input that failed is told and counted. An error in any stage ends all of them, closes the sinks, and is raised
    here. SIGINT and SIGTERM end the reading; what is on its way is finished.
    """
    if flow.live and len(detectors) != 1:
        raise ValueError(f"a live source wants one detector, got {len(detectors)}")
    controls = controls or Controls()
    summary = Summary()
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        interrupted = stack.enter_context(stopping_on_signals(controls))
        stages = stack.enter_context(_Stages(source, detectors, flow, controls))
        _write(stages, _Writer(sinks, filters, controls, progress, summary))
    summary.interrupted = interrupted.exit_code
    return summary


def _write(stages: _Stages, writer: _Writer) -> None:
    for job in stages.in_order():
        found = iter(job.found)
        for item in job.items:
            writer.take(item, None if isinstance(item, Failed) or item.held else next(found))
        stages.written()


class _Stages:
    """The reader's and the workers' threads, and the queues between them."""

    def __init__(
        self, source: Iterable[Frame | Failed], detectors: Sequence[Detects], flow: PipelineOptions, controls: Controls
    ) -> None:
        self._source = source
        self._flow = flow
        self._controls = controls
        self._workers = len(detectors)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Job | BaseException | None] = queue.SimpleQueue()
        # Live, a place is the free worker, and one result may wait; else a place is a job anywhere on its way.
        self._places = threading.Semaphore(self._workers + (0 if flow.live else self._workers + flow.ahead))
        self._waiting_results = threading.Semaphore(1)
        stages = [self._read, *(partial(self._detect, detector) for detector in detectors)]
        self._threads = [threading.Thread(target=self._guard, args=(stage,), daemon=True) for stage in stages]

    def __enter__(self) -> _Stages:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let every thread come to its end, whatever happened; a source that hangs is left behind."""
        self._controls.stop()
        deadline = time.monotonic() + 5
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < deadline:
                self._places.release()
                self._waiting_results.release()
                thread.join(timeout=0.05)

    def in_order(self) -> Iterator[_Job]:
        """Finished jobs by rising number; raises what a stage raised."""
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
        """One job has left: another may take its place."""
        (self._waiting_results if self._flow.live else self._places).release()

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # raised again in the caller's thread
            self._done.put(error)

    def _read(self) -> None:
        """The reader's thread: numbered jobs, as places become free."""
        items = iter(self._source)
        try:
            for number in count():
                self._places.acquire()
                self._controls.wait_while_paused()
                batch = [] if self._controls.stopping else list(islice(items, self._flow.batch))
                if not batch:
                    break
                self._jobs.put(_Job(number, batch))
        finally:
            for _ in range(self._workers):
                self._jobs.put(None)

    def _detect(self, detector: Detects) -> None:
        """A worker's thread."""
        while (job := self._jobs.get()) is not None:
            images = [item.image for item in job.items if isinstance(item, Frame) and not item.held]
            job.found = detector.detect_batch(images) if images else []
            if self._flow.live:
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
        """Hand one frame on; without detections of its own it carries the last ones."""
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
            self.summary.looked += 1
        shown = self.last[self.last.score >= self.controls.min_score] if self.controls.min_score else self.last
        for sink in self.sinks:
            sink.write(item, shown)
        self.summary.done += 1
