"""No command shows, writes or names a file after a password, token or signature."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from cvdetect.cli.main import run
from tests.conftest import Cli
from tests.jobs.annotate.tiny_model import tiny_model

SECRET = "hunter2xyz"
MODEL = ["--cfg", "m/tiny.cfg", "--weights", "m/tiny.weights", "--names", "m/tiny.names"]
ADDRESSES = [
    f"rtsp://user:{SECRET}@127.0.0.1:1/x",
    f"rtsp://user:{SECRET}/a@127.0.0.1:1/x",
    f"http://127.0.0.1:1/x.mp4?token={SECRET}",
    f"http://127.0.0.1:1/x.mp4?a=b&X-Amz-Signature={SECRET}&c=d",
    f"http://127.0.0.1:1/user=admin&password={SECRET}&channel=1",
    f"http://127.0.0.1:1/#access_token={SECRET}",
    f"rtsp://127.0.0.1:1/?to=rtsp%3A%2F%2Fuser%3A{SECRET}%40cam",
    f"foo://user:{SECRET}@127.0.0.1:1/x",
    f"http://user:{SECRET}@[bad/x",
    f"user:{SECRET}@127.0.0.1:1/x",
]
COMMANDS = [
    ["video", "ADDRESS", *MODEL],
    ["video", "ADDRESS", "--out", "x.avi", "--json", "x.jsonl", *MODEL],
    ["webcam", "--url", "ADDRESS", "--no-window", "--json", "-", "--reconnect", "0", "--timeout", "0.5", *MODEL],
    ["image", "ADDRESS", *MODEL],
    ["image", "photo.png", "--json", "ADDRESS", "--no-save", *MODEL],
    ["image", "photo.png", "--crops", "ADDRESS", "--no-save", *MODEL],
    ["image", "photo.png", "-o", "ADDRESS", *MODEL],
    ["image", "photo.png", "--cfg", "ADDRESS"],
    ["image", "photo.png", "-m", "ADDRESS"],
    ["image", "photo.png", "--unknown=ADDRESS"],
    ["annotate", "ADDRESS", "--out", "o", *MODEL],
    ["annotate", "@ADDRESS", "--out", "o", *MODEL],
    ["eval", "--truth", "ADDRESS", "--images", ".", *MODEL],
    ["bench", "--image", "ADDRESS", *MODEL],
    ["textgraph", "ADDRESS"],
    ["models", "show", "ADDRESS"],
    ["--models", "ADDRESS", "models", "list"],
    ["ADDRESS"],
]


@pytest.fixture
def place(cli: Cli) -> Cli:
    """`cli` in a folder with a small model and a picture."""
    tiny_model(Path("m"))
    cv2.imwrite("photo.png", np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8))
    return cli


def nothing_holds_the_secret(*told: str) -> None:
    for text in told:
        assert SECRET not in text, text
    for path in Path().rglob("*"):
        assert SECRET not in str(path)
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("verbose", [False, True], ids=["", "verbose"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_error_shows_a_secret(command: list[str], verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    written = {"--json", "--crops", "-o"} & set(command) and "photo.png" in command
    for address in ADDRESSES if not verbose else ADDRESSES[:3]:
        if written and "://" not in address:
            continue  # a path like any other
        code = run([*(["-v"] if verbose else []), *(part.replace("ADDRESS", address) for part in command)])
        done = capsys.readouterr()
        assert code != 0
        nothing_holds_the_secret(done.out, done.err)


@pytest.fixture
def server() -> Iterator[str]:
    """An address that serves a short clip."""
    writer = cv2.VideoWriter("served.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(3):
        writer.write(np.full((64, 96, 3), 90, np.uint8))
    writer.release()
    clip = Path("served.avi").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(clip) - first))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {first}-{len(clip) - 1}/{len(clip)}")
            self.end_headers()
            self.wfile.write(clip[first:])

        def log_message(self, *_: object) -> None: ...

        def handle(self) -> None:
            with suppress(OSError):  # the reader has seen enough
                super().handle()

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "address",
    [f"http://user:{SECRET}@HOST/clip.avi", f"http://HOST/clip.avi?pwd={SECRET}", f"http://HOST/?sig={SECRET}&name=x"],
)
def test_results_of_a_stream_hold_no_secret(place: Cli, server: str, address: str) -> None:
    address = address.replace("HOST", server)
    done = place("-v", "video", address, "--out", "results/", "--json", "found.jsonl", *MODEL)
    assert done.code == 0, done
    nothing_holds_the_secret(done.out, done.err)
    sources = {json.loads(line)["source"] for line in Path("found.jsonl").read_text().splitlines()}
    assert sources == {address.replace(SECRET, "***")}
    done = place("webcam", "--url", address, "--no-window", "--json", "live.jsonl", "--max-frames", "2", *MODEL)
    assert done.code == 0, done
    nothing_holds_the_secret(done.out, done.err)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("variable", ["CVDETECT_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
def test_pulling_a_model_shows_no_secret(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CVDETECT_INDEX_URL", "http://127.0.0.1:1/simple")
    for scheme in ("http", "https", "ftp"):
        monkeypatch.setenv(variable, f"{scheme}://user:{SECRET}@127.0.0.1:1/simple?token={SECRET}")
        for more in ([], ["-v"]):
            assert run([*more, "--cache-dir", "cache", "models", "pull", "yolov3-tiny"]) == 3
            done = capsys.readouterr()
            nothing_holds_the_secret(done.out, done.err)


@pytest.mark.usefixtures("place")
def test_models_of_a_private_address_are_shown_without_its_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = tmp_path / "own.yaml"  # it holds the secret: outside of the folder that is searched
    source = f"https://user:{SECRET}@127.0.0.1:1/w?token={SECRET}"
    registry.write_text(
        "models:\n  own:\n    family: yolo\n    cfg: "
        f"{Path('m/tiny.cfg').absolute()}\n"
        f"    weights:\n      name: own.weights\n      size: 5\n      sources:\n        - url: {source}\n"
    )
    for command, code, shown in (
        (["models", "show", "own"], 0, "***"),
        (["models", "list"], 0, "own"),
        (["-v", "models", "pull", "own"], 3, "***"),
        (["models", "verify"], 0, "own"),
    ):
        assert run(["--models", str(registry), "--cache-dir", "cache", *command]) == code
        done = capsys.readouterr()
        assert shown in done.out + done.err
        nothing_holds_the_secret(done.out, done.err)
