"""The input of a TensorFlow Lite model. Slots are those of TensorFlow's schema.fbs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.formats.flatbuffer import follow, integers, number, slot, tables

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
        (subgraph, *_) = tables(buffer, follow(buffer, 0), _MODEL_SUBGRAPHS)
        tensors = tables(buffer, subgraph, _SUBGRAPH_TENSORS)
        return [_input(buffer, tensors[index]) for index in integers(buffer, subgraph, _SUBGRAPH_INPUTS)]
    except (struct.error, IndexError, ValueError) as error:
        raise ModelFileError(f"{name}: is a damaged TensorFlow Lite model, or one cut short") from error


def _input(buffer: memoryview, tensor: int) -> TFLiteInput:
    at = slot(buffer, tensor, _TENSOR_TYPE)
    kind = number(buffer, at, "<b") if at else 0
    return TFLiteInput(tuple(integers(buffer, tensor, _TENSOR_SHAPE)), _TYPES.get(kind, f"type {kind}"))
