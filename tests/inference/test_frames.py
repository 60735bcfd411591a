from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cvdetect import (
    DetectOptions,
    Detector,
    Frame,
    ModelChoice,
    SourceError,
    SourceNotFound,
    UsageError,
    VideoJob,
    detect_frames,
    detect_video,
    open_sink,
    open_source,
)
from cvdetect.core.frame import StreamInfo
from cvdetect.sources import Source
from cvdetect.sources.video import Video
from tests.jobs.annotate.tiny_model import tiny_model

STREET = Path(__file__).parents[2] / "samples" / "street.mp4"


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> ModelChoice:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def detector(choice: ModelChoice) -> Detector:
    return Detector.load(choice, conf=0.5)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """The videos that are open."""
    now_open: list[Source] = []

    class Watched(Video):
        def __enter__(self) -> Video:
            now_open.append(self)
            return super().__enter__()

        def __exit__(self, *error: object) -> None:
            super().__exit__(*error)
            now_open.remove(self)

    monkeypatch.setattr("cvdetect.sources.video.Video", Watched)
    return now_open


def test_frames_come_in_order_with_what_is_in_them(detector: Detector) -> None:
    seen = list(detect_frames(STREET, detector, end=0.4))
    assert [frame.index for frame, _ in seen] == list(range(len(seen))) and len(seen) > 5
    for frame, found in seen:
        assert isinstance(frame, Frame) and found.image_wh == frame.wh
        np.testing.assert_array_equal(found.xyxy, detector.detect(frame.image).xyxy)


def test_frames_between_carry_the_last_detections(detector: Detector) -> None:
    seen = list(detect_frames(str(STREET), detector, every=3, end=0.3))
    assert [frame.skipped for frame, _ in seen] == [place % 3 != 0 for place in range(len(seen))]
    assert seen[1][1] is seen[0][1] and seen[3][1] is not seen[0][1]


def test_the_source_is_closed_when_the_loop_is_left(detector: Detector, opened: list[Source]) -> None:
    for _frame, _found in detect_frames(STREET, detector):
        assert len(opened) == 1
        break
    assert not opened


def test_the_source_is_closed_after_an_error_in_the_loop(detector: Detector, opened: list[Source]) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in detect_frames(STREET, detector):
            raise ZeroDivisionError
    assert not opened


def test_a_source_that_is_given_open_stays_open(detector: Detector) -> None:
    with open_source(STREET, end=0.2) as source:
        count = sum(1 for _ in detect_frames(source, detector))
        assert count and source.info and source.info.wh == (640, 480)


def test_objects_keep_their_numbers(detector: Detector) -> None:
    pytest.importorskip("scipy")
    seen = list(detect_frames(STREET, detector, track=True, end=0.5))
    numbers = [{d.track_id for d in found} - {None} for _, found in seen]
    assert numbers[-1] and numbers[-1] & numbers[-2]


@pytest.mark.parametrize("every", [1, 2])
def test_objects_have_the_numbers_that_the_video_job_gives_them(
    every: int, choice: ModelChoice, detector: Detector, tmp_path: Path
) -> None:
    pytest.importorskip("scipy")
    job = VideoJob(
        input=str(STREET), end=0.7, model=choice, detect=DetectOptions(conf=0.5), track=True, every=every,
        json=tmp_path / "v.jsonl",
    )  # fmt: skip
    detect_video(job)
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    ours = [found.to_dicts() for _, found in detect_frames(STREET, detector, track=True, every=every, end=0.7)]
    assert ours == [line["detections"] for line in lines] and any("track_id" in d for found in ours for d in found)


def test_wrong_arguments_are_refused_by_the_call_itself(detector: Detector) -> None:
    with pytest.raises(UsageError, match="every 0: at least 1 is needed"):
        detect_frames(STREET, detector, every=0)
    with pytest.raises(UsageError, match="only a video has a part between two times"):
        detect_frames(0, detector, start=1)


def test_a_video_that_is_not_there_is_refused_by_the_call_itself(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        detect_frames(tmp_path / "no.mp4", detector)


def test_a_video_that_is_cut_short_ends_with_an_error_after_its_frames(tmp_path: Path) -> None:
    pytest.importorskip("av")
    cut = tmp_path / "cut.mkv"
    import av

    with av.open(str(STREET)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    seen = 0
    with open_source(cut) as source, pytest.raises(SourceError):
        for _ in source:
            seen += 1
    assert seen > 3


def test_still_images_are_frames_too(detector: Detector) -> None:
    photo = STREET.parent / "dog.jpg"
    seen = list(detect_frames([photo, str(photo)], detector))
    assert [frame.name for frame, _ in seen] == [str(photo)] * 2
    np.testing.assert_array_equal(seen[0][1].xyxy, detector.detect(photo).xyxy)


def test_the_suffix_decides_what_a_sink_writes(detector: Detector, tmp_path: Path) -> None:
    with (
        open_source(STREET, end=0.4) as source,
        open_sink(tmp_path / "out.avi", detector, source) as video,
        open_sink(tmp_path / "out.jsonl", detector) as lines,
    ):
        for frame, found in detect_frames(source, detector):
            video.write(frame, found)
            lines.write(frame, found)
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with open_source(tmp_path / "out.avi") as written:
        assert sum(1 for _ in written) == len(records) > 5
    assert records[0]["model"] == "tiny" and records[0]["detections"][0]["label"] in ("cat", "dog", "bird")


def test_a_sink_without_a_source_has_the_rate_that_is_asked_for(detector: Detector, tmp_path: Path) -> None:
    frame = Frame(np.zeros((36, 64, 3), np.uint8), "x")
    with open_sink(tmp_path / "o.avi", detector, rate=10) as sink:
        for _ in range(3):
            sink.write(frame, detector.detect(frame.image))
    with open_source(tmp_path / "o.avi") as written:
        assert written.info and written.info.rate == 10


def test_a_live_source_is_written_at_a_constant_rate_where_the_container_has_no_times(
    detector: Detector, tmp_path: Path
) -> None:
    live = SimpleNamespace(info=StreamInfo((64, 36), Fraction(10)))
    with open_sink(tmp_path / "o.avi", detector, live, codec="MJPG") as sink:
        for time_s in (0.0, 0.5):  # four frames are missing between them
            frame = Frame(np.zeros((36, 64, 3), np.uint8), "x", time_s=time_s)
            sink.write(frame, detector.detect(frame.image))
    with open_source(tmp_path / "o.avi") as written:
        assert sum(1 for _ in written) == 6


def test_a_sink_of_another_suffix_is_refused(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no video container is called '\.xyz'"):
        open_sink(tmp_path / "o.xyz", detector)


@pytest.mark.parametrize("name", ["in.avi", "link.avi", "in.jsonl"])
def test_a_sink_never_replaces_what_its_source_reads(detector: Detector, tmp_path: Path, name: str) -> None:
    content = STREET.read_bytes()
    (tmp_path / "in.avi").write_bytes(content)
    (tmp_path / "link.avi").symlink_to("in.avi")
    (tmp_path / "in.jsonl").hardlink_to(tmp_path / "in.avi")
    with (
        open_source(tmp_path / "in.avi") as source,
        pytest.raises(UsageError, match=r"the output is the input( .*)? itself"),
    ):
        open_sink(tmp_path / name, detector, source)
    assert (tmp_path / "in.avi").read_bytes() == content


def test_a_source_that_is_not_open_is_refused_in_one_sentence(detector: Detector) -> None:
    with pytest.raises(UsageError, match="is not open: iterate over it inside its with block"):
        next(detect_frames(open_source(STREET), detector))


@pytest.mark.parametrize("source", [None, True, 3.0, b"x.avi", np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match=r"^source: expected a camera's number, a path"):
        open_source(source)


@pytest.mark.parametrize("times", [{"start": "0:01"}, {"start": None}, {"start": -1}, {"end": float("nan")}])
def test_what_is_no_time_is_refused(times: Any) -> None:
    with pytest.raises(UsageError, match=r"^(start|end) .*: expected seconds"):
        open_source(STREET, **times)


@pytest.mark.parametrize("every", [1.5, "2", None])
def test_a_step_that_is_no_whole_number_is_refused(detector: Detector, every: Any) -> None:
    with pytest.raises(UsageError, match=r"^every .*: expected a whole number"):
        detect_frames(STREET, detector, every=every)
