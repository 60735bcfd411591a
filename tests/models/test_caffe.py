"""Caffe detectors: a small SSD written here, with weights in Caffe's own format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.formats.caffe import read_prototxt, with_thresholds
from cvdetect.inference.detector import Detector
from tests.conftest import Cli, Told

# Three classes (0 the background), four priors (2 x 2 cells), boxes as the priors, scores from the convolution's bias.
PROTOTXT = """
name: "tiny"
input: "data"
input_shape { dim: 1 dim: 3 dim: 32 dim: 48 }
layer { name: "conf" type: "Convolution" bottom: "data" top: "conf"
  convolution_param { num_output: 3 kernel_h: 16 kernel_w: 24 stride_h: 16 stride_w: 24 } }
layer { name: "loc" type: "Convolution" bottom: "data" top: "loc"
  convolution_param { num_output: 4 kernel_h: 16 kernel_w: 24 stride_h: 16 stride_w: 24 } }
layer { name: "conf_p" type: "Permute" bottom: "conf" top: "conf_p"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_r" type: "Reshape" bottom: "conf_p" top: "conf_r"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "soft" type: "Softmax" bottom: "conf_r" top: "soft" softmax_param { axis: 2 } }
layer { name: "conf_f" type: "Flatten" bottom: "soft" top: "conf_f" flatten_param { axis: 1 } }
layer { name: "loc_p" type: "Permute" bottom: "loc" top: "loc_p" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_f" type: "Flatten" bottom: "loc_p" top: "loc_f" flatten_param { axis: 1 } }
layer { name: "prior" type: "PriorBox" bottom: "conf" bottom: "data" top: "prior"
  prior_box_param { min_size: 12 clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5 } }
layer { name: "detection_out" type: "DetectionOutput"
  bottom: "loc_f" bottom: "conf_f" bottom: "prior" top: "detection_out"
  detection_output_param { num_classes: 3 share_location: true background_label_id: 0
    nms_param { nms_threshold: 0.45 top_k: 100 } code_type: CENTER_SIZE keep_top_k: 100 confidence_threshold: 0.25 } }
"""
SCORES = np.array([0.1, 0.7, 0.2])  # background, class 1, class 2
BRIGHT = np.full((64, 96, 3), 0, np.uint8)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: np.ndarray) -> bytes:
    """BlobProto: shape (7) and data (5)."""
    dims = b"".join(varint(d) for d in values.shape)
    return field(7, field(1, dims)) + field(5, values.astype("<f4").tobytes())


def layer(name: str, kind: str, *blobs: np.ndarray) -> bytes:
    return field(100, field(1, name.encode()) + field(2, kind.encode()) + b"".join(field(7, blob(b)) for b in blobs))


def caffemodel(names: tuple[str, str] = ("conf", "loc")) -> bytes:
    conf = layer(names[0], "Convolution", np.zeros((3, 3, 16, 24)), np.log(SCORES))
    return field(1, b"tiny") + conf + layer(names[1], "Convolution", np.zeros((4, 3, 16, 24)), np.zeros(4))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.prototxt").write_text(PROTOTXT)
    (tmp_path / "tiny.caffemodel").write_bytes(caffemodel())
    return tmp_path / "tiny.prototxt"


def test_its_facts_are_read() -> None:
    facts = read_prototxt(PROTOTXT, "x")
    assert (facts.input_wh, facts.classes, facts.background, facts.weighted) == ((48, 32), 2, 0, ("conf", "loc"))
    old = PROTOTXT.replace("input_shape { dim: 1 dim: 3 dim: 32 dim: 48 }",
                           "input_dim: 1 input_dim: 3 input_dim: 32 input_dim: 48")  # fmt: skip
    assert read_prototxt(old, "x").input_wh == (48, 32)
    layered = PROTOTXT.replace(
        'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 32 dim: 48 }',
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 48 } } }',
    )
    assert read_prototxt(layered, "x").input_wh == (48, 32)


def test_class_numbers_start_at_1_and_the_users_threshold_acts_below_and_above_the_files_own(tiny: Path) -> None:
    names = tiny.with_suffix(".names")
    names.write_text("background\nant\nbee\n")
    for conf, expected in ((0.5, {1}), (0.1, {1, 2}), (0.75, set())):
        detector = Detector.load(ModelChoice(prototxt=tiny, names=names), DetectOptions(conf=conf))
        found = detector.detect(BRIGHT)
        assert set(found.class_id.tolist()) == expected
        for class_id, score in zip(found.class_id, found.score, strict=True):
            assert score == pytest.approx(SCORES[class_id], abs=1e-5)
    assert [detector.labels.label(c) for c in (1, 2)] == ["ant", "bee"]


def test_boxes_are_the_priors_in_pixels_of_the_image(tiny: Path) -> None:
    found = Detector.load(ModelChoice(prototxt=tiny), DetectOptions(conf=0.5)).detect(BRIGHT)
    corners = sorted(map(tuple, found.xyxy.round().tolist()))
    # priors of 12 pixels at (12, 8), (36, 8), (12, 24), (36, 24); the picture is twice the input
    assert corners == [(12, 4, 36, 28), (12, 36, 36, 60), (60, 4, 84, 28), (60, 36, 84, 60)]


def test_a_score_exactly_at_the_threshold_is_found(tiny: Path) -> None:
    score = float(Detector.load(ModelChoice(prototxt=tiny), DetectOptions(conf=0.5)).detect(BRIGHT).score[0])
    counts = [
        len(Detector.load(ModelChoice(prototxt=tiny), DetectOptions(conf=conf)).detect(BRIGHT))
        for conf in (score, float(np.nextafter(np.float32(score), np.float32(1))))
    ]
    assert counts == [4, 0]


def test_the_nms_threshold_is_written_into_the_prototxt_beside_what_stands_there() -> None:
    changed = with_thresholds(PROTOTXT, "x", 0.125, 0.75)
    assert "nms_threshold: 0.75" in changed and "top_k: 100" in changed and "confidence_threshold: 0.125" in changed
    assert "0.45" not in changed
    assert "0.45" in with_thresholds(PROTOTXT, "x", 0.125, None)


def test_a_batch_of_two_equals_two_of_one(tiny: Path) -> None:
    detector = Detector.load(ModelChoice(prototxt=tiny), DetectOptions(conf=0.1))
    both = detector.detect_batch([BRIGHT, BRIGHT[:40]])
    assert [len(b) for b in both] == [8, 8]
    assert both[1].xyxy[:, 3].max() <= 40


def test_the_command_line_takes_it_and_reports_its_preprocessing(tiny: Path, cli: Cli, samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", "--prototxt", tiny, "--json", "-", "--no-save")
    assert done.code == 0
    assert {d["class_id"] for d in json.loads(done.out)["detections"]} == {1}
    assert "gets BGR from 0 to 255" in done.err
    assert "taking" in done.err  # the weights beside it
    stated = cli("image", samples / "dog.jpg", "--prototxt", tiny, "--no-save", "--scale", 0.5)
    assert "gets BGR" not in stated.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("DetectionOutput", "Softmax"), "has no DetectionOutput layer"),
        (lambda text: text.replace("num_classes: 3", ""), "does not state num_classes"),
        (lambda text: text.replace("input_shape { dim: 1 dim: 3 dim: 32 dim: 48 }", ""), "give --size"),
        (lambda text: text[:-40], "expected"),
        (lambda text: "[net]\nwidth=416\n", "is a Darknet cfg, expected a Caffe prototxt: give it as --cfg"),
        (lambda text: "width=416\n", "tiny.prototxt:1: '=416"),
        (lambda text: 'name: "x"', "has no layers"),
        (lambda text: "<html><body>", "is an HTML page"),
    ],
)
def test_a_wrong_prototxt_is_reported(change, message: str, tiny: Path, cli: Cli, samples: Path) -> None:
    tiny.write_text(change(PROTOTXT))
    done = cli("image", samples / "dog.jpg", "--prototxt", tiny)
    assert done.code == 3
    assert message in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (caffemodel()[:-100], "damaged or cut short"),
        (
            caffemodel(("other", "loc")),
            "has no weights for 1 of 2 layers (first 'conf'): it belongs to another network",
        ),
        (b"<!DOCTYPE html>", "is an HTML page"),
        (b"", "is empty"),
    ],
)
def test_foreign_weights_are_reported(content: bytes, message: str, tiny: Path, cli: Cli, samples: Path) -> None:
    tiny.with_suffix(".caffemodel").write_bytes(content)
    done = cli("image", samples / "dog.jpg", "--prototxt", tiny)
    assert done.code == 3
    assert message in done.err


def test_options_that_cannot_act_are_refused(tiny: Path) -> None:
    for options in (DetectOptions(multi_label=True), DetectOptions(agnostic_nms=True)):
        with pytest.raises(UsageError, match="cannot act on tiny"):
            Detector.load(ModelChoice(prototxt=tiny), options)
    with pytest.raises(UsageError, match="caffemodel goes with prototxt"):
        Detector.load(ModelChoice(caffemodel=tiny))
    tiny.with_suffix(".caffemodel").unlink()
    with pytest.raises(ModelFileError, match="give caffemodel"):
        Detector.load(ModelChoice(prototxt=tiny))


def test_names_beside_the_files_are_taken_else_the_warning_counts_as_the_labels_do(tiny: Path) -> None:
    told = Told()
    labels = Detector.load(ModelChoice(prototxt=tiny), progress=told).labels
    assert (labels.label(1), labels.label(2)) == ("class_1", "class_2")
    assert any("its 2 classes, naming them class_1, class_2;" in warning for warning in told.warnings)
    tiny.with_suffix(".names").write_text(
        "item { name: 'none_of_the_above' label: 0 }\nitem { name: 'a' label: 1 }\nitem { name: 'b' label: 2 }\n"
    )
    labels = Detector.load(ModelChoice(prototxt=tiny), progress=told).labels
    assert (labels.label(1), labels.label(2)) == ("a", "b")
