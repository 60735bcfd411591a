"""A folder of PASCAL VOC XML files as ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from cvdetect.annotations.parsing import (
    Box,
    Notes,
    Thing,
    Wh,
    label_files,
    parse_finite,
    read_bytes,
    truth_image,
    wrong,
)
from cvdetect.annotations.types import Truth

__all__ = ["read_voc"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(folder: Path) -> Truth:
    """Ground truth from all ``.xml`` files under a folder; labels in alphabetical order.

    VOC counts pixels from 1 and both corners belong to the box: xmin, ymin, xmax, ymax become the edges xmin - 1,
    ymin - 1, xmax, ymax.

    Raises:
        SourceError: a file is not such a file; the message names it, the object and what is wrong with it.
    """
    notes = Notes()
    files = [(name, *_read(path, notes)) for name, path in label_files(folder, ".xml")]
    if not files:
        raise wrong(folder, "", "holds no .xml file")
    labels = sorted({label for _, _, objects in files for label, _ in objects})
    index = {label: i for i, label in enumerate(labels)}
    images = tuple(
        truth_image(name, wh, [thing._replace(label=index[label]) for label, thing in objects], i)
        for i, (name, wh, objects) in enumerate(files, start=1)
    )
    return Truth(tuple(labels), tuple(range(1, len(labels) + 1)), images, notes.told())


def _read(path: Path, notes: Notes) -> tuple[Wh | None, list[tuple[str, Thing]]]:
    try:
        root = ElementTree.fromstring(read_bytes(path))
    except ElementTree.ParseError as error:
        line, column = error.position
        raise wrong(path, f"line {line}, column {column}", f"is not XML: {error}") from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not have
        raise wrong(path, "", f"cannot be read as XML: {error}") from error
    if root.tag != "annotation":
        raise wrong(path, "", f"is not a VOC annotation: its root element is <{root.tag}>, not <annotation>")
    return _size(path, root), list(_objects(path, root, notes))


def _size(path: Path, root: ElementTree.Element) -> Wh | None:
    """Width and height; None where they are not there or 0, as some tools write them."""
    texts = [root.findtext(f"size/{side}", "").strip() or "0" for side in ("width", "height")]
    numbers = [parse_finite(text) for text in texts]
    for text, number in zip(texts, numbers, strict=True):
        if number is None or number < 0 or number != int(number):
            raise wrong(path, "size", f"is not in whole pixels: {text!r}")
    width, height = (int(number or 0) for number in numbers)
    return (width, height) if width and height else None


def _objects(path: Path, root: ElementTree.Element, notes: Notes) -> Iterator[tuple[str, Thing]]:
    for i, element in enumerate(root.findall("object"), start=1):
        where = f"object {i}"
        label = element.findtext("name", "").strip()
        if not label:
            raise wrong(path, where, "has no name")
        pixels = _corners(path, f"{where} ({label})", element)
        box = (pixels[0] - 1, pixels[1] - 1, pixels[2], pixels[3])
        if pixels[0] < 1 or pixels[1] < 1:
            notes.add("reach beyond the image's first pixel, which is 1 in VOC, and are kept", f"{path}: {where}")
        if not notes.left_out(box, f"{path}: {where}"):
            yield label, Thing(box, 0, difficult=_difficult(path, where, element))


def _corners(path: Path, where: str, element: ElementTree.Element) -> Box:
    values = []
    for corner in _CORNERS:
        text = element.findtext(f"bndbox/{corner}")
        value = parse_finite(text)
        if value is None:
            raise wrong(path, where, f"{corner} is missing" if text is None else f"{corner} is not a number: {text!r}")
        values.append(value)
    return values[0], values[1], values[2], values[3]


def _difficult(path: Path, where: str, element: ElementTree.Element) -> bool:
    text = element.findtext("difficult", "").strip() or "0"
    if text not in ("0", "1"):
        raise wrong(path, where, f"difficult is {text!r}, expected 0 or 1")
    return text == "1"
