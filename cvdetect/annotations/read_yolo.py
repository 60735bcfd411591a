"""A folder of YOLO text files as ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cvdetect.annotations.parsing import (
    Box,
    Notes,
    Thing,
    Wh,
    label_files,
    parse_finite,
    read_bytes,
    read_text,
    truth_image,
    wrong,
)
from cvdetect.annotations.types import Truth, TruthImage
from cvdetect.core.errors import ModelFileError, SourceError
from cvdetect.formats.label_files import parse_label_file

__all__ = ["SizeOf", "class_files", "read_yolo", "yolo_labels"]

# The relative stem of a label file -> width and height of its image in pixels
SizeOf = Callable[[str], tuple[int, int]]

_CLASS_FILES = ("data.yaml", "classes.txt", "obj.names")
_LABEL_FOLDERS = ("labels", "obj_train_data")
_SLACK = 0.001  # what six decimals and a tool's own rounding can add to a share of 1


def read_yolo(folder: Path, size_of: SizeOf) -> Truth:
    """Ground truth from the ``.txt`` files in ``labels/`` or ``obj_train_data/`` under a folder, or in itself.

    The class names come from ``data.yaml``, ``classes.txt`` or ``obj.names`` in the folder of the labels or up to two
    above it. A sixth number in a line, the score that some tools write, is passed over.

    Args:
        folder: the one that holds ``labels/`` or ``obj_train_data/``, or the label files.
        size_of: gives the size of the image to a label file's relative stem; its errors pass through.

    Raises:
        SourceError: a file is not such a file; the message names it, the line and what is wrong with it.
    """
    root = yolo_labels(folder) or folder
    files = [(name, path) for name, path in label_files(root, ".txt") if path != root / "classes.txt"]
    if not files:
        raise wrong(folder, "", "holds no label files (.txt)")
    labels = _class_names(root)
    notes = Notes()
    images = tuple(
        _image(name, path, size_of(name), len(labels), notes, i) for i, (name, path) in enumerate(files, start=1)
    )
    return Truth(tuple(labels), tuple(range(1, len(labels) + 1)), images, notes.told())


def yolo_labels(folder: Path) -> Path | None:
    """The folder of label files in a YOLO data set, if `folder` is one."""
    return next((folder / name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)


def class_files(folder: Path) -> list[Path]:
    """The files that name the classes of the label files in a folder; the first of them counts."""
    root = yolo_labels(folder) or folder
    places = (root, *list(root.absolute().parents)[:2])
    return [place / name for place in places for name in _CLASS_FILES if (place / name).is_file()]


def _class_names(root: Path) -> list[str]:
    for path in class_files(root)[:1]:
        if path.name == "obj.names":  # Darknet's: one a line, whatever it looks like
            return [line.strip() for line in read_text(path).rstrip().splitlines()]
        return _names_in(path)
    raise wrong(root, "", "there is no data.yaml, classes.txt or obj.names in it or above it that names the classes")


def _names_in(path: Path) -> list[str]:
    """The names of a label file by number; a number without a name has that as its name."""
    try:
        file = parse_label_file(read_bytes(path), str(path))
    except ModelFileError as error:
        raise SourceError(str(error)) from error
    names = file.by_number()
    if isinstance(file.listed, dict) and set(names) != set(range(len(names))):
        raise wrong(path, "", "has no names: expected a list of class names, or a mapping from 0, 1, …")
    return [names.get(i, f"class_{i}") for i in range(max(names) + 1)]


def _image(name: str, path: Path, wh: Wh, classes: int, notes: Notes, image_id: int) -> TruthImage:
    return truth_image(name, wh, list(_things(path, wh, classes, notes)), image_id)


def _things(path: Path, wh: Wh, classes: int, notes: Notes) -> Iterator[Thing]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"line {number}"
        if not line.split():
            continue
        label, box = _parse(path, where, line.split(), wh)
        if not 0 <= label < classes:
            raise wrong(path, where, f"class {label} is not among the {classes} classes")
        if not notes.left_out(box, f"{path}: {where}"):
            yield Thing(box, label)


def _parse(path: Path, where: str, words: list[str], wh: Wh) -> tuple[int, Box]:
    if len(words) not in (5, 6):
        raise wrong(path, where, f"expected class, centre x, centre y, width, height, got {len(words)} values")
    numbers = [parse_finite(word) for word in words]
    for word, value in zip(words, numbers, strict=True):
        if value is None:
            raise wrong(path, where, f"not a number: {word!r}")
    label, x, y, width, height = (float(value or 0) for value in numbers[:5])
    if label != int(label):
        raise wrong(path, where, f"the class is not a whole number: {words[0]!r}")
    if min(x, y) < -_SLACK or max(x, y, width, height) > 1 + _SLACK:
        raise wrong(path, where, "centre and size must be shares of the image, 0 to 1; these look like pixels")
    left, top = (x - width / 2) * wh[0], (y - height / 2) * wh[1]
    return int(label), (left, top, left + width * wh[0], top + height * wh[1])
