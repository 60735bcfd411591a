"""``cvdetect annotate`` as its user meets it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.annotations.formats import FORMATS
from tests.conftest import ROOT, Cli

MAIN_FILES = {
    "coco": "instances.json", "voc": "dog.xml", "yolo": "labels/dog.txt", "yolo-darknet": "obj_train_data/dog.txt",
    "openimages": "openimages.csv",
    "jsonl": "detections.jsonl", "csv": "detections.csv", "cvat": "annotations.xml",
}  # fmt: skip


@pytest.fixture
def photos(cli: Cli, samples: Path) -> Path:
    Path("photos/sub").mkdir(parents=True)
    shutil.copy(samples / "dog.jpg", "photos/dog.jpg")
    shutil.copy(samples / "person.jpg", "photos/sub/person.jpg")
    return Path("photos")


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_every_format_states_the_same_of_every_image(cli: Cli, xl: list[str], photos: Path) -> None:
    done = cli("annotate", photos, "--out", "out", "--format", ",".join(FORMATS), *xl)
    assert done.code == 0, done
    assert done.out == ""
    assert "2 images annotated" in done.err and "→ out/voc/" in done.err
    for name, file in MAIN_FILES.items():
        assert Path("out", name, file).is_file(), name
    found = [json.loads(line) for line in Path("out/jsonl/detections.jsonl").read_text().splitlines()]
    assert [record["source"] for record in found] == ["dog.jpg", "sub/person.jpg"]
    results = json.loads(Path("out/coco/results.json").read_text())
    assert [r["score"] for r in results] == [d["score"] for record in found for d in record["detections"]]
    assert not list(Path("out").rglob(".*")) or [p.name for p in Path("out").rglob(".*")] == [".cvdetect"]
    for path in Path("out").rglob("*"):
        if path.is_file() and ".cvdetect" not in path.parts:
            assert str(Path.cwd()) not in path.read_text(), f"{path} names a place"


def test_the_detections_are_those_of_cvdetect_image(cli: Cli, xl: list[str], photos: Path) -> None:
    assert cli("annotate", photos, "--out", "out", "--format", "jsonl", *xl).code == 0
    (first, second) = (json.loads(line) for line in Path("out/detections.jsonl").read_text().splitlines())
    for record, path in ((first, photos / "dog.jpg"), (second, photos / "sub" / "person.jpg")):
        alone = json.loads(cli("image", path, *xl, "--no-save", "--json", "-").out)
        assert [(d["label"], d["box"]) for d in alone["detections"]] == [
            (d["label"], d["box"]) for d in record["detections"]
        ]
        assert len(record["detections"]) > 1


def test_workers_and_batches_do_not_change_a_byte_of_a_real_models_files(cli: Cli, xl: list[str], photos: Path) -> None:
    for i in range(6):
        shutil.copy(photos / "dog.jpg", photos / f"dog{i}.jpg")
    texts = []
    for i, options in enumerate((["--workers", 1], ["--workers", 3], ["--batch", 3])):
        assert cli("annotate", photos, "--out", f"o{i}", "--format", "jsonl", *options, *xl).code == 0
        texts.append(Path(f"o{i}/detections.jsonl").read_text())
    assert texts[0] == texts[1] == texts[2]


def test_draw_crops_and_review(cli: Cli, xl: list[str], photos: Path) -> None:
    done = cli("annotate", photos, "--out", "out", "--draw", "drawn", "--crops", "crops", "--review", *xl)
    assert done.code == 0, done
    assert cv2.imread("drawn/sub/person.jpg").shape == cv2.imread(str(photos / "sub/person.jpg")).shape
    assert np.abs(cv2.imread("drawn/dog.jpg").astype(int) - cv2.imread(str(photos / "dog.jpg"))).max() > 60
    assert Path("crops/dog/dog.jpg_1.jpg").is_file()
    assert Path("out/review/thumbs/sub/person.jpg.jpg").is_file()
    assert "→ out/review/index.html" in done.err
    assert not list(Path().rglob("*unfinished*"))


def test_resume_needs_to_be_said_and_goes_on(cli: Cli, xl: list[str], photos: Path) -> None:
    assert cli("annotate", photos, "--out", "out", *xl).code == 0
    again = cli("annotate", photos, "--out", "out", *xl)
    assert again.code == 2 and "--resume" in again.err and "--overwrite" in again.err
    assert "all 2 images done already" in cli("annotate", photos, "--out", "out", *xl, "--resume").err
    other = cli("annotate", photos, "--out", "out", *xl, "--resume", "--conf", 0.2)
    assert other.code == 2 and "--conf: not given, now 0.2" in other.err
    assert cli("annotate", photos, "--out", "out", *xl, "--overwrite", "--conf", 0.2).code == 0


def test_other_weights_under_the_same_name_are_another_model(cli: Cli, xl: list[str], photos: Path) -> None:
    for option, name in (("--cfg", "m.cfg"), ("--weights", "m.weights")):
        shutil.copy(xl[xl.index(option) + 1], name)
    assert cli("annotate", photos, "--out", "out", "--cfg", "m.cfg").code == 0
    data = bytearray(Path("m.weights").read_bytes())
    data[-1] ^= 1
    Path("m.weights").write_bytes(data)
    done = cli("annotate", photos, "--out", "out", "--cfg", "m.cfg", "--resume")
    assert done.code == 2 and "the model's weights m.weights: sha256" in done.err


def test_failures_are_told_and_listed_and_the_exit_code_says_so(cli: Cli, xl: list[str], photos: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "dog.jpg").read_bytes()[:50_000])
    (photos / 'it\'s "a".jpg').touch()
    done = cli("annotate", photos, "--out", "out", *xl)
    assert done.code == 1, done
    assert "photos/cut.jpg: is cut short" in done.err
    assert "2 images annotated, 2 failed" in done.err and last_line(done.err) == "→ out/failures.jsonl"
    listed = [json.loads(line)["source"] for line in Path("out/failures.jsonl").read_text().splitlines()]
    assert listed == ["cut.jpg", 'it\'s "a".jpg']
    assert cli("annotate", photos, "--out", "o2", "--fail-fast", *xl).code == 1


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 4, ["no such folder"]),
        (["empty"], 4, ["no images", ".jpg", "1 other file (.txt 1)"]),
        (["photos", "--format", "pascal"], 2, ["no such format", "coco"]),
        (["photos", "--format", "cocoo"], 2, ["did you mean coco?"]),
        (["photos", "--draw", "photos"], 2, ["holds the input folder"]),
        (["photos", "--workers", "0"], 2, ["at least 1"]),
        (["photos", "--resume", "--overwrite"], 2, ["contradict"]),
        (["photos", "--root", "."], 2, ["--root"]),
        (["photos", "-m", "yolov3-tinny"], 2, ["yolov3-tiny"]),
        (["@photos/dog.jpg.txt"], 4, ["no such list"]),
        (["photos", "--out", "file"], 2, ["file: is a file; --out takes a folder"]),
        (["photos", "--out", "file", "--resume"], 2, ["file: is a file; --out takes a folder"]),
        (["photos", "--out", "file/deep"], 4, ["file/deep"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_no_trace(
    cli: Cli, photos: Path, args: list[str], code: int, words: list[str]
) -> None:
    Path("empty").mkdir()
    Path("empty/notes.txt").touch()
    Path("file").touch()
    before = sorted(Path().rglob("*"))
    done = cli("annotate", *(args if "--out" in args else [*args, "--out", "out"]))
    assert done.code == code, done
    for word in words:
        assert word in done.err
    assert sorted(Path().rglob("*")) == before


def test_out_is_required(cli: Cli, photos: Path) -> None:
    done = cli("annotate", photos)
    assert done.code == 2 and "--out" in done.err


def test_a_read_only_folder_is_told(cli: Cli, xl: list[str], photos: Path) -> None:
    done = cli("annotate", photos, "--out", "/proc/no/out", *xl)
    assert done.code == 4 and "/proc/no/out" in done.err


def call(*args: object, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-m", "cvdetect", "annotate", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, input=stdin, capture_output=True, check=False, env=env, timeout=60, **options)


def test_paths_come_from_standard_input_too(xl: list[str], photos: Path) -> None:
    stdin = b"photos/sub/person.jpg\0photos/dog.jpg\0"
    done = call("-", "--out", "out", "--root", "photos", "--format", "jsonl", *xl, stdin=stdin)
    assert done.returncode == 0, done
    lines = Path("out/detections.jsonl").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["dog.jpg", "sub/person.jpg"]


def test_a_failure_with_a_name_that_is_no_text_is_told(xl: list[str], photos: Path) -> None:
    (photos / "\udcff[red]\n.jpg").touch()
    done = call(photos, "--out", "out", *xl)
    assert done.returncode == 1, done
    assert b"\\udcff[red]\n.jpg: is empty" in done.stderr and b"2 images annotated, 1 failed" in done.stderr


def test_a_disk_that_is_full_is_told_without_a_traceback_and_resume_goes_on(xl: list[str], photos: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # bytes a file

    words = [photos, "--out", "out", "--draw", "drawn", *xl]
    full = call(*words, preexec_fn=little_room)
    assert full.returncode == 4, full
    assert b"Traceback" not in full.stderr
    assert len(full.stderr.splitlines()) <= 4
    assert not list(Path("drawn").rglob("*.jpg")), "nothing half-written"
    assert call(*words, "--resume").returncode == 0
    assert len(list(Path("drawn").rglob("*.jpg"))) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_files_of_what_was_done(xl: list[str], photos: Path, number: int, code: int) -> None:
    for i in range(400):
        (photos / f"{i}.jpg").symlink_to(Path("dog.jpg"))
    words = [sys.executable, "-m", "cvdetect", "annotate", "photos", "--out", "out", "--draw", "drawn", *xl]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=env) as process:
        deadline = time.monotonic() + 90
        while not Path("drawn/3.jpg").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        told = process.communicate(timeout=30)[1].decode()
    assert process.returncode == code, told
    assert "still to be done: continue with --resume" in told
    done = json.loads(Path("out/instances.json").read_text())["images"]
    assert 4 <= len(done) < 402
    assert {image["file_name"] for image in done} == {
        p.relative_to("drawn").as_posix() for p in Path("drawn").rglob("*.jpg")
    }
