"""TensorFlow graphs as OpenCV wants them described: the text graph (.pbtxt), its thresholds, and label maps.

A text graph holds thresholds of its own, deep in the node that makes the detections. `with_thresholds` writes others
into it, so that what the user asks for is what the graph does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Field, Message, parse, write

__all__ = ["TextGraph", "inputs_of", "read_graph", "read_label_map", "with_thresholds"]

_SCRIPTS = "make the text graph from the .pb with: cvdetect textgraph"
_WEIGHTED = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul")
_INTEGER = re.compile(r"-?\d{1,9}")
_NUMBER = re.compile(r"-?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][-+]?\d{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraph:
    """The facts of a text graph; those of the last DetectionOutput, with OpenCV's defaults, if it has one.

    Attributes:
        name: what errors call the file.
        placeholder: the name of the input, "" where the graph has none.
        input_shape: the input's shape as TensorFlow writes it (N, H, W, C), -1 for any; None where not given.
        has_detection_output: whether a node makes detections.
        num_classes: classes the graph scores, with the background where it has a number among them; 0: no detections.
        background_label_id: the class that is never given out; num_classes or more: none.
        confidence_threshold: boxes with a score above it go into suppression; None: all do.
        nms_threshold: IoU over which the weaker box of a class goes; 0: no suppression.
        top_k: boxes of a class that go into suppression, best first; -1: all.
        keep_top_k: rows that come out, best first; -1: all.
        clip: whether boxes are cut to the image before suppression.
        has_masks: whether a node is called "detection_masks", as in a Mask R-CNN.
        detections: the name of the node that makes detections, "" where none does.
        two_stage: whether it crops proposals, as Faster and Mask R-CNN do.
        one_image: whether it runs on one image at a time only.
    """

    name: str
    placeholder: str = ""
    input_shape: tuple[int, ...] | None = None
    has_detection_output: bool = False
    num_classes: int = 0
    background_label_id: int = 0
    confidence_threshold: float | None = None
    nms_threshold: float = 0.0
    top_k: int = -1
    keep_top_k: int = -1
    clip: bool = False
    has_masks: bool = False
    detections: str = ""
    two_stage: bool = False
    one_image: bool = False

    @property
    def input_wh(self) -> tuple[int, int] | None:
        """Width and height of the input in pixels where the graph states them."""
        if self.input_shape is None or len(self.input_shape) != 4 or min(self.input_shape[1:3]) < 1:
            return None
        return self.input_shape[2], self.input_shape[1]

    @property
    def classes(self) -> int:
        """How many classes come out, background not counted."""
        return self.num_classes - (0 <= self.background_label_id < self.num_classes)


def read_graph(text: str, name: str) -> TextGraph:
    """Read the facts of a text graph; raises ModelFileError where it is none (a label map, a web page, binary)."""
    nodes = _nodes(parse(text, name), name)
    inputs = [node for node in nodes if node.string("op") == "Placeholder"]
    facts = TextGraph(
        name=name,
        placeholder=inputs[0].string("name") if inputs else "",
        input_shape=_shape(inputs[0]) if inputs else None,
        has_masks=any(node.string("name") == "detection_masks" for node in nodes),
        two_stage=any(node.string("op") == "CropAndResize" for node in nodes),
        one_image=_has_lone_bias(nodes),
    )
    last = _last_detections(nodes)
    return _with_detection(facts, last[-1]) if last else facts


def _has_lone_bias(nodes: Sequence[Message]) -> bool:
    """Whether a bias is added to anything else than the output of weights.

    OpenCV 4.14 makes a layer of such a bias that fails on a second image ("end <= dims"); others it fuses.
    """
    ops = {node.string("name"): node.string("op") for node in nodes}
    biased = [next(inputs_of(node), "") for node in nodes if node.string("op") == "BiasAdd"]
    return any(ops.get(name) not in _WEIGHTED for name in biased)


def with_thresholds(text: str, name: str, conf: float | None, nms: float | None, clip: bool | None = None) -> str:
    """The text graph with other thresholds in its last DetectionOutput; None leaves one as it is.

    A Faster R-CNN's first DetectionOutput, which makes the proposals, keeps its own: its scores are no user's.
    OpenCV keeps scores *above* `confidence_threshold`: measured on 4.14, a score equal to it (as float32) is dropped.
    Whoever wants score >= x passes the next float32 below x. `top_k` and `keep_top_k` stay: a low `conf` gives no
    more rows than they allow.

    Raises ModelFileError where the text is no text graph or has no DetectionOutput.
    """
    graph = parse(text, name)
    last = _last_detections(_nodes(graph, name))
    if not last:
        raise ModelFileError(f"{name}: has no DetectionOutput node to write thresholds into; {_SCRIPTS}")
    values = {
        "confidence_threshold": None if conf is None else ("f", repr(float(conf))),
        "nms_threshold": None if nms is None else ("f", repr(float(nms))),
        "clip": None if clip is None else ("b", "true" if clip else "false"),
    }
    wanted = {key: value for key, value in values.items() if value is not None}
    chosen = {id(node) for node in last}
    return write(
        Message(
            tuple(
                replace(item, value=_with_attributes(item.value, wanted))
                if isinstance(item.value, Message) and id(item.value) in chosen
                else item
                for item in graph.fields
            )
        )
    )


def read_label_map(text: str, name: str) -> dict[int, str]:
    """Read a label map: item id (TensorFlow) or label (Caffe's SSD) to display_name, or name where it has none.

    Raises ModelFileError where the text is no label map, an item lacks number or name, or a number is there twice.
    """
    labels: dict[int, str] = {}
    for item in parse(text, name).fields:
        if item.name != "item" or not isinstance(item.value, Message):
            raise ModelFileError(
                f"{name}:{item.line}: {item.name} has no place in a label map; it has item {{ id name }}"
            )
        number = item.value.word("id") or item.value.word("label")
        label = item.value.string("display_name") or item.value.string("name")
        if number is None or not number.isdecimal() or len(number) > 9 or not label:
            raise ModelFileError(f"{name}:{item.line}: an item needs a number as id, and a name or display_name")
        if int(number) in labels:
            raise ModelFileError(f"{name}:{item.line}: id {number} is there twice")
        labels[int(number)] = label
    if not labels:
        raise ModelFileError(f"{name}: holds no label; a label map has item {{ id: 1 name: 'person' }} for each")
    return labels


def _nodes(graph: Message, name: str) -> list[Message]:
    nodes = list(graph.messages("node"))
    if nodes:
        return nodes
    if any(graph.messages("item")):
        raise ModelFileError(f"{name}: a label map, not a text graph; pass it as {arg('names')} and {_SCRIPTS}")
    raise ModelFileError(f"{name}: has no nodes, so it is not a text graph; {_SCRIPTS}")


def _last_detections(nodes: list[Message]) -> list[Message]:
    """The DetectionOutput nodes that no other DetectionOutput builds upon."""
    inputs = {node.string("name"): list(inputs_of(node)) for node in nodes}
    detections = [node for node in nodes if node.string("op") == "DetectionOutput"]
    below = [_ancestors(node.string("name"), inputs) for node in detections]
    inner = set().union(*below) if below else set()
    return [node for node in detections if node.string("name") not in inner]


def inputs_of(node: Message) -> Iterator[str]:
    """The names of the nodes this one takes from: "a:1" is an output of a, "^a" waits for a."""
    return (name.removeprefix("^").partition(":")[0] for name in node.strings("input"))


def _ancestors(start: str, inputs: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(inputs.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in found and name != start:
            found.add(name)
            waiting += inputs.get(name, ())
    return found


def _attributes(node: Message) -> dict[str, Message]:
    return {
        attribute.string("key"): next(attribute.messages("value"), Message()) for attribute in node.messages("attr")
    }


def _shape(node: Message) -> tuple[int, ...] | None:
    shape = next(_attributes(node).get("shape", Message()).messages("shape"), None)
    if shape is None or shape.word("unknown_rank") == "true":
        return None
    sizes = (dim.word("size") or "-1" for dim in shape.messages("dim"))
    return tuple(int(size) if _INTEGER.fullmatch(size) else -1 for size in sizes)


def _with_detection(facts: TextGraph, node: Message) -> TextGraph:
    given = _attributes(node)
    own = node.string("name")
    if "num_classes" not in given:
        raise ModelFileError(f"{facts.name}: node {own} does not state num_classes; {_SCRIPTS}")

    def number(key: str, kind: str, default: float) -> float:
        text = given[key].word(kind) if key in given else None
        if text is not None and not _NUMBER.fullmatch(text):
            raise ModelFileError(f"{facts.name}: {key} of node {own} is {text}, not a number")
        return default if text is None else float(text)

    return replace(
        facts,
        has_detection_output=True,
        detections=own,
        num_classes=int(number("num_classes", "i", 0)),
        background_label_id=int(number("background_label_id", "i", 0)),
        confidence_threshold=number("confidence_threshold", "f", 0) if "confidence_threshold" in given else None,
        nms_threshold=number("nms_threshold", "f", 0),
        top_k=int(number("top_k", "i", -1)),
        keep_top_k=int(number("keep_top_k", "i", -1)),
        clip="clip" in given and given["clip"].word("b") == "true",
    )


def _with_attributes(node: Message, wanted: Mapping[str, tuple[str, str]]) -> Message:
    """The node with these attributes, at the place of the old ones or at the end."""
    fields: list[Field] = []
    left = dict(wanted)
    for item in node.fields:
        key = item.value.string("key") if item.name == "attr" and isinstance(item.value, Message) else ""
        if key in left:
            fields.append(_attribute(key, *left.pop(key)))
        elif key not in wanted:
            fields.append(item)
    fields += [_attribute(key, *value) for key, value in left.items()]
    return Message(tuple(fields))


def _attribute(key: str, kind: str, value: str) -> Field:
    return Field("attr", Message((Field("key", key.encode()), Field("value", Message((Field(kind, value),))))))
