"""Ground truth from whatever a path holds: COCO JSON, a folder of VOC XML, a folder of YOLO text files."""

from __future__ import annotations

from pathlib import Path

from cvdetect.annotations.parsing import label_files
from cvdetect.annotations.read_coco import read_coco, read_results
from cvdetect.annotations.read_voc import read_voc
from cvdetect.annotations.read_yolo import SizeOf, read_yolo, yolo_labels
from cvdetect.annotations.types import Truth
from cvdetect.core.errors import SourceError, SourceNotFound

__all__ = ["SizeOf", "read_coco", "read_results", "read_truth", "read_voc", "read_yolo"]


def read_truth(path: Path, size_of: SizeOf | None = None) -> Truth:
    """Ground truth of the format that `path` has: a COCO annotation file, or a folder of VOC or YOLO files.

    A folder with ``Annotations/`` in it is a VOC data set, one with ``labels/`` or ``obj_train_data/`` a YOLO data set.

    Args:
        path: file or folder.
        size_of: needed for YOLO, whose files do not say how large the images are; see `read_yolo`.

    Raises:
        SourceError: it is of no such format, or something in it is wrong; the message says where and what.
    """
    if not path.exists():
        raise SourceNotFound(f"{path}: no such file or folder")
    if not path.is_dir():
        return read_coco(path)
    if _is_voc(path):
        return read_voc(path / "Annotations" if (path / "Annotations").is_dir() else path)
    if size_of is None:
        raise SourceError(f"{path}: YOLO files do not say how large the images are; the images are needed too")
    return read_yolo(path, size_of)


def _is_voc(folder: Path) -> bool:
    """Whether a folder is VOC's and not YOLO's."""
    if yolo_labels(folder) is not None:
        return False
    if (folder / "Annotations").is_dir():
        return True
    if label_files(folder, ".xml"):  # labelImg writes classes.txt beside them, other tools a readme.txt
        return True
    if not label_files(folder, ".txt"):
        found = sorted(path.name for path in folder.glob("*.json"))
        hint = f"; for COCO give the file, e.g. {folder / found[0]}" if found else ""
        raise SourceError(f"{folder}: holds neither VOC .xml nor YOLO .txt files{hint}")
    return False
