"""The kinds of Darknet layers: output shape, stride, number of weights, and the options that OpenCV needs.

Each function takes the options of a section, the layer as it would be if it passed its input on unchanged, and the
layers before it. Defaults and rules are Darknet's (parser.c). Where OpenCV's importer differs, the options are written
so that the result is Darknet's, or the layer is refused with its line and key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import NoReturn

from cvdetect.core.errors import ModelFileError
from cvdetect.core.printable import closest
from cvdetect.formats.darknet.text import SectionReader

__all__ = ["KINDS", "SKIPPED", "Layer", "LayerKind", "SizeError"]

# The activations that OpenCV's Darknet importer has, tried one by one on OpenCV 4.14.
_ACTIVATIONS = ("linear", "leaky", "relu", "swish", "mish", "logistic", "tanh")
# Those that only Darknet has (activations.c).
_ONLY_DARKNET = frozenset(
    "hard_mish normalize_channels normalize_channels_softmax normalize_channels_softmax_maxval loggy relu6 elu selu "
    "gelu relie plse hardtan lhtan ramp revleaky stair".split()
)
_OTHER_NAMES: Mapping[str, str] = MappingProxyType({"silu": "swish", "sigmoid": "logistic", "none": "linear"})


class SizeError(ModelFileError):
    """The layers do not fit together at this size of the input; they may at another."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: `index` counts as `route` does (the first section after [net] is 0).

    Attributes:
        shape: channels, height, width of the output.
        stride: pixels of the network input from one output cell to the next; None behind a layer without cells
            (avgpool, connected, crop).
        parameters: float32 values in the weights file.
        macs: multiplications with addition, for one image.
        sources: the earlier layers that it names; the one right before it is not among them.
        options: those that OpenCV needs, all defaults written out.
        dilation: input cells from one value of a convolution's kernel to the next.
        shares: the earlier layer whose weights it uses, None for its own.
    """

    index: int
    kind: str
    line: int
    shape: tuple[int, int, int]
    stride: Fraction | None = Fraction(1)
    parameters: int = 0
    macs: int = 0
    sources: tuple[int, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    dilation: int = 1
    shares: int | None = None

    @property
    def kernel_size(self) -> int:
        """Width and height of a convolution's kernel in the weights file."""
        return (int(str(self.options["size"])) - 1) // self.dilation + 1


LayerKind = Callable[[SectionReader, Layer, Sequence[Layer]], Layer]


def _strided(stride: Fraction | None, factor: Fraction | int) -> Fraction | None:
    return None if stride is None else stride * factor


def _convolutional(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    filters, size = reader.integer("filters", 1, least=1), reader.integer("size", 1, least=1)
    stride, groups = _stride(reader), reader.integer("groups", 1, least=1)
    if channels % groups or filters % groups:
        reader.fail(f"groups={groups} must divide the {channels} input channels and filters={filters}", "groups")
    dilation = 1 if size == 1 else reader.integer("dilation", 1, least=1)
    reach = dilation * (size - 1) + 1
    padding = dilation * (size // 2 if reader.integer("pad", 0) else reader.integer("padding", 0, least=0))
    if size == 1 and padding:
        reader.fail(f"padding={padding} with size=1: Darknet reads beyond its input then; remove it", "padding")
    if dilation > 1 and 2 * padding != reach - 1:
        reader.fail(f"dilation={dilation}: is run only where pad= keeps the size", "dilation")
    out_h, out_w = ((side + 2 * padding - reach) // stride + 1 for side in (height, width))
    normalized = _normalized(reader)
    kernels = filters * (channels // groups) * size * size
    made = replace(
        layer,
        shape=(filters, out_h, out_w),
        stride=_strided(layer.stride, stride),
        parameters=kernels + filters * (4 if normalized else 1),
        macs=kernels * max(out_h, 0) * max(out_w, 0),
        options={"filters": filters, "size": reach, "stride": stride, "padding": padding, "groups": groups}
        | {"batch_normalize": int(normalized), "activation": _activation(reader, "logistic")},
        dilation=dilation,
    )
    return _shared(reader, made, before)


def _shared(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    """Apply `share_index`, absolute or relative to this layer; the weights file then holds no values for it."""
    if not reader.has("share_index"):
        return layer
    number = reader.integer("share_index", 0)
    named = _earlier(reader, "share_index", number, before)
    owner = named if named.shares is None else before[named.shares]
    if owner.kind != layer.kind or _weights_shape(owner) != _weights_shape(layer):
        reader.fail(
            f"share_index={number}: layer {named.index} (line {named.line}) has other weights than this layer needs: "
            "filters, size, groups, channels and batch_normalize must be equal",
            "share_index",
        )
    return replace(layer, parameters=0, shares=owner.index)


def _weights_shape(layer: Layer) -> tuple[object, ...]:
    size = layer.kernel_size
    return (layer.parameters, size, *(layer.options[key] for key in ("filters", "groups", "batch_normalize")))


def _normalized(reader: SectionReader) -> bool:
    """Whether the layer has scale, mean and variance beside the bias; `cbn` differs in training only."""
    normalized = bool(reader.integer("batch_normalize", 0) or reader.integer("cbn", 0))
    if normalized and reader.integer("dontloadscales", 0):
        reader.fail("dontloadscales: the weights file lacks values that the network needs", "dontloadscales")
    return normalized


def _stride(reader: SectionReader) -> int:
    """The stride: `stride_x` and `stride_y` override `stride`, and OpenCV has one for both directions."""
    given = {key: reader.integer(key, -1) for key in ("stride_x", "stride_y")}
    plain = reader.integer("stride", 1, least=None if min(given.values()) >= 1 else 1)
    across, down = (value if value >= 1 else plain for value in given.values())
    if across != down:
        key = "stride_x" if given["stride_x"] >= 1 else "stride_y"
        reader.fail(f"{key}={given[key]}: OpenCV has one stride for both directions ({across} and {down} here)", key)
    return across


def _connected(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    output, normalized = reader.integer("output", 1, least=1), _normalized(reader)
    matrix = output * channels * height * width
    return replace(
        layer,
        shape=(output, 1, 1),
        stride=None,
        parameters=matrix + output * (4 if normalized else 1),
        macs=matrix,
        options={"output": output, "batch_normalize": int(normalized), "activation": _activation(reader, "logistic")},
    )


def _maxpool(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    stride = _stride(reader)
    # Darknet's default is `stride`, also where stride_x and stride_y count.
    size = reader.integer("size", max(1, reader.integer("stride", 1)), least=1)
    padding = reader.integer("padding", size - 1, least=0)
    out_h, out_w = ((side + padding - size) // stride + 1 for side in (height, width))
    if padding // 2 >= size or any(
        (out - 1) * stride >= side + (padding + 1) // 2 for out, side in ((out_h, height), (out_w, width))
    ):
        reader.fail(
            f"padding={padding} is too much for size={size}: OpenCV runs no pooling of padding alone", "padding"
        )
    options = {"size": size, "stride": stride, "padding": padding}
    return replace(layer, shape=(channels, out_h, out_w), stride=_strided(layer.stride, stride), options=options)


def _avgpool(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    return replace(layer, shape=(layer.shape[0], 1, 1), stride=None)


def _same(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    return layer


def _batchnorm(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    return replace(layer, parameters=4 * layer.shape[0])


def _crop(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    if reader.integer("noadjust", 0) != 1:
        reader.fail("OpenCV reads the weights behind a [crop] wrongly unless it has noadjust=1; use another cfg")
    crop_h, crop_w = reader.integer("crop_height", 1, least=1), reader.integer("crop_width", 1, least=1)
    channels, height, width = layer.shape
    if crop_h > height or crop_w > width:
        _fail_at_this_size(reader, f"crops {crop_w}x{crop_h} out of {width}x{height}: it must fit")
    options = {"noadjust": 1, "crop_height": crop_h, "crop_width": crop_w}
    return replace(layer, shape=(channels, crop_h, crop_w), stride=None, options=options)


def _reorg(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    stride = reader.integer("stride", 1, least=1)
    if height % stride or width % stride:
        _fail_at_this_size(reader, f"stride={stride} must divide the input's {width}x{height}", "stride")
    if channels % (stride * stride):
        # Darknet mixes pixels of several channels then (blas.c, reorg_cpu), OpenCV others.
        reader.fail(f"stride={stride}: {channels} input channels, OpenCV needs multiples of {stride**2}", "stride")
    shape = (channels * stride * stride, height // stride, width // stride)
    return replace(layer, shape=shape, stride=_strided(layer.stride, stride), options={"stride": stride})


def _upsample(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    channels, height, width = layer.shape
    factor = reader.integer("stride", 2, least=1)
    shape = (channels, height * factor, width * factor)
    return replace(layer, shape=shape, stride=_strided(layer.stride, Fraction(1, factor)), options={"stride": factor})


def _earlier(reader: SectionReader, key: str, number: int, before: Sequence[Layer]) -> Layer:
    """The layer that `number` names: absolute from 0, or relative to this one where negative."""
    index = number if number >= 0 else len(before) + number
    if not 0 <= index < len(before):
        reader.fail(
            f"{key}={number} names layer {index}, but only layers 0 to {len(before) - 1} come before this one"
            if before
            else f"{key}={number}: no layer comes before this one",
            key,
        )
    return before[index]


def _route(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    sources = [_earlier(reader, "layers", number, before) for number in reader.integers("layers")]
    sizes = [source.shape[1:] for source in sources]
    if len(set(sizes)) > 1:
        listed = ", ".join(f"layer {s.index}: {s.shape[2]}x{s.shape[1]}" for s in sources)
        _fail_at_this_size(reader, f"joins layers of different size ({listed}); they must be equal", "layers")
    groups, group = reader.integer("groups", 1, least=1), reader.integer("group_id", 0)
    if groups > 1 and len(sources) > 1:
        reader.fail("OpenCV confuses the layers behind a route with groups= over several layers", "groups")
    channels = sum(source.shape[0] for source in sources)
    if channels % groups:
        reader.fail(f"groups={groups} must divide the {channels} input channels", "groups")
    if not 0 <= group < groups:
        reader.fail(f"group_id={group} must lie in 0 to {groups - 1}", "group_id")
    return replace(
        layer,
        shape=(channels // groups, *sizes[0]),
        stride=sources[0].stride,
        sources=tuple(source.index for source in sources),
        options={"groups": groups, "group_id": group} if groups > 1 else {},
    )


def _shortcut(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    source = _single_source(reader, before)
    if reader.text("weights_type", "none") != "none":
        reader.fail("weights_type: OpenCV does not read a shortcut's weights", "weights_type")
    if source.shape[1:] != layer.shape[1:]:
        (_, there_h, there_w), (_, here_h, here_w) = source.shape, layer.shape
        sizes = f"layer {source.index} of {there_w}x{there_h} to {here_w}x{here_h}"
        _fail_at_this_size(reader, f"adds {sizes}: OpenCV needs them equal", "from")
    return replace(layer, sources=(source.index,), options={"activation": _activation(reader, "linear")})


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
        _fail_at_this_size(reader, _describe_product(layer, source), "from")
    return replace(
        layer, shape=source.shape, stride=source.stride, sources=(source.index,), options=_multiply_options(reader)
    )


def _sam(reader: SectionReader, layer: Layer, before: Sequence[Layer]) -> Layer:
    source = _single_source(reader, before)
    if layer.shape != source.shape:
        _fail_at_this_size(reader, _describe_product(layer, source), "from")
    return replace(layer, sources=(source.index,), options=_multiply_options(reader))


def _multiply_options(reader: SectionReader) -> Mapping[str, object]:
    name = _activation(reader, "linear")
    if name in ("swish", "mish"):
        reader.fail(f"activation={name}: Darknet does not have it in this layer", "activation")
    return {"activation": name}


def _describe_product(layer: Layer, source: Layer) -> str:
    return f"multiplies {layer.shape} with {source.shape} of layer {source.index} (channels, height, width)"


def _fail_at_this_size(reader: SectionReader, message: str, key: str = "") -> NoReturn:
    try:
        reader.fail(message, key)
    except ModelFileError as error:
        raise SizeError(str(error)) from None


# The kinds that OpenCV runs.
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
# The kinds that it does not run, but whose weights can be skipped where nothing needs their output.
SKIPPED: Mapping[str, LayerKind] = MappingProxyType(
    {
        "local_avgpool": _maxpool,
        "reorg3d": _reorg,
        "batchnorm": _batchnorm,
        **dict.fromkeys(("activation", "contrastive", "empty", "normalization", "logistic", "l2norm"), _same),
    }
)


def _activation(reader: SectionReader, default: str) -> str:
    """The layer's activation; raises ModelFileError where Darknet or OpenCV does not have it."""
    name = reader.text("activation", default)
    if name in _ACTIVATIONS:
        return name
    if name in _ONLY_DARKNET:
        reader.fail(f"activation={name}: OpenCV has only {', '.join(_ACTIVATIONS)}", "activation")
    word = name.partition("#")[0].partition(";")[0]
    if word != name:
        reader.fail(
            f"activation={name}: a comment follows the activation, which Darknet cannot read (it would take relu); "
            "put it on a line of its own",
            "activation",
        )
    reader.fail(f"activation={name}: Darknet does not have it and would take relu; {_hint(name)}", "activation")


def _hint(name: str) -> str:
    known = {name.lower(): name for name in (*_ACTIVATIONS, *_ONLY_DARKNET)}
    other = _OTHER_NAMES.get(name.lower())
    if other:
        return f"its name in Darknet is {other}"
    near = closest(name.lower(), known)
    return f"did you mean {known[near]}?" if near else f"OpenCV has {', '.join(_ACTIVATIONS)}"
