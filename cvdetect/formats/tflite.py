"""TensorFlow Lite models: their input, the post-processing that they end in, and FlatBuffers, the format they are in.

Numbers of fields are those of TensorFlow's schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.source import ModelSource, Priors
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.formats.base import GraphThresholds, choose_size, read_bytes

__all__ = ["PostProcess", "TFLiteInput", "cut_postprocess", "open_tflite", "read_numbers", "read_tflite_inputs"]

_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}
_MODEL_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS = 1, 2, 4
_CODE_OLD, _CODE_CUSTOM, _CODE_BUILTIN = 0, 1, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_OPTIONS = 0, 1, 2, 5
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME = 0, 1, 2, 3
_CONCATENATION, _RESHAPES = 2, (22, 43)  # RESHAPE, SQUEEZE
_POSTPROCESS = "TFLite_Detection_PostProcess"

_MAP, _INT, _UINT, _FLOAT, _BOOL = 9, 1, 2, 3, 26  # kinds of FlexBuffers' values
_KINDS = {_INT: " bhiq", _UINT: " BHIQ", _BOOL: " BHIQ", _FLOAT: "  efd"}  # for struct, by width


@dataclass(frozen=True, slots=True)
class TFLiteInput:
    """One input: its shape as the file has it (images: batch, height, width, channels), and its type's name."""

    shape: tuple[int, ...]
    dtype: str


def read_tflite_inputs(data: NDArray[np.uint8], name: str) -> list[TFLiteInput]:
    """The inputs of the model with this content, uint8 (size,); `name` is what errors call it.

    Raises:
        ModelFileError: the file is empty, foreign, damaged or cut short.
    """
    head = data[:512].tobytes()
    if head[4:8] != b"TFL3":
        raise ModelFileError(f"{name}: is {describe_foreign(head) or 'another file'}, expected a TensorFlow Lite model")
    buffer = data.data
    try:
        (graph, *_) = _tables(buffer, _follow(buffer, 0), _MODEL_SUBGRAPHS)
        tensors = _tables(buffer, graph, _GRAPH_TENSORS)
        return [_input(buffer, tensors[index]) for index in _integers(buffer, graph, _GRAPH_INPUTS)]
    except (struct.error, IndexError, ValueError) as error:
        raise ModelFileError(f"{name}: is a damaged TensorFlow Lite model, or one cut short") from error


def _input(buffer: memoryview, tensor: int) -> TFLiteInput:
    at = _slot(buffer, tensor, _TENSOR_TYPE)
    kind = _integer(buffer, at, "<b") if at else 0
    return TFLiteInput(tuple(_integers(buffer, tensor, _TENSOR_SHAPE)), _TYPES.get(kind, f"type {kind}"))


# Models that end in TFLite_Detection_PostProcess: what that operator takes, without the operator itself.
#
# OpenCV 4.14 reads the operator's options by counting bytes, which fits files with ten of them only (most have eleven),
# and takes the background for a class. So it is cut off, and the decoder does what it does. Box codes are taken where
# the predictors give them: OpenCV mixes them up when it reshapes them to (1, anchors, 1, 4), as most files do.


@dataclass(frozen=True, slots=True)
class PostProcess:
    """A model without its last operator, and the settings of that one.

    Attributes:
        model: the file's content, uint8 (size,).
        boxes: the names of the tensors that hold box codes, a feature map each, (1, H, W, 4 · anchors of a cell) or
            (1, n, 4) in the file.
        scores: that of the scores (1, N, C + 1 or C) of all N anchors.
        anchors: (N, 4) y and x of the centre, height and width, normalized.
        scales: the box coder's, in the same order.
        classes: how many, background not counted.
        iou: above which the weaker of two boxes goes.
    """

    model: NDArray[np.uint8]
    boxes: tuple[str, ...]
    scores: str
    anchors: NDArray[np.float32]
    scales: tuple[float, float, float, float]
    classes: int
    iou: float


def cut_postprocess(data: NDArray[np.uint8], name: str) -> PostProcess | None:
    """The model with this content, uint8 (size,), cut; None where it does not end in that operator.

    Raises:
        ModelFileError: the file is damaged.
    """
    try:
        return _cut(data)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise ModelFileError(f"{name}: is a damaged TensorFlow Lite model, or one cut short") from error


def _cut(data: NDArray[np.uint8]) -> PostProcess | None:
    buffer = data.data
    root = _follow(buffer, 0)
    (graph, *_) = _tables(buffer, root, _MODEL_SUBGRAPHS)
    operators = _tables(buffer, graph, _GRAPH_OPERATORS)
    if not operators or _custom(buffer, root, operators[-1]) != _POSTPROCESS.encode():
        return None
    inputs = _integers(buffer, operators[-1], _OPERATOR_INPUTS)
    options = read_numbers(bytes(_content(buffer, operators[-1], _OPERATOR_OPTIONS)))
    sources = _sources(buffer, root, graph, inputs[0])
    scales = [options[f"{axis}_scale"] for axis in "yxhw"]
    return PostProcess(
        _without_last(data, graph, inputs[:2], len(operators)),
        tuple(_name(buffer, graph, index) for index in sources),
        _name(buffer, graph, inputs[1]),
        _anchors(buffer, root, graph, inputs[2]),
        (scales[0], scales[1], scales[2], scales[3]),
        int(options["num_classes"]),
        options["nms_iou_threshold"],
    )


def _sources(buffer: memoryview, root: int, graph: int, tensor: int) -> list[int]:
    """The tensors that `tensor` was joined of, past reshapes, in order."""
    makers = {
        output: operator
        for operator in _tables(buffer, graph, _GRAPH_OPERATORS)
        for output in _integers(buffer, operator, _OPERATOR_OUTPUTS)
    }
    waiting, found = [tensor], []
    for _ in _tables(buffer, graph, _GRAPH_TENSORS):
        if not waiting:
            break
        index = waiting.pop(0)
        kind = _builtin(buffer, root, makers[index]) if index in makers else None
        if kind not in (_CONCATENATION, *_RESHAPES):
            found.append(index)
            continue
        inputs = _integers(buffer, makers[index], _OPERATOR_INPUTS)
        waiting = [*(inputs if kind == _CONCATENATION else inputs[:1]), *waiting]
    return found


def _code(buffer: memoryview, root: int, operator: int) -> int:
    at = _slot(buffer, operator, _OPERATOR_CODE)
    return _tables(buffer, root, _MODEL_CODES)[_integer(buffer, at, "<I") if at else 0]


def _builtin(buffer: memoryview, root: int, operator: int) -> int:
    """The number of an operator: the newer, wider field, else the older."""
    code = _code(buffer, root, operator)
    wide, narrow = _slot(buffer, code, _CODE_BUILTIN), _slot(buffer, code, _CODE_OLD)
    return max(_integer(buffer, wide, "<i") if wide else 0, _integer(buffer, narrow, "<b") if narrow else 0)


def _custom(buffer: memoryview, root: int, operator: int) -> bytes:
    """The name of a custom operator; empty for others."""
    return bytes(_content(buffer, _code(buffer, root, operator), _CODE_CUSTOM))


def _name(buffer: memoryview, graph: int, index: int) -> str:
    tensor = _tables(buffer, graph, _GRAPH_TENSORS)[index]
    return bytes(_content(buffer, tensor, _TENSOR_NAME)).decode("utf-8", "replace")


def _anchors(buffer: memoryview, root: int, graph: int, index: int) -> NDArray[np.float32]:
    at = _slot(buffer, _tables(buffer, graph, _GRAPH_TENSORS)[index], _TENSOR_BUFFER)
    table = _tables(buffer, root, _MODEL_BUFFERS)[_integer(buffer, at, "<I")]
    return np.frombuffer(bytes(_content(buffer, table, 0)), "<f4").astype(np.float32).reshape(-1, 4)


def _without_last(data: NDArray[np.uint8], graph: int, outputs: list[int], operators: int) -> NDArray[np.uint8]:
    """A copy that has one operator less and these outputs: two vectors become shorter, and nothing moves."""
    changed: NDArray[np.uint8] = data.copy()
    buffer = changed.data
    places = _elements(buffer, graph, _GRAPH_OUTPUTS)
    for place, index in zip(places[: len(outputs)], outputs, strict=True):
        struct.pack_into("<i", buffer, place, index)
    struct.pack_into("<I", buffer, places[0] - 4, len(outputs))
    struct.pack_into("<I", buffer, _elements(buffer, graph, _GRAPH_OPERATORS)[0] - 4, operators - 1)
    return changed


def open_tflite(
    spec: ModelSpec, files: Mapping[Role, Path], _thresholds: GraphThresholds, progress: Progress
) -> ModelSource:
    """Read a TensorFlow Lite model of one image; TFLite_Detection_PostProcess at its end is cut off.

    Raises:
        ModelFileError: the file is none, is damaged, or takes something else than a float image.
        UsageError: its input has another size than was asked for.
    """
    path = files["tflite"]
    data = read_bytes(path)
    wh = choose_size(spec, _image_wh(read_tflite_inputs(data, str(path)), path), None, progress)
    post = cut_postprocess(data, str(path))
    if post is None:
        return ModelSource(format="tflite", name=str(path), content=data, wh=wh)
    progress.note(f"{spec.name}: ends in {_POSTPROCESS}; taking its anchors and its IoU {post.iou:.3g}")
    return ModelSource(
        format="tflite",
        name=str(path),
        content=post.model,
        wh=wh,
        outputs=(*post.boxes, post.scores),
        head=_POSTPROCESS,
        classes=post.classes,
        priors=Priors(post.anchors, post.scales, post.classes),
        nms=post.iou,
    )


def _image_wh(inputs: list[TFLiteInput], path: Path) -> tuple[int, int]:
    """Width and height of the one input, a float image."""
    if len(inputs) != 1:
        raise ModelFileError(f"{path}: has {len(inputs)} inputs, expected one, the image")
    (image,) = inputs
    if image.dtype not in ("float32", "float16"):
        raise ModelFileError(f"{path}: takes {image.dtype} pixels: only models with a float input are supported")
    if len(image.shape) != 4 or image.shape[0] != 1 or image.shape[3] != 3 or min(image.shape) < 1:
        got = "x".join(map(str, image.shape))
        raise ModelFileError(f"{path}: its input is {got}, expected 1xHEIGHTxWIDTHx3")
    return image.shape[2], image.shape[1]


# FlatBuffers: tables, their fields and vectors (https://flatbuffers.dev/internals/). All functions raise struct.error,
# IndexError or ValueError where a damaged file points outside itself.


def _integer(buffer: memoryview, at: int, kind: str) -> int:
    """The integer at byte `at`; `kind` is its format for struct. Raises ValueError for an offset below 0."""
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int(struct.unpack_from(kind, buffer, at)[0])


def _follow(buffer: memoryview, at: int) -> int:
    """The position that the offset at `at` points to."""
    return at + _integer(buffer, at, "<I")


def _slot(buffer: memoryview, table: int, field: int) -> int:
    """The position of a table's `field`; 0 where the table leaves it out."""
    layout = table - _integer(buffer, table, "<i")
    if 4 + 2 * field >= _integer(buffer, layout, "<H"):
        return 0
    inside = _integer(buffer, layout + 4 + 2 * field, "<H")
    return table + inside if inside else 0


def _elements(buffer: memoryview, table: int, field: int) -> range:
    """The positions of the 4-byte elements of a vector field."""
    at = _slot(buffer, table, field)
    if not at:
        return range(0)
    start = _follow(buffer, at)
    count = _integer(buffer, start, "<I")
    if start + 4 + 4 * count > len(buffer):
        raise ValueError(f"a list of {count} at byte {start}")
    return range(start + 4, start + 4 + 4 * count, 4)


def _tables(buffer: memoryview, table: int, field: int) -> list[int]:
    """The positions of the tables of a vector field."""
    return [_follow(buffer, at) for at in _elements(buffer, table, field)]


def _integers(buffer: memoryview, table: int, field: int) -> list[int]:
    """The 4-byte integers of a vector field."""
    return [_integer(buffer, at, "<i") for at in _elements(buffer, table, field)]


def _content(buffer: memoryview, table: int, field: int) -> memoryview:
    """The bytes of a vector field; empty where the table leaves it out."""
    at = _slot(buffer, table, field)
    if not at:
        return buffer[:0]
    start = _follow(buffer, at)
    count = _integer(buffer, start, "<I")
    if start + 4 + count > len(buffer):
        raise ValueError(f"{count} bytes at byte {start}")
    return buffer[start + 4 : start + 4 + count]


# FlexBuffers, of which maps of numbers are read (https://flatbuffers.dev/internals/#flexbuffers).


def read_numbers(data: bytes) -> dict[str, float]:
    """The map's numbers by their keys; values of other kinds are left out.

    Raises:
        ValueError, struct.error, IndexError: it is not a map, or is damaged.
    """
    root_width, root_type = data[-1], data[-2]
    if root_type >> 2 != _MAP or root_width not in (1, 2, 4, 8):
        raise ValueError("it is not a map")
    width = 1 << (root_type & 3)
    at = _back(data, len(data) - 2 - root_width, root_width)
    count = _unsigned(data, at - width, width)
    keys, keys_width = _back(data, at - 3 * width, width), _unsigned(data, at - 2 * width, width)
    found = {}
    for i in range(count):
        value = _number(data, at + i * width, data[at + count * width + i], width)
        if value is not None:
            found[_text(data, _back(data, keys + i * keys_width, keys_width))] = value
    return found


def _number(data: bytes, at: int, kind: int, width: int) -> float | None:
    codes = _KINDS.get(kind >> 2)
    return None if codes is None else float(struct.unpack_from("<" + codes[width.bit_length()], data, at)[0])


def _unsigned(data: bytes, at: int, width: int) -> int:
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int.from_bytes(data[at : at + width], "little")


def _back(data: bytes, at: int, width: int) -> int:
    """The position that an offset points to; in FlexBuffers they point backwards."""
    return at - _unsigned(data, at, width)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii", "replace")
