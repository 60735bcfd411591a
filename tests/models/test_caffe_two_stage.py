"""Caffe's two-stage detectors: a small R-FCN and a small Faster R-CNN written here, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import BackendError, ModelFileError
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.formats.caffe import read_prototxt
from cvdetect.inference.detector import Detector
from cvdetect.runtime import Ran
from cvdetect.runtime.opencv import OpenCV
from tests.conftest import Cli
from tests.models.test_caffe import field, layer

INPUTS = """
input: "data"
input_shape { dim: 1 dim: 3 dim: 224 dim: 224 }
input: "im_info"
input_shape { dim: 1 dim: 3 }
"""
REGIONS = """
layer { name: "maps" type: "Convolution" bottom: "data" top: "maps"
  convolution_param { num_output: 8 kernel_size: 16 stride: 16 } }
layer { name: "relu" type: "ReLU" bottom: "maps" top: "maps" }
layer { name: "rpn_scores" type: "Convolution" bottom: "maps" top: "rpn_scores"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "rpn_boxes" type: "Convolution" bottom: "maps" top: "rpn_boxes"
  convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "pairs" type: "Reshape" bottom: "rpn_scores" top: "pairs"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "rpn_soft" type: "Softmax" bottom: "pairs" top: "rpn_soft" }
layer { name: "rpn_prob" type: "Reshape" bottom: "rpn_soft" top: "rpn_prob"
  reshape_param { shape { dim: 0 dim: 4 dim: -1 dim: 0 } } }
layer { name: "proposal" type: "Proposal" bottom: "rpn_prob" bottom: "rpn_boxes" bottom: "im_info"
  top: "rois" top: "roi_scores"
  proposal_param { feat_stride: 16 base_size: 16 ratio: 0.5 ratio: 2 scale: 2
    pre_nms_topn: 40 post_nms_topn: 12 nms_thresh: 0.7 } }
"""
FASTER = """
layer { name: "crops" type: "ROIPooling" bottom: "maps" bottom: "rois" top: "crops"
  roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.0625 } }
layer { name: "scores" type: "InnerProduct" bottom: "crops" top: "scores" inner_product_param { num_output: 4 } }
layer { name: "boxes" type: "InnerProduct" bottom: "crops" top: "boxes" inner_product_param { num_output: 16 } }
"""
RFCN = """
layer { name: "score_maps" type: "Convolution" bottom: "maps" top: "score_maps"
  convolution_param { num_output: 16 kernel_size: 1 } }
layer { name: "box_maps" type: "Convolution" bottom: "maps" top: "box_maps"
  convolution_param { num_output: 64 kernel_size: 1 } }
layer { name: "score_crops" type: "PSROIPooling" bottom: "score_maps" bottom: "rois" top: "score_crops"
  psroi_pooling_param { spatial_scale: 0.0625 output_dim: 4 group_size: 2 } }
layer { name: "box_crops" type: "PSROIPooling" bottom: "box_maps" bottom: "rois" top: "box_crops"
  psroi_pooling_param { spatial_scale: 0.0625 output_dim: 16 group_size: 2 } }
layer { name: "scores" type: "Pooling" bottom: "score_crops" top: "scores"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "boxes" type: "Pooling" bottom: "box_crops" top: "boxes"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
"""
DETECTIONS = """
layer { name: "soft" type: "Softmax" bottom: "scores" top: "soft" softmax_param { axis: 1 } }
layer { name: "soft_row" type: "Reshape" bottom: "soft" top: "soft_row" reshape_param { shape { dim: 1 dim: -1 } } }
layer { name: "box_row" type: "Reshape" bottom: "boxes" top: "box_row" reshape_param { shape { dim: 1 dim: -1 } } }
layer { name: "cut" type: "Slice" bottom: "rois" top: "roi_image" top: "roi_box"
  slice_param { axis: 1 slice_point: 1 } }
layer { name: "priors" type: "Reshape" bottom: "roi_box" top: "priors"
  reshape_param { shape { dim: 1 dim: 1 dim: -1 } } }
layer { name: "detection_out" type: "DetectionOutput"
  bottom: "box_row" bottom: "soft_row" bottom: "priors" bottom: "data" top: "detection_out"
  detection_output_param { num_classes: 4 share_location: false background_label_id: 0
    nms_param { nms_threshold: 0.3 } code_type: CENTER_SIZE keep_top_k: 100 confidence_threshold: 0.1
    variance_encoded_in_target: true normalized_bbox: false clip: true } }
"""
NETS = {"faster": INPUTS + REGIONS + FASTER + DETECTIONS, "rfcn": INPUTS + REGIONS + RFCN + DETECTIONS}
MEAN, WH = (102.98, 115.95, 122.77), (160, 96)


def weights(kind: str) -> bytes:
    """A caffemodel of random weights, large enough that scores and boxes differ much."""
    random = np.random.default_rng(0)

    def weighted(name: str, spread: float, shape: tuple[int, ...], bias: float) -> bytes:
        of = "InnerProduct" if len(shape) == 2 else "Convolution"
        return layer(name, of, random.normal(0, spread, shape), random.normal(0, bias, shape[0]))

    parts = [
        weighted("maps", 0.002, (8, 3, 16, 16), 0.1),
        weighted("rpn_scores", 0.5, (4, 8, 1, 1), 0.1),
        weighted("rpn_boxes", 0.1, (8, 8, 1, 1), 0),
    ]
    if kind == "faster":
        parts += [weighted("scores", 0.5, (4, 32), 0.1), weighted("boxes", 0.05, (16, 32), 0)]
    else:
        parts += [weighted("score_maps", 1, (16, 8, 1, 1), 0.1), weighted("box_maps", 0.1, (64, 8, 1, 1), 0)]
    return field(1, b"two") + b"".join(parts)


@pytest.fixture(params=sorted(NETS))
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NETS[request.param])
    (tmp_path / "net.caffemodel").write_bytes(weights(request.param))
    return tmp_path / "net.prototxt"


@pytest.fixture
def dog(samples: Path) -> np.ndarray:
    return cv2.imread(str(samples / "dog.jpg"))


def choice(net: Path, **given: object) -> ModelChoice:
    return ModelChoice(**{"prototxt": net, "mean": MEAN, "size": WH} | given)  # type: ignore[arg-type]


def rows_of_opencv(net: Path, image: np.ndarray, wh: tuple[int, int] = WH) -> np.ndarray:
    """OpenCV's own rows (N, 7), boxes in pixels of `image`, by both inputs set by hand; the file's own thresholds."""
    model = cv2.dnn.readNetFromCaffe(str(net), str(net.with_suffix(".caffemodel")))
    model.setInput(cv2.dnn.blobFromImage(image, 1, wh, MEAN), "data")
    model.setInput(np.array([[wh[1], wh[0], 1.6]], np.float32), "im_info")
    rows = model.forward()[0, 0]
    rows[:, 3:] *= np.tile(np.array(image.shape[1::-1]) / wh, 2)
    return rows[rows[:, 2] > 0]


def check_equal(found: Detections, rows: np.ndarray) -> None:
    """`found` are OpenCV's `rows`, whatever their order."""
    assert len(found) == len(rows)
    ours, theirs = (
        values[np.lexsort(values.round(1).T)]
        for values in (np.column_stack([found.class_id, found.score, found.xyxy]), rows[:, 1:])
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_detections_are_those_of_opencv_with_both_inputs_set(net: Path, dog: np.ndarray, turned: bool) -> None:
    image, wh = (np.ascontiguousarray(dog.transpose(1, 0, 2)), WH[::-1]) if turned else (dog, WH)
    rows = rows_of_opencv(net, image, wh)
    found = Detector.load(choice(net, size=wh), DetectOptions(conf=0.1)).detect(image)
    assert len(rows) >= 5 and len(set(rows[:, 1])) >= 2
    check_equal(found, rows)
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    assert (found.xyxy >= 0).all() and (found.xyxy <= np.tile(image.shape[1::-1], 2)).all()
    assert sides.max() > 50, "boxes in pixels of the input, taken as normalized, would be the image's corner"


def test_a_batch_of_two_images_equals_two_of_one(net: Path, dog: np.ndarray) -> None:
    detector = Detector.load(choice(net), DetectOptions(conf=0.1))
    images = [dog, np.ascontiguousarray(dog[: dog.shape[0] // 2, ::-1])]
    for found, image in zip(detector.detect_batch(images), images, strict=True):
        check_equal(found, rows_of_opencv(net, image))


def test_the_users_threshold_acts_above_and_below_the_files_own(net: Path, dog: np.ndarray) -> None:
    everything = Detector.load(choice(net), DetectOptions(conf=0.02)).detect(dog)
    usual = Detector.load(choice(net), DetectOptions(conf=0.1)).detect(dog)
    limit = float(np.sort(usual.score)[-2])
    best = Detector.load(choice(net), DetectOptions(conf=limit)).detect(dog)
    assert len(everything) > len(usual) > len(best) == 2
    assert best.score.min() == pytest.approx(limit)


def test_the_users_suppression_acts(net: Path, dog: np.ndarray) -> None:
    counts = [len(Detector.load(choice(net), DetectOptions(conf=0.02, nms=nms)).detect(dog)) for nms in (0.01, 0.99)]
    assert counts[0] < counts[1]


def test_without_a_size_each_image_gets_its_own_as_in_py_faster_rcnn(net: Path, dog: np.ndarray) -> None:
    detector = Detector.load(choice(net, size=None), DetectOptions(conf=0.02))
    wide = np.ascontiguousarray(dog[: dog.shape[1] // 4])  # 4 : 1, so that the longer side decides
    w, h = dog.shape[1], dog.shape[0]
    assert w > h and 600 / h * w < 1000
    found = detector.detect_batch([dog, wide])
    other = rows_of_opencv(net, wide, (1000, round(1000 * len(wide) / w)))
    check_equal(_from(found[0], 0.1), rows_of_opencv(net, dog, (round(600 * w / h), 600)))
    check_equal(_from(found[1], 0.1), other)


def _from(found: Detections, conf: float) -> Detections:
    kept = found.score > conf
    return Detections(found.xyxy[kept], found.class_id[kept], found.score[kept])


def test_the_command_line_takes_it_and_reports_the_size(net: Path, cli: Cli, samples: Path, tmp_path: Path) -> None:
    names = tmp_path / "voc.names"
    names.write_text("background\nant\nbee\ncat\n")
    command = ("image", samples / "dog.jpg", "--prototxt", net, "--names", names, "--json", "-", "--no-save")
    preprocessing = ("--mean", "102.98,115.95,122.77", "--conf", 0.1)
    done = cli(*command, *preprocessing, "--size", "160x96")
    assert done.code == 0
    found = {(d["class_id"], d["label"]) for d in json.loads(done.out)["detections"]}
    assert found and found <= {(1, "ant"), (2, "bee"), (3, "cat")}
    assert "shorter side" not in done.err
    assert "shorter side to 600 pixels, the longer one to at most 1000" in cli(*command, *preprocessing).err


def test_cuda_in_half_precision_is_refused_before_the_network_is_read(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RunOptions(backend="cuda", precision="fp16")
    ran = Ran("opencv", "cuda", "cuda_fp16", "a GPU", "fp16")
    half = OpenCV(run=asked, backend="cuda", ran=ran, backend_id=0, target_id=0)
    monkeypatch.setattr("cvdetect.inference.detector.choose", lambda _: half)
    with pytest.raises(
        BackendError, match="R-FCN do not run well enough in OpenCV on CUDA in fp16; use precision='fp32'"
    ):
        Detector.load(choice(net), run=asked)


LAYERED = (
    'layer { name: "in" type: "Input" top: "im_info" top: "data" '
    "input_param { shape { dim: 1 dim: 3 } shape { dim: 1 dim: 3 dim: 96 dim: 160 } } }"
)
OLD = 'input: "data" input: "im_info" input_dim: [1, 3, 96, 160, 1, 3, 1, 1]'


@pytest.mark.parametrize("inputs", [LAYERED, OLD])
def test_inputs_are_found_however_they_are_written(inputs: str) -> None:
    facts = read_prototxt(NETS["rfcn"].replace(INPUTS, inputs), "x")
    assert (facts.image_input, facts.size_input, facts.input_wh) == ("data", "im_info", (160, 96))
    assert facts.two_stage and facts.in_pixels
    assert not read_prototxt(NETS["rfcn"].replace("normalized_bbox: false", ""), "x").in_pixels


def test_the_image_need_not_be_the_first_input(net: Path, dog: np.ndarray) -> None:
    rows = rows_of_opencv(net, dog)
    net.write_text(net.read_text().replace(INPUTS, LAYERED))
    check_equal(Detector.load(choice(net), DetectOptions(conf=0.1)).detect(dog), rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'input: "im_info"',
            'input: "rois"',
            "has the inputs 'data', 'rois': expected one for the image and, in two",
        ),
        (
            'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 224 dim: 224 }',
            "",
            "has the inputs 'im_info': expected one",
        ),
    ],
)
def test_inputs_of_unknown_use_are_reported(old: str, new: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_prototxt(NETS["rfcn"].replace(old, new), "x.prototxt")


def test_a_prototxt_with_layers_in_python_is_reported_with_the_one_to_take() -> None:
    original = INPUTS + REGIONS.replace('"Proposal"', '"Python"') + FASTER
    with pytest.raises(ModelFileError, match=r"as py-faster-rcnn's does \(take the prototxt of OpenCV's test data"):
        read_prototxt(original, "x.prototxt")
