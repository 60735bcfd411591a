from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from cvdetect.core.progress import NullProgress
from cvdetect.media.codecs import CODECS
from cvdetect.media.writer import AvWriter, _with_decode_times, can_write


def packet(pts: int, dts: int) -> Any:
    return SimpleNamespace(pts=pts, dts=dts)


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([packet(0, -(2**62))], [0]),
        ([packet(0, 2**62), packet(1, -9)], [0, 1]),
        ([packet(1, 5), packet(0, 7)], [-1, 0]),  # reordered: decoded before it is shown
    ],
)
def test_undefined_decoding_times_of_one_or_two_frames_of_x265_are_replaced(packets: Any, expected: list[int]) -> None:
    times = [one.dts for one in _with_decode_times(packets, CODECS["H265"])]
    assert times == expected
    assert all(one.dts <= one.pts for one in packets)


def test_decoding_times_of_longer_streams_and_of_other_codecs_stay() -> None:
    three = [packet(0, -2), packet(1, -1), packet(2, 0)]
    assert [one.dts for one in _with_decode_times(three, CODECS["H265"])] == [-2, -1, 0]
    assert _with_decode_times([packet(0, -2)], CODECS["H264"])[0].dts == -2


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_an_h265_video_of_few_frames_is_written_whole(tmp_path: Path, frames: int) -> None:
    if not can_write(".mp4", "H265"):
        pytest.skip("this FFmpeg has no H.265 encoder")
    path = tmp_path / "x.mp4"
    writer = AvWriter(path, path, ".mp4", "H265", (64, 48), Fraction(25), NullProgress())
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 60 * number, np.uint8), number / 25)
    writer.close(None)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames
