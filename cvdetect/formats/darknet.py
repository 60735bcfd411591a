"""Darknet models: what a cfg says, checked before OpenCV sees it, and whether a weights file belongs to it.

OpenCV's importer takes weights that are cut short or belong to another network without a word, and answers a wrong
cfg with an assertion. Here every fault has a sentence with file, line and section.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cvdetect.errors import ModelFileError, UsageError
from cvdetect.formats.darknet_heads import Head, read_heads
from cvdetect.formats.darknet_layers import Layer, trace
from cvdetect.formats.darknet_text import Option, Section, SectionReader, fail, read_sections, with_open_thresholds
from cvdetect.formats.darknet_weights import check_size_of_weights

__all__ = [
    "Cfg",
    "Head",
    "Layer",
    "Option",
    "Section",
    "check_size",
    "check_weights",
    "flops",
    "layers",
    "parameters",
    "parse_cfg",
    "total_stride",
    "with_open_thresholds",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cfg:
    """A Darknet network description that OpenCV can run.

    Attributes:
        name: what errors call the file.
        sections: all of them, [net] first.
        input_wh: width and height of the network input in pixels (416 where the cfg does not say, as in OpenCV).
        channels: channels of the network input.
        letter_box: True where the network was trained on letterboxed images, which OpenCV ignores.
        heads: the detection layers in order; empty for a classifier.
        notes: one sentence for each thing that Darknet and OpenCV read differently or that both ignore.
    """

    name: str
    sections: tuple[Section, ...]
    input_wh: tuple[int, int]
    channels: int
    letter_box: bool
    heads: tuple[Head, ...]
    notes: tuple[str, ...] = ()


def parse_cfg(text: str, name: str) -> Cfg:
    """Parse and check a cfg.

    Raises ModelFileError, `name:line: [section] what is wrong, what would be right`, for whatever keeps OpenCV from
    running it rightly.
    """
    sections, notes = read_sections(text, name)
    if not sections:
        raise ModelFileError(f"{name}: holds no section; a cfg begins with [net] and has one section a layer")
    net = sections[0]
    if net.kind != "net":
        right = "OpenCV knows it only as [net]" if net.kind == "network" else "a cfg begins with [net]"
        fail(name, net.line, net.kind, f"is the first section, but {right}")
    if len(sections) == 1:
        fail(name, net.line, "net", "no layer follows: the file is cut short or no network")
    read = SectionReader(name, net)
    wh = (read.integer("width", 416, least=1), read.integer("height", 416, least=1))
    channels = read.integer("channels", 3, least=1)
    traced = trace(name, sections[1:], (channels, wh[1], wh[0]))
    return Cfg(
        name=name,
        sections=sections,
        input_wh=wh,
        channels=channels,
        letter_box=read.integer("letter_box", 0) == 1,
        heads=read_heads(name, sections[1:], traced),
        notes=notes,
    )


def layers(cfg: Cfg, wh: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """The layers with their output shapes for an input of `wh` (width, height; None: the cfg's own).

    Raises ModelFileError where the layers do not fit together at that size.
    """
    width, height = wh or cfg.input_wh
    return trace(cfg.name, cfg.sections[1:], (cfg.channels, height, width))


def parameters(cfg: Cfg) -> int:
    """The number of float32 values that the weights file must hold behind its header."""
    return sum(layer.parameters for layer in layers(cfg))


def flops(cfg: Cfg, wh: tuple[int, int] | None = None) -> int:
    """Floating point operations for one image: 2 for each multiplication in convolutions and connected layers.

    The "BFLOPs" that Darknet prints, times 1e9. Bias, batch normalisation and activations are not counted.
    """
    return 2 * sum(layer.macs for layer in layers(cfg, wh))


def total_stride(cfg: Cfg) -> int:
    """The number that width and height must be multiples of: 32 for nearly all detectors."""
    return math.lcm(*(layer.stride.numerator for layer in layers(cfg) if layer.stride is not None))


def check_size(cfg: Cfg, wh: tuple[int, int]) -> None:
    """Check that the network runs with an input of `wh` (width, height); the cfg's own size always fits.

    Raises UsageError, with the nearest right sizes, where it does not.
    """
    if wh == cfg.input_wh:
        return
    width, height = wh
    stride = total_stride(cfg)
    if min(wh) < 1 or width % stride or height % stride:
        raise UsageError(f"size {width}x{height} does not fit {cfg.name}: {_nearest(wh, stride)}")
    try:
        resized = layers(cfg, wh)
    except ModelFileError as error:
        raise UsageError(f"size {width}x{height} does not fit {cfg.name}: {error}") from error
    if sum(layer.parameters for layer in resized) != parameters(cfg):
        own = "x".join(map(str, cfg.input_wh))
        raise UsageError(f"size {width}x{height} does not fit {cfg.name}: its connected layers take only {own}")


def _nearest(wh: tuple[int, int], stride: int) -> str:
    smaller = [max(stride, side // stride * stride) for side in wh]
    larger = [max(stride, -(-side // stride) * stride) for side in wh]
    sizes = dict.fromkeys(f"{width}x{height}" for width, height in (smaller, larger))
    return f"width and height must be multiples of {stride}, such as {' or '.join(sizes)}"


def check_weights(cfg: Cfg, header: bytes, size: int, name: str) -> None:
    """Check that a weights file is whole and belongs to the cfg.

    Args:
        cfg: the network.
        header: the first 64 or more bytes of the file (less only where the file is shorter).
        size: the size of the whole file in bytes.
        name: what errors call the file.

    Raises ModelFileError saying what the file is (a web page, a Git LFS pointer, cut short, another network's).
    """
    check_size_of_weights(parameters(cfg), cfg.name, header, size, name)
