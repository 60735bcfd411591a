"""What each kind of Darknet layer makes of its input: shape, stride, number of weights, multiplications.

Each function takes the options of a section, the layer as it would be if it passed its input on, and the layers
before it. Defaults are those of OpenCV's Darknet importer; where it runs less than Darknet, a ModelFileError says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType

from cvdetect.formats.darknet_text import SectionReader

__all__ = ["KINDS", "Layer", "LayerKind"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: `index` counts as OpenCV and `route` do (the first section after [net] is 0).

    Attributes:
        shape: channels, height, width of the output.
        stride: pixels of the network input from one output cell to the next; None behind a layer without cells
            (avgpool, connected, crop).
        parameters: float32 values in the weights file.
        macs: multiplications with addition, for one image.
    """

    index: int
    kind: str
    line: int
    shape: tuple[int, int, int]
    stride: Fraction | None = Fraction(1)
    parameters: int = 0
    macs: int = 0


LayerKind = Callable[[SectionReader, Layer, Sequence[Layer]], Layer]


def _strided(stride: Fraction | None, factor: Fraction | int) -> Fraction | None:
    return None if stride is None else stride * factor


def _convolutional(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    filters, size = reader.integer("filters", least=1), reader.integer("size", least=1)
    stride, groups = _stride(reader, 1), reader.integer("groups", 1, least=1)
    if channels % groups or filters % groups:
        reader.fail(f"groups={groups} must divide the {channels} channels that come in and filters={filters}", "groups")
    padding = size // 2 if reader.integer("pad", 0) else reader.integer("padding", 0, least=0)
    out_h, out_w = ((side + 2 * padding - size) // stride + 1 for side in (height, width))
    kernels = filters * (channels // groups) * size * size
    return replace(
        layer,
        shape=(filters, out_h, out_w),
        stride=_strided(layer.stride, stride),
        parameters=kernels + filters * _values_a_filter(reader),
        macs=kernels * max(out_h, 0) * max(out_w, 0),
    )


def _values_a_filter(reader: SectionReader) -> int:
    """A bias; with batch normalisation also scale, mean and variance."""
    normalised = reader.integer("batch_normalize", 0)
    if normalised not in (0, 1):
        reader.fail(f"batch_normalize={normalised}: OpenCV has only 0 and 1", "batch_normalize")
    return 4 if normalised else 1


def _stride(reader: SectionReader, default: int) -> int:
    stride = reader.integer("stride", default, least=1)
    for key in ("stride_x", "stride_y"):
        if reader.integer(key, stride) != stride:
            reader.fail(
                f"{key}={reader.text(key)}: OpenCV takes only stride={stride}, so its results would be wrong", key
            )
    return stride


def _connected(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    output = reader.integer("output", 1, least=1)
    matrix = output * channels * height * width
    parameters = matrix + output * _values_a_filter(reader)
    return replace(layer, shape=(output, 1, 1), stride=None, parameters=parameters, macs=matrix)


def _maxpool(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    stride, size = _stride(reader, 2), reader.integer("size", 2, least=1)
    padding = reader.integer("padding", size - 1, least=0)
    out_h, out_w = ((side + padding - size) // stride + 1 for side in (height, width))
    return replace(layer, shape=(channels, out_h, out_w), stride=_strided(layer.stride, stride))


def _avgpool(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    return replace(layer, shape=(layer.shape[0], 1, 1), stride=None)


def _same(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    return layer


def _crop(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    if reader.integer("noadjust", 0) != 1:
        reader.fail("OpenCV reads the weights behind a [crop] wrongly unless it has noadjust=1; use another cfg")
    crop_h, crop_w = reader.integer("crop_height", least=1), reader.integer("crop_width", least=1)
    channels, height, width = layer.shape
    if crop_h > height or crop_w > width:
        reader.fail(f"crops {crop_w}x{crop_h} out of {width}x{height}: it must fit")
    return replace(layer, shape=(channels, crop_h, crop_w), stride=None)


def _reorg(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    stride = reader.integer("stride", 2, least=1)
    if height % stride or width % stride:
        reader.fail(f"stride={stride} must divide the input's {width}x{height}", "stride")
    shape = (channels * stride * stride, height // stride, width // stride)
    return replace(layer, shape=shape, stride=_strided(layer.stride, stride))


def _upsample(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    factor = reader.integer("stride", 1, least=1)
    return replace(
        layer, shape=(channels, height * factor, width * factor), stride=_strided(layer.stride, Fraction(1, factor))
    )


def _earlier(reader: SectionReader, key: str, number: int, before: Sequence[Layer]) -> Layer:
    """The layer that `number` names: absolute from 0, or relative to this one where negative."""
    index = number if number >= 0 else len(before) + number
    if not 0 <= index < len(before):
        reader.fail(
            f"{key}={number} names layer {index}, but only layers 0 to {len(before) - 1} stand before this one"
            if before
            else f"{key}={number}: no layer stands before this one",
            key,
        )
    return before[index]


def _route(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    sources = [_earlier(reader, "layers", number, before) for number in reader.integers("layers")]
    sizes = [source.shape[1:] for source in sources]
    if len(set(sizes)) > 1:
        told = ", ".join(f"layer {s.index}: {s.shape[2]}x{s.shape[1]}" for s in sources)
        reader.fail(f"joins layers of different size ({told}); they must be equal", "layers")
    groups, group = reader.integer("groups", 1, least=1), reader.integer("group_id", 0)
    if groups > 1 and len(sources) > 1:
        reader.fail("OpenCV confuses the layers behind a route with groups= over several layers", "groups")
    channels = sum(source.shape[0] for source in sources)
    if channels % groups:
        reader.fail(f"groups={groups} must divide the {channels} channels that come in", "groups")
    if not 0 <= group < groups:
        reader.fail(f"group_id={group} must lie in 0 to {groups - 1}", "group_id")
    return replace(layer, shape=(channels // groups, *sizes[0]), stride=sources[0].stride)


def _shortcut(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    source = _single_source(reader, before)
    if reader.text("weights_type", "none") != "none":
        reader.fail("weights_type: OpenCV does not read a shortcut's weights", "weights_type")
    if source.shape[1:] != layer.shape[1:]:
        (_, there_h, there_w), (_, here_h, here_w) = source.shape, layer.shape
        reader.fail(
            f"adds layer {source.index} of {there_w}x{there_h} to {here_w}x{here_h}: OpenCV needs them equal", "from"
        )
    return layer


def _single_source(reader: SectionReader, before: Sequence[Layer]) -> Layer:
    numbers = reader.integers("from")
    if len(numbers) != 1:
        reader.fail(
            f"from={reader.text('from')}: OpenCV takes only one layer here, so its results would be wrong", "from"
        )
    if not before:
        reader.fail("needs a layer before it")
    return _earlier(reader, "from", numbers[0], before)


def _scale_channels(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    source = _single_source(reader, before)
    if layer.shape[0] != source.shape[0] or layer.shape[1:] not in ((1, 1), source.shape[1:]):
        reader.fail(
            f"multiplies {layer.shape} with {source.shape} of layer {source.index} (channels, height, width)", "from"
        )
    return replace(layer, shape=source.shape, stride=source.stride)


def _sam(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    source = _single_source(reader, before)
    if layer.shape != source.shape:
        reader.fail(
            f"multiplies {layer.shape} with {source.shape} of layer {source.index} (channels, height, width)", "from"
        )
    return layer


KINDS: Mapping[str, LayerKind] = MappingProxyType(
    {
        "convolutional": _convolutional,
        "maxpool": _maxpool,
        "route": _route,
        "shortcut": _shortcut,
        "upsample": _upsample,
        "yolo": _same,
        "region": _same,
        "reorg": _reorg,
        "scale_channels": _scale_channels,
        "sam": _sam,
        "connected": _connected,
        "avgpool": _avgpool,
        "softmax": _same,
        "dropout": _same,
        "cost": _same,
        "crop": _crop,
    }
)
