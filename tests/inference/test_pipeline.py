"""Frames in order, memory bounded, errors and stops ending every stage."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError, SourceError
from cvdetect.core.frame import Frame
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.sources import Failed
from tests.conftest import make_detections


def frames(n: int, every: int = 1) -> Iterator[Frame]:
    for i in range(n):
        image = np.full((2, 3, 3), i % 251, np.uint8)
        yield Frame(image, f"f{i}", i, i / 25, skipped=i % every != 0)


class Finds:
    """A detector that finds one box as wide as the image's grey, after an uneven time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[int] = []

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.calls.append(len(images))
        time.sleep(self.seconds * (int(images[0][0, 0, 0]) % 3))
        return [make_detections([[0, 0, float(i[0, 0, 0]), 1]]) for i in images]


class Collects:
    """A sink that remembers."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.got: list[tuple[int, float]] = []
        self.state = "new"
        self.fail_at = fail_at

    def __enter__(self) -> Collects:
        self.state = "open"
        return self

    def __exit__(self, *_: object) -> None:
        self.state = "closed"

    def write(self, frame: Frame, found: Detections) -> None:
        if frame.index == self.fail_at:
            raise SinkError("the disk is full")
        self.got.append((frame.index, float(found.xyxy[0, 2]) if len(found) else -1))


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_every_frame_comes_out_once_and_in_order(n: int, workers: int, batch: int, every: int, live: bool) -> None:
    sink = Collects()
    summary = run(
        frames(n, every),
        [Finds(0.0005) for _ in range(1 if live else workers)],
        [sink],
        NullProgress(),
        options=PipelineOptions(batch=batch, live=live),
    )
    assert summary.done == n
    assert sink.got == [(i, (i - i % every) % 251) for i in range(n)]
    assert sink.state == "closed"


def test_held_frames_do_not_reach_the_network() -> None:
    finds = Finds()
    run(frames(10, every=3), [finds], [Collects()], NullProgress())
    assert finds.calls == [1] * 4


def test_at_most_a_bounded_number_of_frames_is_on_its_way() -> None:
    read, written, most = 0, 0, 0

    def counted() -> Iterator[Frame]:
        nonlocal read
        for frame in frames(200):
            read += 1
            yield frame

    class Slow(Collects):
        def write(self, frame: Frame, found: Detections) -> None:
            nonlocal written, most
            time.sleep(0.0005)
            written += 1
            most = max(most, read - written)

    run(counted(), [Finds(), Finds()], [Slow()], NullProgress())
    assert written == 200
    assert most <= 2 + 2 + 3 + 1


def test_failed_inputs_are_reported_and_counted() -> None:
    told: list[str] = []

    class Tells(NullProgress):
        def error(self, message: str) -> None:
            told.append(message)

    items = [Failed("a", SourceError("a: no")), *frames(2), Failed("b", SourceError("b: no"))]
    sink = Collects()
    summary = run(items, [Finds()], [sink], Tells())
    assert (summary.done, summary.exit_code, told) == (2, 1, ["a: no", "b: no"])
    assert run(items[:1], [Finds()], [Collects()], NullProgress()).exit_code == 4


@pytest.mark.parametrize("stage", ["source", "detector", "filter", "sink"])
def test_an_error_in_any_stage_ends_all_and_closes_the_sinks(stage: str) -> None:
    def source() -> Iterator[Frame]:
        for frame in frames(10_000):
            if stage == "source" and frame.index == 5:
                raise SourceError("unplugged")
            yield frame

    class Breaks(Finds):
        def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
            if stage == "detector" and images[0][0, 0, 0] == 5:
                raise RuntimeError("no memory")
            return super().detect_batch(images)

    def filter_(frame: Frame, found: Detections) -> Detections:
        if stage == "filter" and frame.index == 5:
            raise ValueError("lost track")
        return found

    sink = Collects(fail_at=5 if stage == "sink" else None)
    begin = time.monotonic()
    with pytest.raises(
        (SourceError, RuntimeError, ValueError, SinkError), match=r"unplugged|no memory|lost track|full"
    ):
        run(source(), [Breaks(), Breaks()], [sink], NullProgress(), filters=[filter_])
    assert sink.state == "closed"
    assert len(sink.got) <= 6
    assert time.monotonic() - begin < 4


def test_an_error_does_not_wait_for_a_source_that_hangs() -> None:
    let_go = threading.Event()

    def hangs() -> Iterator[Frame]:
        yield from frames(1)
        let_go.wait(30)

    sink = Collects(fail_at=0)
    begin = time.monotonic()
    with pytest.raises(SinkError):
        run(hangs(), [Finds()], [sink], NullProgress())
    assert time.monotonic() - begin < 8
    let_go.set()
    time.sleep(0.1)


def test_stop_finishes_what_is_on_its_way() -> None:
    controls = Controls()

    class Stops(Collects):
        def write(self, frame: Frame, found: Detections) -> None:
            super().write(frame, found)
            if frame.index == 7:
                controls.stop()

    sink = Stops()
    summary = run(frames(10_000), [Finds(), Finds()], [sink], NullProgress(), controls=controls)
    assert [i for i, _ in sink.got] == list(range(summary.done))
    assert 8 <= summary.done < 30
    assert summary.exit_code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_on_its_way_and_gives_its_exit_code(number: int, code: int) -> None:
    class Interrupts(Collects):
        def write(self, frame: Frame, found: Detections) -> None:
            super().write(frame, found)
            if frame.index == 3:
                os.kill(os.getpid(), number)

    sink = Interrupts()
    before = signal.getsignal(number)
    summary = run(frames(10_000), [Finds()], [sink], NullProgress())
    assert summary.exit_code == code
    assert [i for i, _ in sink.got] == list(range(summary.done))
    assert summary.done < 30 and sink.state == "closed"
    assert signal.getsignal(number) == before


def test_pausing_holds_the_source_and_going_on_loses_nothing() -> None:
    controls = Controls()
    sink = Collects()

    class Pauses(Collects):
        def write(self, frame: Frame, found: Detections) -> None:
            if frame.index == 2:
                controls.toggle_pause()
                threading.Timer(0.05, controls.toggle_pause).start()

    begin = time.monotonic()
    run(frames(30), [Finds()], [sink, Pauses()], NullProgress(), controls=controls)
    assert [i for i, _ in sink.got] == list(range(30))
    assert time.monotonic() - begin >= 0.04


def test_filters_see_frames_in_order_and_the_slider_hides_weak_detections() -> None:
    seen: list[int] = []

    def remember(frame: Frame, found: Detections) -> Detections:
        seen.append(frame.index)
        return found

    controls = Controls()
    controls.min_score = 0.95
    sink = Collects()
    run(
        frames(20, every=2), [Finds(0.001), Finds(0.001)], [sink], NullProgress(), filters=[remember], controls=controls
    )
    assert seen == list(range(0, 20, 2))
    assert {width for _, width in sink.got} == {-1.0}


def test_live_asks_the_source_only_when_a_worker_is_free() -> None:
    asked: list[float] = []
    detected: list[float] = []

    def source() -> Iterator[Frame]:
        for frame in frames(6):
            asked.append(time.monotonic())
            yield frame

    class Slow(Finds):
        def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
            time.sleep(0.02)
            detected.append(time.monotonic())
            return super().detect_batch(images)

    run(source(), [Slow()], [Collects()], NullProgress(), options=PipelineOptions(live=True))
    for k in range(1, 6):
        assert asked[k] >= detected[k - 1]
