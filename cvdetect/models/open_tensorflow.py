"""Opens a TensorFlow frozen graph with its OpenCV text graph, which is made where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.options import ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.resize import keep_aspect
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.families.mask_rcnn import MASK_RCNN_OUTPUTS
from cvdetect.formats.tensorflow import textgraph
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import input_sides, input_size
from cvdetect.models.opened import Opened, just_below, read_bytes
from cvdetect.models.text_graph import check_belongs, find_text_graph
from cvdetect.runtime.backends import check_two_stage, choose
from cvdetect.runtime.opencv import read_tensorflow

__all__ = ["open_tensorflow"]

_USUAL_WH = (640, 480)  # as most cameras make pictures


def open_tensorflow(
    spec: ModelSpec,
    files: Mapping[Role, Path],
    choice: ModelChoice,
    run: RunOptions,
    conf: float,
    nms: float | None,
    progress: Progress,
) -> Opened:
    """Read and check graph and text graph, and load them with the user's thresholds written into the text graph.

    Args:
        conf: the lowest score that is to come out.
        nms: the IoU threshold of the graph's own suppression; None leaves what the text graph says.
    """
    graph = read_bytes(files["graph"])
    _check_graph(graph, files["graph"])
    if choice.resize == "tensorflow" and choice.size is None:  # its own size too
        spec = replace(spec, input=replace(spec.input, wh=None))
    source = find_text_graph(spec, files.get("config"), graph, files["graph"], progress)
    text, name = source.text, source.name
    facts = textgraph.read_graph(text, name)
    if not facts.has_detection_output:
        raise ModelFileError(f"{name}: has no DetectionOutput node: it is not the text graph of a detector")
    if facts.has_masks and facts.detections != MASK_RCNN_OUTPUTS[0]:
        raise ModelFileError(
            f"{name}: has no node {MASK_RCNN_OUTPUTS[0]}, as text graphs of Mask R-CNN have: leave --config out, "
            "and one is made from the graph"
        )
    if facts.two_stage:
        check_two_stage(spec.name, choose(run.backend, run.precision, run.device_id).ran)
    # TensorFlow clips the boxes of two stages after the last suppression; so does who places them in the picture.
    # Masks are made of crops at the boxes that come out: those are clipped where the text graph says so.
    clip = False if facts.two_stage and not facts.has_masks else None
    config = textgraph.with_thresholds(text, name, conf=just_below(conf), nms=nms, clip=clip)
    outputs = MASK_RCNN_OUTPUTS if facts.has_masks else ()
    try:
        network = read_tensorflow(graph, config, str(files["graph"]), outputs, run)
    except ModelFileError:
        if "config" in files:
            check_belongs(text, files["config"], graph, files["graph"])
        raise
    return Opened(
        network,
        "mask_rcnn" if facts.has_masks else "detection_output",
        _input(spec, facts, lambda: source.graph or read_graph_def(graph, str(files["graph"])), progress),
        classes=facts.classes,
        first_class_id=1 if facts.background_label_id == 0 else 0,
        suppressed=True,
        one_by_one=facts.two_stage,  # OpenCV crops proposals from one image only
    )


def _check_graph(graph: NDArray[np.uint8], path: Path) -> None:
    """A frozen graph is a protobuf message whose first field is a node (tag 0x0A) or a library, never plain text."""
    if not graph.size:
        raise ModelFileError(f"{path}: is empty, expected a TensorFlow frozen graph")
    foreign = describe_foreign(graph[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{path}: is {foreign}, expected a TensorFlow frozen graph (.pb)")


def _input(spec: ModelSpec, facts: textgraph.TextGraph, frozen: Callable[[], Graph], progress: Progress) -> InputSpec:
    """How pictures are fed: in the size asked for, else the text graph's, else as the graph itself sizes them."""
    fed = spec.input
    if fed.wh or facts.input_wh:
        return replace(fed, wh=fed.wh or facts.input_wh)
    graph = frozen()
    if known := input_size(graph):
        return replace(fed, wh=known)
    sides = input_sides(graph) if facts.two_stage else None
    if sides:
        progress.note(
            f"{spec.name}: brings each picture's shorter side to {sides[0]} pixels, the longer one to at most "
            f"{sides[1]}; --size sets one size for all"
        )
        return replace(fed, wh=keep_aspect(_USUAL_WH, sides), sides=sides)
    progress.warn(f"{spec.name}: the graph does not say its input size, taking 300x300; --size sets another")
    return replace(fed, wh=(300, 300))
