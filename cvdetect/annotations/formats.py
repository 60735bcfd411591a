"""Which formats there are: name → what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from cvdetect.annotations.coco import read_coco, read_results, write_coco
from cvdetect.annotations.cvat import write_cvat
from cvdetect.annotations.parsing import label_files
from cvdetect.annotations.tables import write_csv, write_jsonl, write_openimages
from cvdetect.annotations.types import ExportInfo, GroundTruth, Records
from cvdetect.annotations.voc import VOC_IMAGES, read_voc, write_voc
from cvdetect.annotations.yolo import DARKNET_IMAGES, SizeOf, read_yolo, write_yolo, write_yolo_darknet, yolo_labels
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.labels import LabelSet

__all__ = [
    "IMAGE_FOLDERS",
    "WRITERS",
    "SizeOf",
    "Writer",
    "read_coco",
    "read_results",
    "read_truth",
    "read_voc",
    "read_yolo",
]


# (the format's folder, records, labels, facts): every file is whole or not there; the same records give the same bytes
Writer = Callable[[Path, Records, LabelSet, ExportInfo], None]

WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        "coco": write_coco,
        "voc": write_voc,
        "yolo": write_yolo,
        "yolo-darknet": write_yolo_darknet,
        "openimages": write_openimages,
        "jsonl": write_jsonl,
        "csv": write_csv,
        "cvat": write_cvat,
    }
)

# Formats whose data sets may hold their images → the folder of these in the format's own; paths as `placed_name` says
IMAGE_FOLDERS: Mapping[str, str] = MappingProxyType(
    {"voc": VOC_IMAGES, "yolo": "images", "yolo-darknet": DARKNET_IMAGES}
)


# Ground truth from whatever a path holds: COCO JSON, a folder of VOC XML, a folder of YOLO text files.


def read_truth(path: Path, size_of: SizeOf | None = None) -> GroundTruth:
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
