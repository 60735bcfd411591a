"""PASCAL VOC XML, one file an image; pixels are counted from 1 and both corners belong to the box.

Format: the VOC2012 development kit, section "Annotations". Besides, each object has its ``confidence``, which VOC's
readers pass over.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.annotations.naming import escape_xml, fixed, output_stems
from cvdetect.annotations.record import Facts, ImageRecord, Records
from cvdetect.files import place
from cvdetect.labels import LabelSet

__all__ = ["voc_pixels", "write_voc"]

Pixels = tuple[int, int, int, int]


def write_voc(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write one ``.xml`` an image into `out`, in the tree of the images; an image without detections has no object.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    stems = output_stems(records.names())
    for record in records:
        with facts.file_of(record.name, place(out, stems[record.name] + ".xml")) as stream:
            stream.writelines(line + "\n" for line in _annotation(record, labels, facts.model))


def _annotation(record: ImageRecord, labels: LabelSet, model: str) -> Iterator[str]:
    folder, filename = posixpath.split(record.name)
    width, height = record.wh
    yield "<annotation>"
    yield f"  <folder>{escape_xml(folder)}</folder>"
    yield f"  <filename>{escape_xml(filename)}</filename>"
    yield f"  <source><database>Unknown</database><annotation>{escape_xml(model)}</annotation></source>"
    yield f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    yield "  <segmented>0</segmented>"
    found = record.found
    for box, class_id, score in zip(found.xyxy, found.class_id, found.score, strict=True):
        yield from _object(voc_pixels(box, record.wh), record.wh, labels.label(int(class_id)), float(score))
    yield "</annotation>"


def _object(pixels: Pixels, wh: tuple[int, int], label: str, score: float) -> Iterator[str]:
    xmin, ymin, xmax, ymax = pixels
    # A detector cannot know what lies outside: an object that reaches the border is taken to go on beyond it.
    truncated = xmin == 1 or ymin == 1 or xmax == wh[0] or ymax == wh[1]
    yield "  <object>"
    yield f"    <name>{escape_xml(label)}</name>"
    yield "    <pose>Unspecified</pose>"
    yield f"    <truncated>{int(truncated)}</truncated>"
    yield "    <difficult>0</difficult>"
    yield f"    <confidence>{fixed(score, 6)}</confidence>"
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    yield f"    <bndbox>{corners}</bndbox>"
    yield "  </object>"


def voc_pixels(box: NDArray[np.float32], wh: tuple[int, int]) -> Pixels:
    """A box (4,) of edges → its first and last pixel, from 1: (10.2, 20, 30.7, 40) → 11, 21, 31, 40.

    At least one pixel, and none outside the image.
    """
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    xmin, ymin = (min(max(low + 1, 1), side) for low, side in zip((x1, y1), wh, strict=True))
    xmax, ymax = (max(min(high, side), low) for high, low, side in zip((x2, y2), (xmin, ymin), wh, strict=True))
    return xmin, ymin, xmax, ymax
