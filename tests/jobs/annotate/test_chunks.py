"""Handing out chunks, with workers that die when a test wants them to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.ray.chunks import CHUNK_DEATHS, IMAGE_DEATHS, Chunk, Event, Finished, Joined, Lost, dispatch
from tests.conftest import Told


@dataclass
class FakePool:
    """Workers that do one chunk a step; `dies` is asked before every chunk, and a dead worker is replaced."""

    workers: int
    dies: Callable[[Chunk], bool] = lambda _chunk: False
    pace: float = 0.01
    given: dict[int, deque[Chunk]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    deepest: int = 0
    worked_on: Counter[str] = field(default_factory=Counter)
    started: int = 0
    idle: Callable[[], bool] = lambda: False  # whether nothing happens in a step

    def give(self, worker: int, chunk: Chunk) -> None:
        self.given[worker].append(chunk)
        self.sizes.append(len(chunk.names))
        self.deepest = max(self.deepest, len(self.given[worker]))

    def events(self, _seconds: float) -> Sequence[Event]:
        if self.idle():
            return []
        events: list[Event] = []
        for worker in list(self.given):
            if self.given[worker]:
                events.append(self._work(worker))
        while len(self.given) < self.workers:
            self.started += 1
            assert self.started < 100_000, "it goes on for ever"
            self.given[self.started] = deque()
            events.append(Joined(self.started))
        return events

    def _work(self, worker: int) -> Event:
        chunk = self.given[worker].popleft()
        self.worked_on.update(chunk.names)
        if self.dies(chunk):
            del self.given[worker]
            return Lost(worker, "node a", "killed")
        return Finished(
            worker, [Outcome(name, (1, 1), Detections.empty()) for name in chunk.names], len(chunk.names) * self.pace
        )


def hand(
    pool: FakePool, count: int, controls: Controls | None = None, progress: NullProgress | None = None, batch: int = 1
) -> dict[str, Outcome]:
    taken: dict[str, Outcome] = {}

    def take(outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            assert outcome.name not in taken, "each image once"
            taken[outcome.name] = outcome

    names = (f"{i}.jpg" for i in range(count))
    done = dispatch(names, count, pool, take, controls or Controls(), progress or NullProgress(), batch)
    assert done == sum(outcome.found is not None for outcome in taken.values())
    return taken


@given(st.integers(0, 400), st.integers(1, 9), st.integers(1, 5), st.floats(1e-4, 10))
def test_every_image_is_done_once_and_no_worker_has_more_than_two_chunks(
    count: int, workers: int, batch: int, pace: float
) -> None:
    pool = FakePool(workers, pace=pace)
    taken = hand(pool, count, batch=batch)
    assert len(taken) == count
    assert all(each == 1 for each in pool.worked_on.values())
    assert pool.deepest <= 2
    assert all(size % batch == 0 for size in pool.sizes[:-1])


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 5), st.randoms(use_true_random=False))
def test_nothing_is_lost_when_workers_die_at_random(count: int, workers: int, chance: object) -> None:
    taken = hand(FakePool(workers, dies=lambda _: chance.random() < 0.2), count)  # type: ignore[attr-defined]
    assert set(taken) == {f"{i}.jpg" for i in range(count)}


@settings(max_examples=60)
@given(st.sets(st.integers(0, 99), max_size=4), st.integers(1, 5))
def test_images_that_kill_their_workers_fail_and_all_others_are_done(killers: set[int], workers: int) -> None:
    deadly = {f"{i}.jpg" for i in killers}
    pool = FakePool(workers, dies=lambda chunk: bool(deadly & set(chunk.names)))
    taken = hand(pool, 100)
    assert {name for name, outcome in taken.items() if outcome.found is None} == deadly
    assert all(taken[name].reason == "3 workers died while working on it" for name in deadly)
    assert all(pool.worked_on[name] <= CHUNK_DEATHS + IMAGE_DEATHS for name in deadly)


def test_the_chunk_behind_the_deadly_one_is_not_blamed() -> None:
    deaths: list[Chunk] = []

    def dies(chunk: Chunk) -> bool:
        if "0.jpg" in chunk.names:
            deaths.append(chunk)
        return "0.jpg" in chunk.names

    pool = FakePool(1, dies=dies)
    taken = hand(pool, 12)
    assert [len(chunk.names) for chunk in deaths] == [4, 4, 1, 1, 1]
    assert [name for name, outcome in taken.items() if outcome.found is None] == ["0.jpg"]
    assert pool.worked_on["11.jpg"] == 1


def test_a_death_is_reported_with_its_node_and_what_becomes_of_the_images() -> None:
    reported, once = Told(), iter([True])
    hand(FakePool(1, dies=lambda _: next(once, False)), 6, progress=reported)
    assert reported.warnings == ["node a: a worker died: killed; 5 images of it go to others (workers left: 0)"]


@pytest.mark.parametrize(("pace", "largest"), [(0.05, 60), (1.0, 4), (10.0, 4), (1e-9, 1000)])
def test_chunks_take_a_few_seconds_and_never_too_many_images(pace: float, largest: int) -> None:
    pool = FakePool(2, pace=pace)
    hand(pool, 20_000)
    assert max(pool.sizes) in (largest, largest + 1)  # it is rounded up
    if pace == 10.0:
        assert set(pool.sizes[8:]) == {1}


def test_chunks_get_smaller_towards_the_end_so_that_workers_end_together() -> None:
    pool = FakePool(4, pace=0.01)
    hand(pool, 2000)
    assert pool.sizes[-1] == 1 and max(pool.sizes) > 100


def test_a_wish_to_stop_ends_what_was_begun_and_leaves_the_rest() -> None:
    controls, steps = Controls(), iter(range(100))

    def stop_at_3() -> bool:
        if next(steps) == 3:
            controls.stop()
            return True
        return False

    pool = FakePool(2, pace=1, idle=stop_at_3)
    taken = hand(pool, 1000, controls)
    assert 0 < len(taken) < 50
    assert sum(len(chunk.names) for chunks in pool.given.values() for chunk in chunks) > 0, "second chunks are left"


def test_no_more_names_are_read_than_are_needed() -> None:
    read = 0

    def names() -> object:
        nonlocal read
        for i in range(10**9):
            read += 1
            yield f"{i}.jpg"

    controls, steps = Controls(), iter(range(100))

    def stop_at_5() -> bool:
        if next(steps) == 5:
            controls.stop()
        return False

    pool = FakePool(3, pace=1, idle=stop_at_5)
    dispatch(names(), 10**9, pool, lambda _: None, controls, NullProgress())  # type: ignore[arg-type]
    assert read < 100


def test_what_a_worker_leaves_out_is_done_by_another() -> None:
    @dataclass
    class Lazy(FakePool):
        def _work(self, worker: int) -> Event:
            event = super()._work(worker)
            return (
                Finished(worker, event.outcomes[1:], 0.1)
                if isinstance(event, Finished) and len(event.outcomes) > 1
                else event
            )

    assert len(hand(Lazy(2), 30)) == 30
