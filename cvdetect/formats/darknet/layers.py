"""The layers of a Darknet cfg, one after another: which of them a head needs, and what size their outputs have.

Only what OpenCV's Darknet importer really runs passes (tried one by one on OpenCV 4.14): sections and activations
that it refuses are refused here in a sentence, and so are options that it ignores although they change the result.
Layers whose output no head uses are not run; only their weights are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from cvdetect.core.errors import ModelFileError
from cvdetect.core.printable import closest
from cvdetect.formats.darknet.kinds import KINDS, SKIPPED, Layer, LayerKind, SizeError
from cvdetect.formats.darknet.text import Section, SectionReader

__all__ = [
    "HEADS",
    "check_is_detector",
    "needed",
    "trace",
]


HEADS = ("yolo", "region")

_MOST_VALUES = 2**31 - 1
_YOLO_V1 = "this is a YOLOv1 network, a kind that OpenCV does not run; use a YOLOv2, v3 or v4 cfg"
_RECURRENT = "recurrent networks are a kind that OpenCV does not run"
_CLASSIFIER = "this is a classifier, which finds no boxes: it ends without a [yolo] or [region] section"
_NOT_RUN = "OpenCV's Darknet importer does not run this kind of layer"
_OTHER_DARKNET_KINDS = ("deconvolutional", "Gaussian_yolo", "implicit", "iseg", *SKIPPED)
_UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("detection", "local"), _YOLO_V1),
        **dict.fromkeys(("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"), _RECURRENT),
        **dict.fromkeys(_OTHER_DARKNET_KINDS, _NOT_RUN),
        "net": "occurs a second time; a cfg has one [net], at its beginning",
    }
)
# Options that change what Darknet computes and that OpenCV ignores or refuses, with the one value that changes nothing.
# A shortcut's alpha and beta are factors in one Darknet, and ignored in the other.
_IGNORED: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "convolutional": dict.fromkeys(
            ("flipped", "antialiasing", "xnor", "binary", "sway", "rotate", "stretch", "stretch_sway"), 0
        ),
        "maxpool": {"maxpool_depth": 0, "antialiasing": 0, "maxpool_zero_nonmax": 0},
        "reorg": {"reverse": 0, "flatten": 0, "extra": 0},
        "upsample": {"scale": 1},
        "shortcut": {"alpha": 1, "beta": 1},
        "scale_channels": {"scale_wh": 0},
        "softmax": {"groups": 1},
    }
)
# Options that change which values the weights file holds.
_OTHER_WEIGHTS = ("dontload", "numload")


def check_is_detector(name: str, sections: Sequence[Section]) -> None:
    """Raise ModelFileError where the sections are of another kind of network, before any other error in them."""
    for message in (_RECURRENT, _YOLO_V1):
        for section in sections:
            if _UNSUPPORTED.get(section.kind) == message:
                SectionReader(name, section).fail(message)
    kinds = [section.kind for section in sections]
    if not {*HEADS, "Gaussian_yolo"} & {*kinds} and {"softmax", "cost"} & {*kinds}:
        last = next(section for section in reversed(sections) if section.kind in ("softmax", "cost"))
        SectionReader(name, last).fail(_CLASSIFIER)


def trace(name: str, sections: Sequence[Section], shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Follow an input of `shape` (channels, height, width) through the layers (the sections after [net]).

    Raises ModelFileError where a layer is wrong, does not fit its input (SizeError), or is not run by OpenCV.
    """
    layers: list[Layer] = []
    source = Layer(-1, "net", 0, shape)
    run = needed(sections)
    for index, section in enumerate(sections):
        reader = SectionReader(name, section)
        unchanged = Layer(index, section.kind, section.line, source.shape, source.stride)
        source = _layer(reader, unchanged, layers, run=index in run)
        layers.append(source)
    return tuple(layers)


def _layer(reader: SectionReader, unchanged: Layer, before: Sequence[Layer], *, run: bool) -> Layer:
    apply = _kind(reader, run=run)
    for key in _OTHER_WEIGHTS:
        if reader.integer(key, 0):
            reader.fail(f"{key}={reader.text(key)}: the weights file lacks values that the network needs", key)
    if run:
        _refuse_ignored(reader)
    else:
        reader = _without_activation(reader)
    layer = apply(reader, unchanged, before)
    _check_output(reader, layer)
    if run:
        _check_sources(reader, layer, before)
    return layer


def _check_sources(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> None:
    """Refuse a layer that takes boxes: OpenCV cannot pass them on."""
    taken = [*layer.sources, *([len(before) - 1] if before and layer.kind != "route" else [])]
    heads = [before[index] for index in taken if before[index].kind in HEADS]
    if heads:
        reader.fail(
            f"takes the boxes of the [{heads[0].kind}] in line {heads[0].line}, which OpenCV cannot pass on; "
            "a [route] to the layer before that one is missing"
        )


def needed(sections: Sequence[Section]) -> frozenset[int]:
    """The indices of the layers that a head needs; all of them in a cfg without heads."""
    todo = [index for index, section in enumerate(sections) if section.kind in (*HEADS, "Gaussian_yolo")]
    if not todo:
        return frozenset(range(len(sections)))
    found: set[int] = set()
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += [source for source in _sources(sections[index], index) if 0 <= source < index]
    return frozenset(found)


def _sources(section: Section, index: int) -> Iterator[int]:
    """The layers whose output this one uses, as far as its numbers can be read."""
    if section.kind != "route":
        yield index - 1
    for key in ("layers", "from", "share_index"):
        if key in section.options:
            try:
                numbers = SectionReader("", section).integers(key)
            except ModelFileError:
                continue
            yield from (number if number >= 0 else index + number for number in numbers)


def _kind(reader: SectionReader, *, run: bool) -> LayerKind:
    kind = reader.section.kind
    if kind in KINDS:
        return KINDS[kind]
    if kind in SKIPPED and not run:
        return SKIPPED[kind]
    if kind in _UNSUPPORTED:
        reader.fail(_UNSUPPORTED[kind])
    known = {name.lower(): name for name in (*KINDS, *_UNSUPPORTED)}
    near = closest(kind.lower(), known)
    hint = f"did you mean [{known[near]}]?" if near else f"OpenCV runs {', '.join(KINDS)}"
    reader.fail(f"is not a kind of section that OpenCV has; {hint}")


def _without_activation(reader: SectionReader) -> SectionReader:
    section = reader.section
    options = {key: option for key, option in section.options.items() if key != "activation"}
    return SectionReader(reader.name, Section(section.kind, section.line, MappingProxyType(options)))


def _refuse_ignored(reader: SectionReader) -> None:
    for key, harmless in _IGNORED.get(reader.section.kind, {}).items():
        if reader.number(key, harmless) != harmless:
            value = reader.text(key)
            reader.fail(f"{key}={value}: OpenCV does not do this, so its results would be wrong; use another cfg", key)


def _check_output(reader: SectionReader, layer: Layer) -> None:
    channels, height, width = layer.shape
    message = ""
    if min(layer.shape) < 1:
        message = f"leaves an output of {width}x{height} with {channels} channels: the input is too small for it"
    elif channels * height * width > _MOST_VALUES:
        message = f"makes an output of {width}x{height} with {channels} channels, more than OpenCV can hold"
    if message:
        raise SizeError(f"{reader.name}:{layer.line}: [{layer.kind}] {message}")
