"""Every command and every dependency once, quickly: what ``.ci/run`` repeats with every dependency at its floor."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Cli
from tests.jobs.annotate.tiny_model import tiny_model

pytestmark = pytest.mark.smoke


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Options that name a model which finds something in every image."""
    model = tiny_model(tmp_path / "model")
    return ["--cfg", str(model.cfg), "--conf", "0.05"]


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(samples / "dog.jpg", folder / "1.jpg")
    shutil.copy(samples / "eagle.jpg", folder / "2.jpg")
    return folder


def clip(path: Path) -> Path:
    """Eight frames of noise that moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (96, 64))
    frame = np.random.default_rng(3).integers(0, 255, (64, 96, 3), np.uint8)
    for i in range(8):
        writer.write(np.roll(frame, 4 * i, axis=1))
    writer.release()
    return path


def test_help_and_version(cli: Cli) -> None:
    assert "annotate" in cli("--help").out
    assert re.search(r"\d+\.\d+", cli("--version").out)


@pytest.mark.parametrize(
    "command", ["image", "video", "webcam", "annotate", "eval", "bench", "models", "textgraph", "doctor"]
)
def test_help_of_every_command(command: str, cli: Cli) -> None:
    done = cli(command, "--help")
    assert done.code == 0 and f"cvdetect {command}" in done.out


def test_image(cli: Cli, tiny: list[str], samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", *tiny, "-o", "out.png", "--json", "found.jsonl", "--crops", "crops")
    assert done.code == 0, done
    (line,) = Path("found.jsonl").read_text().splitlines()
    assert json.loads(line)["detections"] and cv2.imread("out.png") is not None
    assert "score" in done.out and list(Path("crops").iterdir())


@pytest.mark.parametrize("tracking", [[], ["--track"]], ids=["plain", "track"])
def test_video(tracking: list[str], cli: Cli, tiny: list[str], tmp_path: Path) -> None:
    if tracking:
        pytest.importorskip("scipy")
    done = cli("video", clip(tmp_path / "in.avi"), *tiny, *tracking, "--out", "out.avi", "--json", "out.jsonl")
    assert done.code == 0, done
    assert len(Path("out.jsonl").read_text().splitlines()) >= 8 and Path("out.avi").stat().st_size > 1000


def test_video_as_mp4_by_pyav(cli: Cli, tiny: list[str], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert cli("video", clip(tmp_path / "in.avi"), *tiny, "--out", "out.mp4").code == 0
    with av.open("out.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


def test_webcam_from_a_file(cli: Cli, tiny: list[str], tmp_path: Path) -> None:
    options = ["--url", clip(tmp_path / "in.avi"), "--no-window", "--max-frames", "3", "--json", "live.jsonl"]
    assert cli("webcam", *options, *tiny).code == 0
    assert Path("live.jsonl").read_text().strip()


def test_annotate_in_every_format(cli: Cli, tiny: list[str], photos: Path) -> None:
    formats = "coco,voc,yolo,openimages,jsonl,csv,cvat"
    done = cli("annotate", photos, *tiny, "--out", "labels", "--format", formats, "--review", "--workers", "1")
    assert done.code == 0, done
    assert {path.name for path in Path("labels").iterdir()} >= set(formats.split(","))


def test_annotate_to_a_store(cli: Cli, tiny: list[str], photos: Path) -> None:
    pytest.importorskip("fsspec")
    done = cli("annotate", photos, *tiny, "--out", "memory://smoke/labels", "--format", "jsonl", "--workers", "1")
    assert done.code == 0, done


def test_eval_with_plots(cli: Cli, tiny: list[str], photos: Path) -> None:
    pytest.importorskip("pycocotools")
    pytest.importorskip("matplotlib")
    box = {"category_id": 1, "bbox": [100, 100, 300, 300], "area": 9e4, "iscrowd": 0}
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 768, "height": 576} for i in (1, 2)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": i, "image_id": i, **box} for i in (1, 2)],
    }
    Path("truth.json").write_text(json.dumps(truth))
    done = cli("eval", "--images", photos, "--truth", "truth.json", *tiny, "--plots", "plots", "--json", "figures.json")
    assert done.code == 0, done
    assert "AP50" in json.loads(Path("figures.json").read_text()) and list(Path("plots").iterdir())


def test_masks_go_through_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    square = np.zeros((8, 8), np.uint8, order="F")
    square[2:6, 2:6] = 1
    assert mask.area(mask.encode(square)) == 16


def test_bench(cli: Cli, tiny: list[str]) -> None:
    done = cli("bench", *tiny, "--rounds", "1", "--passes", "1", "--json", "-")
    assert done.code == 0 and json.loads(done.out)[0]["forward"]["median_ms"] > 0


def test_models(cli: Cli) -> None:
    for command in (["list"], ["show", "yolov3-tiny"]):
        assert "yolov3-tiny" in cli("models", *command).out
    assert cli("--offline", "--cache-dir", "empty", "models", "path", "yolov3-tiny").code == 3


def test_doctor(cli: Cli) -> None:
    done = cli("doctor")
    assert done.code == 0 and cv2.__version__ in done.out


def test_a_heic_image(cli: Cli, tiny: list[str], tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pixels = np.random.default_rng(4).integers(0, 255, (64, 96, 3), np.uint8)
    heif.from_bytes("RGB", (96, 64), pixels.tobytes()).save(str(tmp_path / "a.heic"))
    done = cli("image", tmp_path / "a.heic", *tiny, "--no-save", "--json", "-")
    assert done.code == 0 and json.loads(done.out)["width"] == 96
