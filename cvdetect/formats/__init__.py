"""Formats of model files, read with numpy alone. A format has a module or folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.progress import Progress
from cvdetect.core.source import ModelSource
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.formats.base import GraphThresholds

__all__ = ["FORMATS", "Format", "format_of"]

Files = Mapping[Role, Path]
Opener = Callable[[ModelSpec, Files, GraphThresholds, Progress], ModelSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of model files.

    Attributes:
        title: what messages call it.
        files: the files that such a model must have, the main one first.
        open: reads and checks a model's files; raises ModelError, or UsageError where the size cannot be met.
        preprocessing: that of its models, where their family has none of its own.
    """

    title: str
    files: tuple[Role, ...]
    open: Opener
    preprocessing: InputSpec = InputSpec()  # noqa: RUF009 - frozen


# Each format is imported when it is met: a Darknet run does not wait for the reader of TensorFlow's graphs.


def _open_darknet(spec: ModelSpec, files: Files, thresholds: GraphThresholds, progress: Progress) -> ModelSource:
    from cvdetect.formats.darknet import open_darknet

    return open_darknet(spec, files, thresholds, progress)


def _open_tensorflow(spec: ModelSpec, files: Files, thresholds: GraphThresholds, progress: Progress) -> ModelSource:
    from cvdetect.formats.tensorflow.frozen import open_tensorflow

    return open_tensorflow(spec, files, thresholds, progress)


def _open_caffe(spec: ModelSpec, files: Files, thresholds: GraphThresholds, progress: Progress) -> ModelSource:
    from cvdetect.formats.caffe import open_caffe

    return open_caffe(spec, files, thresholds, progress)


def _open_onnx(spec: ModelSpec, files: Files, thresholds: GraphThresholds, progress: Progress) -> ModelSource:
    from cvdetect.formats.onnx import open_onnx

    return open_onnx(spec, files, thresholds, progress)


def _open_tflite(spec: ModelSpec, files: Files, thresholds: GraphThresholds, progress: Progress) -> ModelSource:
    from cvdetect.formats.tflite import open_tflite

    return open_tflite(spec, files, thresholds, progress)


FORMATS: dict[str, Format] = {
    "darknet": Format(
        title="Darknet",
        files=("cfg", "weights"),
        open=_open_darknet,
        preprocessing=InputSpec(scale=1 / 255),
    ),
    "tensorflow": Format(title="TensorFlow", files=("graph",), open=_open_tensorflow),
    "onnx": Format(title="ONNX", files=("onnx",), open=_open_onnx),
    "caffe": Format(
        title="Caffe",
        files=("prototxt", "caffemodel"),
        open=_open_caffe,
        preprocessing=InputSpec(swap_rb=False),
    ),
    "tflite": Format(title="TensorFlow Lite", files=("tflite",), open=_open_tflite),
}
"""All formats by name."""


def format_of(roles: Iterable[Role]) -> str:
    """The name of the format of a model that has files of these roles."""
    given = set(roles)
    return next(name for name, each in FORMATS.items() if each.files[0] in given)
