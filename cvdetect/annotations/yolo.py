"""YOLO text files: a line for each object, ``class centre-x centre-y width height``, normalized, six decimals.

Tools that train on them (https://docs.ultralytics.com/datasets/detect) look for the labels of ``…/images/x.jpg`` in
``…/labels/x.txt``. ``data.yaml`` has ``train`` and ``val`` only where that holds of the images in its own folder, and
neither ``path``, which would tie the set to a place, nor ``nc``, which CVAT takes for a subset.

``yolo-darknet`` is Darknet's own layout, which CVAT calls YOLO 1.1 (https://pjreddie.com/darknet/yolo, training;
https://docs.cvat.ai/docs/manual/advanced/formats/format-yolo): the same label files beside the images, and lists that
name them all. Paths are relative to the folder, in which Darknet is to be run.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    read_text,
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
    SizeOf,
    TruthImage,
)
from cvdetect.annotations.writing import Classes, fixed, one_line, output_stems, placed_name
from cvdetect.core.errors import ModelFileError, SourceError
from cvdetect.core.files import safe_join
from cvdetect.core.labels import LabelSet

__all__ = ["YOLO", "YOLO_DARKNET", "read_yolo"]

_IMAGES, _DARKNET_IMAGES = "images", "obj_train_data"
_CLASS_FILES = ("data.yaml", "classes.txt", "obj.names")
_LABEL_FOLDERS = ("labels", _DARKNET_IMAGES)
_SLACK = 0.001  # what six decimals and a tool's own rounding can add to a normalized coordinate
_ELSEWHERE = """\
# No "train:": from where the images lie, their labels are not found. --link-images or --copy-images put them here.
"""
_TRAIN_AND_VAL = """\
# "val:" is the same images, because training tools ask for both: set some apart before its figures are trusted.
train: {images}
val: {images}
"""


def write_yolo(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``labels/`` in the tree of the images, ``classes.txt`` and ``data.yaml`` into `out`.

    An image without detections has an empty file.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    classes = Classes(labels)
    stems = _write_labels(out / "labels", records, classes, info, info.yolo_conf)
    names = classes.names()
    with info.file(out / "classes.txt") as stream:
        stream.writelines(one_line(name) + "\n" for name in names)
    with info.file(out / "data.yaml") as stream:
        stream.write(_TRAIN_AND_VAL.format(images=_IMAGES) if _labels_are_found(stems, info) else _ELSEWHERE)
        stream.writelines(line + "\n" for line in _names_as_yaml(names))


def _write_labels(
    folder: Path, records: Records, classes: Classes, info: ExportInfo, with_score: bool
) -> dict[str, str]:
    """Write the label file of each image → its stem."""
    stems = output_stems(records.names())
    for record in records:
        with info.file_of(record.name, safe_join(folder, stems[record.name] + ".txt")) as stream:
            stream.writelines(line + "\n" for line in _lines(record, classes, with_score))
    return stems


def _lines(record: ImageRecord, classes: Classes, with_score: bool) -> Iterator[str]:
    """The lines of one image's label file, best first; with the score each has a sixth number."""
    from cvdetect.core.boxes import xyxy_to_cxcywh

    width, height = record.wh
    boxes = xyxy_to_cxcywh(record.found.xyxy.astype("float64")) / (width, height, width, height)  # (N, 4)
    for box, class_id, score in zip(boxes, record.found.class_id, record.found.score, strict=True):
        numbers = [*box, score] if with_score else box
        yield " ".join([str(classes.index(int(class_id))), *(fixed(float(v), 6) for v in numbers)])


def _labels_are_found(stems: Mapping[str, str], info: ExportInfo) -> bool:
    """Whether every label file is where readers look for it: one that is not would be taken for an empty image."""
    if info.images == "there":
        return all(stem == posixpath.splitext(name)[0] for name, stem in stems.items())
    return info.images == "placed"


def _names_as_yaml(names: list[str]) -> Iterator[str]:
    """``names:`` as a mapping, every name in quotes: which of "yes", "y", "1e3" and "null" are text differs by parser.

    In ASCII, as readers open the file in whatever encoding their system has.
    """
    import yaml

    yield "names:" if names else "names: {}"
    for number, name in enumerate(names):
        yield f"  {number}: " + yaml.safe_dump(name, default_style='"', width=float("inf")).rstrip("\n")


def write_yolo_darknet(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``obj_train_data/`` in the tree of the images, ``train.txt``, ``obj.names`` and ``obj.data`` into `out`.

    An image without detections has an empty file. There is never a score: Darknet would read it as the next class.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    classes = Classes(labels)
    stems = _write_labels(out / _DARKNET_IMAGES, records, classes, info, with_score=False)
    names = classes.names()
    lists = {"train.txt": _images(stems), "obj.names": map(one_line, names), "obj.data": _data(len(names))}
    for name, lines in lists.items():
        with info.file(out / name) as stream:
            stream.writelines(line + "\n" for line in lines)


def _images(stems: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{_DARKNET_IMAGES}/{one_line(placed_name(name, stem))}" for name, stem in stems.items())


def _data(classes: int) -> Iterator[str]:
    """No ``valid``: CVAT would import its images a second time."""
    yield f"classes = {classes}"
    yield "train = train.txt"
    yield "names = obj.names"
    yield "backup = ."  # Darknet makes no folder for the weights that it trains


def read_yolo(folder: Path, size_of: SizeOf) -> GroundTruth:
    """Ground truth from the ``.txt`` files in ``labels/`` or ``obj_train_data/`` under a folder, or in itself.

    The class names come from ``data.yaml``, ``classes.txt`` or ``obj.names`` in the folder of the labels or up to two
    above it. A sixth number in a line, the score that some tools write, is ignored.

    Args:
        folder: the one that holds ``labels/`` or ``obj_train_data/``, or the label files.
        size_of: gives the size of the image to a label file's relative stem; its errors pass through.

    Raises:
        SourceError: a file is not such a file; the message names it, the line and what is wrong with it.
    """
    root = _labels_in(folder) or folder
    files = [(name, path) for name, path in label_files(root, ".txt") if path != root / "classes.txt"]
    if not files:
        raise format_error(folder, "", "holds no label files (.txt)")
    labels = _class_names(root)
    notes = Notes()
    images = tuple(
        _image(name, path, size_of(name), len(labels), notes, i) for i, (name, path) in enumerate(files, start=1)
    )
    return GroundTruth(tuple(labels), tuple(range(1, len(labels) + 1)), images, notes.messages())


def _labels_in(folder: Path) -> Path | None:
    """The folder of label files in a YOLO data set, if `folder` is one."""
    return next((folder / name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)


def _class_files(folder: Path) -> list[Path]:
    """The files that name the classes of the label files in a folder; the first of them counts."""
    root = _labels_in(folder) or folder
    places = (root, *list(root.absolute().parents)[:2])
    return [place / name for place in places for name in _CLASS_FILES if (place / name).is_file()]


def _class_names(root: Path) -> list[str]:
    for path in _class_files(root)[:1]:
        if path.name == "obj.names":  # Darknet's: one a line, whatever it looks like
            return [line.strip() for line in read_text(path).rstrip().splitlines()]
        return _names_in(path)
    raise format_error(root, "", "no data.yaml, classes.txt or obj.names in it or above it names the classes")


def _names_in(path: Path) -> list[str]:
    """The names of a label file by number; a number without a name has that as its name."""
    from cvdetect.formats.label_files import parse_label_file  # not for writing: it knows many layouts

    try:
        file = parse_label_file(read_bytes(path), str(path))
    except ModelFileError as error:
        raise SourceError(str(error)) from error
    names = file.by_number()
    if isinstance(file.listed, dict) and set(names) != set(range(len(names))):
        raise format_error(path, "", "has no names: expected a list of class names, or a mapping from 0, 1, …")
    return [names.get(i, f"class_{i}") for i in range(max(names) + 1)]


def _image(name: str, path: Path, wh: Wh, classes: int, notes: Notes, image_id: int) -> TruthImage:
    return truth_image(name, wh, list(_objects(path, wh, classes, notes)), image_id)


def _objects(path: Path, wh: Wh, classes: int, notes: Notes) -> Iterator[GroundTruthObject]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"line {number}"
        if not line.split():
            continue
        label, box = _parse(path, where, line.split(), wh)
        if not 0 <= label < classes:
            raise format_error(path, where, f"class {label} is not among the {classes} classes")
        if not notes.skips(box, f"{path}: {where}"):
            yield GroundTruthObject(box, label)


def _parse(path: Path, where: str, words: list[str], wh: Wh) -> tuple[int, Box]:
    if len(words) not in (5, 6):
        raise format_error(path, where, f"expected class, centre x, centre y, width, height, got {len(words)} values")
    numbers = [parse_float(word) for word in words]
    for word, value in zip(words, numbers, strict=True):
        if value is None:
            raise format_error(path, where, f"not a number: {word!r}")
    label, x, y, width, height = (float(value or 0) for value in numbers[:5])
    if label != int(label):
        raise format_error(path, where, f"the class is not a whole number: {words[0]!r}")
    if min(x, y) < -_SLACK or max(x, y, width, height) > 1 + _SLACK:
        raise format_error(path, where, "centre and size must be normalized, 0 to 1; these look like pixels")
    left, top = (x - width / 2) * wh[0], (y - height / 2) * wh[1]
    return int(label), (left, top, left + width * wh[0], top + height * wh[1])


def _match(path: Path) -> Match:
    if not path.is_dir():
        return Match.NONE
    if _labels_in(path) is not None:
        return Match.CERTAIN
    return Match.POSSIBLE if holds_files(path, ".txt") else Match.NONE


def _files(path: Path) -> Iterator[Path]:
    yield from (file for _, file in label_files(_labels_in(path) or path, ".txt"))
    yield from _class_files(path)


def _read(path: Path, size_of: SizeOf | None) -> GroundTruth:
    if size_of is None:
        raise format_error(path, "", "YOLO files do not state the sizes of the images; the images are needed too")
    return read_yolo(path, size_of)


YOLO = AnnotationFormat(
    name="yolo",
    write=write_yolo,
    images=_IMAGES,
    reader=GroundTruthReader(reads="a folder of YOLO text files", match=_match, files=_files, read=_read),
)
YOLO_DARKNET = AnnotationFormat(
    name="yolo-darknet", write=write_yolo_darknet, help="CVAT's YOLO 1.1", images=_DARKNET_IMAGES
)
