"""Caffe detectors that end in DetectionOutput: the facts of the prototxt, its thresholds, which layers have weights.

The prototxt is protocol buffers' text format; field names and numbers are those of SSD's caffe.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.resize import keep_aspect
from cvdetect.core.source import ModelSource
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.formats import protobuf
from cvdetect.formats.base import GraphThresholds, read_bytes, read_text
from cvdetect.formats.prototext import Field, Message, Value, parse, write

__all__ = ["Prototxt", "check_weights", "open_caffe", "read_prototxt", "with_thresholds"]

_SIZE_INPUT = "im_info"
_MIN_MAX_SIZE = (600, 1000)  # TEST.SCALES and MAX_SIZE of py-faster-rcnn's and py-R-FCN's lib/fast_rcnn/config.py
_USUAL_WH = (640, 480)  # as most cameras make images
_INTEGER = re.compile(r"-?\d{1,9}")
_FALSE = {"false", "False", "f", "0"}
_WEIGHTED = {"Convolution", "InnerProduct", "Deconvolution", "DepthwiseConvolution", "BatchNorm", "Normalize"}


@dataclass(frozen=True, slots=True)
class Prototxt:
    """The facts of a prototxt.

    Attributes:
        input_wh: width and height of the input in pixels; None where it does not state them.
        classes: how many classes come out, background not counted.
        background: the number of the class that is never given out.
        weighted: names of the layers that need weights.
        image_input: the name of the input that takes the image; "" where the file names none.
        size_input: that of ``im_info``, height, width and scale of the image, which two-stage detectors take; or "".
        two_stage: it proposes regions and crops them (Faster R-CNN, R-FCN).
        in_pixels: its boxes come in pixels of the input, not normalized.
    """

    input_wh: tuple[int, int] | None
    classes: int
    background: int
    weighted: tuple[str, ...]
    image_input: str = ""
    size_input: str = ""
    two_stage: bool = False
    in_pixels: bool = False


def read_prototxt(content: str, name: str) -> Prototxt:
    """Read a prototxt; `name` is what errors call it.

    Raises:
        ModelFileError: it is none, is one for training, does not end in DetectionOutput, or has inputs of unknown use.
    """
    net = parse(content, name)
    layers = [*net.messages("layer"), *net.messages("layers")]
    if not layers:
        raise ModelFileError(f"{name}: has no layers: it is not the prototxt of a Caffe network")
    outputs = [layer for layer in layers if layer.string("type") == "DetectionOutput"]
    if not outputs:
        other = (
            "or ends in Python's code, as py-faster-rcnn's does (take the prototxt of OpenCV's test data)"
            if any(layer.string("type") == "Python" for layer in layers)
            else "or is the one for training (give deploy.prototxt)"
        )
        raise ModelFileError(f"{name}: has no DetectionOutput layer: it is not a detector's, {other}")
    settings = next(outputs[-1].messages("detection_output_param"), Message())
    classes, background = _integer(settings, "num_classes", 0), _integer(settings, "background_label_id", 0)
    if classes < 1:
        raise ModelFileError(f"{name}: its DetectionOutput layer does not state num_classes")
    inputs = _inputs(net, layers)
    image_input = _image_input(inputs, name)
    return Prototxt(
        _wh(inputs.get(image_input, ())),
        classes - (0 <= background < classes),
        background,
        tuple(layer.string("name") for layer in layers if layer.string("type") in _WEIGHTED),
        image_input,
        _SIZE_INPUT if _SIZE_INPUT in inputs else "",
        two_stage=_SIZE_INPUT in inputs or any(layer.string("type") == "Proposal" for layer in layers),
        in_pixels=settings.word("normalized_bbox") in _FALSE,
    )


def _integer(settings: Message, key: str, default: int) -> int:
    word = settings.word(key)
    return int(word) if word is not None and _INTEGER.fullmatch(word) else default


def _inputs(net: Message, layers: list[Message]) -> dict[str, tuple[int, ...]]:
    """Each input → its shape, () where that is not stated.

    From ``input`` with ``input_dim`` (four numbers each) or ``input_shape``, and from Input layers.
    """
    names, shapes = list(net.strings("input")), [_integers(shape, "dim") for shape in net.messages("input_shape")]
    dims = _integers(net, "input_dim")
    found = _paired(names, [dims[at : at + 4] for at in range(0, len(dims), 4)] or shapes)
    for layer in layers:
        if layer.string("type") == "Input":
            stated = [shape for p in layer.messages("input_param") for shape in p.messages("shape")]
            found |= _paired(list(layer.strings("top")), [_integers(shape, "dim") for shape in stated])
    return found


def _paired(names: list[str], shapes: list[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    unsaid: list[tuple[int, ...]] = [()] * len(names)
    return dict(zip(names, shapes + unsaid, strict=False))


def _integers(settings: Message, key: str) -> tuple[int, ...]:
    return tuple(int(word) for word in settings.all(key) if isinstance(word, str) and _INTEGER.fullmatch(word))


def _image_input(inputs: Mapping[str, tuple[int, ...]], name: str) -> str:
    """The one input that is not ``im_info``; "" where none is named."""
    images = [known for known in inputs if known != _SIZE_INPUT]
    if len(images) > 1 or (inputs and not images):
        raise ModelFileError(
            f"{name}: has the inputs {', '.join(map(repr, inputs))}: expected one for the image and, in two-stage "
            f"detectors, {_SIZE_INPUT!r}"
        )
    return images[0] if images else ""


def _wh(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Width and height of a shape: batch, channels, height, width."""
    return (shape[3], shape[2]) if len(shape) == 4 and min(shape[2:]) > 0 else None


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
            layer
            for number, value in protobuf.fields(data.data)
            if number in (2, 100)
            for layer in _stored(number, value)
        }
    except ValueError as error:
        raise ModelFileError(f"{name}: is not a caffemodel, or is damaged or cut short ({error})") from error
    missing = [layer for layer in needed if layer not in stored]
    if missing:
        raise ModelFileError(
            f"{name}: has no weights for {len(missing)} of {len(needed)} layers (first {missing[0]!r}): it belongs to "
            "another network"
        )


def _stored(number: int, value: protobuf.Field) -> list[str]:
    """The name of a layer that has weights (LayerParameter, or V1LayerParameter), in a list, or []."""
    name_field, blobs_field = (1, 7) if number == 100 else (4, 6)
    parts = list(protobuf.fields(protobuf.message(value)))
    if not any(field == blobs_field for field, _ in parts):
        return []
    return [protobuf.text(part) for field, part in parts if field == name_field]


def open_caffe(
    spec: ModelSpec, files: Mapping[Role, Path], thresholds: GraphThresholds, progress: Progress
) -> ModelSource:
    """Read and check prototxt and caffemodel, with `thresholds` written into the prototxt.

    Raises:
        ModelFileError: a file is wrong, or the weights are not the prototxt's own.
    """
    path, model = files["prototxt"], files["caffemodel"]
    content = read_text(path)
    facts = read_prototxt(content, str(path))
    weights = read_bytes(model)
    foreign = describe_foreign(weights[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{model}: is {foreign}, expected a caffemodel")
    check_weights(weights, str(model), facts.weighted)
    wh, min_max_size = _input_size(spec, facts, path, progress)
    if not spec.listed and not spec.asked - {"wh", "resize"}:
        progress.note(
            f"{spec.name}: the network gets BGR from 0 to 255, as Caffe files do not state their preprocessing; "
            f"{arg('scale')}, {arg('mean')} and {arg('rgb')} set it"
        )
    return ModelSource(
        format="caffe",
        name=str(path),
        content=weights,
        text=with_thresholds(content, str(path), thresholds.below_conf, thresholds.nms),
        wh=wh,
        min_max_size=min_max_size,
        image_input=facts.image_input,
        size_input=facts.size_input,
        head="DetectionOutput",
        classes=facts.classes,
        first_class_id=1 if facts.background == 0 else 0,
        in_pixels=facts.in_pixels,
        two_stage=facts.two_stage,
    )


def _input_size(
    spec: ModelSpec, facts: Prototxt, path: Path, progress: Progress
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """The size asked for, else the prototxt's; two-stage detectors size each image by itself, if none is asked for."""
    asked = spec.input.wh
    if asked is None and facts.size_input:  # its prototxt states 224x224, but is reshaped for each image
        progress.note(
            f"{spec.name}: brings each image's shorter side to {_MIN_MAX_SIZE[0]} pixels, the longer one to at most "
            f"{_MIN_MAX_SIZE[1]}, as py-faster-rcnn does; {arg('size')} sets one size for all"
        )
        return keep_aspect(_USUAL_WH, _MIN_MAX_SIZE), _MIN_MAX_SIZE
    wh = asked or facts.input_wh
    if wh is None:
        raise ModelFileError(f"{path}: does not state its input size: give {arg('size')}")
    return wh, None
