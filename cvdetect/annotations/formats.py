"""The table of annotation formats, and the one function that reads ground truth of any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from cvdetect.annotations.coco import COCO
from cvdetect.annotations.cvat import CVAT
from cvdetect.annotations.tables import CSV, JSONL, OPENIMAGES
from cvdetect.annotations.types import AnnotationFormat, GroundTruth, GroundTruthReader, Match, SizeOf
from cvdetect.annotations.voc import VOC
from cvdetect.annotations.yolo import YOLO, YOLO_DARKNET
from cvdetect.core.errors import SourceError, SourceNotFound

__all__ = ["FORMATS", "list_formats", "list_readers", "read_truth", "truth_files"]

_FORMATS = {
    one.name: one
    for one in (
        COCO,
        VOC,
        YOLO,
        YOLO_DARKNET,
        OPENIMAGES,
        JSONL,
        CSV,
        CVAT,
    )
}
FORMATS: Mapping[str, AnnotationFormat] = MappingProxyType(_FORMATS)


def list_formats(with_images: bool = False) -> str:
    """The names of all formats, for help; `with_images`: of those whose data sets can hold their images."""
    wanted = [one for one in FORMATS.values() if one.images or not with_images]
    return ", ".join(one.name + (f" ({one.help})" if one.help and not with_images else "") for one in wanted)


def list_readers() -> str:
    """What `read_truth` takes, for help and messages."""
    *first, last = (reader.reads for reader in _readers())
    return f"{', '.join(first)}, or {last}"


def read_truth(path: Path, size_of: SizeOf | None = None) -> GroundTruth:
    """Ground truth of the format that `path` has: a COCO annotation file, or a folder of VOC or YOLO files.

    A folder with ``Annotations/`` in it is a VOC data set, one with ``labels/`` or ``obj_train_data/`` a YOLO data set.

    Args:
        path: file or folder.
        size_of: needed for YOLO, whose files do not state the sizes of the images; see `read_yolo`.

    Raises:
        SourceError: it is of no such format, or something in it is wrong; the message names the file and the entry.
    """
    if not path.exists():
        raise SourceNotFound(f"{path}: no such file or folder")
    reader = _reader_of(path)
    if reader is None:
        found = sorted(file.name for file in path.glob("*.json"))
        hint = f"; for COCO give the file, e.g. {path / found[0]}" if found else ""
        raise SourceError(f"{path}: is not ground truth: expected {list_readers()}{hint}")
    return reader.read(path, size_of)


def truth_files(path: Path) -> Iterator[Path]:
    """Every file that `read_truth` reads; only `path` itself where it is not there or of no format.

    Raises:
        SourceError: a folder cannot be read.
    """
    reader = _reader_of(path) if path.exists() else None
    yield from [path] if reader is None else reader.files(path)


def _reader_of(path: Path) -> GroundTruthReader | None:
    """The reader that matches best; of equals, the first in the table."""
    best, match = None, Match.NONE
    for reader in _readers():
        if (own := reader.match(path)) > match:
            best, match = reader, own
    return best


def _readers() -> list[GroundTruthReader]:
    return [one.reader for one in FORMATS.values() if one.reader is not None]
