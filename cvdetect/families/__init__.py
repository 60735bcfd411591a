"""Families of models: raw network outputs → boxes in network pixels, before non-maximum suppression; numpy alone.

A family is one `Family` in a file of its own. Adding one takes its file and a line in `FAMILIES`.
"""

from __future__ import annotations

from cvdetect.families.base import DecodeOptions, Decoder, Family, NetInput, Outputs, Thresholds
from cvdetect.families.detection_output import DETECTION_OUTPUT
from cvdetect.families.detr import DETR, RT_DETR
from cvdetect.families.end2end import END2END
from cvdetect.families.mask_rcnn import MASK_RCNN
from cvdetect.families.nanodet import NANODET
from cvdetect.families.region import REGION
from cvdetect.families.tflite_ssd import TFLITE_SSD
from cvdetect.families.torchvision import FCOS, RETINANET
from cvdetect.families.yolo import YOLO
from cvdetect.families.yolo_v5 import YOLO_V5, YOLO_V7
from cvdetect.families.yolo_v8 import YOLO_V8
from cvdetect.families.yolox import YOLOX

__all__ = [
    "FAMILIES",
    "DecodeOptions",
    "Decoder",
    "Family",
    "NetInput",
    "Outputs",
    "Thresholds",
    "recognised",
]

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        YOLO,
        REGION,
        DETECTION_OUTPUT,
        MASK_RCNN,
        YOLO_V5,
        YOLO_V7,
        YOLO_V8,
        YOLOX,
        NANODET,
        DETR,
        RT_DETR,
        RETINANET,
        FCOS,
        END2END,
        TFLITE_SSD,
    )
}
"""All families by name, in the order in which they are listed and recognised."""


def recognised() -> tuple[str, ...]:
    """The names of the families that are recognised by their outputs: those that `decoder` takes."""
    return tuple(name for name, family in FAMILIES.items() if family.signature is not None)
