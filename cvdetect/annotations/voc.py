"""PASCAL VOC XML, one file an image; pixels are counted from 1 and both corners belong to the box.

Format: the VOC2012 development kit, section "Annotations". Each object also has its ``confidence``, which VOC's readers
ignore. ``labelmap.txt`` and ``ImageSets/Main/default.txt`` are what CVAT and datumaro look for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cvdetect.annotations.parsing import (
    Box,
    GroundTruthObject,
    Notes,
    Wh,
    format_error,
    holds_files,
    label_files,
    parse_float,
    read_bytes,
    truth_image,
)
from cvdetect.annotations.types import (
    AnnotationFormat,
    ExportInfo,
    GroundTruth,
    GroundTruthReader,
    ImageRecord,
    Match,
    Records,
)
from cvdetect.annotations.writing import Classes, escape_xml, fixed, one_line, output_stems, placed_name
from cvdetect.core.files import safe_join
from cvdetect.core.labels import LabelSet

if TYPE_CHECKING:
    from xml.etree import ElementTree

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VOC", "read_voc", "voc_pixels"]

_IMAGES, _LABELS = "JPEGImages", "Annotations"  # folders of VOC's own data
_CORNERS = ("xmin", "ymin", "xmax", "ymax")

Pixels = tuple[int, int, int, int]


def write_voc(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write one ``.xml`` an image, in the tree of the images, and the lists of images and labels into `out`.

    Where the images are put into `out` too, it is laid out as VOC's own data: the ``.xml`` lie in ``Annotations/``, and
    ``filename`` is the path below ``JPEGImages/``. Else they lie right in `out`. An image without detections has no
    object.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    stems = output_stems(records.names())
    classes = Classes(labels)
    whole_set = info.images == "placed"
    folder = out / _LABELS if whole_set else out
    for record in records:
        stem = stems[record.name]
        for class_id in record.found.class_id:
            classes.index(int(class_id))
        where = (_IMAGES, placed_name(record.name, stem)) if whole_set else posixpath.split(record.name)
        with info.file_of(record.name, safe_join(folder, stem + ".xml")) as stream:
            stream.writelines(line + "\n" for line in _annotation(record, where, labels, info.model))
    _write_list(out / "ImageSets" / "Main" / "default.txt", stems.values(), info)
    _write_list(out / "labelmap.txt", _label_map(classes.names()), info)


def _write_list(path: Path, entries: Iterable[str], info: ExportInfo) -> None:
    with info.file(path) as stream:
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


def read_voc(folder: Path) -> GroundTruth:
    """Ground truth from all ``.xml`` files under a folder; labels in alphabetical order.

    VOC counts pixels from 1 and both corners belong to the box: xmin, ymin, xmax, ymax become the edges xmin - 1,
    ymin - 1, xmax, ymax.

    Raises:
        SourceError: a file is not such a file; the message names it, the object and what is wrong with it.
    """
    notes = Notes()
    files = [(name, *_read(path, notes)) for name, path in label_files(folder, ".xml")]
    if not files:
        raise format_error(folder, "", "holds no .xml file")
    labels = sorted({label for _, _, objects in files for label, _ in objects})
    index = {label: i for i, label in enumerate(labels)}
    images = tuple(
        truth_image(name, wh, [one._replace(label=index[label]) for label, one in objects], i)
        for i, (name, wh, objects) in enumerate(files, start=1)
    )
    return GroundTruth(tuple(labels), tuple(range(1, len(labels) + 1)), images, notes.messages())


def _read(path: Path, notes: Notes) -> tuple[Wh | None, list[tuple[str, GroundTruthObject]]]:
    from xml.etree import ElementTree  # not for writing

    try:
        root = ElementTree.fromstring(read_bytes(path))
    except ElementTree.ParseError as error:
        line, column = error.position
        raise format_error(path, f"line {line}, column {column}", f"is not XML: {error}") from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not have
        raise format_error(path, "", f"cannot be read as XML: {error}") from error
    if root.tag != "annotation":
        raise format_error(path, "", f"is not a VOC annotation: its root element is <{root.tag}>, not <annotation>")
    return _size(path, root), list(_objects(path, root, notes))


def _size(path: Path, root: ElementTree.Element) -> Wh | None:
    """Width and height; None where they are not there or 0, as some tools write them."""
    texts = [root.findtext(f"size/{side}", "").strip() or "0" for side in ("width", "height")]
    numbers = [parse_float(text) for text in texts]
    for text, number in zip(texts, numbers, strict=True):
        if number is None or number < 0 or number != int(number):
            raise format_error(path, "size", f"is not in whole pixels: {text!r}")
    width, height = (int(number or 0) for number in numbers)
    return (width, height) if width and height else None


def _objects(path: Path, root: ElementTree.Element, notes: Notes) -> Iterator[tuple[str, GroundTruthObject]]:
    for i, element in enumerate(root.findall("object"), start=1):
        where = f"object {i}"
        label = element.findtext("name", "").strip()
        if not label:
            raise format_error(path, where, "has no name")
        pixels = _corners(path, f"{where} ({label})", element)
        box = (pixels[0] - 1, pixels[1] - 1, pixels[2], pixels[3])
        if pixels[0] < 1 or pixels[1] < 1:
            notes.add("reach beyond the image's first pixel, which is 1 in VOC, and are kept", f"{path}: {where}")
        if not notes.skips(box, f"{path}: {where}"):
            yield label, GroundTruthObject(box, 0, difficult=_difficult(path, where, element))


def _corners(path: Path, where: str, element: ElementTree.Element) -> Box:
    values = []
    for corner in _CORNERS:
        text = element.findtext(f"bndbox/{corner}")
        value = parse_float(text)
        if value is None:
            why = "is missing" if text is None else f"is not a number: {text!r}"
            raise format_error(path, where, f"{corner} {why}")
        values.append(value)
    return values[0], values[1], values[2], values[3]


def _difficult(path: Path, where: str, element: ElementTree.Element) -> bool:
    text = element.findtext("difficult", "").strip() or "0"
    if text not in ("0", "1"):
        raise format_error(path, where, f"difficult is {text!r}, expected 0 or 1")
    return text == "1"


def _labels_in(path: Path) -> Path:
    """The folder of label files in a VOC data set, or the folder itself."""
    return path / _LABELS if (path / _LABELS).is_dir() else path


def _match(path: Path) -> Match:
    """By the suffix of files: labelImg writes classes.txt beside them, other tools a readme.txt."""
    is_voc = path.is_dir() and (_labels_in(path) != path or holds_files(path, ".xml"))
    return Match.LIKELY if is_voc else Match.NONE


VOC = AnnotationFormat(
    name="voc",
    write=write_voc,
    images=_IMAGES,
    reader=GroundTruthReader(
        reads="a folder of VOC XML files",
        match=_match,
        files=lambda path: [file for _, file in label_files(_labels_in(path), ".xml")],
        read=lambda path, _: read_voc(_labels_in(path)),
    ),
)
