"""Raw network outputs → boxes in network pixels, before suppression; numpy alone. One family a file."""

from __future__ import annotations

from cvdetect.families.base import DecodeOptions, Decoder, NetInput, Outputs, Priors, Thresholds
from cvdetect.families.detection_output import decode_detection_output
from cvdetect.families.detr import decode_detr, decode_rt_detr
from cvdetect.families.end2end import decode_end2end
from cvdetect.families.mask_rcnn import decode_mask_rcnn
from cvdetect.families.nanodet import decode_nanodet
from cvdetect.families.region import decode_region
from cvdetect.families.tflite_ssd import decode_tflite_ssd
from cvdetect.families.torchvision import decode_fcos, decode_retinanet
from cvdetect.families.yolo import decode_yolo
from cvdetect.families.yolo_v5 import decode_yolo_v5
from cvdetect.families.yolo_v8 import decode_yolo_v8
from cvdetect.families.yolox import decode_yolox

__all__ = ["DECODERS", "DecodeOptions", "Decoder", "NetInput", "Outputs", "Priors", "Thresholds"]

DECODERS: dict[str, Decoder] = {
    "detection_output": decode_detection_output,
    "detr": decode_detr,
    "end2end": decode_end2end,
    "fcos": decode_fcos,
    "mask_rcnn": decode_mask_rcnn,
    "nanodet": decode_nanodet,
    "region": decode_region,
    "retinanet": decode_retinanet,
    "rt_detr": decode_rt_detr,
    "tflite_ssd": decode_tflite_ssd,
    "yolo": decode_yolo,
    "yolo_v5": decode_yolo_v5,
    "yolo_v7": decode_yolo_v5,
    "yolo_v8": decode_yolo_v8,
    "yolox": decode_yolox,
}
