"""Raw network outputs → boxes in network pixels, before suppression; numpy alone. One family a file."""

from __future__ import annotations

from cvdetect.decoders.base import DecodeOptions, Decoder, NetInput, Outputs, Priors, Thresholds
from cvdetect.decoders.dense_heads import decode_fcos, decode_retinanet
from cvdetect.decoders.detection_output import decode_detection_output
from cvdetect.decoders.detr import decode_detr, decode_rt_detr
from cvdetect.decoders.end2end import decode_end2end
from cvdetect.decoders.mask_rcnn import decode_mask_rcnn
from cvdetect.decoders.nanodet import decode_nanodet
from cvdetect.decoders.region import decode_region
from cvdetect.decoders.tflite_ssd import decode_tflite_ssd
from cvdetect.decoders.yolo import decode_yolo
from cvdetect.decoders.yolo_v5 import decode_yolo_v5
from cvdetect.decoders.yolo_v8 import decode_yolo_v8
from cvdetect.decoders.yolox import decode_yolox

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
