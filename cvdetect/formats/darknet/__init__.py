"""Darknet models: reads a cfg, checks it and its weights before OpenCV sees them, and writes the cfg that OpenCV gets.

OpenCV's importer accepts weights that are cut short or belong to another network in silence, reports a wrong cfg as an
assertion, and reads some right ones differently from Darknet. Here every error is a sentence with file, line and
section, and OpenCV gets a cfg of its own.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.source import ModelSource
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.formats.base import GraphThresholds, WeightsError, read_bytes, read_text
from cvdetect.formats.darknet.heads import Head, notes_on_heads, read_heads
from cvdetect.formats.darknet.kinds import Layer, SizeError
from cvdetect.formats.darknet.layers import check_is_detector, needed, trace
from cvdetect.formats.darknet.opencv import opencv_outputs, opencv_text, opencv_weights
from cvdetect.formats.darknet.text import Section, SectionReader, notes_on_keys, read_sections

__all__ = [
    "Cfg",
    "ForOpenCV",
    "Section",
    "check_size",
    "check_weights",
    "flops",
    "for_opencv",
    "layers",
    "open_darknet",
    "parameters",
    "parse_cfg",
    "total_stride",
]

_CHANNELS: Mapping[Literal[1, 3, 4], str] = {1: "grey", 3: "RGB", 4: "RGB and alpha"}
_MOST_NOTES = 20
# Nearly all networks take multiples of these; they are tried where the cfg's own size does not fit.
_USUAL_STRIDES = (32, 64, 128)

_SHORT_HEADER, _LONG_HEADER = 16, 20
_AGAIN = "download it again"
_PRETRAINED = re.compile(r"\.conv\.([0-9]{1,4})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cfg:
    """A Darknet network description that OpenCV can run.

    Attributes:
        name: what errors call the file.
        sections: all of them, [net] first.
        input_wh: width and height of the network input in pixels, as the cfg states.
        fitting_wh: a size at which the layers fit together: `input_wh` if they do there.
        channels: of the network input: 1 (grey), 3 or 4 (RGB and alpha).
        letter_box: True where the network was trained on letterboxed images, which OpenCV ignores.
        heads: the detection layers in order; empty where there are none.
        notes: one sentence for each line that its author may have meant differently.
    """

    name: str
    sections: tuple[Section, ...]
    input_wh: tuple[int, int]
    fitting_wh: tuple[int, int]
    channels: Literal[1, 3, 4]
    letter_box: bool
    heads: tuple[Head, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForOpenCV:
    """What OpenCV's importer gets.

    Attributes:
        text: a cfg.
        weights: the content of a weights file, uint8 (size,).
        outputs: the names of the heads' outputs.
    """

    text: str
    weights: NDArray[np.uint8]
    outputs: list[str]


def parse_cfg(
    text: str, name: str, wh: tuple[int, int] | None = None, warn: Callable[[str], None] = lambda note: None
) -> Cfg:
    """Parse and check a cfg.

    Args:
        text: the content of the file.
        name: what errors call it.
        wh: the width and height at which it is to run, in pixels; None for the cfg's own.
        warn: gets each of the notes as soon as it is known, so that a misspelt key is reported before what it breaks.

    Raises ModelFileError, `name:line: [section] what is wrong, what would be right`, for whatever keeps OpenCV from
    running it as Darknet does. A size that does not fit is left to `check_size`.
    """
    sections, text_notes = read_sections(text, name)
    if not sections:
        raise ModelFileError(f"{name}: holds no section; a cfg begins with [net] and has one section a layer")
    net = SectionReader(name, sections[0])
    _check_first(net, sections)
    notes = [*notes_on_keys(name, sections), *text_notes]
    if len(notes) > _MOST_NOTES:
        notes[_MOST_NOTES:] = [f"{name}: {len(notes) - _MOST_NOTES} more lines may not have the effect that was meant"]
    for note in notes:
        warn(note)
    own, channels = wh if wh and not _has_size(net) else _size(net), _channels(net)
    fitting = _fitting(name, sections[1:], channels, [size for size in (wh, own) if size is not None])
    heads = read_heads(name, sections[1:], trace(name, sections[1:], (channels, fitting[1], fitting[0])))
    for note in notes_on_heads(name, sections[1:]):
        notes.append(note)
        warn(note)
    return Cfg(
        name=name,
        sections=sections,
        input_wh=own,
        fitting_wh=fitting,
        channels=channels,
        letter_box=net.integer("letter_box", 0) != 0,
        heads=heads,
        notes=tuple(notes),
    )


def _check_first(net: SectionReader, sections: Sequence[Section]) -> None:
    if net.section.kind != "net":
        net.fail("is the first section, but a cfg begins with [net]")
    if len(sections) == 1:
        net.fail("no layer follows: the file is cut short, or not a network")
    check_is_detector(net.name, sections[1:])


def _has_size(net: SectionReader) -> bool:
    return net.has("width") and net.has("height")


def _size(net: SectionReader) -> tuple[int, int]:
    for key in ("width", "height"):
        if not net.has(key):
            net.fail(
                f"has no {key}=: Darknet does not run without it; write {key}=N, or give the size with {arg('size')}"
            )
    return net.integer("width", 0, least=1), net.integer("height", 0, least=1)


def _channels(net: SectionReader) -> Literal[1, 3, 4]:
    if not net.has("channels"):
        net.fail("has no channels=: Darknet does not run without it; write channels=3, or 1 for grey images")
    channels = net.integer("channels", 0, least=1)
    for number in _CHANNELS:
        if number == channels:
            return number
    takes = ", ".join(f"{number} ({what})" for number, what in _CHANNELS.items())
    net.fail(f"channels={channels}: no image has as many; networks for images take {takes}", "channels")


def _fitting(
    name: str, sections: Sequence[Section], channels: int, wanted: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """The first of the sizes `wanted` that fits, else one near them; where none does, the network is wrong."""
    rounded = [
        (-(-width // stride) * stride, -(-height // stride) * stride)
        for width, height in wanted
        for stride in _USUAL_STRIDES
    ]
    first: SizeError | None = None
    for width, height in (*wanted, *rounded):
        try:
            trace(name, sections, (channels, height, width))
        except SizeError as error:
            first = first or error
        else:
            return width, height
    assert first is not None
    raise first


def layers(cfg: Cfg, wh: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """The layers with their output shapes for an input of `wh` (width, height; None: a size that fits).

    Raises ModelFileError where the layers do not fit together at that size.
    """
    width, height = wh or cfg.fitting_wh
    return trace(cfg.name, cfg.sections[1:], (cfg.channels, height, width))


def parameters(cfg: Cfg) -> int:
    """The number of float32 values that the weights file must hold behind its header."""
    return sum(layer.parameters for layer in layers(cfg))


def flops(cfg: Cfg, wh: tuple[int, int] | None = None) -> int:
    """Floating point operations for one image: 2 for each multiplication in convolutions and connected layers.

    The "BFLOPs" that Darknet prints, times 1e9. Bias, batch normalization and activations are not counted.
    """
    return 2 * sum(layer.macs for layer in layers(cfg, wh))


def total_stride(cfg: Cfg) -> int:
    """The number that width and height must be multiples of: 32 for nearly all detectors."""
    return math.lcm(*(layer.stride.numerator for layer in layers(cfg) if layer.stride is not None))


def check_size(cfg: Cfg, wh: tuple[int, int]) -> None:
    """Check that the network runs with an input of `wh` (width, height).

    Raises UsageError, with the nearest right sizes, where it does not.
    """
    if wh == cfg.input_wh == cfg.fitting_wh:
        return
    width, height = wh
    stride = total_stride(cfg)
    place = (
        f"{cfg.name}: its own size {width}x{height} does not fit"
        if wh == cfg.input_wh
        else (f"size {width}x{height} does not fit {cfg.name}")
    )
    if min(wh) < 1 or width % stride or height % stride:
        raise UsageError(f"{place}: {_nearest(wh, stride)}")
    try:
        resized = layers(cfg, wh)
    except ModelFileError as error:
        raise UsageError(f"{place}: {error}") from error
    if sum(layer.parameters for layer in resized) != parameters(cfg):
        own = "x".join(map(str, cfg.fitting_wh))
        raise UsageError(f"{place}: its connected layers take only {own}")


def _nearest(wh: tuple[int, int], stride: int) -> str:
    smaller = [max(stride, side // stride * stride) for side in wh]
    larger = [max(stride, -(-side // stride) * stride) for side in wh]
    sizes = dict.fromkeys(f"{width}x{height}" for width, height in (smaller, larger))
    return f"width and height must be multiples of {stride}, such as {arg('size')} {' or '.join(sizes)}"


def check_weights(cfg: Cfg, header: bytes, size: int, name: str) -> None:
    """Check that a weights file is whole and belongs to the cfg.

    Args:
        cfg: the network.
        header: the first 64 or more bytes of the file (less only where the file is shorter).
        size: the size of the whole file in bytes.
        name: what errors call the file.

    Raises ModelFileError that states what the file is (a web page, a Git LFS pointer, cut short, another network's).
    """
    if size == 0:
        raise ModelFileError(f"{name}: the file is empty; {_AGAIN}")
    foreign = describe_foreign(header)
    if foreign:
        raise ModelFileError(f"{name}: not Darknet weights but {foreign}; {_AGAIN}")
    begins = _header_size(header)
    expected = 4 * parameters(cfg) + (begins or _LONG_HEADER)
    if size < _LONG_HEADER:
        raise ModelFileError(f"{name}: cut short: {size:,} of {expected:,} bytes; {_AGAIN}")
    if begins is None:
        raise ModelFileError(f"{name}: does not begin as Darknet weights do; {_AGAIN}, or convert it")
    if size != expected:
        _refuse_size(cfg, begins, size, expected, name)


def _header_size(header: bytes) -> int | None:
    """Bytes before the first value: three int32 (major, minor, revision), then the number of images seen.

    That number has 8 bytes from version 0.2 on and 4 before. None where this is not such a header (versions over 1000
    mark transposed weights, which OpenCV does not read).
    """
    if len(header) < _SHORT_HEADER:
        return None
    major, minor = struct.unpack_from("<ii", header)
    if not (0 <= major <= 1000 and 0 <= minor <= 1000):
        return None
    return _LONG_HEADER if major * 10 + minor >= 2 else _SHORT_HEADER


def _refuse_size(cfg: Cfg, begins: int, size: int, expected: int, name: str) -> None:
    every = layers(cfg)
    found = _PRETRAINED.search(name)
    named = int(found[1]) if found else 0
    count = _layers_covered(every, size - begins, named) or named
    if count:
        raise ModelFileError(
            f"{name}: holds only the first {count} layers (of {len(every)} in {cfg.name}): pretrained layers to begin "
            "training with, which detect nothing yet; use the weights that training has written"
        )
    if size < expected:
        raise ModelFileError(
            f"{name}: cut short: {size:,} of {expected:,} bytes ({size / expected:.0%}); {_AGAIN}, "
            f"or use the cfg that belongs to it if it is not {cfg.name}"
        )
    raise ModelFileError(
        f"{name}: belongs to another network: {cfg.name} needs {expected:,} bytes, the file has {size:,}; "
        f"use the cfg that belongs to it, or {_AGAIN}"
    )


def _layers_covered(layers: Sequence[Layer], size: int, named: int) -> int:
    """How many first layers, not all, have exactly `size` bytes of weights; 0 where no number has.

    Layers without weights at the end may count or not: `named` where it is one of the numbers, else the largest.
    """
    ends = list(accumulate(4 * layer.parameters for layer in layers))
    covered = [place for place, end in enumerate(ends, start=1) if end == size and 0 < size < ends[-1]]
    return named if named in covered else max(covered, default=0)


def for_opencv(cfg: Cfg, weights: NDArray[np.uint8], wh: tuple[int, int] | None = None) -> ForOpenCV:
    """What OpenCV gets of a cfg with heads and its weights (uint8 (size,), checked by `check_weights`).

    It holds only what the heads need, every option written out as Darknet means it, with all thresholds at 0.
    """
    every = layers(cfg, wh)
    wanted = needed(cfg.sections[1:])
    run = [layer for layer in every if layer.index in wanted]
    header = _header_size(weights[:64].tobytes())
    assert header is not None, "check_weights accepts only files with a header"
    width, height = wh or cfg.fitting_wh
    return ForOpenCV(
        text=opencv_text(run, cfg.heads, (cfg.channels, height, width)),
        weights=opencv_weights(weights, header, every, run),
        outputs=opencv_outputs(run, cfg.heads),
    )


def open_darknet(
    spec: ModelSpec, files: Mapping[Role, Path], _thresholds: GraphThresholds, progress: Progress
) -> ModelSource:
    """Read and check cfg and weights → the network for OpenCV, equal to Darknet's, with all thresholds at 0.

    Raises:
        ModelFileError: the cfg is wrong, or has no head.
        WeightsError: the weights are damaged, or not the cfg's own.
        UsageError: the input size does not fit.
    """
    path = files["cfg"]
    cfg = parse_cfg(read_text(path), str(path), spec.input.wh, progress.warn)
    if not cfg.heads:
        raise ModelFileError(f"{path}: has no [yolo] or [region] section: it is not a detector")
    wh = spec.input.wh or cfg.input_wh
    check_size(cfg, wh)
    weights = read_bytes(files["weights"])
    try:
        check_weights(cfg, weights[:512].tobytes(), weights.size, str(files["weights"]))
    except ModelFileError as error:
        raise WeightsError(str(error)) from error
    if cfg.channels == 4:
        progress.warn(f"{path}: channels=4: the fourth is alpha; images count as opaque, so it is 255 everywhere")
    if any(head.diou_nms for head in cfg.heads):
        progress.detail(f"{path}: Darknet suppresses boxes of this model by their DIoU, cvdetect by their IoU")
    return _source(cfg, weights, wh)


def _source(cfg: Cfg, weights: NDArray[np.uint8], wh: tuple[int, int]) -> ModelSource:
    ready, head = for_opencv(cfg, weights, wh), cfg.heads[0]
    return ModelSource(
        format="darknet",
        name=cfg.name,
        content=ready.weights,
        text=ready.text,
        wh=wh,
        channels=cfg.channels,
        letterbox=cfg.letter_box,
        outputs=tuple(ready.outputs),
        head=f"[{head.kind}]",
        classes=head.classes,
        anchors=head.anchors,
    )
