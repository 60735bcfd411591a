"""ONNX models: their inputs, outputs, metadata, and whether they decode boxes. Weights are not read.

Field numbers from ONNX's onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelError, ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.source import ModelSource
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.formats.base import GraphThresholds, choose_size, read_bytes
from cvdetect.formats.protobuf import Field, fields, message, signed, text

__all__ = ["OnnxModel", "Shape", "open_onnx", "read_onnx"]

Shape = tuple["int | None", ...]
"""A tensor's sizes; None where the file leaves one open."""

_EXTERNAL = 1  # TensorProto.DataLocation
_NOT_PYTHON = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
_RESHAPING = frozenset(
    "Concat Transpose Reshape Flatten Squeeze Unsqueeze Identity Sigmoid Slice Split Cast Gather Dropout".split()
)
_SHAPES = frozenset({"Constant", "Shape"})  # they describe a reshape, not a box
_CONVOLVING = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization", "QLinearConv"})


@dataclass(frozen=True, slots=True)
class _Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """The facts of an ONNX model.

    Attributes:
        inputs: each input that takes data (weights listed as inputs are not) → its shape.
        outputs: each output → its shape; () where the file does not state it.
        metadata: the file's metadata_props.
        raw: the outputs are convolutions that only went through sigmoids, reshapes and joins: the graph decodes no box.
        external: names of files that hold the weights, where they are not in this one.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    metadata: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False
    external: frozenset[str] = frozenset()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that Ultralytics' exporter wrote (``names``: a dict or list as Python text), else ()."""
        try:
            value = ast.literal_eval(self.metadata.get("names", "()"))
        except _NOT_PYTHON:
            return ()
        if isinstance(value, dict) and sorted(map(str, value)) == sorted(map(str, range(len(value)))):
            value = [value.get(i, value.get(str(i))) for i in range(len(value))]
        return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()

    @property
    def image_wh(self) -> tuple[int, int] | None:
        """Width and height that Ultralytics' exporter wrote (``imgsz``: ``[height, width]``), or None."""
        try:
            value = ast.literal_eval(self.metadata.get("imgsz", "0"))
        except _NOT_PYTHON:
            return None
        sizes = value if isinstance(value, list) else [value, value]
        good = len(sizes) == 2 and all(isinstance(size, int) and size > 0 for size in sizes)
        return (sizes[1], sizes[0]) if good else None


def read_onnx(data: NDArray[np.uint8], name: str) -> OnnxModel:
    """Read the facts of the ONNX file with this content, uint8 (size,); `name` is what errors call it.

    Raises:
        ModelFileError: the file is empty, foreign, cut short, or another protocol buffers file.
    """
    foreign = describe_foreign(data[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{name}: is {foreign}, expected an ONNX model")
    try:
        parts = list(fields(data.data))
        return _model(_graph(parts), dict(_entry(value) for number, value in parts if number == 14))
    except ValueError as error:
        raise ModelFileError(f"{name}: is not an ONNX model, or is damaged or cut short ({error})") from error


def _graph(parts: list[tuple[int, Field]]) -> memoryview:
    """ModelProto → its GraphProto; ValueError where it has none, or no version."""
    graphs = [value for number, value in parts if number == 7 and isinstance(value, memoryview)]
    if len(graphs) != 1 or not any(number == 1 and isinstance(value, int) for number, value in parts):
        raise ValueError("no graph in it")
    return graphs[0]


def _model(graph: memoryview, metadata: Mapping[str, str]) -> OnnxModel:
    parts: dict[int, list[Field]] = {}
    for number, value in fields(graph):
        parts.setdefault(number, []).append(value)
    weights = [_weight(value) for value in parts.get(5, [])]
    stored = {name for name, _ in weights}
    outputs = dict(_value_info(value) for value in parts.get(12, []))
    nodes = [_node(value) for value in parts.get(1, [])]
    return OnnxModel(
        inputs={n: shape for n, shape in map(_value_info, parts.get(11, [])) if n not in stored},
        outputs=outputs,
        metadata=metadata,
        raw=_is_raw(nodes, outputs),
        external=frozenset(place for _, place in weights if place),
    )


def _entry(value: Field) -> tuple[str, str]:
    """StringStringEntryProto → key, value."""
    found = dict(fields(message(value)))
    return text(found.get(1, memoryview(b""))), text(found.get(2, memoryview(b"")))


def _weight(value: Field) -> tuple[str, str]:
    """TensorProto → its name, and the file its values are in ("": this one)."""
    name, place, external = "", "", False
    for number, part in fields(message(value)):
        if number == 8:
            name = text(part)
        elif number == 13:
            key, found = _entry(part)
            place = found if key == "location" else place
        elif number == 14:
            external = part == _EXTERNAL
    return name, (place or "another file") if external else ""


def _node(value: Field) -> _Node:
    """NodeProto → what it does with which tensors."""
    found = list(fields(message(value)))
    op = next((text(part) for number, part in found if number == 4), "")
    return _Node(op, tuple(text(p) for n, p in found if n == 1), tuple(text(p) for n, p in found if n == 2))


def _value_info(value: Field) -> tuple[str, Shape]:
    """ValueInfoProto → name and shape."""
    found = dict(fields(message(value)))
    tensor = dict(fields(message(found.get(2, memoryview(b""))))).get(1, memoryview(b""))
    shape = dict(fields(message(tensor))).get(2, memoryview(b""))
    sizes = (dict(fields(message(part))).get(1) for number, part in fields(message(shape)) if number == 1)
    return text(found.get(1, memoryview(b""))), tuple(_size(size) for size in sizes)


def _size(value: Field | None) -> int | None:
    return signed(value) if isinstance(value, int) and signed(value) > 0 else None


def _is_raw(nodes: list[_Node], outputs: Mapping[str, Shape]) -> bool:
    """Whether every way back from an output meets a convolution before it meets arithmetic."""
    makers = {name: node for node in nodes for name in node.outputs}
    waiting, seen = list(outputs), set(outputs)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.op in _CONVOLVING:
            continue
        if node.op not in _RESHAPING and node.op not in _SHAPES:
            return False
        for name in _sources(node):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return True


def _sources(node: _Node) -> Iterator[str]:
    """The tensors whose values come through `node`; a reshaping's further inputs are sizes."""
    return iter(node.inputs if node.op == "Concat" else node.inputs[:1] if node.op in _RESHAPING else ())


def open_onnx(
    spec: ModelSpec, files: Mapping[Role, Path], _thresholds: GraphThresholds, progress: Progress
) -> ModelSource:
    """Read an ONNX model of one image.

    Raises:
        ModelFileError: the file is not an ONNX model, is damaged, or has inputs of unknown use.
        ModelError: it is not a detection model.
        UsageError: its input has another size than was asked for.
    """
    path = files["onnx"]
    data = read_bytes(path)
    facts = read_onnx(data, str(path))
    _check(facts, path)
    ((_, shape),) = facts.inputs.items()
    shapes = _output_shapes(facts)
    return ModelSource(
        format="onnx",
        name=str(path),
        content=data,
        wh=choose_size(spec, (shape[3], shape[2]), facts.image_wh, progress),
        outputs=tuple(shapes or facts.outputs),
        shapes=shapes,
        raw=facts.raw,
        class_names=facts.class_names,
    )


def _check(facts: OnnxModel, path: Path) -> None:
    """Refuse what cannot work, before OpenCV does so in its own words."""
    if facts.external:
        place = ", ".join(sorted(facts.external)[:3])
        raise ModelFileError(
            f"{path}: keeps its weights in {place}, which OpenCV does not read: save it as one file "
            "(onnx.save(onnx.load(FILE), OUT), or export with external_data=False)"
        )
    task = facts.metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"{path}: is a model for the task {task!r}; only detection models are supported")
    if len(facts.inputs) != 1 or not facts.outputs:
        raise ModelFileError(
            f"{path}: has {len(facts.inputs)} inputs ({', '.join(facts.inputs)}), expected one, the image: export the "
            "model without its post-processing"
        )
    ((name, shape),) = facts.inputs.items()
    if len(shape) != 4 or shape[0] not in (1, None) or shape[1] not in (3, None):
        got = "x".join(str(size or "?") for size in shape)
        raise ModelFileError(f"{path}: input {name} is {got}, expected 1x3xHEIGHTxWIDTH: export it for one image, NCHW")


def _output_shapes(facts: OnnxModel) -> dict[str, tuple[int, ...]]:
    """The outputs' shapes for one image where the file states them all, else {}.

    Old exports of YOLOv5 have their heads as they were before the decoding beside it: those are left out.
    """
    shapes = {name: tuple(s for s in (1, *shape[1:]) if s) for name, shape in facts.outputs.items()}
    whole = all(len(shapes[name]) == len(shape) > 2 for name, shape in facts.outputs.items())
    decoded = [name for name, shape in shapes.items() if len(shape) == 3]
    if whole and len(decoded) == 1 and all(len(shape) == 5 for name, shape in shapes.items() if name not in decoded):
        return {decoded[0]: shapes[decoded[0]]}
    return shapes if whole else {}
