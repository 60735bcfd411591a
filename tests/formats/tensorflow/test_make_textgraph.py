"""Text graphs made from frozen graphs: OpenCV finds with them what TensorFlow, or numpy, computes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdetect.core.boxes import iou
from cvdetect.core.cv import cv2
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, make_text_graph, read_pipeline
from cvdetect.formats.tensorflow.textgraph import read_graph, with_thresholds
from tests.formats.tensorflow.tf_graphs import Detector, GraphWriter, SsdBuilder, grid

Rows = list[tuple[int, float, np.ndarray]]
PLAIN = ("BoxEncodingPredictor", "ClassPredictor")
SHARED = ("BoxPredictor", "ClassPredictor")
SCOPE = "WeightSharedConvolutionalBoxPredictor"
SMALL = [(10.0, 10.0), (14.0, 7.0), (7.0, 14.0)]
LARGE = [(20.0, 20.0), (28.0, 14.0), (14.0, 28.0), (26.0, 26.0)]


# ---- small graphs of our own, computed by numpy ----


def ssd(wh: tuple[int, int] = (64, 48), norm: str = "fused", **finish: Any) -> Detector:
    b = SsdBuilder(wh)
    return finished(b, layers_of(b, norm), **finish)


def layers_of(b: SsdBuilder, norm: str = "fused") -> tuple[str, str]:
    """Two feature maps, of strides 4 and 8."""
    x = b.norm("FeatureExtractor/c1", b.conv("FeatureExtractor/c1", b.image, 8, stride=4), norm)
    x = b.norm("FeatureExtractor/d1", b.depthwise("FeatureExtractor/d1", x), norm)
    return x, b.norm("FeatureExtractor/c2", b.conv("FeatureExtractor/c2", x, 12), norm)


def finished(b: SsdBuilder, layers: tuple[str, str], *, outputs: int = 4, **finish: Any) -> Detector:
    b.predict("BoxPredictor_0", layers[0], 3, outputs, PLAIN)
    b.predict("BoxPredictor_1", layers[1], 4, outputs, PLAIN)
    width, height = b.wh
    first = grid(height // 4, width // 4, SMALL, (4, 4), 0.5)
    return b.finish(np.concatenate([first, grid(height // 8, width // 8, LARGE, (8, 8), 0.5)]), **finish)


def atrous() -> Detector:
    b = SsdBuilder((64, 48))
    x, _ = layers_of(b)
    b.g.const("FeatureExtractor/block", [2, 2], np.int32)
    b.g.const("FeatureExtractor/pads", [[2, 3], [2, 2]], np.int32)
    b.g.const("FeatureExtractor/crops", [[0, 1], [0, 0]], np.int32)
    b.g.add("FeatureExtractor/s2b", "SpaceToBatchND", x, "FeatureExtractor/block", "FeatureExtractor/pads")
    b.channels["FeatureExtractor/s2b"] = b.channels[x]
    y = b.conv("FeatureExtractor/wide", "FeatureExtractor/s2b", 8, stride=1, padding=b"VALID", atrous=2)
    b.g.add("FeatureExtractor/b2s", "BatchToSpaceND", y, "FeatureExtractor/block", "FeatureExtractor/crops")
    b.channels["FeatureExtractor/b2s"] = 8
    z = b.norm("FeatureExtractor/wide", "FeatureExtractor/b2s")
    return finished(b, (z, b.norm("FeatureExtractor/c3", b.conv("FeatureExtractor/c3", z, 12))))


def ppn() -> Detector:
    """A pooling pyramid: one feature map pooled again and again, one pair of predictors for all."""
    b = SsdBuilder((64, 48))
    x = b.norm("FeatureExtractor/c1", b.conv("FeatureExtractor/c1", b.image, 8, stride=4))
    settings = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": b"SAME", "data_format": b"NHWC"}
    y = b.g.add("FeatureExtractor/MaxPool2d_0_2x2/MaxPool", "MaxPool", x, **settings)
    b.predict(SCOPE, x, 3, 4, SHARED)
    b.predict(f"{SCOPE}_1", y, 3, 4, SHARED, shared=SCOPE)
    return b.finish(np.concatenate([grid(12, 16, SMALL, (4, 4), 0.5), grid(6, 8, SMALL, (8, 8), 0.5)]))


def fpn(kind: str = "ones", norm: str = "unfused", wh: tuple[int, int] = (64, 48), offset: float = 0.5) -> Detector:
    """Top-down: the coarse map doubled and added to the fine one; shared predictors, normalised apart."""
    b = SsdBuilder(wh)
    c1 = b.norm("FeatureExtractor/c1", b.conv("FeatureExtractor/c1", b.image, 8, stride=4), norm)
    c2 = b.norm("FeatureExtractor/c2", b.conv("FeatureExtractor/c2", c1, 12), norm)
    top = b.conv("FeatureExtractor/fpn/top", c2, 8, stride=1, kernel=1)
    rows, columns = -(-wh[1] // 8), -(-wh[0] // 8)
    up = b.upsample("FeatureExtractor/fpn/top_down/nearest_neighbor_upsampling", top, (rows, columns), kind)
    lateral = b.conv("FeatureExtractor/fpn/lateral", c1, 8, stride=1, kernel=1)
    fine = b.g.add("FeatureExtractor/fpn/top_down/add", "AddV2", up, lateral)
    b.channels[fine] = 8
    sizes = [(16.0, 16.0), (22.0, 11.0)]
    b.predict(SCOPE, b.norm(f"{SCOPE}/tower", fine, norm), 2, 4, SHARED)
    b.predict(f"{SCOPE}_1", b.norm(f"{SCOPE}_1/tower", top, norm), 2, 4, SHARED, shared=SCOPE)
    steps = ((4, 4), (8, 8))
    shapes = ((2 * rows, 2 * columns), (rows, columns))
    return b.finish(np.concatenate([grid(*s, sizes, step, offset) for s, step in zip(shapes, steps, strict=True)]))


DETECTORS: dict[str, Callable[[], Detector]] = {
    "SSD": ssd,
    "SSD with batch normalisation of single operations": lambda: ssd(norm="unfused"),
    "SSD with batch normalisation without gamma": lambda: ssd(norm="without gamma"),
    "SSD with a softmax": lambda: ssd(converter="Softmax"),
    "SSD without background": lambda: ssd(background=False),
    "SSD with divided logits": lambda: ssd(divisor=0.5),
    "SSD with another box coder": lambda: ssd(scales=(9.0, 8.0, 4.0, 3.0)),
    "SSD with a dilated convolution": atrous,
    "PPN": ppn,
    "FPN upsampled by ones": fpn,
    "FPN upsampled by stacks": lambda: fpn("stacks", "fused"),
    "FPN with anchors at the corners of cells": lambda: fpn(wh=(72, 56), offset=0.0),
}


def parsed(detector: Detector) -> Graph:
    return read_graph_def(detector.writer.bytes(), "small.pb")


def image_of_size(wh: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (wh[1], wh[0], 3), np.uint8)


def opencv_rows(graph: bytes, text: str, image: np.ndarray, wh: tuple[int, int], output: str) -> np.ndarray:
    """Class, score, x1, y1, x2, y2 of each detection."""
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, np.uint8), np.frombuffer(text.encode(), np.uint8))
    net.setInput(cv2.dnn.blobFromImage(image, 1.0, wh, swapRB=True))
    rows = net.forward(output).reshape(-1, 7)
    return rows[rows[:, 2] > 0, 1:]


def assert_finds_what_numpy_finds(detector: Detector, options: TextGraphOptions = TextGraphOptions()) -> None:  # noqa: B008
    text = make_text_graph(parsed(detector), options).text
    image = image_of_size(detector.wh)
    found = opencv_rows(detector.writer.bytes(), text, image, detector.wh, "detection_out")
    expected = detector.detect(image[None, ..., ::-1])
    assert len(expected) > 20
    assert len(found) == len(expected)
    order = np.lexsort(np.round(expected, 3).T)
    np.testing.assert_allclose(found[np.lexsort(np.round(found, 3).T)], expected[order], atol=2e-4)


@pytest.mark.parametrize("build", DETECTORS.values(), ids=DETECTORS)
@pytest.mark.smoke
def test_opencv_finds_what_numpy_computes_of_the_graph(build: Callable[[], Detector]) -> None:
    assert_finds_what_numpy_finds(build())


@pytest.mark.smoke
def test_the_text_graph_has_the_numbers_of_the_graph() -> None:
    made = make_text_graph(parsed(ssd()))
    facts = read_graph(made.text, "made")
    assert (made.kind, facts.input_wh, facts.classes, facts.keep_top_k) == ("SSD", (64, 48), 3, 100)
    assert facts.confidence_threshold == pytest.approx(0.3)
    assert facts.nms_threshold == pytest.approx(0.6)
    assert "input size: 64 48 (the graph)" in made.facts
    assert made.text.startswith("# OpenCV text graph of a TensorFlow SSD")


def test_batches_of_two_are_two_batches_of_one() -> None:
    detector = ssd()
    text = make_text_graph(parsed(detector)).text
    graph = detector.writer.bytes()
    images = [image_of_size((64, 48)), image_of_size((64, 48))[::-1].copy()]
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, np.uint8), np.frombuffer(text.encode(), np.uint8))
    net.setInput(cv2.dnn.blobFromImages(images, 1.0, (64, 48), swapRB=True))
    both = net.forward("detection_out").reshape(-1, 7)
    for index, image in enumerate(images):
        alone = opencv_rows(graph, text, image, (64, 48), "detection_out")
        np.testing.assert_allclose(both[(both[:, 0] == index) & (both[:, 2] > 0), 1:], alone, atol=1e-5)


# ---- what the graph does not state ----

CONFIG = """
model { ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: 48 width: 64 } }
  box_coder { faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 } }
  anchor_generator { ssd_anchor_generator { scales: 0.25 scales: 0.5 aspect_ratios: 1.0 aspect_ratios: 2.0
    aspect_ratios: 0.5 reduce_boxes_in_lowest_layer: true } }
  post_processing {
    batch_non_max_suppression { score_threshold: 0.3 iou_threshold: 0.6 max_detections_per_class: 100
      max_total_detections: 100 }
    score_converter: SIGMOID }
} }
"""


def configured(postprocessor: bool) -> Detector:
    """The anchors of CONFIG: base sizes are shares of the shorter side, 48 pixels."""
    b = SsdBuilder((64, 48))
    x, y = layers_of(b)
    b.predict("BoxPredictor_0", x, 3, 4, PLAIN)
    b.predict("BoxPredictor_1", y, 4, 4, PLAIN)
    root = np.sqrt(2)
    first = [(4.8, 4.8), (12 * root, 12 / root), (12 / root, 12 * root)]
    second = [(24.0, 24.0), (24 * root, 24 / root), (24 / root, 24 * root), (24 * root, 24 * root)]
    anchors = np.concatenate([grid(12, 16, first, (4, 4), 0.5), grid(6, 8, second, (8, 8), 0.5)])
    return b.finish(anchors, postprocessor=postprocessor)


@pytest.mark.parametrize("postprocessor", [True, False], ids=["checked against the graph", "alone"])
def test_a_pipeline_config_gives_the_same_detections(postprocessor: bool) -> None:
    options = TextGraphOptions(pipeline=read_pipeline(CONFIG, "pipeline.config"))
    assert_finds_what_numpy_finds(configured(postprocessor), options)


def test_options_say_what_the_graph_does_not() -> None:
    suppression = re.sub(r"(num_classes.*|image_resizer.*|box_coder.*)", "", CONFIG)
    suppression = re.sub(r"anchor_generator.*\n.*true } }", "", suppression).replace("ssd {", "ssd { num_classes: 3")
    options = TextGraphOptions(
        pipeline=read_pipeline(suppression, "pipeline.config"),
        num_classes=3,
        anchor_scales=(0.25, 0.5),
        aspect_ratios=(1.0, 2.0, 0.5),
        box_scales=(10.0, 10.0, 5.0, 5.0),
    )
    assert_finds_what_numpy_finds(configured(postprocessor=False), options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("num_classes: 3", "num_classes: 90"), "the graph has 3 classes, but pipeline.config has 90"),
        (("width: 64", "width: 300"), "input size 64x48, but pipeline.config has 300x48"),
        (("scales: 0.25", "scales: 0.2"), "anchor sizes of layer 1"),
        (("scales: 0.5 aspect", "aspect"), "anchors are given for 1 layers, but the graph has 2"),
        (("x_scale: 10.0", "x_scale: 8.0"), "box coder scales"),
        (("SIGMOID", "SOFTMAX"), "score converter SIGMOID, but pipeline.config has SOFTMAX"),
        (("iou_threshold: 0.6", "iou_threshold: 0.5"), "IoU threshold 0.6, but pipeline.config has 0.5"),
        (("ssd {", "faster_rcnn {"), "the graph is of kind SSD"),
    ],
)
def test_a_pipeline_config_that_contradicts_the_graph_is_refused(change: tuple[str, str], words: str) -> None:
    assert change[0] in CONFIG
    config = read_pipeline(CONFIG.replace(*change), "pipeline.config")
    with pytest.raises(ModelFileError, match=re.escape(words)):
        make_text_graph(parsed(configured(postprocessor=True)), TextGraphOptions(pipeline=config))


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, "anchor_scales and aspect_ratios"),
        ({"anchors": True}, "box_scales"),
        ({"anchors": True, "box_scales": (10.0, 10.0, 5.0, 5.0)}, "num_classes"),
    ],
)
def test_what_no_source_states_is_asked_for_by_the_name_of_its_argument(options: dict[str, Any], asked: str) -> None:
    if options.pop("anchors", False):
        options |= {"anchor_scales": (0.25, 0.5), "aspect_ratios": (1.0, 2.0, 0.5)}
    with pytest.raises(ModelFileError, match=f"give {asked} or pipeline"):
        make_text_graph(parsed(configured(postprocessor=False)), TextGraphOptions(**options))


def test_an_input_of_any_size_is_asked_for() -> None:
    b = SsdBuilder((64, 48))
    detector = finished(b, layers_of(b))
    detector.writer.nodes = [node for node in detector.writer.nodes if node[0] not in ("Preprocessor/map/while/stack",)]
    with pytest.raises(ModelFileError, match="does not state its input size: give input_wh or pipeline"):
        make_text_graph(parsed(detector))


def test_the_placeholder_has_the_size_where_nothing_resizes() -> None:
    b = SsdBuilder((64, 48), resizer=False)
    assert_finds_what_numpy_finds(finished(b, layers_of(b)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model { centernet { } }", "is not the pipeline.config of an SSD"),
        ("item { id: 1 }", "is not the pipeline.config"),
        ("model { ssd { } }", "num_classes is missing"),
        ("model { ssd { num_classes: many } }", "not the number"),
        (
            "model { ssd { num_classes: 1 anchor_generator { ssd_anchor_generator { num_layers: 0 } } } }",
            "num_layers: 0",
        ),
        ("<html></html>", "an HTML page"),
    ],
)
def test_what_is_not_a_pipeline_config_is_refused(text: str, words: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(words)):
        read_pipeline(text, "pipeline.config")


# ---- graphs for which there is no text graph ----


def writer(*nodes: tuple[str, str]) -> Graph:
    made = GraphWriter()
    for name, op in nodes:
        made.add(name, op)
    return read_graph_def(made.bytes(), "other.pb")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("conv/kernel", "VariableV2")], "is not frozen: conv/kernel is a variable"),
        ([("x", "Placeholder"), ("call", "StatefulPartitionedCall")], "a TensorFlow 2 graph"),
        ([("x", "Placeholder"), ("y", "Relu")], "no box and class predictors"),
        (
            [("SecondStageBoxPredictor/map/while/CropAndResize", "CropAndResize")],
            "is an R-FCN, whose position-sensitive crops OpenCV cannot run in TensorFlow's form: take a Faster R-CNN",
        ),
        (
            [("class_net/class-predict/separable_conv2d", "Conv2D")],
            "is an EfficientDet, for which no text graph is made here: give config",
        ),
    ],
)
def test_a_graph_of_another_kind_is_refused(nodes: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(words)):
        make_text_graph(writer(*nodes))


def test_an_operation_that_opencv_cannot_run_is_named() -> None:
    b = SsdBuilder((64, 48))
    x, y = layers_of(b)
    b.g.add("FeatureExtractor/odd", "Cumsum", x)
    b.channels["FeatureExtractor/odd"] = b.channels[x]
    with pytest.raises(ModelFileError, match="node FeatureExtractor/odd is a Cumsum, which OpenCV cannot run"):
        make_text_graph(parsed(finished(b, ("FeatureExtractor/odd", y))))


def test_anchors_off_every_grid_are_refused() -> None:
    detector = ssd()
    anchors = next(node for node in detector.writer.nodes if node[0] == "Concatenate/concat")
    anchors[3]["value"][5] += 0.01
    with pytest.raises(ModelFileError, match="OpenCV cannot lay out these anchors: some anchors lie"):
        make_text_graph(parsed(detector))


def test_a_graph_with_a_cycle_is_refused() -> None:
    detector = ssd()
    nodes = detector.writer.nodes
    place = next(i for i, node in enumerate(nodes) if node[0] == "FeatureExtractor/c1/Conv2D")
    nodes[place] = (*nodes[place][:2], ("FeatureExtractor/c2/Conv2D", nodes[place][2][1]), nodes[place][3])
    with pytest.raises(ModelFileError, match="depends on itself"):
        make_text_graph(parsed(detector))


def test_a_missing_node_is_refused() -> None:
    detector = ssd()
    detector.writer.nodes = [node for node in detector.writer.nodes if node[0] != "FeatureExtractor/d1/depthwise"]
    with pytest.raises(ModelFileError, match="node FeatureExtractor/d1/depthwise is missing"):
        make_text_graph(parsed(detector))


# ---- real graphs, against their reference text graphs and against TensorFlow ----

REAL = [
    ("pedestrian_ssdlite", "pedestrian_tf_cvresize", (300, 300), 0.2, 0, 1.0),
    ("faster_rcnn_tiny", "faster_rcnn_tiny_tf_300x300", (300, 300), 0.1, 1, 0.995),
    ("faster_rcnn_tiny", "faster_rcnn_tiny_tf_400x300", (400, 300), 0.1, 1, 0.995),
    ("mask_rcnn_tiny", "mask_rcnn_tiny_tf_300x300", (300, 300), 0.3, 1, 0.99),
    ("mask_rcnn_tiny", "mask_rcnn_tiny_tf_400x300", (400, 300), 0.3, 1, 0.99),
]
IDS = [row[1] for row in REAL]


class Real:
    """One of the reference graphs, with TensorFlow's detections on images."""

    def __init__(self, shared: Path, name: str, truth: str, wh: tuple[int, int], conf: float, offset: int) -> None:
        self.folder = shared / "data" / "reference"
        self.image_folders = (self.folder / "images", shared / "data" / "coco-mini" / "images")
        self.name, self.wh, self.conf, self.offset = name, wh, conf, offset
        self.graph = (self.folder / f"{name}.pb").read_bytes()
        self.truth = json.loads((self.folder / f"{truth}.json").read_text())["images"]

    def made(self, with_config: bool) -> str:
        config = read_pipeline((self.folder / f"{self.name}.config").read_text(), self.name) if with_config else None
        return make_text_graph(read_graph_def(self.graph, self.name), TextGraphOptions(pipeline=config)).text

    def image(self, name: str) -> np.ndarray:
        path = next(folder / name for folder in self.image_folders if (folder / name).is_file())
        return np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR))

    def found(self, text: str) -> dict[str, Rows]:
        """Detections of each image by OpenCV, boxes normalized and clipped."""
        output = "detection_out" if self.offset == 0 else "detection_out_final"
        net = cv2.dnn.readNetFromTensorflow(np.frombuffer(self.graph, np.uint8), np.frombuffer(text.encode(), np.uint8))
        found = {}
        for name in self.truth:
            net.setInput(cv2.dnn.blobFromImage(self.image(name), 1.0, self.wh, swapRB=True))
            rows = net.forward(output).reshape(-1, 7)
            found[name] = [(int(r[1]), float(r[2]), r[3:].clip(0, 1)) for r in rows if r[2] >= self.conf]
        return found

    def tensorflow(self) -> dict[str, Rows]:
        found = {}
        for name, detections in self.truth.items():
            height, width = self.image(name).shape[:2]
            sides = np.array([width, height, width, height])
            found[name] = [
                (d["class_id"] - self.offset, d["score"], (np.array(d["box"]) / sides).clip(0, 1)) for d in detections
            ]
        return found


def matched(expected: dict[str, Rows], found: dict[str, Rows], least_iou: float, score: float) -> int:
    """How many detections of `expected` are in `found`, each of which counts once."""
    return sum(_matched(rows, list(found[name]), least_iou, score) for name, rows in expected.items())


def _matched(expected: Iterable[tuple[int, float, np.ndarray]], left: Rows, least_iou: float, score: float) -> int:
    count = 0
    for number, value, box in expected:
        near = [
            k
            for k, (c, s, b) in enumerate(left)
            if c == number and abs(s - value) <= score and iou(b[None], box[None])[0, 0] >= least_iou
        ]
        if near:
            count += 1
            del left[near[0]]
    return count


def total(rows: dict[str, Rows]) -> int:
    return sum(map(len, rows.values()))


@pytest.mark.parametrize(("name", "truth", "wh", "conf", "offset", "share"), REAL, ids=IDS)
def test_opencv_finds_what_tensorflow_and_the_reference_text_graph_find(
    shared: Path, name: str, truth: str, wh: tuple[int, int], conf: float, offset: int, share: float
) -> None:
    real = Real(shared, name, truth, wh, conf, offset)
    reference = (real.folder / f"{name}.pbtxt").read_text()
    clip = None if offset == 0 else False  # as TensorFlow clips: after the suppression
    by_reference = real.found(with_thresholds(reference, name, conf=conf, nms=None, clip=clip))
    tensorflow = real.tensorflow()
    for with_config in (False, True):
        found = real.found(real.made(with_config))
        assert matched(tensorflow, found, least_iou=0.99, score=1e-3) >= share * total(tensorflow)
        assert total(found) <= total(tensorflow) + 1
        if name != "mask_rcnn_tiny":  # its script clips proposals before their suppression, ours after, as TensorFlow
            assert matched(by_reference, found, least_iou=0.999, score=1e-4) == total(by_reference) == total(found)
        else:
            assert matched(by_reference, found, least_iou=0.999, score=1e-4) >= share * total(by_reference)


def test_masks_are_tensorflows(shared: Path) -> None:
    real = Real(shared, "mask_rcnn_tiny", "mask_rcnn_tiny_tf_300x300", (300, 300), 0.3, 1)
    text = real.made(with_config=False)
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(real.graph, np.uint8), np.frombuffer(text.encode(), np.uint8))
    name = next(iter(real.truth))
    net.setInput(cv2.dnn.blobFromImage(real.image(name), 1.0, (300, 300), swapRB=True))
    boxes, masks = net.forward(["detection_out_final", "detection_masks"])
    rows = boxes.reshape(-1, 7)
    differences = []
    for detection in real.truth[name]:
        near = np.abs(rows[:, 2] - detection["score"]) + (rows[:, 1] != detection["class_id"] - 1)
        mask = masks[near.argmin(), int(rows[near.argmin(), 1])]
        differences.append(np.abs(mask - np.array(detection["mask"])).max())
    assert len(differences) > 10
    assert np.median(differences) < 1e-3
    assert (np.array(differences) < 1e-3).mean() > 0.95
