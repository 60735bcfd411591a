"""Which formats there are: name → what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from cvdetect.annotations.coco import write_coco
from cvdetect.annotations.cvat import write_cvat
from cvdetect.annotations.jsonl import write_jsonl
from cvdetect.annotations.openimages import write_openimages
from cvdetect.annotations.tables import write_csv
from cvdetect.annotations.types import Facts, Records
from cvdetect.annotations.voc import VOC_IMAGES, write_voc
from cvdetect.annotations.yolo import write_yolo
from cvdetect.annotations.yolo_darknet import DARKNET_IMAGES, write_yolo_darknet
from cvdetect.core.labels import LabelSet

__all__ = ["IMAGE_FOLDERS", "WRITERS", "Writer"]

# (the format's folder, records, labels, facts): every file is whole or not there; the same records give the same bytes
Writer = Callable[[Path, Records, LabelSet, Facts], None]

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
