"""Every output of every command goes through one guard: nothing a person has is written over by mistake."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest

from cvdetect.cli.annotate import FOLDER
from cvdetect.cli.main import COMMANDS, cli
from cvdetect.cli.options import OUT_EITHER, OUT_FILE, OUT_FOLDER
from cvdetect.core import targets
from tests.conftest import Cli
from tests.jobs.annotate.tiny_model import tiny_model

MODEL = ["--cfg", "m/tiny.cfg", "--weights", "m/tiny.weights", "--names", "m/tiny.names"]
WEBCAM = ["webcam", "--url", "clip.avi", "--no-window", "--max-frames", "1", *MODEL]
EVAL = ["eval", "--truth", "truth.json", "--images", ".", *MODEL]
# Each option that names a file to write, and the rest of a command that has it.
FILES = {
    ("image", "--out"): ["image", "photo.png", *MODEL],
    ("image", "--json"): ["image", "photo.png", "--no-save", *MODEL],
    ("video", "--out"): ["video", "clip.avi", *MODEL],
    ("video", "--json"): ["video", "clip.avi", *MODEL],
    ("webcam", "--out"): WEBCAM,
    ("webcam", "--json"): WEBCAM,
    ("eval", "--json"): EVAL,
    ("bench", "--json"): ["bench", "--image", "photo.png", *MODEL],
    ("textgraph", "--out"): ["textgraph", "photo.png"],
}
# Each option that names a folder to write into.
FOLDERS = {
    ("image", "--crops"): ["image", "photo.png", "--no-save", *MODEL],
    ("eval", "--plots"): EVAL,
    ("eval", "--worst-dir"): [*EVAL, "--worst", "1"],
    ("annotate", "--out"): ["annotate", "pictures", *MODEL],
    ("annotate", "--draw"): ["annotate", "pictures", "--out", "annotations", *MODEL],
    ("annotate", "--crops"): ["annotate", "pictures", "--out", "annotations", *MODEL],
}
# Options and arguments that name what is read, or no file at all.
NOT_WRITTEN = set(
    "cfg weights graph config onnx tflite prototxt caffemodel names image images truth predictions pipeline".split()
) | {"root"}


@pytest.fixture
def run(cli: Cli) -> Cli:
    """`cli` in a folder with a small model, a picture, a clip and a truth."""
    tiny_model(Path("m"))
    picture = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
    cv2.imwrite("photo.png", picture)
    Path("pictures").mkdir()
    cv2.imwrite("pictures/one.png", picture)
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(3):
        writer.write(picture)
    writer.release()
    truth = {
        "images": [{"id": 1, "file_name": "photo.png", "width": 96, "height": 64}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
    }
    Path("truth.json").write_text(json.dumps(truth))
    return cli


def snapshot() -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file below the current folder."""
    return {str(p): (p.lstat().st_mode, p.read_bytes()) for p in Path().rglob("*") if p.is_file()}


def refused(run: Cli, code: int, *args: object) -> str:
    """The command ends with `code`, one sentence, and every file as it was → what it said."""
    before = snapshot()
    done = run(*args)
    assert done.code == code, done
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert snapshot() == before
    return done.err


@pytest.mark.parametrize(("command", "option"), FILES)
@pytest.mark.parametrize("way", ["itself", "dotted", "symbolic link", "hard link", "link to a link"])
@pytest.mark.parametrize("what", ["media", "model"])
def test_an_output_is_never_an_input(run: Cli, command: str, option: str, way: str, what: str) -> None:
    args = FILES[command, option]
    media = next(part for part in args if part in ("photo.png", "clip.avi", "truth.json"))
    source = "m/tiny.weights" if what == "model" else media
    if what == "model" and command == "textgraph":
        pytest.skip("it reads no other file")
    suffix = {"image --out": ".png", "video --out": ".avi", "webcam --out": ".avi"}.get(f"{command} {option}", ".json")
    target = f"other{suffix}"
    if way == "symbolic link":
        Path(target).symlink_to(source)
    elif way == "link to a link":
        Path("between").symlink_to(Path(source).absolute())
        Path(target).symlink_to("between")
    elif way == "hard link":
        os.link(source, target)
    elif Path(source).suffix != suffix and suffix != ".json":
        pytest.skip("a suffix that is refused anyway")
    else:
        target = source if way == "itself" else f"./x/../{source}"
        Path("x").mkdir()
    assert "input" in refused(run, 2, *args, option, target)


@pytest.mark.parametrize(("command", "option"), FILES)
def test_an_output_is_no_folder(run: Cli, command: str, option: str) -> None:
    suffix = {"video": ".avi", "webcam": ".avi", "image": ".png"}.get(command, ".json")
    Path(f"folder{suffix}").mkdir()
    Path("link" + suffix).symlink_to(f"folder{suffix}")
    for target in (f"folder{suffix}", f"link{suffix}", f"new{suffix}/"):
        if option == "--out" and command in ("image", "video"):
            continue  # means a folder to write into
        assert "folder" in refused(run, 2, *FILES[command, option], option, target) or command == "webcam"


@pytest.mark.parametrize(("command", "option"), FOLDERS)
def test_a_folder_to_write_into_is_no_file(run: Cli, command: str, option: str) -> None:
    Path("taken").write_text("mine")
    done = run(*FOLDERS[command, option], option, "taken")
    assert done.code in (2, 4) and "taken" in done.err and len(done.err.strip().splitlines()) == 1, done
    assert Path("taken").read_text() == "mine"


@pytest.mark.parametrize(
    "args",
    [
        ["image", "photo.png", "-o", "x.png", "--json", "x.png"],
        ["image", "photo.png", "-o", "x.png", "--json", "./y/../x.png"],
        ["image", "photo.png", "-o", "x.png", "--json", "link"],
        ["image", "photo.png", "--json", "photo_detected.png"],
        ["image", "photo.png", "./photo.png"],
        ["image", "photo.png", "-o", "x.png", "--crops", "x.png"],
        ["image", "photo.png", "-o", "x.png", "--crops", "x.png/deep"],
        ["video", "clip.avi", "--out", "x.avi", "--json", "x.avi"],
        ["webcam", "--url", "clip.avi", "--no-window", "--out", "x.avi", "--json", "x.avi"],
        ["eval", "--truth", "truth.json", "--images", ".", "--plots", "p", "--json", "p/f1.png"],
    ],
    ids=" ".join,
)
def test_two_outputs_are_never_the_same_file(run: Cli, args: list[str]) -> None:
    Path("link").symlink_to("x.png")
    Path("y").mkdir()
    message = refused(run, 2, *args, *MODEL)
    assert any(
        why in message for why in ("would both be written", "would be written to this", "another output lies in it")
    )


def test_a_pattern_that_matches_its_own_results_writes_over_none(run: Cli) -> None:
    assert run("image", "*.png", *MODEL).code == 0
    message = refused(run, 2, "image", "*.png", *MODEL)
    assert "photo_detected.png: the output is the input itself" in message


@pytest.mark.parametrize("target", ["results/", "results/sub", "results/x.png"])
def test_nothing_is_written_into_the_results_of_annotate(run: Cli, target: str) -> None:
    assert run("annotate", "pictures", "--out", "results", *MODEL).code == 0
    assert "cvdetect annotate" in refused(run, 2, "image", "photo.png", "-o", target, *MODEL) or target == "results/sub"
    assert "cvdetect annotate" in refused(run, 2, "image", "photo.png", "--no-save", "--crops", "results", *MODEL)
    assert "another run" in refused(run, 2, "annotate", "pictures", "--out", "o2", "--draw", "results/d", *MODEL)


def test_crops_replace_no_input(run: Cli) -> None:
    """The crop of one input would have the name of the next: the labels are known only when the model has run."""
    Path("cat").mkdir()
    for label in ("cat", "dog", "bird"):
        Path(label).mkdir(exist_ok=True)
        for number in range(1, 5):
            shutil.copy("photo.png", f"{label}/photo_{number}.jpg")
    inputs = sorted(str(p) for label in ("cat", "dog", "bird") for p in Path(label).iterdir())
    before = snapshot()
    done = run("image", "photo.png", *inputs, "--no-save", "--crops", ".", "--conf", "0.2", *MODEL)
    assert done.code == 2 and "is the input itself" in done.err, done
    assert {name: before[name] for name in inputs} == {name: snapshot()[name] for name in inputs}


def test_figures_beside_the_images_may_be_written_again(run: Cli) -> None:
    for _ in range(2):
        args = [*EVAL, "--json", "figures.json", "--plots", "plots", "--worst", "1", "--worst-dir", "worst"]
        assert run(*args).code in (0, 1)


@pytest.mark.parametrize("option", [["--plots", "o"], ["--worst", "1", "--worst-dir", "o"]], ids=" ".join)
def test_links_among_earlier_results_lead_to_no_input(run: Cli, option: list[str]) -> None:
    Path("o").mkdir()
    for name in ("f1.png", "01_photo.jpg"):
        Path("o", name).symlink_to("../photo.png")
    before = Path("photo.png").read_bytes()
    assert run(*EVAL, *option).code == 2
    assert Path("photo.png").read_bytes() == before


def test_the_worst_images_replace_no_input(run: Cli) -> None:
    Path("photo.png").rename("01_photo.jpg")
    Path("truth.json").write_text(Path("truth.json").read_text().replace("photo.png", "01_photo.jpg"))
    before = Path("01_photo.jpg").read_bytes()
    done = run(*EVAL, "--worst", "1", "--worst-dir", ".")
    assert done.code == 2 and "01_photo.jpg: the output is the input itself" in done.err, done
    assert Path("01_photo.jpg").read_bytes() == before


def test_a_text_graph_goes_to_standard_output(run: Cli, shared: Path) -> None:
    graph = shared / "data" / "models" / "opencv_face_detector_uint8.pb"
    if not graph.is_file():
        pytest.skip("the graph is not here")
    for name in ("-", "/dev/stdout"):
        done = run("textgraph", graph, "-o", name)
        assert done.code in (0, 3) and (done.code or "node {" in done.out), done
    assert not Path("-").exists()


def test_a_listed_image_where_copies_are_drawn_is_refused(run: Cli) -> None:
    Path("drawn").mkdir()
    for name in ("a.png", "drawn/a.png"):
        shutil.copy("photo.png", name)
    Path("list.txt").write_text("a.png\ndrawn/a.png\n")
    before = snapshot()
    done = run("annotate", "@list.txt", "--out", "o", "--draw", "drawn", *MODEL)
    assert done.code == 2 and "drawn/a.png" in done.err, done
    assert before.items() <= snapshot().items()


def test_json_of_an_image_sequence_replaces_none_of_its_images(run: Cli) -> None:
    for number in range(3):
        shutil.copy("photo.png", f"f{number}.png")
    for pattern in ("f%d.png", "f*.png"):
        message = refused(run, 2, "video", pattern, "--json", "f2.png", *MODEL)
        assert "f2.png: the output is the input itself" in message


@pytest.mark.parametrize(("folder", "name"), [("", "obj.names"), ("", "data.yaml"), ("obj_train_data", "classes.txt")])
def test_what_names_the_classes_of_a_truth_is_an_input(run: Cli, folder: str, name: str) -> None:
    Path("set/obj_train_data").mkdir(parents=True)
    Path("set/obj_train_data/photo.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    Path("set", name).write_text("names: [thing]\n" if name == "data.yaml" else "thing\n")
    message = refused(run, 2, "eval", "--truth", f"set/{folder}", "--images", ".", "--json", f"set/{name}", *MODEL)
    assert f"set/{name}: the output is the input" in message


@pytest.mark.parametrize("taken", ["tiny.names", "tiny.txt", "tiny.data", "lists/obj.names"])
def test_what_is_taken_beside_a_model_is_an_input(run: Cli, taken: str) -> None:
    names = Path("m/tiny.names").read_bytes()
    Path("m/tiny.names").unlink()
    if taken in ("tiny.data", "lists/obj.names"):
        Path("m/lists").mkdir()
        Path("m/lists/obj.names").write_bytes(names)
        Path("m/tiny.data").write_text("names = lists/obj.names\n")
    else:
        Path("m", taken).write_bytes(names)
    for args in (["--cfg", "m/tiny.cfg"], ["--weights", "m/tiny.weights"]):
        message = refused(run, 2, "image", "photo.png", "--no-save", *args, "--json", f"m/{taken}")
        assert f"m/{taken}: the output is the input" in message
    message = refused(run, 2, "image", "photo.png", "--no-save", "--cfg", "m/tiny.cfg", "--json", "m/tiny.weights")
    assert "m/tiny.weights: the output is the input" in message


@pytest.mark.parametrize(
    ("inputs", "out", "written"),
    [
        (["photo.png"], "new/", "new/photo_detected.png"),
        (["photo.png"], "new.png/", "new.png/photo_detected.png"),
        (["photo.png"], "there", "there/photo_detected.png"),
        (["photo.png"], "new/found.jpg", "new/found.jpg"),
        (["phot?.png"], "new", "new/photo_detected.png"),
        (["@list.txt"], "new", "new/photo_detected.png"),
        (["photo.png", "clip.png"], "new", "new/photo_detected.png"),
    ],
)
def test_a_slash_or_several_possible_inputs_mean_a_folder(run: Cli, inputs: list[str], out: str, written: str) -> None:
    Path("there").mkdir()
    Path("list.txt").write_text("photo.png\n")
    shutil.copy("photo.png", "clip.png")
    assert run("image", *inputs, "-o", out, *MODEL).code == 0
    assert Path(written).is_file()


@pytest.mark.parametrize("out", ["new/", "there"])
def test_a_video_into_a_folder_has_its_usual_name(run: Cli, out: str) -> None:
    Path("there").mkdir()
    assert run("video", "clip.avi", "--out", out, *MODEL).code == 0
    assert [p.stem for p in Path(out).iterdir()] == ["clip_detected"]


# --- what is written to -------------------------------------------------------------------------------------------


def lines_of(run: Cli, target: str) -> None:
    assert run("image", "photo.png", "--no-save", "--json", target, *MODEL).code == 0


def picture_of(run: Cli, target: str) -> None:
    assert run("image", "photo.png", "-o", target, *MODEL).code == 0


def video_of(run: Cli, target: str) -> None:
    assert run("video", "clip.avi", "--out", target, *MODEL).code == 0


def stream_of(run: Cli, target: str) -> None:
    assert run("video", "clip.avi", "--out", target, "--container", "mkv", *MODEL).code == 0


WRITERS = [(lines_of, "x.jsonl"), (picture_of, "x.png"), (video_of, "x.avi")]
STREAM_WRITERS = [(lines_of, "x.jsonl"), (picture_of, "x.png"), (stream_of, "x.avi")]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_links_are_followed_and_stay(run: Cli, write: Callable[[Cli, str], None], name: str) -> None:
    Path("real").write_text("old")
    for link, target in ((f"one{name}", "real"), (f"two{name}", "deep/new"), (f"three{name}", f"one{name}")):
        Path(link).symlink_to(target)
        write(run, link)
        assert Path(link).is_symlink()
        assert Path(link).stat().st_size > 100
    assert Path("deep/new").is_file()
    assert not [p for p in Path().rglob(".*") if p.is_file()], "no temporary file stays"


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(
    run: Cli, write: Callable[[Cli, str], None], name: str
) -> None:
    Path(name).write_text("old")
    Path(name).chmod(0o640)
    write(run, name)
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write(run, f"new{name}")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(f"new{name}").stat().st_mode) == 0o640


@pytest.mark.parametrize(("write", "name"), STREAM_WRITERS)
def test_a_named_pipe_is_written_to(run: Cli, write: Callable[[Cli, str], None], name: str) -> None:
    os.mkfifo(name)
    with reading(name) as got:
        write(run, name)
    assert stat.S_ISFIFO(Path(name).stat().st_mode)
    assert len(got) > 0 and len(got[0]) > 100


class reading:
    """Reads a named pipe to its end on a thread; what came is in the list."""

    def __init__(self, name: str) -> None:
        self.got: list[bytes] = []
        self.thread = threading.Thread(target=lambda: self.got.append(Path(name).read_bytes()))

    def __enter__(self) -> list[bytes]:
        self.thread.start()
        return self.got

    def __exit__(self, *_: object) -> None:
        self.thread.join(30)


@pytest.mark.parametrize(("write", "name"), STREAM_WRITERS)
def test_a_device_is_written_to_and_stays_a_device(run: Cli, write: Callable[[Cli, str], None], name: str) -> None:
    device(name)
    before = os.lstat(name)
    write(run, name)
    after = os.lstat(name)
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)


def device(name: str) -> None:
    """A null device in the current folder; only the superuser can make one."""
    try:
        os.mknod(name, 0o644 | stat.S_IFCHR, os.makedev(1, 3))
        Path(name).open("wb").close()
    except OSError:
        pytest.skip("no device can be made here")


def test_a_file_on_standard_input_is_an_input(run: Cli) -> None:
    for source, *args in (("photo.png", "image", "-", "-o"), ("clip.avi", "video", "-", "--out")):
        link = f"other{Path(source).suffix}"
        os.link(source, link)
        for target in (source, link):
            before = snapshot()
            command = [sys.executable, "-m", "cvdetect", *args, target, *MODEL]
            with Path(source).open("rb") as stream:
                done = subprocess.run(command, stdin=stream, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout) == (2, "")
            assert "input on standard input itself" in done.stderr
            assert snapshot() == before


def test_a_playlist_is_read_with_all_it_names(run: Cli) -> None:
    shutil.copy("clip.avi", "one.ts")
    Path("key.bin").write_bytes(bytes(16))
    segment = '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="key.bin"\n#EXTINF:1,\none.ts\n#EXT-X-ENDLIST\n'
    Path("low.m3u8").write_text(segment)
    Path("all.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n")
    for target in ("one.ts", "key.bin", "low.m3u8", "all.m3u8"):
        assert "is the input" in refused(run, 2, "video", "all.m3u8", *MODEL, "--json", target)
        webcam = ["webcam", "--url", "all.m3u8", "--no-window", *MODEL]
        assert "is the input" in refused(run, 2, *webcam, "--json", target)


@pytest.mark.parametrize(("command", "option"), [*FILES, *FOLDERS])
def test_an_address_or_nothing_is_no_output(run: Cli, command: str, option: str) -> None:
    args = [*(FILES | FOLDERS)[command, option], option]
    for scheme in ("rtsp", "file", "s3") if command != "annotate" else ():  # which writes into stores
        error = refused(run, 2, *args, f"{scheme}://user:hunter2@host/x.mp4")
        assert "hunter2" not in error
    done = run(*args, "")
    assert done.code == 2 and "the path is empty" in done.err
    assert not list(Path().glob("*:"))


def test_a_live_video_goes_into_no_folder(run: Cli) -> None:
    Path("there.mp4").mkdir()
    for target in ("new.mp4/", "new/", "there.mp4"):
        assert "is a folder" in refused(run, 2, *WEBCAM, "--out", target)


def test_the_cache_is_at_no_address(run: Cli) -> None:
    error = refused(run, 2, "--cache-dir", "http://user:hunter2@host/x", "models", "path", "yolov3-tiny")
    assert "is an address" in error
    assert "hunter2" not in error


def test_several_outputs_may_go_to_one_null_device(run: Cli) -> None:
    device("null.png")
    assert run("image", "photo.png", "-o", "null.png", "--json", "null.png", *MODEL).code == 0


def test_a_pipe_that_nobody_reads_is_given_up(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "READER_SECONDS", 0.05)
    os.mkfifo("pipe")
    assert "nobody reads" in refused(run, 4, "image", "photo.png", "--no-save", "--json", "pipe", *MODEL)


def test_a_reader_that_goes_away_is_one_sentence(run: Cli) -> None:
    os.mkfifo("pipe")
    thread = threading.Thread(target=lambda: Path("pipe").open("rb").close())
    thread.start()
    done = run("video", "clip.avi", "--json", "pipe", *MODEL)
    thread.join()
    assert done.code == 4 and "its reader has gone" in done.err, done


def test_names_of_standard_output_mean_standard_output(run: Cli) -> None:
    done = run("image", "photo.png", "--no-save", "--json", "/dev/stdout", *MODEL)
    assert done.code == 0
    assert [json.loads(line)["source"] for line in done.out.splitlines()] == ["photo.png"]


def test_an_open_file_of_the_shell_is_written_on_not_replaced(run: Cli) -> None:
    with Path("log").open("w+") as log:
        log.write("before\n")
        log.flush()
        assert run("image", "photo.png", "--no-save", "--json", f"/dev/fd/{log.fileno()}", *MODEL).code == 0
    first, second = Path("log").read_text().splitlines()
    assert first == "before" and json.loads(second)["source"] == "photo.png"


def test_links_that_lead_in_circles_are_one_sentence(run: Cli) -> None:
    Path("loop").symlink_to("loop")
    for args in (["--no-save", "--json", "loop"], ["--no-save", "--crops", "loop"], ["-o", "loop/"]):
        assert "loop" in refused(run, 4, "image", "photo.png", *args, *MODEL)


def test_what_is_refused_leaves_no_folder_behind(run: Cli) -> None:
    refused(run, 2, "image", "photo.png", "-o", "a/b/c.png", "--json", "photo.png", *MODEL)
    refused(run, 3, "image", "photo.png", "-o", "a/b/c.png", "--cfg", "no.cfg", "--weights", "no.weights")
    assert not Path("a").exists()


@pytest.mark.parametrize("target", ["{}", "new/{}", "{}/x.png"])
def test_a_name_that_no_disk_takes_is_one_sentence(run: Cli, target: str) -> None:
    path = target.format("n" * 300)
    for args in (["-o", path + ".png"], ["--no-save", "--json", path], ["--no-save", "--crops", path]):
        assert "too long" in refused(run, 4, "image", "photo.png", *args, *MODEL)


@pytest.mark.parametrize("option", ["--cfg", "--truth", "--image", "--draw", "--predictions"])
def test_a_name_that_no_disk_takes_is_one_sentence_for_inputs_too(run: Cli, option: str) -> None:
    command = {
        "--cfg": ["image", "photo.png"],
        "--truth": ["eval", "--images", ".", *MODEL],
        "--image": ["bench", *MODEL],
    }
    command |= {"--draw": FOLDERS["annotate", "--draw"], "--predictions": ["eval", "--truth", "truth.json"]}
    done = run(*command[option], option, "n" * 300)
    assert done.code in (2, 3, 4) and "Error" not in done.err, done


def test_a_run_that_wrote_nothing_leaves_the_results_of_the_last(run: Cli) -> None:
    Path("found.jsonl").write_text("earlier\n")
    Path("damaged.png").write_bytes(Path("photo.png").read_bytes()[:60])
    assert run("image", "damaged.png", "--no-save", "--json", "found.jsonl", *MODEL).code == 4
    assert Path("found.jsonl").read_text() == "earlier\n"


# --- no option is forgotten ---------------------------------------------------------------------------------------


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Every option and argument of every command, and the name of the command."""
    context = click.Context(cli)
    waiting = [(name, cli.get_command(context, name)) for name in COMMANDS]
    while waiting:
        name, command = waiting.pop()
        assert command is not None
        if isinstance(command, click.Group):
            waiting += [(f"{name} {sub}", command.get_command(context, sub)) for sub in command.list_commands(context)]
        yield from ((name, parameter) for parameter in command.params)


def names_a_path(parameter: click.Parameter) -> bool:
    metavar: Any = getattr(parameter, "metavar", None) or ""
    return isinstance(parameter.type, click.Path) or any(word in metavar for word in ("PATH", "DIR", "FILE"))


def test_every_option_that_names_a_path_is_known_as_read_or_written() -> None:
    for command, parameter in parameters():
        if not names_a_path(parameter) or parameter.name in NOT_WRITTEN or isinstance(parameter, click.Argument):
            continue
        assert parameter.type in (OUT_FILE, OUT_FOLDER, OUT_EITHER, FOLDER), f"{command} {parameter.name}"


def test_every_output_option_stands_in_the_tables_of_this_test() -> None:
    found = set()
    for command, parameter in parameters():
        if parameter.type in (OUT_FILE, OUT_FOLDER, OUT_EITHER, FOLDER) and parameter.name not in NOT_WRITTEN:
            found.add((command, max(parameter.opts, key=len)))
    assert found == {*FILES, *FOLDERS}
