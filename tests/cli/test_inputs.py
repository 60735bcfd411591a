"""What images are read from: files of any name, lists, standard input and pipes; what is refused at once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, Cli
from tests.jobs.annotate.tiny_model import tiny_model

MODEL = ["--cfg", "m/tiny.cfg", "--weights", "m/tiny.weights", "--names", "m/tiny.names"]


@pytest.fixture
def place(cli: Cli) -> Cli:
    """`cli` in a folder with a small model and a picture."""
    tiny_model(Path("m"))
    cv2.imwrite("photo.png", np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8))
    return cli


def cvdetect(*args: str, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, by bash where `shell` is the rest of the line."""
    command = [sys.executable, "-m", "cvdetect", *args]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, check=False, timeout=60, env=env)


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """A pipe that gives `data`, in the place of this process's standard input."""
    before, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    os.write(writer, data)  # as much as a pipe holds
    os.close(writer)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.parametrize(
    ("suffix", "written"), [(".png", ".png"), (".jpg", ".jpg"), (".webp", ".webp"), (".bmp", ".bmp")]
)
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_an_image_comes_through_standard_input(place: Cli, name: str, suffix: str, written: str) -> None:
    with standard_input(cv2.imencode(suffix, cv2.imread("photo.png"))[1].tobytes()):
        done = place("image", name, "--json", "found.jsonl", *MODEL)
    assert done.code == 0, done
    assert json.loads(Path("found.jsonl").read_text())["source"] == name
    assert cv2.imread(f"stdin_detected{written}").shape == (64, 96, 3)


@pytest.mark.usefixtures("place")
def test_images_come_through_pipes_of_the_shell() -> None:
    done = cvdetect("image", shell=f"<(cat photo.png) photo.png {' '.join(MODEL)} -o out")
    assert done.returncode == 0, done
    names = sorted(p.name for p in Path("out").iterdir())
    assert names[0] == "photo_detected.png" and names[1].startswith("pipe") and names[1].endswith("_detected.png")


@pytest.mark.parametrize(("size", "why"), [(0, "is empty"), (5, "standard input"), (50, "cut short")])
def test_standard_input_that_is_no_image_is_one_sentence(place: Cli, size: int, why: str) -> None:
    with standard_input(Path("photo.png").read_bytes()[:size] if size != 5 else b"hello"):
        done = place("image", "-", *MODEL)
    assert done.code == 4 and why in done.err and len(done.err.strip().splitlines()) == 1, done


def test_a_list_names_images(place: Cli) -> None:
    for name in ("a b.png", "ä.png", "-x.png", "[1].png"):
        shutil.copy("photo.png", name)
    Path("list.txt").write_text("a b.png\r\n\nä.png\n-x.png\n[1].png\n")
    assert place("image", "@list.txt", "--no-save", "--json", "found.jsonl", *MODEL).code == 0
    assert [json.loads(line)["source"] for line in Path("found.jsonl").read_text().splitlines()] == [
        "a b.png", "ä.png", "-x.png", "[1].png",
    ]  # fmt: skip
    assert place("image", "@list.txt", *MODEL).code == 0
    assert Path("a b_detected.png").is_file() and Path("-x_detected.png").is_file()
    shutil.copy("photo.png", "@at.png")
    assert place("image", "@at.png", *MODEL).code == 0


def test_a_list_that_cannot_be_read_is_one_sentence(place: Cli) -> None:
    Path("empty.txt").touch()
    for text, code in (("@none.txt", 4), ("@empty.txt", 4), ("@m", 4), ("@" + "n" * 300, 4)):
        done = place("image", text, *MODEL)
        assert done.code == code and len(done.err.strip().splitlines()) == 1 and "Error" not in done.err, done


def test_an_image_is_no_list(place: Cli) -> None:
    for args in (("image", "@photo.png"), ("annotate", "@photo.png", "--out", "out")):
        done = place("-q", *args, *MODEL)
        assert done.code == 4 and done.err == "error: photo.png: is an image, expected a list of images, one a line\n"
    with Path("photo.png").open("rb") as image:
        command = [sys.executable, "-m", "cvdetect", "-q", "annotate", "-", "--out", "out", *MODEL]
        done = subprocess.run(command, stdin=image, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4 and done.stderr.startswith("error: standard input: is an image"), done
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "name", ["a:b.png", "http:photo.png", "12:30.png", "-dash.png", "--help.png", "a?token=b.png", "user:me@home.png"]
)
def test_odd_names_are_files_where_there_are_such_files(place: Cli, name: str) -> None:
    Path("in").mkdir()
    shutil.copy("photo.png", f"in/{name}")
    shutil.copy("photo.png", name)
    done = place("image", "--no-save", "--json", "found.jsonl", *MODEL, "--", name)
    assert done.code == 0, done
    assert json.loads(Path("found.jsonl").read_text())["source"] == name
    done = place("annotate", "--out", "o", "--format", "jsonl", *MODEL, "--", name)
    assert done.code == 0, done
    done = place("annotate", "in", "--out", "o2", "--format", "jsonl", *MODEL)
    assert done.code == 0 and json.loads(Path("o2/detections.jsonl").read_text())["source"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_name_that_is_not_utf_8_is_read_and_written(place: Cli) -> None:
    name = os.fsdecode(b"b\xfc\xff.png")
    shutil.copy("photo.png", name)
    assert cvdetect("image", name, "--json", "found.jsonl", *MODEL).returncode == 0
    assert json.loads(Path("found.jsonl").read_text())["source"] == name
    assert Path(os.fsdecode(b"b\xfc\xff_detected.png")).is_file()
    Path("list").write_bytes(b"b\xfc\xff.png\0")
    assert place("image", "@list", "--no-save", "--json", "-", *MODEL).code == 0


def special(kind: str) -> str:
    """A file in the current folder that is no plain file."""
    if kind == "pipe":
        os.mkfifo("special.png")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("special.png")
    elif kind == "device":
        try:
            os.mknod("special.png", 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        except OSError:
            pytest.skip("no device can be made here")
    Path("link.png").symlink_to("special.png")
    return "special.png"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_plain_file_is_refused_at_once(place: Cli, kind: str) -> None:
    name = special(kind)
    for text in (name, "link.png", "@special.png"):
        for command in (["image", text], ["annotate", text, "--out", "o"]):
            done = place(*command, *MODEL)
            assert done.code == 2 and "expected" in done.err and len(done.err.strip().splitlines()) == 1, done
    files = [
        ["image", "photo.png", "--cfg", name],
        ["image", "photo.png", "--cfg", "m/tiny.cfg", "--weights", name],
        ["image", "photo.png", "--cfg", "m/tiny.cfg", "--weights", "m/tiny.weights", "--names", name],
        ["image", "photo.png", "--onnx", name],
        ["image", "photo.png", "--graph", name],
        ["image", "photo.png", "--tflite", name],
        ["image", "photo.png", "--prototxt", name],
        ["--models", name, "image", "photo.png"],
        ["--models", name, "models", "list"],
        ["textgraph", name],
        ["textgraph", "photo.png", "--pipeline", name],
        ["eval", "--truth", name, "--images", ".", *MODEL],
        ["eval", "--truth", "photo.png", "--predictions", name],
        ["bench", "--image", name, *MODEL],
    ]
    for args in files:
        done = place(*args)
        assert done.code == 2 and "expected" in done.err and len(done.err.strip().splitlines()) == 1, done


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_plain_file_fails_alone_among_a_folder_of_images(place: Cli, kind: str) -> None:
    Path("in").mkdir()
    shutil.copy("photo.png", "in/a.png")
    special(kind)
    shutil.move("special.png", "in/b.png")
    done = place("annotate", "in", "--out", "o", *MODEL)
    assert done.code == 1 and "b.png" in done.err, done


def test_an_address_is_refused_with_what_to_do(place: Cli) -> None:
    done = place("image", "https://example.org/a.png", *MODEL)
    assert done.code == 2 and "curl" in done.err
    assert place("image", "m", *MODEL).code == 4
