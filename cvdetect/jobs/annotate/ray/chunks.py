"""Dispatching: chunks of images go to workers and come back when a worker dies; none is lost.

Nothing here knows what a worker is or where it runs; a `Pool` does.

A chunk holds as many images as a worker does in `SECONDS` by the speed measured so far, a few at the beginning; towards
the end chunks get smaller, so that all workers finish together. Every worker has up to two, so that it never waits for
the driver. A worker does its chunks one after another, so when it dies, it was working on the first one. That one is
given to another worker, and after `CHUNK_DEATHS` workers it is split into single images. An image on which
`IMAGE_DEATHS` workers have died fails.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, Progress
from cvdetect.jobs.annotate.manifest.outcome import Outcome

__all__ = ["CHUNK_DEATHS", "IMAGE_DEATHS", "Chunk", "Event", "Finished", "Joined", "Lost", "Pool", "dispatch"]

SECONDS = 3.0  # that a chunk should take
CHUNK_DEATHS, IMAGE_DEATHS = 2, 3
_OUTSTANDING = 2  # chunks a worker
_FIRST, _MOST = 4, 1000  # images in a chunk while the speed is not known, and at most
_POLL = 0.5  # seconds between looks at `Controls.stopping`


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images that go to a worker together, and how many workers have died while working on them."""

    names: tuple[str, ...]
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is ready for work."""

    worker: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker has done the first of its chunks; outcomes are missing where it stopped early."""

    worker: int
    outcomes: Sequence[Outcome]
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, with its chunks; `where` and `why` are for messages."""

    worker: int
    where: str
    why: str


Event = Joined | Finished | Lost


class Pool(Protocol):
    """Workers that come and go, each with a number that is never used again."""

    def give(self, worker: int, chunk: Chunk) -> None:
        """Give a chunk to a worker that has joined. If it is gone meanwhile, the next events report that."""

    def events(self, seconds: float) -> Sequence[Event]:
        """What has happened, in order, after waiting for `seconds` at most; raises where no work is possible."""


def dispatch(
    names: Iterator[str],
    total: int,
    pool: Pool,
    take: Callable[[Sequence[Outcome]], None],
    controls: Controls,
    progress: Progress,
    batch: int = 1,
) -> int:
    """Have `pool` do all `names` and `take` each image's outcome, once, with others → how many did not fail.

    After `controls.stop`, workers finish the chunks they are working on; the others are left.

    Args:
        names: in natural order, read as they are needed.
        total: how many there are.
        batch: chunks hold a multiple of it.
    """
    return _Dispatcher(names, pool, take, progress, batch, total).run(controls)


@dataclass(slots=True)
class _Dispatcher:
    names: Iterator[str]
    pool: Pool
    take: Callable[[Sequence[Outcome]], None]
    progress: Progress
    batch: int
    left: int  # images that were not given to a worker yet
    chunks: dict[int, deque[Chunk]] = field(default_factory=dict)
    returned: deque[Chunk] = field(default_factory=deque)  # to be given to another worker
    seconds_each: float | None = None  # for an image
    done: int = 0

    def run(self, controls: Controls) -> int:
        """Until all is done, or, after `controls.stop`, what was begun before."""
        begun: dict[int, Chunk] = {}
        while True:
            if controls.stopping:
                begun = begun or {worker: chunks[0] for worker, chunks in self.chunks.items() if chunks}
                if not any(chunks and chunks[0] is begun.get(worker) for worker, chunks in self.chunks.items()):
                    return self.done
            else:
                self._fill()
                if not self.returned and not any(self.chunks.values()) and self._exhausted():
                    return self.done
            for event in self.pool.events(_POLL):
                self._handle(event)

    def _exhausted(self) -> bool:
        """Whether there are no more names; if there are, the next ones become a chunk that waits for a worker."""
        chunk = self._cut(self._size())
        if chunk is not None:
            self.returned.append(chunk)
        return chunk is None

    def _fill(self) -> None:
        """Give every worker its first chunk, then every worker its second."""
        for depth in range(_OUTSTANDING):
            for worker, chunks in self.chunks.items():
                if len(chunks) <= depth:
                    chunk = self.returned.popleft() if self.returned else self._cut(self._size())
                    if chunk is None:
                        return
                    chunks.append(chunk)
                    self.pool.give(worker, chunk)

    def _cut(self, size: int) -> Chunk | None:
        names = tuple(islice(self.names, size))
        self.left -= len(names)
        return Chunk(names) if names else None

    def _size(self) -> int:
        """Images that the next chunk should have."""
        by_time = _FIRST if self.seconds_each is None else SECONDS / max(self.seconds_each, SECONDS / _MOST)
        fair = self.left / (_OUTSTANDING * max(1, len(self.chunks)))
        return max(1, math.ceil(min(by_time, fair) / self.batch)) * self.batch

    def _handle(self, event: Event) -> None:
        if isinstance(event, Joined):
            self.chunks[event.worker] = deque()
        elif isinstance(event, Finished):
            self._finish(event)
        else:
            self._lose(event)

    def _finish(self, event: Finished) -> None:
        chunk = self.chunks[event.worker].popleft()
        self._take(event.outcomes)
        each = event.seconds / max(1, len(event.outcomes))
        self.seconds_each = each if self.seconds_each is None else 0.7 * self.seconds_each + 0.3 * each
        done = {outcome.name for outcome in event.outcomes}
        if missing := tuple(name for name in chunk.names if name not in done):
            self._blame(Chunk(missing, chunk.deaths))

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        self.take(outcomes)
        self.done += sum(outcome.found is not None for outcome in outcomes)

    def _lose(self, event: Lost) -> None:
        chunks = self.chunks.pop(event.worker, None)
        if chunks is None:  # it never joined
            self.progress.warn(f"{event.where}: a worker could not start: {event.why}")
            return
        count = counted(sum(len(chunk.names) for chunk in chunks), "image")
        others = f"{count} of it go to others (workers left: {len(self.chunks)})"
        self.progress.warn(f"{event.where}: a worker died: {event.why}; {others}")
        if chunks:
            first = chunks.popleft()
            self.returned.extendleft(reversed(chunks))
            self._blame(first)

    def _blame(self, chunk: Chunk) -> None:
        """A worker died while working on this chunk: give it to another, in single images, or fail it."""
        deaths = chunk.deaths + 1
        if len(chunk.names) == 1 and deaths >= IMAGE_DEATHS:
            self._take([Outcome(chunk.names[0], reason=f"{deaths} workers died while working on it")])
        elif len(chunk.names) > 1 and deaths >= CHUNK_DEATHS:
            self.returned.extendleft(Chunk((name,)) for name in reversed(chunk.names))
        else:
            self.returned.appendleft(Chunk(chunk.names, deaths))
