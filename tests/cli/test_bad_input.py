"""Bad input gets one clear sentence and the right exit code; nothing half-written stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3693964\n"
HTML = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not Found</body></html>" * 20


def assert_fails(done, code: int, *words: str) -> None:
    assert done.code == code, done
    assert done.out == ""
    last = done.err.strip().splitlines()
    assert 1 <= len(last) <= 4, done.err
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.jpg", None, ["no such file"]),
        ("empty.jpg", b"", ["is empty"]),
        ("text.jpg", b"Dear reader, this is a letter.\n" * 10, ["not an image"]),
        ("page.jpg", HTML, ["HTML page"]),
        ("pointer.jpg", LFS, ["Git LFS pointer"]),
        ("noise.jpg", bytes(range(256)) * 9, ["not an image"]),
        ("clip.mp4", b"\0\0\0\x20ftypisom" + bytes(500), ["cvdetect video"]),
        ("folder", "", ["is a folder", "cvdetect annotate"]),
    ],
)
def test_an_input_that_is_no_image(name: str, content: bytes | str | None, words: list[str], cli: Cli) -> None:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content is not None:
        Path(name).mkdir()
    assert_fails(cli("image", name), 4, name, *words)
    assert not list(Path().glob("*_detected*"))


def test_a_jpeg_cut_short_is_refused_not_padded_with_grey(cli: Cli, xl: list[str], samples: Path) -> None:
    Path("cut.jpg").write_bytes((samples / "dog.jpg").read_bytes()[:80_000])
    assert_fails(cli("image", "cut.jpg", *xl), 4, "cut.jpg", "cut short")


def test_a_pattern_without_matches_is_reported_as_it_was_typed(cli: Cli) -> None:
    assert_fails(cli("image", "nothing/*.jpg"), 4, "nothing/*.jpg: no such file")


@pytest.fixture
def model(shared: Path) -> Callable[..., list[str]]:
    """The small model's options with one file's content changed."""
    source = shared / "data/models"

    def make(cfg: Callable[[bytes], bytes] = bytes, weights: Callable[[bytes], bytes] = bytes) -> list[str]:
        for suffix, change in (("cfg", cfg), ("weights", weights)):
            data = (source / f"yolo-fastest-1.1-xl.{suffix}").read_bytes()
            Path(f"m.{suffix}").write_bytes(change(data))
        return ["--cfg", "m.cfg", "--weights", "m.weights"]

    return make


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (lambda d: d[: len(d) // 2], ["m.weights", "cut short"]),
        (lambda d: d + d, ["m.weights"]),
        (lambda _: b"", ["m.weights", "empty"]),
        (lambda _: HTML, ["m.weights", "HTML page"]),
        (lambda _: LFS, ["m.weights", "Git LFS pointer"]),
        (lambda d: d[:1384268], ["m.weights", "1,384,268"]),
    ],
    ids=["half", "double", "empty", "html", "lfs", "of another network"],
)
def test_weights_that_do_not_fit_are_refused(weights, words, model, cli: Cli, samples: Path) -> None:
    assert_fails(cli("image", samples / "dog.jpg", *model(weights=weights)), 3, *words)
    assert not list(Path().glob("*_detected*"))


@pytest.mark.parametrize(
    ("cfg", "words"),
    [
        (lambda d: d.replace(b"filters=8", b"filters 8", 1), ["m.cfg:", "convolutional"]),
        (lambda d: d.replace(b"num=6", b"num=2"), ["m.cfg:", "yolo", "mask", "num=2"]),
        (lambda d: d.replace(b"[convolutional]", b"[convolutionel]", 1), ["m.cfg:", "convolutional"]),
        (lambda _: HTML, ["m.cfg", "HTML page"]),
        (lambda _: b"", ["m.cfg"]),
        (lambda _: bytes(range(256)), ["m.cfg"]),
    ],
    ids=["broken line", "num", "unknown section", "html", "empty", "binary"],
)
def test_a_wrong_cfg_is_reported_with_its_line(cfg, words, model, cli: Cli, samples: Path) -> None:
    assert_fails(cli("image", samples / "dog.jpg", *model(cfg=cfg)), 3, *words)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--conf", "2"], 2, ["--conf 2", "between 0 and 1"]),
        (["--conf", "high"], 2, ["--conf high", "'high' is not a number"]),
        (["--conf", "0.5,dgo=0.3"], 2, ["'dgo'", "did you mean 'dog'"]),
        (["--nms", "-1"], 2, ["--nms"]),
        (["--max-det", "0"], 2, ["--max-det 0"]),
        (["--size", "300"], 2, ["300", "32"]),
        (["--size", "big"], 2, ["--size big"]),
        (["--size", "0"], 2, ["--size 0"]),
        (["--classes", "dgo"], 2, ["did you mean 'dog'"]),
        (["--classes", "99"], 2, ["0 to 79"]),
        (["--threads", "0"], 2, ["--threads 0"]),
        (["--backend", "cude"], 2, ["did you mean cuda"]),
        (["--backend", "cuda"], 3, ["cuda", "cannot run here", "--backend cpu"]),
        (["--backend", "opencl"], 3, ["opencl", "cannot run here"]),
        (["--precision", "fp16", "--backend", "cpu"], 3, ["fp16", "cannot run here"]),
        (["--resize", "crop"], 2, ["crop"]),
        (["--mean", "1,2"], 2, ["--mean 1,2"]),
        (["--blur", "dgo"], 2, ["did you mean 'dog'"]),
        (["-o", "x.xyz"], 2, ["x.xyz", ".jpg"]),
        (["--nonsense"], 2, ["--nonsense"]),
        (["--names", "absent.names"], 3, ["absent.names: no such file"]),
    ],
)
def test_a_wrong_option(args, code, words, cli: Cli, xl: list[str], samples: Path) -> None:
    if args[0] in ("--backend", "--precision") and code == 3:
        from cvdetect.runtime.opencv import OpenCV

        name = args[-1] if args[0] == "--backend" else "cpu"
        precision = "fp16" if args[0] == "--precision" else "fp32"
        if precision in OpenCV.offered()[name]:
            pytest.skip(f"{name} {precision} runs on this machine")
    done = cli("image", samples / "dog.jpg", *xl, *args)
    assert done.code == code, done
    for word in words:
        assert word in done.err, done.err
    assert not list(Path().rglob("*_detected*"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-m", "yolov3-tinny"], ["yolov3-tiny"]),
        (["-m", "yolov3-tiny", "--cfg", "x.cfg"], ["--model and --cfg"]),
        (["--weights", "x.weights"], ["--weights goes with --cfg"]),
        (["--scale", "0.1"], ["--scale goes with --cfg"]),
        (["-m", "yolov3-tiny", "--classes", "dgo"], ["did you mean 'dog'"]),
        (["-m", "opencv-face-detector", "--multi-label"], ["--multi-label cannot act"]),
    ],
)
def test_options_that_contradict_are_reported_before_anything_is_pulled(args, words, cli: Cli, samples: Path) -> None:
    assert_fails(cli("--cache-dir", "cache", "image", samples / "dog.jpg", *args), 2, *words)
    assert not Path("cache").exists()


def test_a_backend_that_cannot_run_is_reported_before_anything_is_pulled(cli: Cli, samples: Path) -> None:
    from cvdetect.runtime.opencv import OpenCV

    if "fp32" in OpenCV.offered()["cuda"]:
        pytest.skip("CUDA runs on this machine")
    done = cli("--cache-dir", "cache", "image", samples / "dog.jpg", "--backend", "cuda")
    assert_fails(done, 3, "--backend cuda", "cannot run here")
    assert not Path("cache").exists()


def test_an_input_that_is_missing_is_reported_before_anything_is_pulled(cli: Cli) -> None:
    assert_fails(cli("--cache-dir", "cache", "image", "missing.jpg"), 4, "missing.jpg")
    assert not Path("cache").exists()


def test_offline_names_the_files_that_are_missing_and_the_command_that_pulls_them(cli: Cli, samples: Path) -> None:
    done = cli("--offline", "--cache-dir", "cache", "image", samples / "dog.jpg")
    assert_fails(done, 3, "yolov3-tiny.weights", "cvdetect models pull yolov3-tiny")


@pytest.mark.parametrize(
    ("content", "words"), [("a\nb\nc\n", "3 names"), (HTML.decode(), "HTML page"), ("", "is empty")]
)
def test_a_label_file_that_does_not_fit(content: str, words: str, cli: Cli, xl: list[str], samples: Path) -> None:
    Path("x.names").write_text(content)
    assert_fails(cli("image", samples / "dog.jpg", *xl, "--names", "x.names"), 3, "x.names", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"graph?" * 50, "frozen graph"),
        (HTML, "HTML page"),
        (LFS, "Git LFS pointer"),
        (os.urandom(2000), "x.pb"),
    ],
    ids=["empty", "text", "html", "lfs", "noise"],
)
def test_a_graph_that_is_none(content: bytes, words: str, cli: Cli, shared: Path, samples: Path) -> None:
    Path("x.pb").write_bytes(content)
    config = shared / "data/reference/pedestrian_ssdlite.pbtxt"
    assert_fails(cli("image", samples / "dog.jpg", "--graph", "x.pb", "--config", config), 3, words)


def test_a_label_map_in_the_place_of_a_text_graph(cli: Cli, shared: Path, samples: Path) -> None:
    shutil.copy(shared / "data/reference/pedestrian_ssdlite.pb", "x.pb")
    Path("x.pbtxt").write_text('item {\n  id: 1\n  name: "person"\n}\n')
    assert_fails(cli("image", samples / "dog.jpg", "--graph", "x.pb"), 3, "label map")


def test_a_mask_rcnn_graph_runs_and_one_whose_detections_have_another_name_is_reported(
    cli: Cli, shared: Path, samples: Path
) -> None:
    graph = shared / "data/reference/mask_rcnn_tiny.pb"
    done = cli("image", samples / "dog.jpg", "--graph", graph, "--size", "300x300")
    assert (done.code, "dog.jpg" in done.out) == (0, True), done
    text = graph.with_suffix(".pbtxt").read_text()
    Path("x.pbtxt").write_text(text.replace("detection_out_final", "other"))
    done = cli("image", samples / "dog.jpg", "--graph", graph, "--config", "x.pbtxt")
    assert_fails(done, 3, "x.pbtxt", "has no node detection_out_final")


def test_an_output_that_is_the_input(cli: Cli, xl: list[str], samples: Path) -> None:
    shutil.copy(samples / "eagle.jpg", "eagle.jpg")
    before = Path("eagle.jpg").read_bytes()
    assert_fails(cli("image", "eagle.jpg", *xl, "-o", "eagle.jpg"), 2, "the output is the input itself")
    assert Path("eagle.jpg").read_bytes() == before


@pytest.mark.parametrize("option", ["-o", "--json", "--crops"])
def test_an_output_below_a_file_cannot_be_written(option: str, cli: Cli, xl: list[str], samples: Path) -> None:
    Path("plain").write_text("a file")
    done = cli("image", samples / "eagle.jpg", *xl, option, "plain/x.jpg")
    assert_fails(done, 4, "plain/x.jpg", "cannot be written")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("options", [["--json", "-"], []], ids=["json", "table"])
def test_a_full_disk_is_reported_for_standard_output(
    options: list[str], unbuffered: str, xl: list[str], samples: Path
) -> None:
    command = [sys.executable, "-m", "cvdetect", "-q", "image", str(samples / "eagle.jpg"), *xl, "--no-save", *options]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=env)
    assert done.returncode == 4, done
    assert done.stderr.count("\n") == 1 and "No space left" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_reported_by_every_command_that_prints(unbuffered: str) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for words in (["models", "list"], ["--version"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cvdetect", *words],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=env,
            )  # fmt: skip
        assert done.returncode == 4, (words, done)
        assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_leaves_no_half_written_image(
    cli: Cli, xl: list[str], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_fails(cli("image", samples / "eagle.jpg", *xl), 4, "eagle_detected.jpg", "No space left on device")
    assert not list(Path().iterdir())


def test_show_without_a_display_is_an_error_that_says_so(
    cli: Cli, xl: list[str], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert_fails(cli("image", samples / "eagle.jpg", *xl, "--no-save", "--show"), 4, "no window", "display")


def test_unknown_commands_are_answered_with_the_nearest(cli: Cli) -> None:
    done = cli("imgae", "x.jpg")
    assert done.code == 2 and "'image'" in done.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_the_run_quietly(unbuffered: str, xl: list[str], samples: Path) -> None:
    inputs = [str(samples / "eagle.jpg")] * 3
    command = [sys.executable, "-m", "cvdetect", "image", *inputs, *xl, "--no-save", "--json", "-"]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout and process.stderr
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert told == ""
