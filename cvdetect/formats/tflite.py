"""The input of a TensorFlow Lite model, read from its FlatBuffer.

The layout of tables is https://flatbuffers.dev/internals/; slots are those of TensorFlow's schema.fbs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.errors import ModelFileError
from cvdetect.sniff import describe_foreign

__all__ = ["TFLiteInput", "read_tflite_inputs"]

_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}
_MODEL_SUBGRAPHS, _SUBGRAPH_TENSORS, _SUBGRAPH_INPUTS = 2, 0, 1
_TENSOR_SHAPE, _TENSOR_TYPE = 0, 1


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
        (subgraph, *_) = _tables(buffer, _follow(buffer, 0), _MODEL_SUBGRAPHS)
        tensors = _tables(buffer, subgraph, _SUBGRAPH_TENSORS)
        return [_input(buffer, tensors[index]) for index in _integers(buffer, subgraph, _SUBGRAPH_INPUTS)]
    except (struct.error, IndexError, ValueError) as error:
        raise ModelFileError(f"{name}: is a damaged TensorFlow Lite model, or one cut short") from error


def _input(buffer: memoryview, tensor: int) -> TFLiteInput:
    at = _slot(buffer, tensor, _TENSOR_TYPE)
    number = _number(buffer, at, "<b") if at else 0
    return TFLiteInput(tuple(_integers(buffer, tensor, _TENSOR_SHAPE)), _TYPES.get(number, f"type {number}"))


def _number(buffer: memoryview, at: int, kind: str) -> int:
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int(struct.unpack_from(kind, buffer, at)[0])


def _follow(buffer: memoryview, at: int) -> int:
    """Where the offset at `at` points to."""
    return at + _number(buffer, at, "<I")


def _slot(buffer: memoryview, table: int, slot: int) -> int:
    """Where field `slot` of a table lies; 0 where the table leaves it out."""
    layout = table - _number(buffer, table, "<i")
    if 4 + 2 * slot >= _number(buffer, layout, "<H"):
        return 0
    inside = _number(buffer, layout + 4 + 2 * slot, "<H")
    return table + inside if inside else 0


def _elements(buffer: memoryview, table: int, slot: int) -> range:
    """Where the 4-byte elements of a vector field lie."""
    at = _slot(buffer, table, slot)
    if not at:
        return range(0)
    start = _follow(buffer, at)
    count = _number(buffer, start, "<I")
    if start + 4 + 4 * count > len(buffer):
        raise ValueError(f"a list of {count} at byte {start}")
    return range(start + 4, start + 4 + 4 * count, 4)


def _tables(buffer: memoryview, table: int, slot: int) -> list[int]:
    return [_follow(buffer, at) for at in _elements(buffer, table, slot)]


def _integers(buffer: memoryview, table: int, slot: int) -> list[int]:
    return [_number(buffer, at, "<i") for at in _elements(buffer, table, slot)]
