"""Opens a TensorFlow frozen graph with its OpenCV text graph, which is made where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.resize import keep_aspect
from cvdetect.core.source import Bytes, ModelSource
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.formats.base import GraphThresholds, read_bytes, read_text
from cvdetect.formats.prototext import parse
from cvdetect.formats.tensorflow import textgraph
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, input_size, make_text_graph, min_max_input_size

__all__ = ["open_tensorflow"]

_USUAL_WH = (640, 480)  # as most cameras make images
_ROWS, _MASKS = "detection_out_final", "detection_masks"  # as OpenCV's tf_text_graph_mask_rcnn.py calls them


def open_tensorflow(
    spec: ModelSpec, files: Mapping[Role, Path], thresholds: GraphThresholds, progress: Progress
) -> ModelSource:
    """Read and check graph and text graph, with `thresholds` written into the text graph.

    Raises:
        ModelFileError: a file is wrong, or no text graph is given and none can be made.
        UsageError: a size is asked for that the graph cannot take.
    """
    path = files["graph"]
    graph = read_bytes(path)
    _check_graph(graph, path)
    source = _find_text_graph(spec, files.get("config"), graph, path, progress)
    facts = textgraph.read_graph(source.text, source.name)
    _check_detector(facts)
    wh, min_max_size = _input_size(spec, facts, lambda: source.graph or read_graph_def(graph, str(path)), progress)
    return ModelSource(
        format="tensorflow",
        name=str(path),
        content=graph,
        text=_with_thresholds(source, facts, thresholds),
        wh=wh,
        min_max_size=min_max_size,
        outputs=(_ROWS, _MASKS) if facts.has_masks else (),
        head="DetectionOutput with masks" if facts.has_masks else "DetectionOutput",
        classes=facts.classes,
        first_class_id=1 if facts.background_label_id == 0 else 0,
        two_stage=facts.two_stage,
        one_image=facts.one_image,
        diagnose=partial(_check_belongs, source, files.get("config"), graph, path),
    )


def _check_graph(graph: Bytes, path: Path) -> None:
    """A frozen graph is a protobuf message whose first field is a node (tag 0x0A) or a library, never plain text."""
    if not graph.size:
        raise ModelFileError(f"{path}: is empty, expected a TensorFlow frozen graph")
    foreign = describe_foreign(graph[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{path}: is {foreign}, expected a TensorFlow frozen graph (.pb)")


def _check_detector(facts: textgraph.TextGraph) -> None:
    if not facts.has_detection_output:
        raise ModelFileError(f"{facts.name}: has no DetectionOutput node: it is not the text graph of a detector")
    if facts.has_masks and facts.detections != _ROWS:
        raise ModelFileError(
            f"{facts.name}: has no node {_ROWS}, as text graphs of Mask R-CNN have: leave {arg('config')} out, and "
            "one is made from the graph"
        )


def _with_thresholds(source: TextGraphSource, facts: textgraph.TextGraph, thresholds: GraphThresholds) -> str:
    # TensorFlow clips the boxes of two stages after the last suppression; here they are clipped to the image later.
    # Masks are made of crops at the boxes that come out: those are clipped where the text graph asks for it.
    clip = False if facts.two_stage and not facts.has_masks else None
    return textgraph.with_thresholds(source.text, source.name, thresholds.below_conf, thresholds.nms, clip)


def _input_size(
    spec: ModelSpec, facts: textgraph.TextGraph, frozen: Callable[[], Graph], progress: Progress
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """The size asked for, else the text graph's, else as the frozen graph itself sizes images."""
    if wh := spec.input.wh or facts.input_wh:
        return wh, None
    graph = frozen()
    if known := input_size(graph):
        return known, None
    sizes = min_max_input_size(graph) if facts.two_stage else None
    if sizes:
        progress.note(
            f"{spec.name}: brings each image's shorter side to {sizes[0]} pixels, the longer one to at most "
            f"{sizes[1]}; {arg('size')} sets one size for all"
        )
        return keep_aspect(_USUAL_WH, sizes), sizes
    progress.warn(f"{spec.name}: the graph does not state its input size, taking 300x300; {arg('size')} sets another")
    return (300, 300), None


# The text graph of a TensorFlow model: the file that came with it, else one made from the frozen graph.


@dataclass(frozen=True, slots=True)
class TextGraphSource:
    """A text graph, what errors call it, and the frozen graph, where it was made of that."""

    text: str
    name: str
    graph: Graph | None = None


def _find_text_graph(
    spec: ModelSpec, config: Path | None, graph: Bytes, path: Path, progress: Progress
) -> TextGraphSource:
    """Read `config`, or make a text graph of the frozen `graph`, the content of the file `path`.

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
        raise UsageError(f"{arg('size')} {wanted} cannot act on {spec.name}: its graph takes images of {takes} only")
    try:
        made = make_text_graph(parsed, TextGraphOptions(input_wh=None if known else spec.input.wh))
    except ModelFileError as error:
        raise ModelFileError(
            f"{error} (no text graph was given as {arg('config')}; cvdetect textgraph has options for what is not "
            "known)"
        ) from error
    progress.note(f"{spec.name}: no text graph was given, made one of the {made.kind} in {path.name}")
    return TextGraphSource(made.text, str(path), parsed)


def _check_belongs(source: TextGraphSource, config: Path | None, graph: Bytes, path: Path) -> None:
    """Look in the frozen `graph` for the weights that the text graph `config` names, if there is one.

    Raises:
        ModelFileError: some are not there: the text graph is another model's, or the graph is no frozen graph.
    """
    if config is None:
        return
    nodes = list(parse(source.text, source.name).messages("node"))
    made = {node.string("name") for node in nodes}
    taken = {name for node in nodes for name in textgraph.inputs_of(node)}
    missing = sorted(taken - made - read_graph_def(graph, str(path)).nodes.keys())
    if missing:
        raise ModelFileError(
            f"{config}: is the text graph of another model: {path} has no {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; take the one that belongs to it, or none"
        )
