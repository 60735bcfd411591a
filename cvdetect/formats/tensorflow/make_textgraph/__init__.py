"""OpenCV's text graph (.pbtxt) of a TensorFlow detection graph, made from the frozen graph itself.

For graphs of TensorFlow 1's Object Detection API: SSD, SSDLite, PPN, FPN, Faster R-CNN, Mask R-CNN. OpenCV runs the
layers of such a graph, but not the TensorFlow code around them (the resizing loop, the anchors' arithmetic, the
suppression of each class): the text graph says what OpenCV is to do instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Field, Message, write
from cvdetect.formats.tensorflow.graphdef import Graph
from cvdetect.formats.tensorflow.make_textgraph import facts
from cvdetect.formats.tensorflow.make_textgraph.facts import ssd_heads
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Pipeline, read_pipeline
from cvdetect.formats.tensorflow.make_textgraph.rcnn import make_rcnn
from cvdetect.formats.tensorflow.make_textgraph.settle import Reconciler, TextGraphOptions
from cvdetect.formats.tensorflow.make_textgraph.ssd import make_ssd

__all__ = [
    "MadeTextGraph",
    "Pipeline",
    "TextGraphOptions",
    "input_sides",
    "input_size",
    "make_text_graph",
    "read_pipeline",
]

_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp"})


@dataclass(frozen=True, slots=True)
class MadeTextGraph:
    """A text graph and how it came about.

    Attributes:
        text: what OpenCV reads; its first lines are comments that tell `facts`.
        kind: "SSD", "Faster R-CNN" or "Mask R-CNN".
        facts: each number that was settled, and who said it.
        sides: of a resizer that keeps the aspect ratio: what the shorter side is brought to, the most for the longer.
    """

    text: str
    kind: str
    facts: tuple[str, ...]
    sides: tuple[int, int] | None = None


def make_text_graph(graph: Graph, options: TextGraphOptions = TextGraphOptions()) -> MadeTextGraph:  # noqa: B008
    """The text graph of a frozen detection graph.

    Raises:
        ModelFileError: the graph is not frozen, no detection graph of a known kind, or damaged; a number that it does
            not say is not given; two sources contradict each other; an operation that OpenCV cannot run, by name.
    """
    settler = Reconciler(graph.name)
    try:
        kind, nodes = _made(graph, options, settler)
        sides = facts.resizer_sides(graph) or (options.pipeline.sides if options.pipeline else None)
    except (ValueError, KeyError, IndexError) as error:  # attributes and inputs that are not as TensorFlow writes them
        raise ModelFileError(f"{graph.name}: is damaged, or no detection graph: {error}") from error
    told = [f"OpenCV text graph of a TensorFlow {kind}, made by cvdetect from the frozen graph", *settler.facts]
    if sides:
        told.append(f"the graph brings the shorter side to {sides[0]} pixels, the longer one to at most {sides[1]}")
    text = "".join(f"# {line}\n" for line in told) + write(Message(tuple(_fields(nodes))))
    return MadeTextGraph(text, kind, tuple(told[1:]), sides)


def input_size(graph: Graph) -> tuple[int, int] | None:
    """Width and height in pixels that the graph resizes every picture to, or takes it in; None where they may vary."""
    try:
        return facts.fixed_wh(graph)
    except (ValueError, IndexError) as error:
        raise ModelFileError(f"{graph.name}: is damaged, or no detection graph: {error}") from error


def input_sides(graph: Graph) -> tuple[int, int] | None:
    """What the graph brings a picture's shorter side to, and the most for the longer one; None without such a rule."""
    return facts.resizer_sides(graph)


def _made(graph: Graph, options: TextGraphOptions, settler: Reconciler) -> tuple[str, list[Message]]:
    _refuse(graph)
    two_stage = any(node.op == "CropAndResize" for node in graph.nodes.values())
    if options.pipeline and options.pipeline.two_stage != two_stage:
        right, wrong = ("Faster R-CNN", "SSD") if two_stage else ("SSD", "Faster R-CNN")
        raise ModelFileError(f"{graph.name}: the graph is of kind {right}, but pipeline.config is of kind {wrong}")
    if two_stage:
        kind = "Mask R-CNN" if "detection_masks" in graph.nodes else "Faster R-CNN"
        return kind, make_rcnn(graph, options, settler)
    heads = ssd_heads(graph)
    if heads is None:
        raise ModelFileError(
            f"{graph.name}: has no box and class predictors as TensorFlow 1's Object Detection API names them: no text "
            f"graph can be made for it; give the one that came with it as {arg('config')}"
        )
    return "SSD", make_ssd(graph, heads, options, settler)


def _refuse(graph: Graph) -> None:
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


def _fields(nodes: list[Message]) -> list[Field]:
    return [Field("node", node) for node in nodes]
