"""Families of models: raw network outputs → boxes in network pixels, before non-maximum suppression; numpy alone.

A family is one `Family` in a file of its own; adding one takes its file, and its import and line in `FAMILIES`. Which
family a model is of is recognised here, by the names and shapes of its outputs, before it has run on an image.
"""

from __future__ import annotations

from cvdetect.core.arguments import arg
from cvdetect.core.errors import DecodeError
from cvdetect.families.base import (
    DecodeOptions,
    Decoder,
    Family,
    HeadLayout,
    NetInput,
    Outputs,
    OutputSignature,
    Thresholds,
)
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
    "check_family",
    "recognise",
    "recognised",
    "with_head",
]

_RAW_STRIDES = ((8, 16, 32), (16, 32), (8, 16, 32, 64))

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


def with_head(head: str) -> Family:
    """The family of models whose format calls the layer that gives the boxes so (`ModelSource.head`)."""
    return next(family for family in FAMILIES.values() if family.head == head)


def recognise(model: OutputSignature) -> tuple[Family, HeadLayout]:
    """The family that fits the outputs best, and how it reads them.

    Raises:
        DecodeError: none fits, or several fit equally well; the message lists them.
    """
    candidates = (family for family in FAMILIES.values() if family.signature and not family.same_as)
    fits = [(family, layout) for family in candidates if (layout := _layout(family, model))]
    if not fits:
        _refuse_raw_heads(model)
        raise DecodeError(
            f"outputs {model} fit no decoder for an input of {model.wh[0]}x{model.wh[1]} (there are "
            f"{', '.join(recognised())}): it is not a detection model, was exported in parts, or needs another "
            f"{arg('size')}"
        )
    best = max(_rank(layout, model.names) for _, layout in fits)
    fits = [(family, layout) for family, layout in fits if _rank(layout, model.names) == best]
    if len(fits) > 1:
        names = " and ".join(family.name for family, _ in fits)
        raise DecodeError(f"outputs {model} fit the decoders {names}: choose one with {arg('decoder')}")
    return fits[0]


def _layout(family: Family, model: OutputSignature) -> HeadLayout | None:
    return family.signature(model) if family.signature else None


def _refuse_raw_heads(model: OutputSignature) -> None:
    """A map a stride, 3 anchors deep: (1, 3, H, W, 5 + C) or (1, 3 · (5 + C), H, W). Their anchors are not in it."""
    shapes = [shape for shape in model.outputs.values() if len(shape) in (4, 5)]
    deep = {shape[4] if len(shape) == 5 else shape[1] / 3 for shape in shapes}
    grids = {shape[2:4] for shape in shapes if len(shape) == 4 or shape[1] == 3}
    if len(deep) != 1 or deep.pop() < 6 or len(shapes) != len(model.outputs):
        return
    if any(grids == {(model.wh[1] // s, model.wh[0] // s) for s in strides} for strides in _RAW_STRIDES):
        raise DecodeError(
            f"outputs {model} are a YOLO's heads before their boxes are decoded, without anchors in the file: export "
            "it with its decoding (YOLOv7: export.py --grid; YOLOv5: its export.py as it is; or with NMS inside)"
        )


def _rank(layout: HeadLayout, names: int | None) -> int:
    """Evidence, and whether there are as many class names as classes (or one more: a background)."""
    if names is None:
        return layout.evidence
    exact = layout.classes is None or names == layout.classes
    return layout.evidence + (6 if exact else 5 if names == (layout.classes or 0) + 1 else 0)


def check_family(family: Family, model: OutputSignature) -> HeadLayout:
    """How the family that was asked for reads the outputs.

    Raises:
        DecodeError: the shapes do not fit it; the message names the one that does.
    """
    # What was asked for is believed as far as shapes allow.
    layout = _layout(family, OutputSignature(model.outputs, model.wh, None, model.names))
    if layout is None:
        _refuse_raw_heads(model)
        raise DecodeError(f"outputs {model} do not fit decoder {family.name}{_better(model)}")
    return layout


def _better(model: OutputSignature) -> str:
    try:
        return f": they look like {recognise(model)[0].name}"
    except DecodeError:
        return f" for an input of {model.wh[0]}x{model.wh[1]}; there are {', '.join(recognised())}"
