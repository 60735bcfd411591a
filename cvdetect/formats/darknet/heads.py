"""The detection heads of a Darknet cfg, its [yolo] and [region] sections: their classes, anchors and grids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cvdetect.formats.darknet.kinds import Layer
from cvdetect.formats.darknet.layers import HEADS
from cvdetect.formats.darknet.text import Section, SectionReader

__all__ = ["Head", "notes_on_heads", "read_heads"]

# Width and height of an anchor that the cfg does not give (parser.c and yolo_layer.c).
_NO_ANCHOR = 0.5
_MOST_ANCHORS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One detection layer.

    Its output has one row for each cell (row by row) and anchor: `grid height * grid width * len(anchors)` rows.

    Attributes:
        kind: "yolo" (v3 and later) or "region" (v2).
        layer_index: its position among the layers; the first section after [net] is 0.
        classes: number of classes.
        anchors: (width, height) of the anchors this head uses, in the order of its mask; in pixels of the network
            input for "yolo", in grid cells for "region".
        scale_x_y: how far a centre may lie outside its cell (1.0: not at all).
        new_coords: True where the convolution before it already applies the logistic function.
        stride: pixels of the network input from one cell to the next.
        diou_nms: True where Darknet's non-maximum suppression compares DIoU (Zheng et al., 2020), not IoU.
    """

    kind: Literal["yolo", "region"]
    layer_index: int
    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    new_coords: bool
    stride: int
    diou_nms: bool = False


def read_heads(name: str, sections: Sequence[Section], layers: Sequence[Layer]) -> tuple[Head, ...]:
    """Read the heads among the layers (`sections` without [net]); raises ModelFileError where one is wrong."""
    heads: list[Head] = []
    for layer, section in zip(layers, sections, strict=True):
        if section.kind not in HEADS:
            continue
        reader = SectionReader(name, section)
        head = _read_head(reader, layer)
        for other in heads[:1]:
            _check_alike(reader, head, other, SectionReader(name, sections[other.layer_index]))
        _check_filters(reader, head, sections[: layer.index], layer)
        heads.append(head)
    return tuple(heads)


def notes_on_heads(name: str, sections: Sequence[Section]) -> Iterator[str]:
    """One note on each line of a head that may not have the effect that was meant."""
    for section in sections:
        if section.kind not in HEADS:
            continue
        reader = SectionReader(name, section)
        where = f"{name}:{reader.line('anchors')}: [{section.kind}]"
        num, given = reader.integer("num", 1), len(reader.numbers("anchors"))
        if not given:
            yield f"{where} has no anchors=: each is {_NO_ANCHOR:g} wide and high, as in Darknet"
        elif given != 2 * num:
            rest = "the rest is ignored" if given > 2 * num else f"the missing ones are {_NO_ANCHOR:g}"
            yield f"{where} anchors= has {given} numbers, num={num} needs {2 * num}: {rest}, as in Darknet"


def _check_alike(reader: SectionReader, head: Head, other: Head, first: SectionReader) -> None:
    """All heads of a detector are of one kind and share one list of classes."""
    if head.kind != other.kind:
        reader.fail(f"comes with the [{other.kind}] of line {first.section.line}: no network has both")
    if head.kind == "region":
        reader.fail("is the second of its kind: OpenCV runs only one [region] a network")
    if head.classes != other.classes:
        reader.fail(
            f"classes={head.classes}, but the [{other.kind}] above has classes={other.classes} "
            f"(line {first.line('classes')}): all heads of a detector share one list of classes",
            "classes",
        )


def _read_head(reader: SectionReader, layer: Layer) -> Head:
    region = reader.section.kind == "region"
    if region:
        _check_region(reader)
    return Head(
        kind="region" if region else "yolo",
        layer_index=layer.index,
        classes=reader.integer("classes", 20, least=1),
        anchors=_read_anchors(reader),
        scale_x_y=1.0 if region else _scale_x_y(reader),
        new_coords=not region and reader.integer("new_coords", 0) != 0,
        stride=_cell_stride(reader, layer),
        diou_nms=not region and reader.text("nms_kind") == "diounms",
    )


def _check_region(reader: SectionReader) -> None:
    if reader.text("tree"):
        reader.fail("tree= makes this a YOLO9000 network, a kind that OpenCV does not run", "tree")
    if reader.integer("softmax", 0) == 0:
        reader.fail("OpenCV runs a [region] only with softmax=1; without it Darknet takes 0", "softmax")
    if reader.integer("coords", 4) != 4:
        reader.fail(f"coords={reader.text('coords')}: OpenCV runs a [region] only with coords=4", "coords")
    if reader.integer("background", 0):
        reader.fail("background=1: OpenCV does not do this, so its results would be wrong", "background")


def _scale_x_y(reader: SectionReader) -> float:
    scale = reader.number("scale_x_y", 1.0)
    if scale <= 0:
        reader.fail(f"scale_x_y={reader.text('scale_x_y')}: must be above 0", "scale_x_y")
    return scale


def _read_anchors(reader: SectionReader) -> tuple[tuple[float, float], ...]:
    """The anchors in the order of the mask; Darknet's default of each is 0.5 by 0.5, and every anchor is used."""
    num = reader.integer("num", 1, least=1)
    values = reader.numbers("anchors")[: 2 * num]
    if values and min(values) <= 0:
        reader.fail(f"anchors= holds {min(values):g}: widths and heights must be above 0", "anchors")
    if num > _MOST_ANCHORS:
        reader.fail(f"num={num}: no network has more than {_MOST_ANCHORS} anchors", "num")
    values += (_NO_ANCHOR,) * (2 * num - len(values))
    anchors = tuple(zip(values[::2], values[1::2], strict=True))
    if reader.section.kind == "region" or not reader.has("mask"):
        return anchors
    mask = reader.integers("mask")
    wrong = [index for index in mask if not 0 <= index < num]
    if wrong:
        given = f"num={num}" if reader.has("num") else f"no num= (Darknet takes {num})"
        reader.fail(
            f"mask={reader.text('mask')}: {wrong[0]} is not an anchor; with {given} they are 0 to {num - 1}", "mask"
        )
    return tuple(anchors[index] for index in mask)


def _cell_stride(reader: SectionReader, layer: Layer) -> int:
    if layer.stride is None or layer.stride.denominator != 1:
        reader.fail("follows layers that leave no grid of cells; it must follow convolutions")
    return int(layer.stride)


def _check_filters(reader: SectionReader, head: Head, before: Sequence[Section], layer: Layer) -> None:
    needed = (head.classes + 5) * len(head.anchors)
    got = layer.shape[0]
    if got == needed:
        return
    rule = f"needs {needed} with classes={head.classes} and {len(head.anchors)} anchors: (classes + 5) * anchors"
    if before and before[-1].kind == "convolutional":
        SectionReader(reader.name, before[-1]).fail(f"filters={got}, but the [{head.kind}] after it {rule}", "filters")
    reader.fail(f"gets {got} channels, but {rule}")
