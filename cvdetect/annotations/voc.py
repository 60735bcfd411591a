"""PASCAL VOC XML, one file an image; pixels are counted from 1 and both corners belong to the box.

Format: the VOC2012 development kit, section "Annotations". Besides, each object has its ``confidence``, which VOC's
readers pass over. ``labelmap.txt`` and ``ImageSets/Main/default.txt`` are what CVAT and datumaro look for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.annotations.classes import Classes
from cvdetect.annotations.naming import escape_xml, fixed, one_line, output_stems, placed_name
from cvdetect.annotations.types import Facts, ImageRecord, Records
from cvdetect.core.files import place
from cvdetect.core.labels import LabelSet

__all__ = ["VOC_IMAGES", "voc_pixels", "write_voc"]

VOC_IMAGES = "JPEGImages"

Pixels = tuple[int, int, int, int]


def write_voc(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write one ``.xml`` an image, in the tree of the images, and the lists of images and labels into `out`.

    Where the images are put into `out` too, it is laid out as VOC's own data: the ``.xml`` lie in ``Annotations/``, and
    ``filename`` is the path below ``JPEGImages/``. Else they lie right in `out`. An image without detections has no
    object.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    stems = output_stems(records.names())
    classes = Classes(labels)
    whole_set = facts.images == "placed"
    folder = out / "Annotations" if whole_set else out
    for record in records:
        stem = stems[record.name]
        for class_id in record.found.class_id:
            classes.index(int(class_id))
        where = (VOC_IMAGES, placed_name(record.name, stem)) if whole_set else posixpath.split(record.name)
        with facts.file_of(record.name, place(folder, stem + ".xml")) as stream:
            stream.writelines(line + "\n" for line in _annotation(record, where, labels, facts.model))
    _write_list(out / "ImageSets" / "Main" / "default.txt", stems.values(), facts)
    _write_list(out / "labelmap.txt", _label_map(classes.names()), facts)


def _write_list(path: Path, entries: Iterable[str], facts: Facts) -> None:
    with facts.file(path) as stream:
        stream.writelines(one_line(entry) + "\n" for entry in entries)


def _label_map(names: list[str]) -> Iterator[str]:
    """``label:color:parts:actions``, the last three left to the reader.

    A label with a colon cannot be told apart from its fields, and one wrong line makes readers refuse all: it has none.
    """
    yield "# label:color_rgb:parts:actions"
    yield from (f"{name}:::" for name in dict.fromkeys(names) if ":" not in name)


def _annotation(record: ImageRecord, where: tuple[str, str], labels: LabelSet, model: str) -> Iterator[str]:
    folder, filename = where
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
