"""Darknet models from their files to detections, as a user meets them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Cli

NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
# Two classes, one anchor of half the input, a grid of 2 x 2.
BODY = """[convolutional]
filters=4
size=1
stride=32
activation=relu

[convolutional]
filters=7
size=1
activation=linear

[yolo]
anchors=32,32
num=1
classes=2
"""
BIASES = np.array([0, 0, 0, 0, 9, 2, -9], np.float32)  # x, y, w, h, objectness, two classes


def write_model(folder: Path, net: str = NET, body: str = BODY, channels: int = 3, extra: int = 0) -> tuple[Path, Path]:
    """A network that sees the first class everywhere where the image's first channel is bright."""
    cfg, weights = folder / "tiny.cfg", folder / "tiny.weights"
    cfg.write_text(net + body)
    first = np.zeros((4, channels), np.float32)
    first[0, 0] = 1
    second = np.zeros((7, 4), np.float32)
    second[4, 0] = 18
    biases = BIASES.copy()
    biases[4] = -9
    values = [np.zeros(4, np.float32), first.ravel(), biases, second.ravel(), np.zeros(extra, np.float32)]
    weights.write_bytes(struct.pack("<iiiQ", 0, 2, 5, 0) + np.concatenate(values).astype("<f4").tobytes())
    return cfg, weights


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Red at the top left, black elsewhere."""
    image = np.zeros((128, 128, 3), np.uint8)
    image[:64, :64] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    return tmp_path / "photo.png"


def found(cli: Cli, photo: Path, cfg: Path, weights: Path, *more: object) -> list[dict[str, object]]:
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights, "--json", "-", "--no-save", *more)
    assert outcome.code == 0, outcome.err
    detections: list[dict[str, object]] = json.loads(outcome.out)["detections"]
    return detections


def test_a_model_of_three_channels_finds_what_is_red(cli: Cli, tmp_path: Path, photo: Path) -> None:
    (one,) = found(cli, photo, *write_model(tmp_path))
    assert (one["class_id"], one["box"]) == (0, [0, 0, 64, 64])


def test_a_grey_model_sees_grey_and_draws_on_the_colours(cli: Cli, tmp_path: Path, photo: Path) -> None:
    cfg, weights = write_model(tmp_path, NET.replace("channels=3", "channels=1"), channels=1)
    out = tmp_path / "out.png"
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights, "--conf", 0.01, "-o", out, "--json", "-")
    assert outcome.code == 0, outcome.err
    best = json.loads(outcome.out)["detections"][0]
    # Red is 76 of 255 in grey: 18 * 0.298 - 9 = -3.6
    assert best["score"] == pytest.approx(0.0232, abs=0.001)
    assert cv2.imread(str(out))[48, 48].tolist() == [0, 0, 255]


def test_the_fourth_channel_is_an_opaque_alpha_and_that_is_reported(cli: Cli, tmp_path: Path, photo: Path) -> None:
    cfg, weights = write_model(tmp_path, NET.replace("channels=3", "channels=4"), channels=4)
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights, "--json", "-", "--no-save")
    assert outcome.code == 0
    assert "the fourth is alpha; images count as opaque" in outcome.err
    assert [one["box"] for one in json.loads(outcome.out)["detections"]] == [[0, 0, 64, 64]]


def test_a_dead_end_adds_no_detection(cli: Cli, tmp_path: Path, photo: Path) -> None:
    plain = found(cli, photo, *write_model(tmp_path))
    dead = "[route]\nlayers=0\n[convolutional]\nfilters=2\nactivation=elu\n"
    assert found(cli, photo, *write_model(tmp_path, body=BODY + dead, extra=2 + 2 * 4)) == plain


def test_a_misspelt_key_is_warned_of_first(cli: Cli, tmp_path: Path, photo: Path) -> None:
    cfg, weights = write_model(tmp_path, body=BODY.replace("filters=7", "fliters=7"))
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights)
    assert outcome.code == 3
    first, *_ = outcome.err.splitlines()
    assert f"{cfg}:12: [convolutional] fliters= is not a key that Darknet reads here" in first
    assert "did you mean filters=?" in first


def test_a_size_that_does_not_fit_is_a_usage_error_that_size_resolves(cli: Cli, tmp_path: Path, photo: Path) -> None:
    body = BODY.replace("stride=32", "stride=4").replace(
        "\n[convolutional]\nfilters=7",
        "\n[route]\nlayers=0\n[maxpool]\nsize=8\nstride=8\n[upsample]\n[upsample]\n[upsample]\n[route]\nlayers=-1,0\n"
        "[maxpool]\nsize=8\nstride=8\n[convolutional]\nfilters=4\nsize=1\nactivation=relu\n\n[convolutional]\nfilters=7",
    )
    cfg, weights = write_model(tmp_path, NET.replace("64", "70"), body, extra=0)
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights)
    assert outcome.code == 2
    assert (
        "its own size 70x70 does not fit: width and height must be multiples of 32, such as --size 64x64 or 96x96"
        in (outcome.err)
    )
    assert "cut short" in cli("image", photo, "--cfg", cfg, "--weights", weights, "--size", 64).err


def test_a_cfg_that_is_not_there_is_reported_before_its_weights(cli: Cli, tmp_path: Path, photo: Path) -> None:
    outcome = cli("image", photo, "--cfg", tmp_path / "none.cfg")
    assert outcome.code == 3 and f"{tmp_path / 'none.cfg'}: no such file" in outcome.err


def test_without_heads_it_is_no_detector(cli: Cli, tmp_path: Path, photo: Path) -> None:
    cfg, weights = write_model(tmp_path, body=BODY.partition("[yolo]")[0])
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights)
    assert outcome.code == 3
    assert "has no [yolo] or [region] section: it is not a detector" in outcome.err


def test_weights_as_large_as_those_of_a_model_in_the_zoo_are_named(cli: Cli, tmp_path: Path, photo: Path) -> None:
    cfg, weights = write_model(tmp_path)
    weights.write_bytes(weights.read_bytes()[:20] + bytes(1_384_268 - 20))
    outcome = cli("image", photo, "--cfg", cfg, "--weights", weights)
    assert outcome.code == 3
    assert "belongs to another network" in outcome.err
    assert "yolo-fastest-1.1's weights have this size" in outcome.err


# --- the cases that once went wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("t-mixed", "t-mixed.cfg:76: [yolo] classes=9, but the [yolo] above has classes=3 (line 57)"),
        ("t-silu", "activation=silu: Darknet does not have it and would take relu; its name in Darknet is swish"),
        (
            "t-share",
            "t-share.cfg:32: [convolutional] share_index=3 names layer 3, but only layers 0 to 2 come before this one",
        ),
    ],
)
def test_a_case_that_darknet_does_not_run_is_refused(
    cli: Cli, shared: Path, photo: Path, case: str, message: str
) -> None:
    stem = shared / "data" / "cases" / "darknet" / case
    outcome = cli("image", photo, "--cfg", f"{stem}.cfg", "--weights", f"{stem}.weights", "--no-save")
    assert (outcome.code, message in outcome.err) == (3, True), outcome.err


@pytest.mark.parametrize(
    ("case", "like"),
    [("t-deadend", "t-base"), ("t-ups", "t-base"), ("t-reorgnostride", "t-base")],
)
def test_a_case_that_states_less_detects_the_same(cli: Cli, shared: Path, photo: Path, case: str, like: str) -> None:
    folder = shared / "data" / "cases" / "darknet"
    one, other = (
        found(cli, photo, folder / f"{stem}.cfg", folder / f"{stem}.weights", "--conf", 0.2) for stem in (case, like)
    )
    assert one and one == other


@pytest.mark.parametrize("case", ["t-noact", "t-grey", "t-ch4", "t-misspelt", "t-misspelt2"])
def test_a_case_that_darknet_runs_is_run(cli: Cli, shared: Path, photo: Path, case: str) -> None:
    stem = shared / "data" / "cases" / "darknet" / case
    assert found(cli, photo, Path(f"{stem}.cfg"), Path(f"{stem}.weights"), "--conf", 0.01)


@pytest.mark.parametrize("case", ["network", "conv_short", "max_short", "no_eq"])
def test_a_spelling_that_darknet_reads_detects_as_the_plain_one(
    cli: Cli, shared: Path, samples: Path, case: str
) -> None:
    models, text = shared / "data" / "models", shared / "data" / "cases" / "darknet" / "text"
    weights = models / "yolo-fastest-1.1.weights"
    plain = found(cli, samples / "dog.jpg", models / "yolo-fastest-1.1.cfg", weights)
    assert found(cli, samples / "dog.jpg", text / f"{case}.cfg", weights) == plain
