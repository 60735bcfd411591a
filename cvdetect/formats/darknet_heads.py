"""The [yolo] and [region] sections of a Darknet cfg: which boxes they make of the layer before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cvdetect.formats.darknet_layers import Layer
from cvdetect.formats.darknet_text import Section, SectionReader

__all__ = ["Head", "read_heads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One detection layer.

    Its output has one row for each cell (row by row) and anchor: `grid height * grid width * len(anchors)` rows.

    Attributes:
        kind: "yolo" (v3 and later) or "region" (v2).
        layer_index: its place among the layers, the first section after [net] being 0.
        output_name: what OpenCV calls its output, e.g. "yolo_16"; "detection_out" for a region.
        classes: number of classes.
        anchors: (width, height) of the anchors this head uses, in the order of its mask; in pixels of the network
            input for "yolo", in grid cells for "region".
        scale_x_y: how far a centre may leave its cell (1.0: not at all).
        new_coords: True where the convolution before it already applies the logistic function.
        softmax: True where the class scores of a region go through a softmax.
        stride: pixels of the network input from one cell to the next.
    """

    kind: Literal["yolo", "region"]
    layer_index: int
    output_name: str
    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    new_coords: bool
    softmax: bool
    stride: int


def read_heads(name: str, sections: Sequence[Section], layers: Sequence[Layer]) -> tuple[Head, ...]:
    """Read the heads among the layers (`sections` without [net]); raises ModelFileError where one is wrong."""
    heads: list[Head] = []
    for layer, section in zip(layers, sections, strict=True):
        if section.kind not in ("yolo", "region"):
            continue
        reader = SectionReader(name, section)
        if section.kind == "region" and any(head.kind == "region" for head in heads):
            reader.fail("is the second of its kind: OpenCV runs only one [region] a network")
        head = _read_head(reader, layer)
        _check_filters(reader, head, sections[: layer.index], layer)
        heads.append(head)
    return tuple(heads)


def _read_head(reader: SectionReader, layer: Layer) -> Head:
    region = reader.section.kind == "region"
    if reader.text("activation", "linear") != "linear":
        reader.fail("activation= does nothing in Darknet here, but spoils OpenCV's boxes; remove it", "activation")
    if region:
        _check_region(reader)
    return Head(
        kind="region" if region else "yolo",
        layer_index=layer.index,
        output_name="detection_out" if region else f"yolo_{layer.index}",
        classes=reader.integer("classes", least=1),
        anchors=_read_anchors(reader),
        scale_x_y=1.0 if region else _scale_x_y(reader),
        new_coords=not region and reader.integer("new_coords", 0) == 1,
        softmax=region,
        stride=_cell_stride(reader, layer),
    )


def _check_region(reader: SectionReader) -> None:
    if reader.text("tree"):
        reader.fail("tree= makes this a YOLO9000 network, a kind that OpenCV does not run", "tree")
    if reader.integer("softmax", 0) != 1:
        reader.fail("OpenCV runs a [region] only with softmax=1", "softmax")
    if reader.integer("coords", 4) != 4:
        reader.fail(f"coords={reader.text('coords')}: OpenCV runs a [region] only with coords=4", "coords")


def _scale_x_y(reader: SectionReader) -> float:
    scale = reader.number("scale_x_y", 1.0)
    if scale <= 0:
        reader.fail(f"scale_x_y={reader.text('scale_x_y')}: must be above 0", "scale_x_y")
    return scale


def _read_anchors(reader: SectionReader) -> tuple[tuple[float, float], ...]:
    num, values = reader.integer("num", least=1), reader.numbers("anchors")
    if len(values) != 2 * num:
        reader.fail(
            f"anchors= has {len(values)} numbers, num={num} needs {2 * num}: a width and a height each", "anchors"
        )
    if min(values) <= 0:
        reader.fail(f"anchors= holds {min(values):g}: widths and heights must be above 0", "anchors")
    anchors = tuple(zip(values[::2], values[1::2], strict=True))
    if reader.section.kind == "region":
        return anchors
    mask = reader.integers("mask")
    wrong = [index for index in mask if not 0 <= index < num]
    if wrong:
        reader.fail(
            f"mask={reader.text('mask')}: {wrong[0]} names no anchor; with num={num} they are 0 to {num - 1}", "mask"
        )
    return tuple(anchors[index] for index in mask)


def _cell_stride(reader: SectionReader, layer: Layer) -> int:
    if layer.stride is None or layer.stride.denominator != 1:
        reader.fail("stands behind layers that leave no grid of cells; it belongs behind convolutions")
    return int(layer.stride)


def _check_filters(reader: SectionReader, head: Head, before: Sequence[Section], layer: Layer) -> None:
    needed = (head.classes + 5) * len(head.anchors)
    got = layer.shape[0]
    if got == needed:
        return
    rule = f"classes={head.classes} with {len(head.anchors)} anchors needs {needed}: (classes + 5) * anchors"
    if before and before[-1].kind == "convolutional":
        SectionReader(reader.name, before[-1]).fail(
            f"filters={got}, but the [{head.kind}] behind it with {rule}", "filters"
        )
    reader.fail(f"gets {got} channels, but {rule}")
