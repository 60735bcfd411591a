"""``cvdetect video`` and ``webcam``: pipes, odd names, image sequences, playlists; videos written into pipes."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cvdetect import media
from cvdetect.core.cv import cv2
from cvdetect.media import inputs
from tests.conftest import ROOT, Cli

av = pytest.importorskip("av")
STREET = ROOT / "samples" / "street.mp4"
TINY = ["--end", "0.2"]


@pytest.fixture
def fast(shared: Path) -> list[str]:
    """Options of the smallest real model."""
    return ["--cfg", str(shared / "data/models/yolo-fastest-1.1.cfg"), "--conf", "0.3"]


def remux(name: str, *options: str) -> Path:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(STREET), *(options or ("-c", "copy")), name]
    subprocess.run(command, check=True)
    return Path(name)


def count(path: str | Path, kind: str = "video") -> int:
    with av.open(f"file:{path}") as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return sum(1 for packet in container.demux(streams) if packet.size) if streams else 0


def run(args: list[object], data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """``cvdetect ARGS`` in a process of its own, with `data` on its standard input."""
    command = [sys.executable, "-m", "cvdetect", *map(str, args)]
    return subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("name", ["12:30.mp4", "a:b.mp4", "100%d.mp4", "what?.mp4", "http:x.mp4", "-x.mp4"])
def test_any_file_name_will_do(name: str, cli: Cli, fast: list[str]) -> None:
    shutil.copy(STREET, name)
    done = cli("video", *fast, *TINY, "--out", "out.mp4", "--", name)
    assert done.code == 0, done
    assert count("out.mp4") == 6


def test_an_output_with_a_colon(cli: Cli, fast: list[str]) -> None:
    assert cli("video", STREET, *fast, *TINY, "--out", "a:b.mkv").code == 0
    assert count("a:b.mkv") == 6


@pytest.mark.parametrize("name", ["in.ts", "in.mkv", "last.mp4", "first.mp4"])
def test_standard_input_with_its_sound(name: str, cli: Cli, fast: list[str]) -> None:
    first = ("-c", "copy", "-movflags", "faststart")
    source = remux(name, *(first if name == "first.mp4" else ()))
    done = run(["video", "-", *fast, "--out", "out.mp4"], source.read_bytes())
    assert done.returncode == 0, done.stderr
    assert count("out.mp4") == 120
    assert count("out.mp4", "audio") == pytest.approx(count(STREET, "audio"), abs=1)


def test_standard_input_that_is_a_file(cli: Cli, fast: list[str]) -> None:
    with STREET.open("rb") as file:
        command = [sys.executable, "-m", "cvdetect", "video", "/dev/stdin", *fast, *TINY, "--json", "-"]
        done = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=False)
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(6))


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"dear sir, " * 90, "plain text"), (b"\x89PNG\r\n\x1a\n" + bytes(5000), "PNG image")],
)
def test_no_video_on_standard_input(data: bytes, words: str, cli: Cli, fast: list[str]) -> None:
    done = run(["video", "-", *fast, "--json", "-"], data)
    assert done.returncode == 4 and words in done.stderr.decode() and not done.stdout


@pytest.mark.parametrize("command", [["video", "-"], ["webcam", "--no-window", "--url", "-"]])
def test_a_closed_standard_input_is_one_sentence(command: list[str], cli: Cli, fast: list[str]) -> None:
    line = [sys.executable, "-m", "cvdetect", "-q", *command, *fast, "--json", "found.jsonl"]
    done = subprocess.run(["bash", "-c", '"$@" <&-', "bash", *line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 4 and not done.stdout
    assert b"standard input is closed" in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_pyav_a_live_video_whose_name_is_not_utf_8_is_one_sentence(
    cli: Cli, fast: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "available", lambda: False)
    name = os.fsdecode(b"\xff.mp4")
    shutil.copy(STREET, name)
    done = cli("-q", "webcam", "--no-window", "--url", name, *fast, "--json", "-")
    assert (done.code, done.out) == (4, "") and "is not UTF-8" in done.err


def test_a_named_pipe_is_waited_for(cli: Cli, fast: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe.ts")
    source = remux("in.ts").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe.ts").write_bytes(source), daemon=True)
    threading.Timer(0.3, writer.start).start()
    done = cli("video", "pipe.ts", *fast, "--out", "out.mp4")
    assert done.code == 0, done
    assert count("out.mp4") == 120
    monkeypatch.setattr(inputs, "_WRITER_S", 0.2)
    done = cli("video", "pipe.ts", *fast, "--out", "none.mp4")
    assert done.code == 4 and "nothing was written into it for 0.2 s" in done.err and not Path("none.mp4").exists()


@pytest.mark.parametrize("command", [["video"], ["webcam", "--no-window", "--url"]])
def test_a_socket_is_no_video(command: list[str], cli: Cli, fast: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("in.sock")
        done = cli(*command, "in.sock", *fast, "--json", "-")
    assert done.code == 2 and "in.sock: is a socket, expected a video" in done.err


@pytest.mark.parametrize("container", ["mkv", "ts"])
def test_a_video_goes_into_a_pipe(container: str, cli: Cli, fast: list[str]) -> None:
    done = run(["video", STREET, *fast, "--end", "1", "--out", "-", "--container", container])
    assert done.returncode == 0, done.stderr
    Path("got").write_bytes(done.stdout)
    assert count("got") == 30 and count("got", "audio") > 40


def test_a_named_pipe_as_output(cli: Cli, fast: list[str]) -> None:
    os.mkfifo("out.mkv")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("out.mkv").read_bytes()), daemon=True)
    reader.start()
    assert cli("video", STREET, *fast, *TINY, "--out", "out.mkv", "--container", "mkv").code == 0
    reader.join(timeout=10)
    Path("got").write_bytes(got[0])
    assert count("got") == 6 and Path("out.mkv").is_fifo()


@pytest.mark.parametrize("container", [[], ["--container", "mp4"]])
@pytest.mark.parametrize("command", [["video", str(STREET)], ["webcam", "--url", str(STREET), "--no-window"]])
def test_a_pipe_needs_a_container_that_streams(
    command: list[str], container: list[str], cli: Cli, fast: list[str]
) -> None:
    os.mkfifo("out.mkv")
    done = cli(*command, *fast, "--out", "out.mkv", *container)
    assert done.code == 2 and "--container mkv or ts" in done.err


def test_a_container_for_an_odd_suffix(cli: Cli, fast: list[str]) -> None:
    assert cli("video", STREET, *fast, *TINY, "--out", "film", "--container", "webm").code == 0
    with av.open("film") as container:
        assert "webm" in container.format.name and container.streams.video[0].codec_context.name == "vp9"
    assert cli("video", STREET, *fast, *TINY, "--container", "mkv").code == 0
    assert count("street_detected.mkv") == 6
    done = cli("video", STREET, *fast, *TINY, "--out", "film", "--container", "mp5")
    assert done.code == 2 and "--container mp5" in done.err and "mkv" in done.err
    assert cli("video", STREET, *fast, "--json", "-", "--container", "mkv").code == 2


@pytest.mark.parametrize("pattern", ["shot%d.jpg", "shot*.jpg", "./shot%d.jpg"])
def test_images_as_a_video(pattern: str, cli: Cli, fast: list[str], samples: Path) -> None:
    for number in (2, 9, 10, 11):
        shutil.copy(samples / ("dog.jpg" if number != 10 else "eagle.jpg"), f"shot{number}.jpg")
    done = cli("video", pattern, *fast, "--out", "out.mp4", "--json", "o.jsonl")
    assert done.code == 0 and "4 images are read as a video of 25 frames a second" in done.err
    lines = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["time"]) for line in lines] == [(0, 0.0), (1, 0.04), (2, 0.08), (3, 0.12)]
    assert [d["label"] for d in lines[2]["detections"]] == ["bird"], "10 comes after 9"
    assert count("out.mp4") == 4
    Path("shot10.jpg").write_bytes(b"no picture")
    done = cli("video", pattern, *fast, "--json", "-")
    assert done.code == 1 and "1 of 4 images could not be read" in done.err
    assert [json.loads(line)["frame"] for line in done.out.splitlines()] == [0, 1, 3]


def test_five_digits_mean_five_digits(cli: Cli, fast: list[str], samples: Path) -> None:
    for name in ("f00001.jpg", "f00002.jpg", "f1.jpg", "fx.jpg"):
        shutil.copy(samples / "dog.jpg", name)
    assert len(cli("video", "f%05d.jpg", *fast, "--json", "-").out.splitlines()) == 2
    assert cli("video", "f%05d.jpg", *fast).code == 0 and Path("f_detected.mp4").exists()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("none%03d.jpg", 4, "no file matches"),
        ("none*.jpg", 4, "no file matches"),
        ("*.mp4", 2, "2 videos"),
        ("sound.m4a", 4, "only sound"),
        ("picture.webp", 4, "is an image"),
        ("list.mpd", 4, "is a DASH manifest, not a video; make one file of its parts: ffmpeg -i 'list.mpd'"),
    ],
)
def test_one_sentence_each(name: str, code: int, words: str, cli: Cli, fast: list[str]) -> None:
    shutil.copy(STREET, "a.mp4")
    shutil.copy(STREET, "b.mp4")
    if name == "sound.m4a":
        remux(name, "-vn", "-c", "copy")
    elif name == "list.mpd":
        Path(name).write_text('<?xml version="1.0" encoding="utf-8"?>\n<MPD type="static"></MPD>')
    elif name == "picture.webp":
        Path(name).write_bytes(cv2.imencode(".webp", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    done = cli("video", name, *fast, "--json", "-")
    assert done.code == code and words in done.err, done


@pytest.mark.parametrize("option", [["--start", "inf"], ["--start", "nan"], ["--end", "nan"], ["--end", "inf"]])
def test_times_that_are_none(option: list[str], cli: Cli, fast: list[str]) -> None:
    done = cli("video", STREET, *fast, *option)
    assert done.code == 2 and f"{' '.join(option)}: expected seconds" in done.err


@pytest.mark.parametrize("suffix", ["gif", "apng", "mjpeg"])
def test_images_that_move(suffix: str, cli: Cli, fast: list[str]) -> None:
    source = remux(f"moves.{suffix}", "-t", "1", "-r", "10", "-s", "160x120")
    assert len(cli("video", source, *fast, "--json", "-").out.splitlines()) == 10


def test_a_playlist_on_disk(cli: Cli, fast: list[str]) -> None:
    remux("list.m3u8", "-c", "copy", "-hls_time", "1", "-hls_list_size", "0", "-f", "hls")
    assert cli("video", "list.m3u8", *fast, "--out", "out.mp4").code == 0
    assert count("out.mp4") == 120 and count("out.mp4", "audio") > 100


def test_a_playlist_on_disk_reaches_no_server(cli: Cli, fast: list[str]) -> None:
    Path("list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n"
    )
    assert cli("video", "list.m3u8", *fast, "--json", "-").code == 4


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that knows no ranges."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(Path(self.path[1:]).read_bytes())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_server_without_ranges_is_read_through(server: str, cli: Cli, fast: list[str]) -> None:
    remux("first.mp4", "-c", "copy", "-movflags", "faststart")
    done = cli("video", f"{server}/first.mp4", *fast, "--start", "1", "--end", "1.5", "--json", "-")
    assert [json.loads(line)["frame"] for line in done.out.splitlines()] == list(range(30, 45)), done


@pytest.mark.parametrize("name", ["raw.mjpeg", "raw.h264", "list.m3u8"])
def test_webcam_ends_with_a_file_that_states_no_length(name: str, cli: Cli, fast: list[str]) -> None:
    more = {"raw.mjpeg": ["-f", "mjpeg"], "raw.h264": ["-c", "copy", "-an"], "list.m3u8": ["-c", "copy", "-f", "hls"]}
    remux(name, "-t", "1", *more[name])
    done = cli("webcam", "--url", name, "--no-window", "--json", "-", *fast)
    assert done.code == 0 and done.out, done
    assert "trying again" not in done.err


def test_without_pyav_a_pipe_is_refused_with_a_hint(cli: Cli, fast: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "available", lambda: False)
    os.mkfifo("in.ts")
    done = cli("video", "in.ts", *fast, "--json", "-")
    assert done.code == 4 and "needs PyAV: pip install 'av>=17'" in done.err


@pytest.mark.parametrize(("installed", "used"), [("16.1.0", False), ("15.0.0", False), ("17.0.0", True)])
def test_an_old_pyav_counts_as_absent(installed: str, used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: installed)
    media._too_old.cache_clear()
    try:
        assert media.available() is used
        assert used or f"PyAV {installed} decodes HD colours wrongly" in media.why_absent()
    finally:
        media._too_old.cache_clear()


def test_webcam_reads_a_pipe_to_its_end(cli: Cli, fast: list[str]) -> None:
    source = remux("in.ts")
    done = run(["webcam", "--url", "-", "--no-window", "--json", "-", *fast], source.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout and b"trying again" not in done.stderr


@pytest.mark.parametrize(("start", "end"), [("0.2", "0.6"), ("0.28", "0.56"), ("0.04", "0.12"), ("0", "0.001")])
def test_images_of_a_sequence_are_cut_to_the_frame(start: str, end: str, cli: Cli, fast: list[str]) -> None:
    for number in range(16):
        cv2.imwrite(f"f{number:03}.png", np.full((48, 64, 3), number * 10, np.uint8))
    done = cli("video", "f%03d.png", *fast, "--start", start, "--end", end, "--json", "-")
    assert done.code == 0, done
    frames = [json.loads(line)["frame"] for line in done.out.splitlines()]
    assert frames == list(range(round(float(start) * 25), max(1, round(float(end) * 25))))


@pytest.mark.parametrize(("start", "end"), [("0.28", "0.56"), ("0.2", "0.6")])
def test_without_pyav_videos_are_cut_to_the_frame(
    start: str, end: str, cli: Cli, fast: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = cv2.VideoWriter("in.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for number in range(16):
        writer.write(np.full((48, 64, 3), number * 10, np.uint8))
    writer.release()
    monkeypatch.setattr(media, "available", lambda: False)
    done = cli("video", "in.avi", *fast, "--start", start, "--end", end, "--json", "-")
    assert done.code == 0, done
    frames = [json.loads(line)["frame"] for line in done.out.splitlines()]
    assert frames == list(range(round(float(start) * 25), round(float(end) * 25)))


def test_codecs_keep_their_own_notes_off_standard_error(fast: list[str]) -> None:
    done = run(["video", STREET, "--out", "out.mp4", "--codec", "VP80", *fast])
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 3, done.stderr.decode()
