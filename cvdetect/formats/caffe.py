"""Caffe detectors that end in DetectionOutput: what the prototxt says, its thresholds, which layers have weights.

The prototxt is protocol buffers' text format; field names and numbers are those of SSD's caffe.proto.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvdetect.errors import ModelFileError
from cvdetect.formats.prototext import Field, Message, Value, parse, write
from cvdetect.formats.protowire import Field as Wire
from cvdetect.formats.protowire import fields, message, text

__all__ = ["Prototxt", "check_weights", "read_prototxt", "with_thresholds"]

_INTEGER = re.compile(r"-?\d{1,9}")
_WEIGHTED = {"Convolution", "InnerProduct", "Deconvolution", "DepthwiseConvolution", "BatchNorm", "Normalize"}


@dataclass(frozen=True, slots=True)
class Prototxt:
    """The facts of a prototxt.

    Attributes:
        input_wh: width and height of the input in pixels; None where it does not say them.
        classes: how many classes come out, background not counted.
        background: the number of the class that is never given out.
        weighted: names of the layers that need weights.
    """

    input_wh: tuple[int, int] | None
    classes: int
    background: int
    weighted: tuple[str, ...]


def read_prototxt(content: str, name: str) -> Prototxt:
    """Read a prototxt; `name` is what errors call it.

    Raises:
        ModelFileError: it is none, is one for training, or does not end in DetectionOutput.
    """
    net = parse(content, name)
    layers = [*net.messages("layer"), *net.messages("layers")]
    if not layers:
        raise ModelFileError(f"{name}: holds no layer: it is no prototxt of a Caffe network")
    outputs = [layer for layer in layers if layer.string("type") == "DetectionOutput"]
    if not outputs:
        raise ModelFileError(
            f"{name}: has no DetectionOutput layer: it is no detector, or the one for training (give deploy.prototxt)"
        )
    settings = next(outputs[-1].messages("detection_output_param"), Message())
    classes, background = _integer(settings, "num_classes", 0), _integer(settings, "background_label_id", 0)
    if classes < 1:
        raise ModelFileError(f"{name}: its DetectionOutput layer does not say num_classes")
    return Prototxt(
        _input_wh(net, layers),
        classes - (0 <= background < classes),
        background,
        tuple(layer.string("name") for layer in layers if layer.string("type") in _WEIGHTED),
    )


def _integer(settings: Message, key: str, default: int) -> int:
    word = settings.word(key)
    return int(word) if word is not None and _INTEGER.fullmatch(word) else default


def _input_wh(net: Message, layers: list[Message]) -> tuple[int, int] | None:
    """From ``input_dim``, ``input_shape``, or an Input layer: batch, channels, height, width."""
    inputs = [p for layer in layers if layer.string("type") == "Input" for p in layer.messages("input_param")]
    shapes = [*net.messages("input_shape"), *(shape for p in inputs for shape in p.messages("shape"))]
    words = list(net.all("input_dim")) or (list(shapes[0].all("dim")) if shapes else [])
    sizes = [int(word) for word in words if isinstance(word, str) and _INTEGER.fullmatch(word)]
    return (sizes[3], sizes[2]) if len(sizes) == 4 and min(sizes[2:]) > 0 else None


def with_thresholds(content: str, name: str, conf: float, nms: float | None) -> str:
    """The prototxt with other thresholds in its DetectionOutput layers; `nms` None leaves that one as it is.

    OpenCV keeps scores *above* ``confidence_threshold``.
    """
    net = parse(content, name)
    return write(Message(tuple(replace(item, value=_layer(item.value, conf, nms)) for item in net.fields)))


def _layer(value: Value, conf: float, nms: float | None) -> Value:
    if not isinstance(value, Message) or value.string("type") != "DetectionOutput":
        return value
    settings = next(value.messages("detection_output_param"), Message())
    settings = _with(settings, "confidence_threshold", repr(conf))
    if nms is not None:
        suppression = next(settings.messages("nms_param"), Message())
        settings = _with(settings, "nms_param", _with(suppression, "nms_threshold", repr(nms)))
    return _with(value, "detection_output_param", settings)


def _with(old: Message, key: str, value: Value) -> Message:
    """`old` with one field of this name."""
    return Message((*(item for item in old.fields if item.name != key), Field(key, value)))


def check_weights(data: NDArray[np.uint8], name: str, needed: tuple[str, ...]) -> None:
    """Refuse a caffemodel that is cut short, foreign, or another network's.

    Raises:
        ModelFileError: one of these.
    """
    try:
        stored = {
            layer for number, value in fields(data.data) if number in (2, 100) for layer in _stored(number, value)
        }
    except ValueError as error:
        raise ModelFileError(f"{name}: is no caffemodel, or is damaged or cut short ({error})") from error
    missing = [layer for layer in needed if layer not in stored]
    if missing:
        raise ModelFileError(
            f"{name}: has no weights for {len(missing)} of {len(needed)} layers (first {missing[0]!r}): it belongs to "
            "another network"
        )


def _stored(number: int, value: Wire) -> list[str]:
    """The name of a layer that has weights (LayerParameter, or V1LayerParameter), in a list, or []."""
    name_field, blobs_field = (1, 7) if number == 100 else (4, 6)
    parts = list(fields(message(value)))
    if not any(field == blobs_field for field, _ in parts):
        return []
    return [text(part) for field, part in parts if field == name_field]
