"""Picture and sound stay together, frames keep their numbers and times, whatever the container's clock does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cvdetect.media.timing import steady_rate
from cvdetect.sources.video import Video
from tests.media.conftest import Make, av, beeps, decoded, flashes, offsets, through

X264 = ["-c:v", "libx264", "-preset", "ultrafast"]
B_FRAMES = ["-c:v", "libx264", "-preset", "veryfast"]
KINDS = {
    "a.mp4": [*B_FRAMES, "-c:a", "aac"],
    "frag.mp4": [*B_FRAMES, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"],
    "a.mov": [*X264, "-c:a", "pcm_s16le"],
    "a.mkv": [*B_FRAMES, "-c:a", "libvorbis"],
    "a.webm": ["-c:v", "libvpx", "-deadline", "realtime", "-auto-alt-ref", "1", "-c:a", "libopus", "-ar", "48000"],
    "mp3.avi": ["-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame"],
    "h264.avi": [*B_FRAMES, "-c:a", "ac3"],
    "a.ts": [*B_FRAMES, "-c:a", "aac"],
    "a.m2ts": [*X264, "-c:a", "ac3"],
    "a.mpg": ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"],
    "a.flv": [*B_FRAMES, "-c:a", "aac"],
    "a.wmv": ["-c:v", "wmv2", "-c:a", "wmav2"],
    "a.3gp": ["-c:v", "h263", "-s", "176x144", "-c:a", "aac"],
    "a.mxf": ["-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000"],
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_the_beep_stays_with_the_flash(name: str, suffix: str, clip: Make, tmp_path: Path) -> None:
    source = clip(name, *KINDS[name])
    passed = through(source, tmp_path / f"out{suffix}")
    assert passed.cut is None
    assert len(passed.frames) == len(decoded(source, "video")) == len(decoded(passed.out, "video")) == 75
    assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.025)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mov", ".ts"])
def test_other_containers_keep_sync_too(suffix: str, clip: Make, tmp_path: Path) -> None:
    source = clip("a.ts", *KINDS["a.ts"])
    assert offsets(through(source, tmp_path / f"out{suffix}").out) == pytest.approx([0.0], abs=0.003)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
@pytest.mark.parametrize(
    ("late", "container"), [("sound", "mkv"), ("picture", "mkv"), ("sound", "ts"), ("picture", "mp4")]
)
def test_a_track_that_begins_later(
    late: str, container: str, suffix: str, clip: Make, remux: Make, tmp_path: Path
) -> None:
    whole = clip("whole.mp4", *KINDS["a.mp4"])
    first, second = (["-i", whole], ["-itsoffset", "0.7", "-i", whole])
    picture, sound = (second, first) if late == "picture" else (first, second)
    source = remux(f"late.{container}", *picture, *sound, "-map", "0:v", "-map", "1:a", "-c", "copy")
    expected = pytest.approx([0.7 if late == "sound" else -0.7], abs=0.045)
    assert offsets(source) == expected
    assert offsets(through(source, tmp_path / f"out{suffix}").out) == expected


def test_a_file_that_begins_at_ten_seconds_begins_at_zero(clip: Make, remux: Make, tmp_path: Path) -> None:
    whole = clip("whole.mp4", *KINDS["a.mp4"])
    source = remux("ten.mkv", "-itsoffset", 10, "-i", whole, "-c", "copy", "-avoid_negative_ts", "disabled")
    passed = through(source, tmp_path / "out.mp4")
    assert offsets(passed.out) == pytest.approx([0.0], abs=0.003)
    assert passed.frames[0][1] == pytest.approx(0.023, abs=0.001), "after the sound, which begins first"
    assert flashes(passed.out)[0] == pytest.approx(2.023, abs=0.001)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mpg", "mp3.avi", "h264.avi", "a.webm"])
def test_start_and_end_are_exact_and_keep_numbers(name: str, clip: Make, tmp_path: Path) -> None:
    source = clip(name, *KINDS[name], "-g", "12")
    whole = through(source, tmp_path / "whole.mkv").frames
    for start, end in ((1.5, 2.5), (0.31, 0.77), (1.9, None)):
        passed = through(source, tmp_path / "out.mp4", start, end)
        assert passed.frames == [f for f in whole if f[1] >= start - 1e-6 and (end is None or f[1] < end - 1e-6)]
        if end != 0.77:
            assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.025)


def test_an_open_group_of_pictures_is_cut_exactly(remux: Make, tmp_path: Path) -> None:
    options = ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:bframes=4", "-t", "3"]
    source = remux("open.mkv", "-f", "lavfi", "-i", "testsrc=s=96x64:r=25", *options)
    with Video(str(source)) as video:
        whole = [(f.index, f.image.copy()) for f in video]
    for start in (0.5, 1.0, 1.44, 2.02):
        with Video(str(source), start, start + 0.3) as video:
            part = [(f.index, f.image.copy()) for f in video]
        assert [n for n, _ in part] == [n for n in range(75) if start - 1e-6 <= n / 25 < start + 0.3 - 1e-6]
        assert all(np.array_equal(image, whole[n][1]) for n, image in part)


def test_edit_lists(clip: Make, remux: Make, tmp_path: Path) -> None:
    whole = clip("whole.mp4", *KINDS["a.mp4"])
    source = remux("cut.mp4", "-ss", "1.3", "-i", whole, "-c", "copy")
    passed = through(source, tmp_path / "out.mp4")
    assert passed.cut is None
    assert passed.frames == [(n, pytest.approx(n / 25)) for n in range(len(decoded(source, "video")))]
    assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.003)
    with av.open(str(passed.out)) as container:
        first = next(p for p in container.demux(audio=0))
        assert first.pts * first.time_base > -0.1, "sound that was cut off does not come back"


@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
def test_joined_recordings_go_on(name: str, clip: Make, tmp_path: Path) -> None:
    one = clip(name, *KINDS[name])
    joined = tmp_path / f"joined{one.suffix}"
    joined.write_bytes(one.read_bytes() * 2)
    passed = through(joined, tmp_path / "out.mp4")
    assert [n for n, _ in passed.frames] == list(range(150)) and passed.cut is None
    times = [f.time for f in decoded(passed.out, "video")]
    assert len(times) == 150 and times == sorted(set(times))
    assert len(flashes(passed.out)) == 2
    assert beeps(passed.out) == pytest.approx(flashes(passed.out), abs=0.045)


@pytest.mark.parametrize("offset", [95441, 95443])  # the counter of 33 bits wraps at 95443.7 s
def test_a_counter_that_wraps(offset: int, clip: Make, remux: Make, tmp_path: Path) -> None:
    whole = clip("whole.mp4", *KINDS["a.mp4"])
    source = remux("wrap.ts", "-i", whole, "-c", "copy", "-output_ts_offset", offset, "-mpegts_copyts", "1")
    passed = through(source, tmp_path / "out.mp4")
    assert [n for n, _ in passed.frames] == list(range(75)) and passed.cut is None
    assert offsets(passed.out) == pytest.approx([0.0], abs=0.003)


@pytest.mark.parametrize(("suffix", "rate"), [("h264", 24), ("h265", 30), ("mjpeg", 25), ("ivf", 30), ("y4m", 24)])
def test_raw_streams_get_times_from_their_rate(suffix: str, rate: int, remux: Make, tmp_path: Path) -> None:
    codec = {"h265": ["-c:v", "libx265", "-x265-params", "log-level=error"], "ivf": ["-c:v", "libvpx"]}.get(suffix, [])
    source = remux(f"raw.{suffix}", "-f", "lavfi", "-i", f"testsrc=s=96x64:r={rate}:d=1", "-pix_fmt", "yuv420p", *codec)
    passed = through(source, tmp_path / "out.mp4")
    assert passed.frames == [(n, pytest.approx(n / rate)) for n in range(rate)]
    assert [f.time for f in decoded(passed.out, "video")] == pytest.approx([n / rate for n in range(rate)], abs=1e-3)
    assert through(source, tmp_path / "part.mp4", 0.5).frames[0] == (-(-rate // 2), pytest.approx(-(-rate // 2) / rate))


def uneven(path: Path, ticks: list[int]) -> Path:
    """A Matroska video whose frames come at these thousandths of a second; the last quarter is white."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = 96, 64
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pts in enumerate(ticks):
            image = np.full((64, 96, 3), 255 if number >= len(ticks) * 3 // 4 else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_uneven_times_are_kept_where_the_container_has_them_else_resampled(tmp_path: Path) -> None:
    ticks = [i * 33 for i in range(20)] + [660 + i * 200 for i in range(20)]
    source = uneven(tmp_path / "uneven.mkv", ticks)
    for options in ({}, {"codec": "mp4v"}):
        exact = through(source, tmp_path / "out.mp4", **options)
        assert [f.time for f in decoded(exact.out, "video")] == pytest.approx([t / 1000 for t in ticks], abs=0.001)
    steady = through(source, tmp_path / "out.avi")
    assert flashes(steady.out) == pytest.approx(flashes(source), abs=0.04)
    assert "repeated" in steady.told[0] and ".mp4" in steady.told[0]


def test_a_clock_that_trembles_changes_nothing_in_avi(tmp_path: Path) -> None:
    ticks = [round(i * 1000.391 / 30) + (i * 7) % 11 for i in range(90)]
    passed = through(uneven(tmp_path / "phone.mkv", ticks), tmp_path / "out.avi")
    assert not passed.told and len(decoded(passed.out, "video")) == 90


@pytest.mark.parametrize("codec", [None, "MJPG", "mp4v"])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mov", ".mkv"])
def test_rates_that_mpeg_4_cannot_express(codec: str | None, suffix: str, tmp_path: Path) -> None:
    rate = Fraction(30000000, 1000391)
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = 96, 64
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    passed = through(tmp_path / "in.mp4", tmp_path / f"out{suffix}", codec=codec)
    frames = decoded(passed.out, "video")
    assert len(frames) == 30
    assert frames[-1].time - frames[0].time == pytest.approx(float(29 / rate), abs=0.001)


@pytest.mark.parametrize(
    ("average", "base", "steady"),
    [
        (Fraction(30000, 1001), Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(5400000, 180037), Fraction(30), Fraction(5400000, 180037)),  # a phone whose clock trembles
        (Fraction(500, 29), Fraction(30), Fraction(30)),  # really uneven: none is dropped
        (Fraction(25), Fraction(50), Fraction(25)),  # fields
        (Fraction(12), Fraction(90000), Fraction(30)),  # nothing fits
    ],
)
def test_the_rate_for_a_container_without_times(average: Fraction, base: Fraction, steady: Fraction) -> None:
    found = steady_rate(average, base)
    assert float(found) == pytest.approx(float(steady), rel=1e-8)
    assert max(found.numerator, found.denominator) <= 65535


def test_the_last_frame_lasts_as_long_as_it_did(remux: Make, tmp_path: Path) -> None:
    source = remux("slow.mp4", "-f", "lavfi", "-i", "testsrc=s=96x64:r=1/2:d=6", *X264)
    for suffix in (".mp4", ".avi"):
        with av.open(str(through(source, tmp_path / f"out{suffix}").out)) as container:
            assert container.duration == pytest.approx(6_000_000, abs=50_000)


def test_the_shared_cases(shared: Path, tmp_path: Path) -> None:
    cases = shared / "data" / "cases" / "media"
    for name, frames in (
        ("disc.ts", 104),
        ("android.mp4", 300),
        ("iphone.mov", 298),
        ("vfr2.mp4", 100),
        ("raw.h264", 100),
    ):
        for suffix in (".mp4", ".avi"):
            passed = through(cases / name, tmp_path / f"out{suffix}")
            assert [n for n, _ in passed.frames] == list(range(frames)) and passed.cut is None
            times = [f.time for f in decoded(passed.out, "video")]
            assert len(times) >= frames and times == sorted(set(times))
            assert abs(times[-1] - times[0] - passed.frames[-1][1] + passed.frames[0][1]) < 0.04
    passed = through(cases / "long.ts", tmp_path / "out.mp4", 2.0, 3.0)
    assert [n for n, _ in passed.frames] == list(range(50, 75))


@pytest.mark.parametrize(
    ("start", "end", "frames"), [(0.042, 0.125, [1, 2]), (0.0417, 0.0834, [1]), (0.083, 0.084, [2])]
)
def test_a_time_in_thousandths_means_the_frame_there(
    start: float, end: float, frames: list[int], remux: Make, tmp_path: Path
) -> None:
    """Frames 1, 2 and 3 of 24000/1001 a second are at 0.0417, 0.0834 and 0.1251 s."""
    source = remux("film.mp4", "-f", "lavfi", "-i", "testsrc=s=64x48:r=24000/1001:d=1", *X264)
    with Video(str(source), start, end) as video:
        assert [frame.index for frame in video] == frames
