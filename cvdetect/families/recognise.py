"""Which decoder a model needs, told from the names and shapes of its outputs before it has run on a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cvdetect.core.errors import DecodeError
from cvdetect.families.base import strides_of
from cvdetect.families.nanodet import BOX_VALUES
from cvdetect.families.torchvision import pyramid_cells

__all__ = ["RECOGNISED", "HeadLayout", "OutputSignature", "check_decoder", "recognise"]

_USUAL = {80, 20, 90, 91, 365}  # COCO, VOC, TensorFlow's COCO, Objects365
_GRID = 3
_RAW_STRIDES = ((8, 16, 32), (16, 32), (8, 16, 32, 64))
_MOST_QUERIES = _MOST_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class OutputSignature:
    """What is known of a model before it runs.

    Attributes:
        outputs: each output's name → its shape for one image.
        wh: width and height of the input in pixels.
        raw: the outputs are convolutions that were only squashed, reshaped and joined, so the graph decodes no boxes;
            None where that is not known.
        names: how many class names are known (from the file or `--names`); None where there are none.
    """

    outputs: Mapping[str, tuple[int, ...]]
    wh: tuple[int, int]
    raw: bool | None = None
    names: int | None = None

    @property
    def only(self) -> tuple[int, ...]:
        """The one output's shape (1, a, b); () where there are several outputs or other ranks."""
        shapes = list(self.outputs.values())
        return shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 else ()

    def __str__(self) -> str:
        return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.outputs.items())


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """How a decoder reads a model: how many classes, the first one's number, and how sure the shapes make that.

    Attributes:
        classes: background not counted; None where the outputs do not tell.
        evidence: 3 where the number of rows is the number of the input's cells, 1 or 2 where only ranks and columns
            fit; one more where the number of classes is a usual one.
        suppressed: nothing is left to suppress.
    """

    classes: int | None
    evidence: int
    first_class_id: int = 0
    suppressed: bool = False


def _sure(classes: int, evidence: int, first: int = 0, suppressed: bool = False) -> HeadLayout | None:
    return HeadLayout(classes, evidence + (classes in _USUAL), first, suppressed) if classes > 0 else None


def _yolo_v5(model: OutputSignature) -> HeadLayout | None:
    if not model.only:
        return None
    _, rows, columns = model.only
    decoded = strides_of(rows, model.wh) is not None and model.raw is not True
    return _sure(columns - 5, _GRID) if decoded or strides_of(rows, model.wh, anchors=3) else None


def _yolo_v8(model: OutputSignature) -> HeadLayout | None:
    return _sure(model.only[1] - 4, _GRID) if model.only and strides_of(model.only[2], model.wh) else None


def _yolox(model: OutputSignature) -> HeadLayout | None:
    fits = model.only and model.raw is not False and strides_of(model.only[1], model.wh)
    return _sure(model.only[2] - 5, _GRID) if fits else None


def _nanodet(model: OutputSignature) -> HeadLayout | None:
    shapes = list(model.outputs.values())
    if model.only and model.raw is not False and strides_of(model.only[1], model.wh):
        return _sure(model.only[2] - BOX_VALUES, _GRID)
    if len(shapes) % 2 or any(len(shape) != 3 for shape in shapes):
        return None
    boxes = [shape for shape in shapes if shape[2] == BOX_VALUES]
    scores = [shape for shape in shapes if shape[2] != BOX_VALUES] or boxes[::2]
    if len(scores) != len(shapes) // 2 or len({shape[2] for shape in scores}) != 1:
        return None
    return _sure(scores[0][2], _GRID) if strides_of(sum(shape[1] for shape in scores), model.wh) else None


def _queries(model: OutputSignature) -> int | None:
    """How many class columns the logits of a DETR have, or None."""
    shapes = list(model.outputs.values())
    if len(shapes) != 2 or any(len(shape) != 3 or shape[:2] != shapes[0][:2] for shape in shapes):
        return None
    columns = sorted((shape[2] for shape in shapes), key=lambda n: n == 4)  # the boxes' 4 last
    return columns[0] if columns[1] == 4 and shapes[0][1] <= _MOST_QUERIES else None


def _detr(model: OutputSignature) -> HeadLayout | None:
    columns = _queries(model)
    # COCO's official ids 0 to 90 (0 means nothing) and "no object"
    return None if columns is None else _sure(90, 1, 1, True) if columns == 92 else _sure(columns - 1, 1, 0, True)


def _rt_detr(model: OutputSignature) -> HeadLayout | None:
    columns = _queries(model)
    if columns is None and model.only:
        _, rows, width = model.only
        fits = rows <= _MOST_QUERIES and width <= _MOST_CLASSES and not strides_of(rows, model.wh)
        return _sure(width - 4, 1, 0, True) if fits else None
    return None if columns is None else _sure(90, 1, 1, True) if columns == 91 else _sure(columns, 1, 0, True)


def _pyramid(model: OutputSignature, anchors: int, columns: int) -> HeadLayout | None:
    """Torchvision's heads; their class 0 is the background."""
    shapes = sorted(model.outputs.values(), key=lambda shape: (shape[-1:], len(shape)))
    rows = anchors * pyramid_cells(model.wh)
    if len(shapes) != columns or any(len(shape) != 3 or shape[1] != rows for shape in shapes):
        return None
    left = [shape[2] for shape in shapes]
    for fixed in (4, 1)[: columns - 1]:
        if fixed not in left:
            return None
        left.remove(fixed)
    return _sure(left[0] - 1, _GRID, 1)


def _end2end(model: OutputSignature) -> HeadLayout | None:
    shapes = list(model.outputs.values())
    if len(shapes) == 2 and any(len(s) == 3 and s[2] == 5 and s[:2] in shapes for s in shapes):
        return HeadLayout(None, 2, 0, True)
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    on_grid = len(shape) == 3 and (strides_of(shape[1], model.wh) or strides_of(shape[1], model.wh, 3))
    fits = (len(shape) == 3 and shape[2] == 6 and not on_grid) or (len(shape) == 2 and shape[1] in (6, 7))
    return HeadLayout(None, 2, 0, True) if fits else None


RECOGNISED: dict[str, Callable[[OutputSignature], HeadLayout | None]] = {
    "yolo_v5": _yolo_v5,
    "yolo_v7": _yolo_v5,
    "yolo_v8": _yolo_v8,
    "yolox": _yolox,
    "nanodet": _nanodet,
    "detr": _detr,
    "rt_detr": _rt_detr,
    "retinanet": lambda model: _pyramid(model, 9, 2),
    "fcos": lambda model: _pyramid(model, 1, 3),
    "end2end": _end2end,
}
"""Decoder → how it would read a model, or None where the shapes do not fit it."""

_SAME = {"yolo_v7": "yolo_v5"}  # decoded alike, so `auto` takes the first


def recognise(model: OutputSignature) -> tuple[str, HeadLayout]:
    """The decoder that fits the outputs best, and how it reads them.

    Raises:
        DecodeError: none fits, or several fit equally well; the message lists them.
    """
    fits = {name: layout for name, fit in RECOGNISED.items() if name not in _SAME and (layout := fit(model))}
    if not fits:
        _refuse_raw_heads(model)
        raise DecodeError(
            f"outputs {model} fit no decoder for an input of {model.wh[0]}x{model.wh[1]} (there are "
            f"{', '.join(RECOGNISED)}): it is no detection model, was exported in parts, or needs another --size"
        )
    best = max(_rank(layout, model.names) for layout in fits.values())
    names = [name for name, layout in fits.items() if _rank(layout, model.names) == best]
    if len(names) > 1:
        raise DecodeError(f"outputs {model} fit the decoders {' and '.join(names)}: say which with --decoder")
    return names[0], fits[names[0]]


def _refuse_raw_heads(model: OutputSignature) -> None:
    """A map a stride, 3 anchors deep: (1, 3, H, W, 5 + C) or (1, 3 · (5 + C), H, W). Nothing in it says the anchors."""
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
    """Evidence, and whether the class names known are as many as the classes (or one more: a background)."""
    if names is None:
        return layout.evidence
    exact = layout.classes is None or names == layout.classes
    return layout.evidence + (6 if exact else 5 if names == (layout.classes or 0) + 1 else 0)


def check_decoder(name: str, model: OutputSignature) -> HeadLayout:
    """How the decoder that was asked for reads the outputs.

    Raises:
        DecodeError: the shapes do not fit it; the message names the one that does.
    """
    # What was asked for is believed as far as shapes allow.
    layout = RECOGNISED[name](OutputSignature(model.outputs, model.wh, None, model.names))
    if layout is None:
        _refuse_raw_heads(model)
        raise DecodeError(f"outputs {model} do not fit decoder {name}{_better(model)}")
    return layout


def _better(model: OutputSignature) -> str:
    try:
        return f": they look like {recognise(model)[0]}"
    except DecodeError:
        return f" for an input of {model.wh[0]}x{model.wh[1]}; there are {', '.join(RECOGNISED)}"
