"""OpenCV's text graph (.pbtxt) of a TensorFlow detection graph, made from the frozen graph itself.

For graphs of TensorFlow 1's Object Detection API: SSD, SSDLite, PPN, FPN, Faster R-CNN, Mask R-CNN. OpenCV runs the
layers of such a graph, but not the TensorFlow code around them (the resizing loop, the anchors' arithmetic, the
non-maximum suppression of each class): the text graph describes what OpenCV does instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Field, Message, write
from cvdetect.formats.tensorflow.graphdef import Graph
from cvdetect.formats.tensorflow.make_textgraph import facts
from cvdetect.formats.tensorflow.make_textgraph.heads import ssd_heads
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Pipeline, read_pipeline
from cvdetect.formats.tensorflow.make_textgraph.rcnn import make_rcnn
from cvdetect.formats.tensorflow.make_textgraph.reconcile import Reconciler, TextGraphOptions
from cvdetect.formats.tensorflow.make_textgraph.ssd import make_ssd

__all__ = [
    "MadeTextGraph",
    "Pipeline",
    "TextGraphOptions",
    "input_size",
    "make_text_graph",
    "min_max_input_size",
    "read_pipeline",
]

_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp"})


@dataclass(frozen=True, slots=True)
class MadeTextGraph:
    """A text graph, and the numbers it was made with.

    Attributes:
        text: what OpenCV reads; its first lines are comments with the `facts`.
        kind: "SSD", "Faster R-CNN" or "Mask R-CNN".
        facts: each number that was settled, and which sources state it.
    """

    text: str
    kind: str
    facts: tuple[str, ...]


def make_text_graph(graph: Graph, options: TextGraphOptions = TextGraphOptions()) -> MadeTextGraph:
    """The text graph of a frozen detection graph.

    Raises:
        ModelFileError: the graph is not frozen, not a detection graph of a known kind, or damaged; a number is neither
            in it nor given; two sources contradict each other; OpenCV cannot run an operation, which is named.
    """
    reconciler = Reconciler(graph.name)
    try:
        kind, nodes = _make(graph, options, reconciler)
        min_max = facts.min_max_size(graph) or (options.pipeline.min_max_size if options.pipeline else None)
    except (ValueError, KeyError, IndexError) as error:  # attributes and inputs that are not as TensorFlow writes them
        raise ModelFileError(f"{graph.name}: is damaged, or not a detection graph: {error}") from error
    found = list(reconciler.facts)
    if min_max:
        shorter, limit = min_max
        found.append(f"the graph brings the shorter side to {shorter} pixels, the longer one to at most {limit}")
    title = f"OpenCV text graph of a TensorFlow {kind}, made by cvdetect from the frozen graph"
    comments = "".join(f"# {line}\n" for line in (title, *found))
    return MadeTextGraph(comments + write(Message(tuple(Field("node", node) for node in nodes))), kind, tuple(found))


def input_size(graph: Graph) -> tuple[int, int] | None:
    """Width and height in pixels that the graph resizes every image to, or accepts; None where they may vary."""
    try:
        return facts.fixed_wh(graph)
    except (ValueError, IndexError) as error:
        raise ModelFileError(f"{graph.name}: is damaged, or not a detection graph: {error}") from error


def min_max_input_size(graph: Graph) -> tuple[int, int] | None:
    """The size in pixels to which the graph brings an image's shorter side, and the limit of the longer; else None."""
    return facts.min_max_size(graph)


def _make(graph: Graph, options: TextGraphOptions, reconciler: Reconciler) -> tuple[str, list[Message]]:
    _check_kind(graph)
    two_stage = any(node.op == "CropAndResize" for node in graph.nodes.values())
    if options.pipeline and options.pipeline.two_stage != two_stage:
        right, wrong = ("Faster R-CNN", "SSD") if two_stage else ("SSD", "Faster R-CNN")
        raise ModelFileError(f"{graph.name}: the graph is of kind {right}, but pipeline.config is of kind {wrong}")
    if two_stage:
        kind = "Mask R-CNN" if "detection_masks" in graph.nodes else "Faster R-CNN"
        return kind, make_rcnn(graph, options, reconciler)
    heads = ssd_heads(graph)
    if heads is None:
        raise ModelFileError(
            f"{graph.name}: has no box and class predictors as TensorFlow 1's Object Detection API names them: no text "
            f"graph can be made for it; give the one that came with it as {arg('config')}"
        )
    return "SSD", make_ssd(graph, heads, options, reconciler)


def _check_kind(graph: Graph) -> None:
    operations = {node.op: node.name for node in graph.nodes.values()}
    variable = next((operations[op] for op in sorted(_VARIABLES & operations.keys())), None)
    if variable:
        raise ModelFileError(
            f"{graph.name}: is not frozen: {variable} is a variable; export it with the API's "
            "export_inference_graph.py, which writes frozen_inference_graph.pb"
        )
    if "StatefulPartitionedCall" in operations or "PartitionedCall" in operations:
        raise ModelFileError(f"{graph.name}: is a TensorFlow 2 graph, which OpenCV cannot run; export it as ONNX")
    if any(n.op == "CropAndResize" and n.name.startswith("SecondStageBoxPredictor") for n in graph.nodes.values()):
        raise ModelFileError(
            f"{graph.name}: is an R-FCN, whose position-sensitive crops OpenCV cannot run in TensorFlow's form: take a "
            f"Faster R-CNN, or an R-FCN of Caffe ({arg('prototxt')})"
        )
    if any(name.startswith(("class_net/class-predict", "box_net/box-predict")) for name in graph.nodes):
        raise ModelFileError(
            f"{graph.name}: is an EfficientDet, for which no text graph is made here: give {arg('config')} with "
            "the one that came with it, or that OpenCV's tf_text_graph_efficientdet.py makes"
        )
