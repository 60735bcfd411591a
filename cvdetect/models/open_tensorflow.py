"""Opens a TensorFlow frozen graph with its OpenCV text graph, which is made where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.options import ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.resize import keep_aspect
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.families.mask_rcnn import MASK_RCNN_OUTPUTS
from cvdetect.formats.tensorflow import textgraph
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, input_size, make_text_graph, min_max_input_size
from cvdetect.models.opened import Opened, just_below, read_bytes, read_text
from cvdetect.runtime.backends import check_two_stage, choose
from cvdetect.runtime.opencv import read_tensorflow

__all__ = ["TextGraphSource", "check_belongs", "find_text_graph", "open_tensorflow"]


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
            f"{name}: has no node {MASK_RCNN_OUTPUTS[0]}, as text graphs of Mask R-CNN have: leave "
            f"{arg('config')} out, "
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
    sides = min_max_input_size(graph) if facts.two_stage else None
    if sides:
        progress.note(
            f"{spec.name}: brings each picture's shorter side to {sides[0]} pixels, the longer one to at most "
            f"{sides[1]}; {arg('size')} sets one size for all"
        )
        return replace(fed, wh=keep_aspect(_USUAL_WH, sides), sides=sides)
    progress.warn(f"{spec.name}: the graph does not say its input size, taking 300x300; {arg('size')} sets another")
    return replace(fed, wh=(300, 300))


# The text graph of a TensorFlow model: the file that came with it, else one made from the frozen graph.


@dataclass(frozen=True, slots=True)
class TextGraphSource:
    """A text graph, what errors call it, and the frozen graph, where it was made of that."""

    text: str
    name: str
    graph: Graph | None = None


def find_text_graph(
    spec: ModelSpec, config: Path | None, graph: NDArray[np.uint8], path: Path, progress: Progress
) -> TextGraphSource:
    """Read `config`, or make a text graph of the frozen `graph`, uint8 (size,), the content of the file `path`.

    Raises:
        ModelFileError: the file cannot be read, or no text graph can be made.
        UsageError: a size is asked for that the graph cannot take.
    """
    if config is not None:
        return TextGraphSource(read_text(config), str(config))
    parsed = read_graph_def(graph, str(path))
    known = input_size(parsed)
    if known and spec.input.wh not in (None, known):
        wanted, takes = ("x".join(map(str, wh)) for wh in (spec.input.wh or known, known))
        raise UsageError(f"{arg('size')} {wanted} cannot act on {spec.name}: its graph takes pictures of {takes} only")
    try:
        made = make_text_graph(parsed, TextGraphOptions(input_wh=None if known else spec.input.wh))
    except ModelFileError as error:
        raise ModelFileError(
            f"{error} (no text graph was given as {arg('config')}; cvdetect textgraph has options for what is not "
            "known)"
        ) from error
    progress.note(f"{spec.name}: no text graph was given, made one of the {made.kind} in {path.name}")
    return TextGraphSource(made.text, str(path), parsed)


def check_belongs(text: str, config: Path, graph: NDArray[np.uint8], path: Path) -> None:
    """Look for the weights that the text graph `text` names, in the frozen `graph`, uint8 (size,).

    Raises:
        ModelFileError: some are not there: the text graph is another model's, or the graph is no frozen graph.
    """
    nodes = list(textgraph.parse(text, str(config)).messages("node"))
    made = {node.string("name") for node in nodes}
    taken = {
        value.decode("utf-8", "replace").lstrip("^").partition(":")[0]
        for node in nodes
        for value in node.all("input")
        if isinstance(value, bytes)
    }
    missing = sorted(taken - made - read_graph_def(graph, str(path)).nodes.keys())
    if missing:
        raise ModelFileError(
            f"{config}: is the text graph of another model: {path} has no {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; take the one that belongs to it, or none"
        )
