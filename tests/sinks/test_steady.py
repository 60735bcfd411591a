"""Frames that come unevenly go on evenly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.sinks.live import ConstantFrameRate


class Takes:
    def __init__(self) -> None:
        self.got: list[int] = []

    def __enter__(self) -> Takes:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, _found: Detections) -> None:
        self.got.append(frame.index)


def steadied(times: list[float], rate: int) -> list[int]:
    taken = Takes()
    with ConstantFrameRate(taken, Fraction(rate)) as steady:
        for index, time_s in enumerate(times):
            steady.write(Frame(np.zeros((1, 1, 3), np.uint8), "cam", index, time_s), Detections.empty())
    return taken.got


def test_gaps_are_filled_with_the_frame_before() -> None:
    assert steadied([7.0, 7.1, 7.4, 7.5], 10) == [0, 1, 1, 1, 2, 3]


def test_a_lost_connection_does_not_fill_the_disk() -> None:
    assert len(steadied([0.0, 3600.0, 3600.1], 10)) == 1 + 50 + 2


@given(st.lists(st.floats(1 / 30, 4.0), max_size=30))
def test_each_frame_is_written_and_at_its_time(gaps: list[float]) -> None:
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    got = steadied(times, 30)
    assert sorted(set(got)) == list(range(len(times))) and got == sorted(got)
    for index, time_s in enumerate(times):
        assert abs(got.index(index) - time_s * 30) <= 1.5
