"""``cvdetect video``: every frame accounted for, the rate and the sound kept, what is broken told."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect import media
from tests.conftest import ROOT, Cli

av = pytest.importorskip("av")
STREET = ROOT / "samples" / "street.mp4"


@pytest.fixture
def fast(shared: Path) -> list[str]:
    """Options of the smallest real model."""
    return ["--cfg", str(shared / "data/models/yolo-fastest-1.1.cfg"), "--conf", "0.3"]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [bytes(p) for p in container.demux(streams) if p.size] if streams else []


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [round(f.time, 3) for f in container.decode(video=0)]


def rate(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate


def make_video(
    path: Path, n: int, wh: tuple[int, int] = (160, 120), fps: object = 25, ticks: Callable[[int], int] | None = None
) -> Path:
    """`n` frames of a moving square; `ticks` gives each frame's time in thousandths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height = wh
        if ticks:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(n):
            image = np.full((wh[1], wh[0], 3), 40, np.uint8)
            image[20:60, 5 + i : 45 + i] = (0, 200, 255)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            if ticks:
                frame.pts, frame.time_base = ticks(i), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".mov"])
def test_frames_rate_and_audio_packets_are_those_of_the_input(suffix: str, cli: Cli, fast: list[str]) -> None:
    out = Path(f"out{suffix}")
    done = cli("video", STREET, *fast, "--out", out)
    assert done.code == 0, done
    assert len(packets(out, "video")) == len(packets(STREET, "video")) == 120
    assert packets(out, "audio") == packets(STREET, "audio")
    assert float(rate(out)) == pytest.approx(30000 / 1001, rel=2e-4)
    assert "120 frames" in done.out and "opencv" in done.out and str(out) in done.out
    assert [p.name for p in Path().iterdir()] == [out.name]


def test_the_mp4_is_what_browsers_play(cli: Cli, fast: list[str]) -> None:
    assert cli("video", STREET, *fast, "--out", "out.mp4", "--end", "0.5").code == 0
    with av.open("out.mp4") as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == Fraction(30000, 1001)
    data = Path("out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "faststart"


def test_boxes_are_drawn_into_the_frames(cli: Cli, fast: list[str]) -> None:
    assert cli("video", STREET, *fast, "--out", "out.mp4", "--end", "0.3").code == 0
    before, after = cv2.VideoCapture(str(STREET)).read()[1], cv2.VideoCapture("out.mp4").read()[1]
    assert np.abs(before.astype(int) - after).max() > 80


def test_without_options_an_mp4_appears_in_the_current_folder(cli: Cli, fast: list[str]) -> None:
    assert cli("video", STREET, *fast, "--end", "0.2").code == 0
    assert len(packets(Path("street_detected.mp4"), "video")) == 6


def test_boxes_of_frame_k_are_those_of_image_on_the_same_frame(cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, "--json", "-")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(120))
    assert not list(Path().iterdir()), "with --json and no --out no video is written"
    capture = cv2.VideoCapture(str(STREET))
    frames = [capture.read()[1] for _ in range(120)]
    for k in (0, 41, 80, 119):
        Path("k.png").write_bytes(cv2.imencode(".png", frames[k])[1].tobytes())
        alone = json.loads(cli("image", "k.png", *fast, "--json", "-", "--no-save").out)
        assert alone["detections"] == lines[k]["detections"]
        assert lines[k]["time"] == pytest.approx(k * 1001 / 30000, abs=1e-5)


def test_start_and_end_keep_the_original_numbers_and_cut_the_sound(cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, "--start", "2", "--end", "0:03", "--out", "out.mkv", "--json", "out.jsonl")
    assert done.code == 0, done
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(60, 90))
    assert lines[0]["time"] == pytest.approx(2.002)
    assert len(packets(Path("out.mkv"), "video")) == 30
    sound = packets(Path("out.mkv"), "audio")
    whole = packets(STREET, "audio")
    at = whole.index(sound[0])
    assert whole[at : at + len(sound)] == sound and 40 <= len(sound) <= 45
    assert times(Path("out.mkv"))[0] == pytest.approx(0.002, abs=0.002)


def test_every_looks_at_each_nth_frame_and_holds_between(cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, "--every", 4, "--json", "-", "--end", "0.5")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line.get("held", False) for line in lines] == [i % 4 != 0 for i in range(15)]
    assert all(line["detections"] == lines[i - i % 4]["detections"] for i, line in enumerate(lines))


def test_a_batch_gives_the_same_boxes(cli: Cli, fast: list[str]) -> None:
    def boxes(*more: object) -> list[list[dict[str, object]]]:
        lines = cli("video", STREET, *fast, *more, "--json", "-", "--end", 0.4).out.splitlines()
        return [json.loads(line)["detections"] for line in lines]

    one, three = boxes(), boxes("--batch", 3)
    assert len(one) == len(three) == 12
    for a, b in zip(one, three, strict=True):
        assert [d["label"] for d in a] == [d["label"] for d in b]
        for x, y in zip(a, b, strict=True):
            assert x["box"] == pytest.approx(y["box"], abs=0.1)


def test_variable_frame_times_are_kept_where_the_container_can(cli: Cli, fast: list[str]) -> None:
    make_video(Path("vfr.mkv"), 12, ticks=lambda i: i * 40 + (i // 4) * 100)
    assert cli("video", "vfr.mkv", *fast, "--out", "out.mkv").code == 0
    assert times(Path("out.mkv")) == times(Path("vfr.mkv"))
    assert cli("video", "vfr.mkv", *fast, "--out", "out.mp4").code == 0
    assert times(Path("out.mp4")) == pytest.approx(times(Path("vfr.mkv")), abs=0.002)


def test_a_fractional_rate_stays(cli: Cli, fast: list[str]) -> None:
    make_video(Path("in.mp4"), 10, fps=Fraction(24000, 1001))
    assert cli("video", "in.mp4", *fast, "--out", "out.mp4").code == 0
    assert rate(Path("out.mp4")) == Fraction(24000, 1001)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_applied(degrees: int, cli: Cli, fast: list[str]) -> None:
    make_video(Path("plain.mp4"), 3, wh=(160, 96))
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        "plain.mp4",
        "-c",
        "copy",
        "-metadata:s:v",
        f"rotate={degrees}",
        "turned.mp4",
    ]
    subprocess.run(command, check=True)
    with av.open("turned.mp4") as container:
        if not next(container.decode(video=0)).rotation:
            pytest.skip("this ffmpeg writes no rotation")
    upright = cv2.VideoCapture("turned.mp4").read()[1]  # OpenCV turns it too
    assert cli("video", "turned.mp4", *fast, "--out", "out.avi", "--codec", "FFV1", "--json", "o.jsonl").code == 0
    written = cv2.VideoCapture("out.avi").read()[1]
    assert written.shape == upright.shape == ((160, 96, 3) if degrees != 180 else (96, 160, 3))
    assert np.abs(written.astype(int) - upright).mean() < 3
    record = json.loads(Path("o.jsonl").read_text().splitlines()[0])
    assert (record["height"], record["width"]) == upright.shape[:2]


def test_odd_sizes_can_be_written_as_h264(cli: Cli, fast: list[str]) -> None:
    with av.open("odd.avi", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 161, 121, "bgr0"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((121, 161, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    assert cli("video", "odd.avi", *fast, "--out", "out.mp4").code == 0
    assert len(packets(Path("out.mp4"), "video")) == 3


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".avi", c) for c in "XVID MJPG DIVX mp4v WMV1 WMV2 VP80 VP90 FFV1 X264".split()]
    + [(".mp4", "mp4v"), (".mp4", "AV01"), (".webm", "VP80"), (".webm", "VP90"), (".mov", "MJPG"), (".mkv", "H264")],
)
def test_the_codecs_of_the_list_hold_every_frame(suffix: str, codec: str, cli: Cli, fast: list[str]) -> None:
    done = cli("video", make_video(Path("in.mp4"), 6), *fast, "--out", f"out{suffix}", "--codec", codec)
    assert done.code == 0, done
    assert len(packets(Path(f"out{suffix}"), "video")) == 6
    with av.open(f"out{suffix}") as container:
        assert len(list(container.decode(video=0))) == 6


def test_sound_that_a_container_cannot_hold_is_re_encoded(cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, "--out", "out.webm", "--end", "0.3")
    assert done.code == 0
    assert "out.webm cannot hold aac sound; it is re-encoded to Opus" in done.err
    with av.open("out.webm") as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == "opus"
    assert "sound" not in cli("video", STREET, *fast, "--out", "out.webm", "--end", "0.3", "--no-audio").err


def test_tracking_keeps_a_number_on_an_object(cli: Cli, fast: list[str]) -> None:
    pytest.importorskip("scipy")
    done = cli("video", STREET, *fast, "--track", "--json", "-", "--end", "1.2", "--classes", "dog,car,bicycle")
    lines = [json.loads(line)["detections"] for line in done.out.splitlines()]
    cars = [d.get("track_id") for line in lines for d in line if d["label"] == "car" and d["score"] > 0.6]
    assert len(cars) > 20 and max(cars.count(i) for i in set(cars)) > 0.9 * len(cars)
    by_number = {(d["track_id"], d["label"]) for line in lines for d in line if "track_id" in d}
    assert len(by_number) == len({n for n, _ in by_number}), "a number belongs to one class"
    assert not any("track_id" in d for line in lines[:2] for d in line), "no object is confirmed yet"
    assert all(-1 not in [d.get("track_id") for d in line] for line in lines)


def test_three_horses_have_a_number_each(cli: Cli, yolov3_tiny: None, shared: Path) -> None:
    pytest.importorskip("scipy")
    done = cli("video", shared / "data/cases/media/horses.mp4", "--track", "--json", "-", "--conf", "0.25")
    found = [json.loads(line)["detections"] for line in done.out.splitlines()]
    numbers = [[d["track_id"] for d in line if "track_id" in d] for line in found]
    assert all(len(set(line)) == len(line) for line in numbers)
    assert numbers[:2] == [[], []] and sorted(numbers[2]) == [1, 2, 3]
    assert {n for line in numbers for n in line} <= {1, 2, 3, 4, 5}, "five horses, two of them hardly seen"


@pytest.mark.parametrize("conf", ["0.3", "0.3,dog=0.4"])
def test_tracking_reports_the_same_detections(cli: Cli, fast: list[str], conf: str) -> None:
    pytest.importorskip("scipy")
    command = ["video", STREET, *fast[:2], "--conf", conf, "--json", "-", "--end", "0.5"]
    outs = [cli(*command, *more).out for more in ([], ["--track"])]
    plain, tracked = ([json.loads(line) for line in out.splitlines()] for out in outs)
    for line in tracked:
        for found in line["detections"]:
            found.pop("track_id", None)
    assert tracked == plain and any(line["detections"] for line in plain)


def test_the_closing_table_counts_frames_that_were_looked_at(cli: Cli, fast: list[str]) -> None:
    pytest.importorskip("scipy")
    done = cli("video", STREET, *fast, "--every", "5", "--track", "--out", "out.mp4", "--end", "1", "--classes", "dog")
    assert done.out.startswith("30 frames (6 looked at) in "), done.out
    dogs = next(line for line in done.out.splitlines() if "dog" in line)
    assert [cell.strip() for cell in dogs.strip("│\n").split("│")] == ["dog", "6", "1.00", "1"], done.out


def test_a_video_cut_short_is_done_as_far_as_it_goes_and_reported(cli: Cli, fast: list[str]) -> None:
    Path("cut.mp4").write_bytes(STREET.read_bytes()[: STREET.stat().st_size // 2])
    done = cli("video", "cut.mp4", *fast, "--out", "out.mp4")
    assert done.code == 1, done
    assert "cut.mp4: is" in done.err and "frames" in done.err
    assert 20 < len(packets(Path("out.mp4"), "video")) < 110


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.mp4", None, "no such file"),
        ("text.mp4", b"This is a letter, not a film.\n" * 40, "not a video"),
        ("empty.mp4", b"", "empty"),
        ("noise.mp4", bytes(range(256)) * 50, "not a video"),
        ("page.mp4", b"<!DOCTYPE html><html></html>" * 9, "HTML page"),
        ("folder", "", "is a folder"),
    ],
)
@pytest.mark.parametrize("with_av", [True, False])
def test_an_input_that_is_no_video(name, content, words, with_av, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_av:
        monkeypatch.setattr(media, "available", lambda: False)
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content is not None:
        Path(name).mkdir()
    done = cli("--cache-dir", "cache", "video", name, "--out", "out.avi")
    assert done.code == 4 and words in done.err, done
    assert not Path("out.avi").exists() and not Path("cache").exists()


def test_a_image_given_by_mistake_gets_a_hint(cli: Cli, samples: Path) -> None:
    done = cli("video", samples / "dog.jpg")
    assert done.code == 4 and "cvdetect image" in done.err


def test_a_video_without_frames_is_reported(cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, "--start", "100", "--out", "out.avi")
    assert done.code == 4 and "no frames between --start and --end" in done.err
    assert not list(Path().iterdir())


def test_a_change_of_frame_size_is_reported_and_every_frame_is_written(cli: Cli, fast: list[str]) -> None:
    small, large = make_video(Path("a.ts"), 8, (160, 120)), make_video(Path("b.ts"), 8, (320, 240))
    Path("both.ts").write_bytes(small.read_bytes() + large.read_bytes())
    done = cli("video", "both.ts", *fast, "--out", "out.avi", "--json", "o.jsonl")
    sizes = [json.loads(line)["width"] for line in Path("o.jsonl").read_text().splitlines()]
    assert set(sizes) == {160, 320}
    assert "frames change from 160x120 to 320x240" in done.err
    assert len(packets(Path("out.avi"), "video")) == len(sizes)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--out", "out.xyz"], 2, [".xyz", ".mp4"]),
        (["--out", "out.webm", "--codec", "XVID"], 2, ["--codec XVID", "VP80", "VP90"]),
        (["--out", "out.avi", "--codec", "ABCD"], 2, ["--codec ABCD", "XVID", "MJPG"]),
        (["--codec", "XVID", "--json", "-"], 2, ["--codec goes with --out"]),
        (["--every", "0"], 2, ["--every 0"]),
        (["--batch", "0"], 2, ["--batch 0"]),
        (["--start", "3", "--end", "2"], 2, ["--end 2", "after --start"]),
        (["--start", "soon"], 2, ["--start soon", "mm:ss"]),
        (["--end", "1:75"], 2, ["--end 1:75"]),
        (["--out", "plain/out.avi"], 4, ["plain/out.avi"]),
    ],
)
def test_a_wrong_option(args, code, words, cli: Cli, fast: list[str]) -> None:
    Path("plain").write_text("a file")
    done = cli("video", STREET, *fast, *args)
    assert done.code == code, done
    for word in words:
        assert word in done.err
    assert [p.name for p in Path().iterdir()] == ["plain"]


def test_an_output_that_is_the_input(cli: Cli, fast: list[str]) -> None:
    shutil.copy(STREET, "in.mp4")
    done = cli("video", "in.mp4", *fast, "--out", "in.mp4")
    assert done.code == 2 and "the input itself" in done.err
    assert Path("in.mp4").read_bytes() == STREET.read_bytes()


def test_without_pyav_opencv_serves_and_what_is_lost_is_reported(
    cli: Cli, fast: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "available", lambda: False)
    done = cli("video", STREET, *fast, "--out", "out.avi", "--start", "1", "--end", "2", "--json", "o.jsonl")
    assert done.code == 0, done
    assert "no H.264 and no sound" in done.err and "pip install 'av>=17'" in done.err
    assert len(packets(Path("out.avi"), "video")) == 30
    frames = [json.loads(line)["frame"] for line in Path("o.jsonl").read_text().splitlines()]
    assert frames == list(range(30, 60))
    done = cli("video", STREET, *fast, "--out", "out.mp4", "--codec", "H264")
    assert done.code == 2 and "mp4v" in done.err and "pip install 'av>=17'" in done.err


def test_track_without_its_extra_is_reported_before_anything_is_pulled(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvdetect.inference import tracking

    monkeypatch.setattr(tracking, "available", lambda: False)
    done = cli("--cache-dir", "cache", "video", STREET, "--track")
    assert done.code == 3 and "cvdetect[track]" in done.err
    assert not Path("cache").exists()


@contextmanager
def start(args: list[object], **kwargs: Any) -> Iterator[subprocess.Popen[str]]:
    """``cvdetect ARGS`` in a process of its own, which is gone with the block."""
    command = [sys.executable, "-m", "cvdetect", *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs) as process:
        try:
            yield process
        finally:
            process.kill()


def begun(folder: Path) -> bool:
    """Whether the JSON Lines being written there hold many frames."""
    try:
        return any(path.stat().st_size > 20_000 for path in folder.glob(".o.*.jsonl"))
    except FileNotFoundError:  # renamed meanwhile
        return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_playable_file_with_the_frames_so_far(
    number: int, code: int, fast: list[str], tmp_path: Path
) -> None:
    long = tmp_path / "long.mp4"
    make_video(long, 3000, (320, 240))
    lines = tmp_path / "o.jsonl"
    with start(["video", long, *fast, "--out", tmp_path / "out.mp4", "--json", lines]) as process:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None and not begun(tmp_path):
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    written = len(packets(tmp_path / "out.mp4", "video"))
    assert 0 < written < 3000
    assert len(lines.read_text().splitlines()) == written
    assert len(times(tmp_path / "out.mp4")) == written


def test_a_disk_that_takes_no_more_is_reported(fast: list[str], tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with start(["video", STREET, *fast, "--out", tmp_path / "out.avi"], preexec_fn=limit) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 4, told
    assert "out.avi" in told and "Traceback" not in told


def test_in_the_window_q_ends_and_leaves_a_whole_file(fast: list[str], tmp_path: Path) -> None:
    from tests.display import screen

    make_video(tmp_path / "long.mp4", 2000, (320, 240))
    with screen() as display:
        out = tmp_path / "out.avi"
        with start(["video", tmp_path / "long.mp4", *fast, "--show", "--out", out], env=display.environment) as process:
            display.wait_for_window("cvdetect")
            display.press("q")
            _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert 0 < len(packets(out, "video")) < 2000
