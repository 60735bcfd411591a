"""The layers of a Darknet cfg, one after another: which of them OpenCV runs, and what size their outputs have.

Only what OpenCV's Darknet importer really runs passes (tried one by one on OpenCV 4.14): sections and activations
that it refuses are refused here with a sentence, and so are options that it ignores although they change the result.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cvdetect.formats.darknet_kinds import KINDS, Layer, LayerKind
from cvdetect.formats.darknet_text import Section, SectionReader

__all__ = ["ACTIVATIONS", "Layer", "trace"]

ACTIVATIONS = ("linear", "leaky", "relu", "swish", "mish", "logistic", "tanh")

_MOST_VALUES = 2**31 - 1
_YOLO_V1 = "this is a YOLOv1 network, a kind that OpenCV does not run; take a YOLOv2, v3 or v4 cfg"
_RECURRENT = "recurrent networks are a kind that OpenCV does not run"
_NOT_RUN = "OpenCV's Darknet importer does not run this kind of layer"
_OTHER_DARKNET_KINDS = (
    *(
        "activation",
        "batchnorm",
        "contrastive",
        "deconvolutional",
        "empty",
        "Gaussian_yolo",
        "implicit_weights",
        "iseg",
    ),
    *("l2norm", "local_avgpool", "logistic", "normalization", "reorg3d", "reorg_old", "silence"),
)
_UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("detection", "local"), _YOLO_V1),
        **dict.fromkeys(("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"), _RECURRENT),
        **dict.fromkeys(_OTHER_DARKNET_KINDS, _NOT_RUN),
        "network": "OpenCV knows this section only by its other name; write [net]",
        "net": "stands here a second time; a cfg has one [net], at its beginning",
    }
)
# The short names that Darknet takes and OpenCV does not.
_SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {"conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}
    | {"lrn": "normalization", "deconv": "deconvolutional"}
)
# Options that change what Darknet computes, that OpenCV ignores or refuses, and the one value that does nothing.
_IGNORED: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "convolutional": {"dilation": 1, "flipped": 0, "antialiasing": 0, "xnor": 0, "binary": 0},
        "maxpool": {"maxpool_depth": 0, "antialiasing": 0},
        "upsample": {"scale": 1},
        "shortcut": {"beta": 0},
        "scale_channels": {"scale_wh": 0},
        "softmax": {"groups": 1},
    }
)


def trace(name: str, sections: Sequence[Section], shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Follow an input of `shape` (channels, height, width) through the layers (the sections after [net]).

    Raises ModelFileError where a layer is wrong, does not fit its input, or is not run by OpenCV.
    """
    layers: list[Layer] = []
    source = Layer(-1, "net", 0, shape)
    for index, section in enumerate(sections):
        reader = SectionReader(name, section)
        apply = _kind(reader)
        _refuse_ignored(reader)
        passed_on = Layer(index, section.kind, section.line, source.shape, source.stride)
        source = apply(reader, passed_on, layers)
        _check_output(reader, source)
        layers.append(source)
    return tuple(layers)


def _kind(reader: SectionReader) -> LayerKind:
    kind = reader.section.kind
    if kind in KINDS:
        return KINDS[kind]
    if kind in _UNSUPPORTED:
        reader.fail(_UNSUPPORTED[kind])
    near = [_SHORT_NAMES[kind]] if kind in _SHORT_NAMES else difflib.get_close_matches(kind, [*KINDS, *_UNSUPPORTED], 1)
    hint = f"did you mean [{near[0]}]?" if near else f"OpenCV runs {', '.join(KINDS)}"
    reader.fail(f"is no kind of section that OpenCV knows; {hint}")


def _refuse_ignored(reader: SectionReader) -> None:
    for key, harmless in _IGNORED.get(reader.section.kind, {}).items():
        if reader.number(key, harmless) != harmless:
            value = reader.text(key)
            reader.fail(f"{key}={value}: OpenCV does not do this, so its results would be wrong; use another cfg", key)
    activation = reader.text("activation", "linear")
    if activation not in ACTIVATIONS:
        reader.fail(f"activation={activation}: OpenCV has only {', '.join(ACTIVATIONS)}", "activation")
    if reader.has("activation") and reader.section.options["activation"].value != activation:
        reader.fail(
            "a comment follows the activation, which OpenCV cannot read; put it on a line of its own", "activation"
        )


def _check_output(reader: SectionReader, layer: Layer) -> None:
    channels, height, width = layer.shape
    if min(layer.shape) < 1:
        reader.fail(f"leaves an output of {width}x{height} with {channels} channels: the input is too small for it")
    if channels * height * width > _MOST_VALUES:
        reader.fail(f"makes an output of {width}x{height} with {channels} channels, more than OpenCV can hold")
