"""``cvdetect webcam``: files in real time, a network camera that breaks, windows, pages, signals and bad input."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.conftest import ROOT, Cli
from tests.display import screen

Record = dict[str, Any]


@pytest.fixture
def small(shared: Path) -> list[str]:
    """Options that name the smallest real model."""
    models = shared / "data" / "models"
    names = {"cfg": "yolo-fastest-1.1.cfg", "weights": "yolo-fastest-1.1.weights", "names": "coco.names"}
    return [part for option, name in names.items() for part in (f"--{option}", str(models / name))]


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def records(path: str | Path) -> list[Record]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def frames_and_seconds(path: str | Path) -> tuple[int, float]:
    """How many frames a video file holds, and when the last one is shown."""
    capture = cv2.VideoCapture(str(path))
    count, last = 0, 0.0
    while capture.grab():
        count, last = count + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    capture.release()
    return count, last


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def network_camera(port: int, samples: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A camera on loopback: the street clip again and again, MPEG-TS over http, for one viewer."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    stream = "-re -stream_loop -1 -i {} -an -c:v mpeg2video -q:v 5 -g 15 -f mpegts -listen 1 {}"
    arguments = stream.format("IN", f"http://127.0.0.1:{port}/cam").split()
    arguments[arguments.index("IN")] = str(samples / "street.mp4")
    with subprocess.Popen([ffmpeg, "-v", "quiet", *arguments]) as process:
        try:
            time.sleep(0.6)  # a look whether it listens would take its only viewer's place
            yield process
        finally:
            process.kill()


@contextmanager
def webcam(*args: object, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """``cvdetect webcam ARGS`` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cvdetect", "webcam", *map(str, args)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**(env or os.environ), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def told_until(process: subprocess.Popen[str], pattern: str) -> str:
    """The first line on standard error that matches."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError("".join(lines))


def growing(folder: Path, name: str, lines: int) -> None:
    """Return when the JSON Lines being written hold so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(p.read_text().count("\n") >= lines for p in folder.glob(f".{name}.*.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} does not grow")


def test_a_file_plays_in_real_time_into_json_and_video(cli: Cli, small: list[str], samples: Path) -> None:
    done = cli(
        "webcam", "--url", samples / "street.mp4", *small, "--no-window", "--json", "x.jsonl", "--out", "x.avi",
        "--duration", 1.5,
    )  # fmt: skip
    assert done.code == 0, done
    assert "no window: --no-window" in done.err
    found = records("x.jsonl")
    assert re.search(rf"{len(found)} frames in 1\.[4-9] s, .* dropped", done.err), done.err
    assert found[0]["source"] == str(samples / "street.mp4")
    assert found[0]["frame"] == 0 and {"dog", "car"} & {d["label"] for d in found[0]["detections"]}
    assert all(r["time"] == pytest.approx(r["frame"] * 1001 / 30000, abs=1e-3) for r in found)
    assert all(b["frame"] > a["frame"] for a, b in pairwise(found))
    count, last = frames_and_seconds("x.avi")
    assert count >= len(found)
    assert last == pytest.approx(found[-1]["time"], abs=0.1), "the video plays as fast as life"


def test_a_video_with_times_of_its_own_keeps_those_of_the_frames(cli: Cli, small: list[str], samples: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    done = cli(
        "webcam", "--url", samples / "street.mp4", *small, "--size", 640, "--json", "x.jsonl", "--out", "x.mp4",
        "--max-frames", 12,
    )  # fmt: skip
    assert done.code == 0, done
    assert "no window: there is no display" in done.err
    found = records("x.jsonl")
    assert len(found) == 12
    count, last = frames_and_seconds("x.mp4")
    assert count == 12
    assert last == pytest.approx(found[-1]["time"], abs=0.02)


def test_a_network_camera_killed_and_started_again_is_connected_again_and_json_keeps_counting(
    small: list[str], samples: Path, tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "x.jsonl"
    with (
        network_camera(port, samples) as camera,
        webcam("--url", f"http://127.0.0.1:{port}/cam", *small, "--no-window", "--json", out, "--duration", 7) as ours,
    ):
        growing(tmp_path, "x", 20)
        camera.kill()
        camera.wait()
        with network_camera(port, samples):
            assert f"warning: http://127.0.0.1:{port}/cam: ended; trying again in 0.5 s" in told_until(ours, "warning")
            told_until(ours, "reconnected")
            assert ours.wait(60) == 0
    found = records(out)
    assert [r["frame"] for r in found] == sorted({r["frame"] for r in found})
    assert 6 < found[-1]["time"] - found[0]["time"] < 8
    gap = max(range(1, len(found)), key=lambda i: found[i]["time"] - found[i - 1]["time"])
    assert gap >= 20 and len(found) - gap >= 10, "frames before and after the break"


def test_a_camera_that_freezes_ends_the_run_with_what_was_there(
    small: list[str], samples: Path, tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "x.jsonl"
    limits = ["--timeout", 1, "--reconnect", 0, "--json", out, "--out", tmp_path / "x.avi", "--no-window"]
    with network_camera(port, samples) as camera:
        with webcam("--url", f"http://127.0.0.1:{port}/cam", *small, *limits) as ours:
            growing(tmp_path, "x", 10)
            camera.send_signal(signal.SIGSTOP)
            begin = time.monotonic()
            assert "gave no frame for 1 s; given up" in told_until(ours, "error")
            assert ours.wait(60) == 1
        assert time.monotonic() - begin < 5
        camera.send_signal(signal.SIGCONT)
    assert len(records(out)) >= 10
    assert frames_and_seconds(tmp_path / "x.avi")[0] >= len(records(out))
    assert not list(tmp_path.glob(".x*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_the_files(number: int, code: int, small: list[str], samples: Path, tmp_path: Path) -> None:
    out, video = tmp_path / "x.jsonl", tmp_path / "x.mp4"
    with webcam(
        "--url", samples / "street.mp4", *small, "--no-window", "--json", out, "--out", video, "--serve", "0"
    ) as ours:
        growing(tmp_path, "x", 5)
        ours.send_signal(number)
        assert ours.wait(60) == code
    assert len(records(out)) >= 5
    assert frames_and_seconds(video)[0] >= len(records(out))
    assert not list(tmp_path.glob(".x*"))


def test_the_page_shows_what_goes_on(small: list[str], samples: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="the extra [serve] is not installed")
    with webcam("--url", samples / "street.mp4", *small, "--no-window", "--serve", "127.0.0.1:0") as ours:
        port = int(re.findall(r"http://127.0.0.1:(\d+)/", told_until(ours, "live page"))[0])
        facts: Record = {"frame": 0}
        deadline = time.monotonic() + 60
        while facts["frame"] < 10 and time.monotonic() < deadline:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/facts")
                facts = json.loads(connection.getresponse().read())
            time.sleep(0.05)
        assert ours.wait(60) == 0
    assert facts["source"] == str(samples / "street.mp4") and facts["state"] == "live"
    assert facts["model"] == "yolo-fastest-1.1" and facts["ran"].startswith("opencv")
    assert 1 < facts["fps"] < 40 and 0 < facts["delay_ms"] < 2000
    assert sum(facts["counts"].values()) >= 1


def test_in_the_window_q_ends_and_what_is_written_keeps_to_the_threshold(
    small: list[str], samples: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.jsonl"
    with (
        screen() as on,
        webcam("--url", samples / "street.mp4", *small, "--conf", 0.6, "--json", out, env=on.environment) as ours,
    ):
        on.wait_for_window("cvdetect")
        growing(tmp_path, "x", 5)
        on.press("q")
        assert ours.wait(60) == 0
    found = records(out)
    assert 5 <= len(found) < 120
    scores = [d["score"] for r in found for d in r["detections"]]
    assert scores and min(scores) >= 0.6


def test_in_the_window_a_signal_ends_too(small: list[str], samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.jsonl"
    with (
        screen() as on,
        webcam("--url", samples / "street.mp4", *small, "--json", out, env=on.environment) as ours,
    ):
        on.wait_for_window("cvdetect")
        growing(tmp_path, "x", 2)
        ours.send_signal(signal.SIGTERM)
        assert ours.wait(60) == 143
    assert records(out)


def test_per_class_thresholds_hold(cli: Cli, small: list[str], samples: Path) -> None:
    done = cli(
        "webcam", "--url", samples / "street.mp4", *small, "--conf", "0.9,car=0.3", "--json", "-", "--max-frames", 4
    )
    assert done.code == 0, done
    found = [d for line in done.out.splitlines() for d in json.loads(line)["detections"]]
    assert found and all(d["score"] >= (0.3 if d["label"] == "car" else 0.9) for d in found)


def test_blurred_classes_are_pixelated_in_the_video(cli: Cli, small: list[str], samples: Path) -> None:
    sharpness = []
    for options in ([], ["--blur", "all"]):
        done = cli("webcam", "--url", samples / "street.mp4", *small, *options, "--out", "x.avi", "--max-frames", 1)
        assert done.code == 0, done
        picture = cv2.VideoCapture("x.avi").read()[1]
        sharpness.append(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var())
    assert sharpness[1] < 0.9 * sharpness[0]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--device", 99], 2, ["no window", "no display", "--serve 127.0.0.1:8080"]),
        (["--device", 99, "--no-window"], 2, ["no window", "--json"]),
        (["--device", 99, "--json", "-"], 4, ["camera 99: no such camera"]),
        (["--device", -1, "--json", "-"], 2, ["--device -1"]),
        (["--device", 0, "--url", "x", "--json", "-"], 2, ["--device and --url"]),
        (["--url", "missing.mp4", "--json", "-"], 4, ["missing.mp4: no such file"]),
        (["--url", ".", "--json", "-"], 4, [".: is a folder"]),
        (["--url", "text.mp4", "--json", "-"], 4, ["text.mp4: is plain text, not a video"]),
        (["--url", "clip.mp4", "--out", "clip.mp4"], 2, ["the output is the input itself"]),
        (["--url", "http://nosuchhost.invalid/", "--json", "-"], 4, ["there is no host nosuchhost.invalid"]),
        (["--json", "-", "--max-frames", 0], 2, ["--max-frames 0"]),
        (["--json", "-", "--duration", 0], 2, ["--duration 0"]),
        (["--json", "-", "--duration", "nan"], 2, ["--duration nan"]),
        (["--json", "-", "--timeout", -1], 2, ["--timeout -1"]),
        (["--json", "-", "--reconnect", -1], 2, ["--reconnect -1"]),
        (["--serve", "here"], 2, ["expected HOST:PORT"]),
        (["--serve", "192.0.2.1:8080"], 4, ["--serve 192.0.2.1:8080"]),
        (["--out", "x.xyz"], 2, ["no video container"]),
        (["--out", "."], 2, ["."]),
    ],
)
def test_bad_input_is_one_clear_sentence(args: Sequence[object], code: int, words: list[str], cli: Cli) -> None:
    Path("text.mp4").write_text("Dear reader, this is a letter.\n" * 20)
    Path("clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    before = {p.name for p in Path().iterdir()}
    done = cli("webcam", *args)
    assert done.code == code, done
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert len(done.err.strip().splitlines()) <= 2
    assert {p.name for p in Path().iterdir()} == before


def test_a_stream_that_is_refused_and_one_that_is_silent_are_reported_within_the_time_out(cli: Cli) -> None:
    for backlog, why in ((None, "connection refused"), (5, "sends nothing")):
        with socket.create_server(("127.0.0.1", 0), backlog=backlog) as silent:
            port = silent.getsockname()[1]
            if backlog is None:
                silent.close()
            begin = time.monotonic()
            done = cli("webcam", "--url", f"http://127.0.0.1:{port}/cam", "--timeout", 1, "--json", "-")
        assert (done.code, time.monotonic() - begin < 4) == (4, True), done
        assert f"http://127.0.0.1:{port}/cam: " in done.err and why in done.err


def test_a_port_in_use_is_reported_before_anything_is_opened(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("webcam", "--serve", f"127.0.0.1:{port}", "--url", "missing.mp4")
    assert done.code == 4
    assert f"--serve 127.0.0.1:{port}: address already in use" in done.err


def test_tracking_numbers_objects_and_keeps_to_the_threshold(cli: Cli, samples: Path, small: list[str]) -> None:
    pytest.importorskip("scipy")
    dog = cv2.resize(cv2.imread(str(samples / "dog.jpg")), (384, 288))
    writer = cv2.VideoWriter("still.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (384, 288))
    for _ in range(200):  # far more than is looked at: which frames are is up to the machine
        writer.write(dog)
    writer.release()
    done = cli(
        "webcam", "--url", "still.avi", *small, "--conf", "0.3", "--classes", "dog", "--track",
        "--no-window", "--json", "-", "--max-frames", 30,
    )  # fmt: skip
    assert done.code == 0, done
    found = [json.loads(line)["detections"] for line in done.out.splitlines()]
    numbers = {d["track_id"] for line in found for d in line if "track_id" in d}
    assert numbers == set(range(1, len(numbers) + 1)) and numbers, "one dog, seen anew where the machine stood still"
    assert not any("track_id" in d for line in found[:2] for d in line)
    assert all(d["score"] >= 0.3 for line in found for d in line)


def test_track_without_its_extra_is_reported_before_the_camera_is_opened(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvdetect.inference import tracking

    monkeypatch.setattr(tracking, "available", lambda: False)
    done = cli("--cache-dir", "cache", "webcam", "--url", "nowhere.mp4", "--track", "--no-window", "--json", "-")
    assert done.code == 3 and "cvdetect[track]" in done.err
