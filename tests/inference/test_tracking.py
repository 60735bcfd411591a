"""`--track`: a number for each object and an object for each number, on synthetic scenes with known objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Image
from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.models.resolve import ModelLookup
from tests.conftest import make_detections

pytest.importorskip("scipy")
from cvdetect.inference.tracking import Tracker, with_low_scores

WH = (1280, 720)
IMAGE = np.zeros((WH[1], WH[0], 3), np.uint8)
PERSON, BICYCLE, HORSE, COW = 0, 1, 17, 19


@dataclass(frozen=True)
class Thing:
    """An object that moves from `at` with `speed` (pixels a second); `names(t)` are the classes it is detected as."""

    at: tuple[float, float]
    speed: tuple[float, float] = (0, 0)
    wh: tuple[float, float] = (60, 150)
    names: Callable[[float], Sequence[int]] = lambda _: (PERSON,)
    there: Callable[[float], bool] = lambda _: True
    score: Callable[[float], float] = lambda _: 0.9

    def box(self, t: float) -> np.ndarray:
        middle, half = np.array(self.at) + np.array(self.speed) * t, np.array(self.wh) / 2
        return np.concatenate([middle - half, middle + half])


Sight = tuple[int, int | None]  # which thing, and its number


def watch(
    things: Sequence[Thing],
    times: Sequence[float],
    rate: float = 30,
    missed: float = 0.0,
    jitter: float = 0.02,
    controls: Controls | None = None,
    seed: int = 0,
) -> list[list[Sight]]:
    """The tracker's result for each frame: the objects' numbers, None where there is none yet."""
    random, tracker, answers = np.random.default_rng(seed), Tracker(rate, controls), []
    for index, t in enumerate(times):
        sights = [
            (i, thing.box(t) + random.normal(0, jitter, 4) * np.tile(thing.wh, 2), name, thing.score(t))
            for i, thing in enumerate(things)
            if thing.there(t) and random.random() >= missed
            for name in thing.names(t)
        ]
        random.shuffle(sights)
        found = make_detections([s[1] for s in sights], [s[2] for s in sights], [s[3] for s in sights])
        found = tracker(Frame(IMAGE, "made", index, t), found)
        answers.append([(s[0], found.number(row)) for row, s in enumerate(sights)])
    return answers


def clock(seconds: float, fps: float = 30, every: int = 1) -> list[float]:
    return [n / fps for n in range(0, int(seconds * fps), every)]


def check(answers: list[list[Sight]], objects: int) -> None:
    """The promises: numbers are right, from the third sight at the latest, never shared, dense from 1."""
    for answer in answers:
        numbers = [number for _, number in answer if number is not None]
        assert len(numbers) == len(set(numbers)), "two objects share a number"
    for thing in range(objects):
        own = [number for answer in answers for i, number in answer if i == thing]
        assert None not in own[2:], f"object {thing} has no number at its third sight: {own[:9]}"
        assert len(set(own[2:])) == 1, f"object {thing} has several numbers: {own}"
    given = [number for answer in answers for _, number in answer if number is not None]
    assert list(dict.fromkeys(given)) == sorted(set(given)) == list(range(1, objects + 1))


def walkers(**more: object) -> list[Thing]:
    """Four people on lanes of their own, to and fro."""
    ways = zip([1, -1, 1, -1], [100, 273, 446, 620], strict=True)
    return [replace(Thing((640 - way * 300, y), (way * 100, 0)), **more) for way, y in ways]


@pytest.mark.parametrize("every", [1, 3, 5])
@pytest.mark.parametrize("fps", [15, 30, 60])
def test_an_object_lost_for_two_seconds_gets_its_number_back_at_any_rate(fps: float, every: int) -> None:
    things = walkers(there=lambda t: not 3 <= t < 5)
    check(watch(things, clock(8, fps, every), rate=fps / every), 4)


def test_also_at_five_frames_a_second() -> None:
    check(watch(walkers(there=lambda t: not 3 <= t < 5), clock(8, 5), rate=5), 4)


def test_times_count_and_not_the_stated_rate() -> None:
    random = np.random.default_rng(3)
    times = np.cumsum(random.choice([1 / 60, 1 / 30, 0.1, 0.25], 120)).tolist()  # variable rate
    check(watch(walkers(there=lambda t: not 3 <= t < 5), [t for t in times if t < 9], rate=1000), 4)


def test_an_object_that_stays_away_for_longer_comes_back_as_a_new_one() -> None:
    answers = watch([Thing((300, 300), there=lambda t: not 1 <= t < 4)], clock(6))
    assert [n for answer in answers[-5:] for _, n in answer] == [2] * 5


@pytest.mark.parametrize("missed", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_missed_frames_and_loose_boxes_change_no_number(missed: float, seed: int) -> None:
    answers = watch(walkers(), clock(6), missed=missed, jitter=0.05, seed=seed)
    numbers = [{n for answer in answers for i, n in answer if i == thing and n} for thing in range(4)]
    assert sorted(number for own in numbers for number in own) == [1, 2, 3, 4]


def test_a_label_that_flickers_gives_no_new_number() -> None:
    things = walkers(wh=(200, 140), names=lambda t: (COW,) if int(t * 10) % 3 == 1 else (HORSE,))
    check(watch(things, clock(6)), 4)


def test_a_second_label_on_the_same_object_gives_no_number_of_its_own() -> None:
    both = walkers(wh=(200, 140), names=lambda t: (HORSE, COW) if int(t * 10) % 3 == 1 else (HORSE,))
    answers = watch(both, clock(6))
    given = {number for answer in answers for _, number in answer if number}
    assert given == {1, 2, 3, 4}


@pytest.mark.parametrize("missed", [0.0, 0.2])
@pytest.mark.parametrize("fps", [5, 30])
def test_a_person_and_the_bicycle_they_push_keep_two_numbers(missed: float, fps: float) -> None:
    person = Thing((150, 300), (80, 0), (70, 170))
    bicycle = Thing((190, 340), (80, 0), (150, 100), names=lambda _: (BICYCLE,))
    other = [replace(t, at=(1250 - t.at[0], t.at[1] + 180), speed=(-80, 0)) for t in (person, bicycle)]
    answers = watch([person, bicycle, *other], clock(9, fps), rate=fps, missed=missed)
    owners = {(n, i) for answer in answers for i, n in answer if n}
    assert len(owners) == 4, "a number went from the person to the bicycle, or back"


@pytest.mark.parametrize("apart", [20, 60, 120])
def test_two_people_who_cross_keep_their_numbers(apart: float) -> None:
    meet = [Thing((340, 300), (120, 0)), Thing((940, 300 + apart), (-120, 0))]
    check(watch(meet, clock(6)), 2)


def test_one_after_another_comes_and_goes_with_a_number_each() -> None:
    things = [
        Thing((-20 - 220 * i * 0.7, 100 + 100 * (i % 6)), (220, 0), there=lambda t, i=i: 0 <= t - i * 0.7 < 6)
        for i in range(9)
    ]
    check(watch(things, clock(12)), 9)


def test_fast_small_objects_at_five_frames_a_second() -> None:
    check(watch(walkers(wh=(50, 50), speed=(200, 0)), clock(3, 5), rate=5), 4)


def test_what_appears_once_gets_no_number() -> None:
    flash = Thing((900, 600), names=lambda _: (BICYCLE,), there=lambda t: round(t * 30) == 20)
    answers = watch([Thing((200, 200)), flash], clock(3))
    assert {number for answer in answers for _, number in answer} == {None, 1}
    assert all(number is None for answer in answers for i, number in answer if i == 1)


def test_before_it_is_confirmed_an_object_has_no_number() -> None:
    answers = watch([Thing((200, 200))], clock(1))
    assert [n for answer in answers for _, n in answer][:4] == [None, None, 1, 1]


def test_frames_without_anything_are_fine_and_clocks_may_jump() -> None:
    check(watch([Thing((200, 200))], [0, 0.1, 0.2, 0.3, 0.3, 0.2, 0.25, 0.3, 0.4]), 1)  # back, and standing still
    assert watch([], clock(0.2)) == [[]] * 6
    jump = watch([Thing((200, 200))], [0, 0.1, 0.2, 3600, 3600.1, 3600.2])  # a stream that was away
    assert [n for answer in jump for _, n in answer] == [None, None, 1, None, None, 2]


def test_a_network_slower_than_two_seconds_a_frame_still_tracks() -> None:
    check(watch([Thing((200, 200))], [3.0 * n for n in range(12)], rate=1 / 3), 1)


def test_detections_of_low_score_continue_a_number_and_begin_none() -> None:
    controls = Controls()
    controls.min_score = 0.5
    # It goes on under the threshold for three seconds, longer than a lost object is remembered.
    dips = Thing((200, 300), (100, 0), score=lambda t: 0.35 if 2 <= t < 5 else 0.8)
    faint = Thing((900, 600), score=lambda _: 0.4)
    answers = watch([dips, faint], clock(7), controls=controls)
    assert {n for answer in answers for i, n in answer if i == 0} == {None, 1}
    assert {n for answer in answers for i, n in answer if i == 1} == {None}


def test_results_need_the_same_score_as_without_track() -> None:
    model, by_class = ModelChoice(name="yolov3-tiny"), DetectOptions(conf=Conf(0.5, {"dog": 0.3}))
    for asked, passed, shown in (
        (DetectOptions(conf=0.5), DetectOptions(conf=Conf(0.25)), 0.5),
        (DetectOptions(conf=0.05), DetectOptions(conf=Conf(0.05)), 0.05),
        (by_class, by_class, 0.0),
    ):
        controls = Controls()
        assert with_low_scores(ModelLookup(model), asked, controls) == passed
        assert controls.min_score == shown


corners = st.tuples(*[st.floats(0, 300, width=32)] * 4, st.integers(0, 2), st.sampled_from([0.3, 0.6, 0.9]))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.03, 0.5, 4, -1]), st.lists(corners, max_size=5)), max_size=12))
def test_whatever_is_found_numbers_are_dense_and_of_one_detection_each(frames: list[tuple[float, list[Any]]]) -> None:
    controls = Controls()
    controls.min_score = 0.5
    tracker, now, given_out = Tracker(30, controls), 0.0, list[int]()
    for index, (step, rows) in enumerate(frames):
        now += step
        boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _, _ in rows]
        found = make_detections(boxes, [row[4] for row in rows], [row[5] for row in rows])
        out = tracker(Frame(IMAGE, "made", index, now), found)
        assert (out.xyxy == found.xyxy).all() and (out.class_id == found.class_id).all()
        numbers = [n for row in range(len(out)) if (n := out.number(row)) is not None]
        assert len(set(numbers)) == len(numbers)
        given_out += numbers
    assert sorted(set(given_out)) == list(range(1, len(set(given_out)) + 1))


class Sees:
    """Finds squares in real pixels: the red ones are people, the green ones horses."""

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> Detections:
        time.sleep(0.001 * (int(image[0, 0, 0]) % 3))  # workers come to their ends out of order
        boxes, classes = [], []
        for k in range(4):
            y, x = np.nonzero(image[..., 1 + k % 2] == 100 + k)
            if len(x):
                boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                classes.append(PERSON if k % 2 else HORSE)
        return make_detections(boxes, classes)


def clip(n: int, every: int) -> Iterator[Frame]:
    """Four squares, each of its own shade, one of them hidden for a second."""
    for i in range(n):
        image = np.zeros((240, 320, 3), np.uint8)
        image[..., 0] = i % 3
        for k, (x, y) in enumerate([(10 + i, 20), (280 - i, 80), (10 + 2 * i, 140), (150, 200)]):
            if not (k == 1 and 60 <= i < 90):
                image[y : y + 20, max(x, 0) : x + 30, 1 + k % 2] = 100 + k
        yield Frame(image, "clip", i, i / 30, skipped=i % every != 0)


class Numbers:
    """A sink that remembers which number each shade of square had."""

    def __init__(self) -> None:
        self.got: list[list[int | None]] = []

    def __enter__(self) -> Numbers:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, _frame: Frame, found: Detections) -> None:
        self.got.append([found.number(row) for row in range(len(found))])


@pytest.mark.parametrize("every", [1, 3, 5])
def test_batches_and_networks_side_by_side_give_the_same_numbers_and_held_frames_those_before(every: int) -> None:
    outcomes = []
    for batch, workers in ((1, 1), (4, 1), (1, 3), (3, 2)):
        sink = Numbers()
        summary = run(
            clip(120, every), [Sees() for _ in range(workers)], [sink], NullProgress(),
            options=PipelineOptions(batch=batch), filters=[Tracker(30 / every)],
        )  # fmt: skip
        assert (summary.done, summary.detected) == (120, len(range(0, 120, every)))
        assert all(a == b for i, (a, b) in enumerate(pairwise(sink.got)) if (i + 1) % every)
        assert {n for numbers in sink.got for n in numbers} == {None, 1, 2, 3, 4}
        assert all(len(set(numbers)) == len(numbers) for numbers in sink.got[2 * every :])
        outcomes.append(sink.got)
    assert all(outcome == outcomes[0] for outcome in outcomes)
