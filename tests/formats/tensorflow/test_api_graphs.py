"""Text graphs of graphs that TensorFlow's Object Detection API built: OpenCV finds all that TensorFlow finds."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.boxes import iou
from cvdetect.core.detections import Detections
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, make_text_graph, read_pipeline
from cvdetect.inference.detector import Detector
from cvdetect.sources.images import read_image
from tests.conftest import make_detections

FOLDER = Path(__file__).parent / "api_graphs"
NAMES = ("ssd", "ppn", "fpn")
CONF = 0.05  # what the graphs themselves have


def frozen(name: str) -> bytes:
    return lzma.decompress((FOLDER / f"{name}.pb.xz").read_bytes())


def parsed(name: str) -> Graph:
    return read_graph_def(np.frombuffer(frozen(name), np.uint8), name)


def tensorflows(rows: list[list[float]], image: np.ndarray) -> Detections:
    height, width = image.shape[:2]
    boxes = [[x1 * width, y1 * height, x2 * width, y2 * height] for y1, x1, y2, x2, _, _ in rows]
    return make_detections(boxes, [int(row[5]) for row in rows], [row[4] for row in rows])


@pytest.mark.parametrize("name", NAMES)
def test_all_that_tensorflow_finds_is_found_and_nothing_else(name: str, samples: Path, tmp_path: Path) -> None:
    graph = tmp_path / f"{name}.pb"
    graph.write_bytes(frozen(name))
    detector = Detector.load(ModelChoice(graph=graph, resize="tensorflow"), DetectOptions(conf=CONF))
    truth = json.loads((FOLDER / f"{name}.json").read_text())
    assert len(truth) == 2
    for image_name, rows in truth.items():
        image = read_image(samples / image_name)
        found, expected = detector.detect(image), tensorflows(rows, image)
        assert len(found) == len(expected) == 100
        same = (iou(expected.xyxy, found.xyxy) >= 0.99) & (expected.class_id[:, None] == found.class_id)
        same &= abs(expected.score[:, None] - found.score) <= 1e-3
        assert same.any(axis=0).all() and same.any(axis=1).all()


@pytest.mark.parametrize("name", NAMES)
def test_its_pipeline_config_has_the_same_numbers(name: str) -> None:
    config = read_pipeline((FOLDER / f"{name}.config").read_text(), name)
    with_config = make_text_graph(parsed(name), TextGraphOptions(pipeline=config))
    for what in ("input size", "anchor sizes of layer 5", "score converter", "number of classes", "IoU threshold"):
        (fact,) = (fact for fact in with_config.facts if fact.startswith(what))
        assert fact.endswith("(the graph, pipeline.config)")


@pytest.mark.parametrize("name", NAMES)
def test_the_normalisation_before_the_resize_is_in_the_text_graph(name: str) -> None:
    assert '"Preprocessor/mul"' in make_text_graph(parsed(name)).text
