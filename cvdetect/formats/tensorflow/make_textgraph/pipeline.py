"""The pipeline.config of TensorFlow's Object Detection API: the numbers that a text graph needs.

Field names and defaults are those of the API's own .proto files (object_detection/protos).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Message, parse

__all__ = ["GridAnchors", "MultiscaleAnchors", "Nms", "Pipeline", "SsdAnchors", "read_pipeline"]


@dataclass(frozen=True, slots=True)
class Nms:
    """Non-maximum suppression: score and IoU thresholds, most detections of a class, most in all."""

    score: float = 0.0
    iou: float = 0.6
    per_class: int = 100
    total: int = 100


@dataclass(frozen=True, slots=True)
class SsdAnchors:
    """ssd_anchor_generator: `scales` has one for each layer, relative to the image's shorter side."""

    scales: tuple[float, ...]
    aspect_ratios: tuple[float, ...]
    interpolated: float = 1.0
    reduced: bool = True


@dataclass(frozen=True, slots=True)
class MultiscaleAnchors:
    """multiscale_anchor_generator: anchors of ``anchor_scale · 2^level · 2^(k / octave)`` pixels."""

    min_level: int
    max_level: int
    anchor_scale: float
    octave: int
    aspect_ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GridAnchors:
    """grid_anchor_generator: one grid, a stride of pixels both ways, base sizes in pixels (height, width)."""

    scales: tuple[float, ...]
    aspect_ratios: tuple[float, ...]
    stride: int = 16
    base_hw: tuple[float, float] = (256.0, 256.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The numbers of a pipeline.config; None where it has none.

    Attributes:
        two_stage: faster_rcnn, else ssd.
        wh: of fixed_shape_resizer.
        min_max_size: of keep_aspect_ratio_resizer: the size of the shorter side in pixels, and the limit of the longer.
        box_scales: of the box coder: y, x, height, width.
        first: non-maximum suppression of the proposals (two stages).
        last: that of the detections.
    """

    two_stage: bool
    num_classes: int | None
    wh: tuple[int, int] | None
    min_max_size: tuple[int, int] | None
    anchors: SsdAnchors | MultiscaleAnchors | GridAnchors | None
    box_scales: tuple[float, float, float, float] | None
    score_converter: str | None
    first: Nms | None
    last: Nms | None


def read_pipeline(text: str, name: str) -> Pipeline:
    """Read a pipeline.config; `name` is what errors call it.

    Raises:
        ModelFileError: it is not a pipeline.config, a value in it is not a number, or the model is of another kind.
    """
    models = list(parse(text, name).messages("model"))
    kinds = [(kind, each) for model in models for kind in ("ssd", "faster_rcnn") for each in model.messages(kind)]
    if not kinds:
        raise ModelFileError(f"{name}: is not the pipeline.config of an SSD, Faster R-CNN or Mask R-CNN (no model)")
    kind, model = kinds[0]
    try:
        return _two_stage(model) if kind == "faster_rcnn" else _ssd(model)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ModelFileError(f"{name}: a value is not the number it should be: {error}") from error


def _ssd(model: Message) -> Pipeline:
    coder = _child(_child(model, "box_coder"), "faster_rcnn_box_coder")
    processing = _child(model, "post_processing")
    scales = tuple(_number(coder, f"{k}_scale", v) for k, v in zip(("y", "x", "height", "width"), _CODER, strict=True))
    return Pipeline(
        two_stage=False,
        num_classes=_integer(model, "num_classes"),
        **_resizer(model),
        anchors=_anchors(_child(model, "anchor_generator")),
        box_scales=(scales[0], scales[1], scales[2], scales[3]) if coder.fields else None,
        score_converter=(processing.word("score_converter") or "IDENTITY") if processing.fields else None,
        first=None,
        last=_nms(processing),
    )


def _two_stage(model: Message) -> Pipeline:
    processing = _child(model, "second_stage_post_processing")
    grid = _child(_child(model, "first_stage_anchor_generator"), "grid_anchor_generator")
    most = _integer(model, "first_stage_max_proposals", 300)
    return Pipeline(
        two_stage=True,
        num_classes=_integer(model, "num_classes"),
        **_resizer(model),
        anchors=_grid(grid) if grid.fields else None,
        box_scales=_CODER,  # the API's model_builder.py sets them for every Faster R-CNN
        score_converter=(processing.word("score_converter") or "IDENTITY") if processing.fields else None,
        first=Nms(
            _number(model, "first_stage_nms_score_threshold", 0.0),
            _number(model, "first_stage_nms_iou_threshold", 0.7),
            most,
            most,
        ),
        last=_nms(processing),
    )


_CODER = (10.0, 10.0, 5.0, 5.0)


def _child(message: Message, name: str) -> Message:
    return next(message.messages(name), Message())


def _number(message: Message, name: str, default: float) -> float:
    word = message.word(name)
    value = default if word is None else float(word)
    if not math.isfinite(value):
        raise ValueError(f"{name}: {word}")
    return value


def _integer(message: Message, name: str, default: int | None = None) -> int:
    word = message.word(name)
    if word is None and default is None:
        raise ValueError(f"{name} is missing")
    return default if word is None and default is not None else int(word or "")


def _floats(message: Message, name: str) -> Iterator[float]:
    return (float(each) for each in message.all(name) if isinstance(each, str))


def _resizer(model: Message) -> dict[str, tuple[int, int] | None]:
    resizer = _child(model, "image_resizer")
    fixed, kept = _child(resizer, "fixed_shape_resizer"), _child(resizer, "keep_aspect_ratio_resizer")
    wh = (_integer(fixed, "width", 300), _integer(fixed, "height", 300)) if fixed.fields else None
    min_max = (_integer(kept, "min_dimension", 600), _integer(kept, "max_dimension", 1024)) if kept.fields else None
    if min_max and kept.word("pad_to_max_dimension") == "true":
        wh = (min_max[1], min_max[1])
    return {"wh": wh, "min_max_size": min_max}


def _nms(processing: Message) -> Nms | None:
    found = next(processing.messages("batch_non_max_suppression"), None)
    if found is None:
        return None
    return Nms(
        _number(found, "score_threshold", 0.0),
        _number(found, "iou_threshold", 0.6),
        _integer(found, "max_detections_per_class", 100),
        _integer(found, "max_total_detections", 100),
    )


def _anchors(generator: Message) -> SsdAnchors | MultiscaleAnchors | None:
    ssd = next(generator.messages("ssd_anchor_generator"), None)
    if ssd is not None:
        return SsdAnchors(
            tuple(_floats(ssd, "scales")) or _spread(ssd),
            tuple(_floats(ssd, "aspect_ratios")) or (1.0, 2.0, 0.5, 3.0, 1 / 3),
            _number(ssd, "interpolated_scale_aspect_ratio", 1.0),
            ssd.word("reduce_boxes_in_lowest_layer") != "false",
        )
    multi = next(generator.messages("multiscale_anchor_generator"), None)
    if multi is None:
        return None
    return MultiscaleAnchors(
        _integer(multi, "min_level", 3),
        _integer(multi, "max_level", 7),
        _number(multi, "anchor_scale", 4.0),
        _integer(multi, "scales_per_octave", 2),
        tuple(_floats(multi, "aspect_ratios")) or (1.0, 2.0, 0.5),
    )


def _spread(ssd: Message) -> tuple[float, ...]:
    """Scales at equal distances from the least to the greatest."""
    layers = _integer(ssd, "num_layers", 6)
    if not 1 <= layers <= 64:
        raise ValueError(f"num_layers: {layers}")
    least, most = _number(ssd, "min_scale", 0.2), _number(ssd, "max_scale", 0.95)
    return tuple(least + (most - least) * layer / max(1, layers - 1) for layer in range(layers))


def _grid(grid: Message) -> GridAnchors:
    stride = (_integer(grid, "height_stride", 16), _integer(grid, "width_stride", 16))
    if stride[0] != stride[1] or _integer(grid, "height_offset", 0) or _integer(grid, "width_offset", 0):
        raise ValueError(f"strides {stride[0]} and {stride[1]}, or an offset: OpenCV has one stride and no offset")
    return GridAnchors(
        tuple(_floats(grid, "scales")) or (0.5, 1.0, 2.0),
        tuple(_floats(grid, "aspect_ratios")) or (0.5, 1.0, 2.0),
        stride[0],
        (float(_integer(grid, "height", 256)), float(_integer(grid, "width", 256))),
    )
