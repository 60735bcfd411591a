"""Raw network outputs → boxes in network pixels, before suppression; numpy alone. One family a file."""

from __future__ import annotations

from cvdetect.decoders.base import DecodeOptions, Decoder, NetInput, Outputs, Thresholds
from cvdetect.decoders.detection_output import decode_detection_output
from cvdetect.decoders.region import decode_region
from cvdetect.decoders.yolo import decode_yolo

__all__ = ["DECODERS", "DecodeOptions", "Decoder", "NetInput", "Outputs", "Thresholds"]

DECODERS: dict[str, Decoder] = {
    "detection_output": decode_detection_output,
    "region": decode_region,
    "yolo": decode_yolo,
}
