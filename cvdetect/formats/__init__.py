"""Formats of model files: what their bytes say, read with numpy alone. A format has its own module or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cvdetect.core.spec import Role

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of model files.

    Attributes:
        title: what messages call a model of it.
        files: the files that such a model must have, the main one first.
    """

    title: str
    files: tuple[Role, ...]


FORMATS: Mapping[str, Format] = {
    "darknet": Format(title="Darknet", files=("cfg", "weights")),
    "tensorflow": Format(title="TensorFlow", files=("graph",)),
    "caffe": Format(title="Caffe", files=("prototxt", "caffemodel")),
    "onnx": Format(title="ONNX", files=("onnx",)),
    "tflite": Format(title="TensorFlow Lite", files=("tflite",)),
}
"""All formats by name."""
