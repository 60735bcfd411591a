"""Opens a TensorFlow frozen graph that ends in DetectionOutput, with its OpenCV text graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.errors import ModelError, ModelFileError
from cvdetect.events import Progress
from cvdetect.formats import textgraph
from cvdetect.loader.opened import Opened, read_bytes, read_text
from cvdetect.network.opencv import read_tensorflow
from cvdetect.options import RunOptions
from cvdetect.sniff import describe_foreign
from cvdetect.spec import InputSpec, ModelSpec, Role

__all__ = ["open_tensorflow"]


def open_tensorflow(
    spec: ModelSpec, files: Mapping[Role, Path], run: RunOptions, conf: float, nms: float | None, progress: Progress
) -> Opened:
    """Read and check graph and text graph, and load them with the user's thresholds written into the text graph.

    Args:
        conf: the lowest score that is to come out.
        nms: the IoU threshold of the graph's own suppression; None leaves what the text graph says.
    """
    path = files["config"]
    text = read_text(path)
    facts = textgraph.read_graph(text, str(path))
    if not facts.has_detection_output:
        raise ModelFileError(f"{path}: has no DetectionOutput node: it is not the text graph of a detector")
    if facts.has_masks:
        raise ModelError(f"{spec.name}: Mask R-CNN graphs are not supported yet")
    graph = read_bytes(files["graph"])
    _check_graph(graph, files["graph"])
    config = textgraph.with_thresholds(text, str(path), conf=_just_below(conf), nms=nms)
    network = read_tensorflow(graph, config, str(files["graph"]), (), run)
    return Opened(
        network,
        "detection_output",
        _input(spec.input, facts.input_wh, progress, spec.name),
        classes=facts.classes,
        first_class_id=1 if facts.background_label_id == 0 else 0,
        suppressed=True,
    )


def _just_below(conf: float) -> float:
    """DetectionOutput keeps scores above its threshold, we keep those that reach it."""
    return max(0.0, float(np.nextafter(np.float32(conf), np.float32(-1))))


def _check_graph(graph: NDArray[np.uint8], path: Path) -> None:
    """A frozen graph is a protobuf message whose first field is a node (tag 0x0A) or a library, never plain text."""
    if not graph.size:
        raise ModelFileError(f"{path}: is empty, expected a TensorFlow frozen graph")
    foreign = describe_foreign(graph[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{path}: is {foreign}, expected a TensorFlow frozen graph (.pb)")


def _input(fed: InputSpec, graph_wh: tuple[int, int] | None, progress: Progress, name: str) -> InputSpec:
    if fed.wh or graph_wh:
        return replace(fed, wh=fed.wh or graph_wh)
    progress.warn(f"{name}: the graph does not say its input size, taking 300x300; --size sets another")
    return replace(fed, wh=(300, 300))
