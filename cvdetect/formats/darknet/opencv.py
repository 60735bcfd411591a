"""The cfg and weights that OpenCV's importer gets of a Darknet network, with every option written out.

OpenCV has defaults of its own ([upsample] stride 1, [convolutional] activation linear, [maxpool] stride 2, [reorg]
stride 2), takes the last of two equal keys, applies `activation` to every kind of layer, makes an output of every
layer that nothing uses, sets class scores under `thresh` to zero (0.2 where the cfg has no other) and knows neither
`[conv]` nor `dilation` nor `share_index`. So it never gets the user's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cvdetect.formats.darknet.heads import Head
from cvdetect.formats.darknet.kinds import Layer

__all__ = ["opencv_outputs", "opencv_text", "opencv_weights"]

Bytes = NDArray[np.uint8]  # (size,), a file's content
_HEADER = np.array([0, 2, 5, 0, 0], "<i4")
_NAMED_BY = {"route": "layers", "shortcut": "from", "scale_channels": "from", "sam": "from"}


def opencv_text(layers: Sequence[Layer], heads: Sequence[Head], shape: tuple[int, int, int]) -> str:
    """The cfg of the layers that run, for an input of `shape` (channels, height, width).

    Every head has `thresh=0` and `nms_threshold=0`: thresholds and non-maximum suppression are applied
    after OpenCV. A [region] has no key for its suppression: OpenCV 4.14 always runs one at IoU 0.4 there.
    """
    positions = _positions(layers)
    by_index = {head.layer_index: head for head in heads}
    channels, height, width = shape
    blocks = [_block("net", {"width": width, "height": height, "channels": channels})]
    for layer in layers:
        blocks.append(_block(*_section(layer, by_index.get(layer.index), positions)))
    return "\n".join(blocks)


def opencv_outputs(layers: Sequence[Layer], heads: Sequence[Head]) -> list[str]:
    """OpenCV's name of each head's output.

    That of a [region] is the layer before it, whose values cvdetect.families.region decodes.
    """
    positions = _positions(layers)
    return [f"{'permute' if head.kind == 'region' else 'yolo'}_{positions[head.layer_index]}" for head in heads]


def _positions(layers: Sequence[Layer]) -> Mapping[int, int]:
    """The position of each layer in OpenCV's cfg, by its index in the user's."""
    return {layer.index: place for place, layer in enumerate(layers)}


def _block(kind: str, options: Mapping[str, object]) -> str:
    return f"[{kind}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())


def _section(layer: Layer, head: Head | None, positions: Mapping[int, int]) -> tuple[str, Mapping[str, object]]:
    if head is not None:
        return layer.kind, _head_options(head)
    if layer.kind in ("dropout", "cost"):
        # OpenCV cannot pass its input on before the first layer; this pooling changes nothing either.
        return ("maxpool", {"size": 1, "stride": 1, "padding": 0}) if not positions[layer.index] else (layer.kind, {})
    named = ",".join(str(positions[source]) for source in layer.sources)
    return layer.kind, ({_NAMED_BY[layer.kind]: named} if named else {}) | dict(layer.options)


def _head_options(head: Head) -> Mapping[str, object]:
    options: dict[str, object] = {
        "classes": head.classes,
        "num": len(head.anchors),
        "anchors": ",".join(f"{side:.9g}" for anchor in head.anchors for side in anchor),
        "thresh": 0,
        "nms_threshold": 0,
    }
    if head.kind == "region":
        return options | {"coords": 4, "softmax": 1}
    mask = ",".join(map(str, range(len(head.anchors))))
    return options | {"mask": mask, "scale_x_y": f"{head.scale_x_y:.9g}", "new_coords": int(head.new_coords)}


def opencv_weights(weights: Bytes, header: int, every: Sequence[Layer], run: Sequence[Layer]) -> Bytes:
    """The weights of the layers that run, in OpenCV's order.

    Args:
        weights: uint8 (size,), a whole weights file.
        header: bytes before its first value.
        every: the layers of the cfg.
        run: those of them that OpenCV gets.

    Returns:
        `weights` itself where nothing changes (250 MB are not copied), else a new array.
    """
    if all(layer.shares is None and layer.dilation == 1 for layer in run) and _all_needed(every, run):
        return weights
    values = weights[header : header + 4 * sum(layer.parameters for layer in every)].view("<f4")
    ends = np.cumsum([layer.parameters for layer in every])
    parts: Iterator[NDArray[np.float32]] = (_values(layer, every, values, ends) for layer in run)
    return np.concatenate([_HEADER.view(np.uint8), *(part.view(np.uint8) for part in parts)])


def _all_needed(every: Sequence[Layer], run: Sequence[Layer]) -> bool:
    """Whether only layers at the end are left out: OpenCV does not read beyond the last one."""
    needed = {layer.index for layer in run}
    with_weights = [layer.index in needed for layer in every if layer.parameters]
    return all(with_weights[: sum(with_weights)])


def _values(
    layer: Layer, every: Sequence[Layer], values: NDArray[np.float32], ends: NDArray[np.int64]
) -> NDArray[np.float32]:
    """A layer's own values, or those that it shares; a dilated kernel gets zeros between them."""
    owner = every[layer.index if layer.shares is None else layer.shares]
    own = values[ends[owner.index] - owner.parameters : ends[owner.index]]
    if layer.dilation == 1:
        return own
    filters, reach = int(str(layer.options["filters"])), int(str(layer.options["size"]))
    front = filters * (4 if layer.options["batch_normalize"] else 1)
    kernels = own[front:].reshape(filters, -1, layer.kernel_size, layer.kernel_size)
    wide = np.zeros((*kernels.shape[:2], reach, reach), np.float32)
    wide[:, :, :: layer.dilation, :: layer.dilation] = kernels
    return np.concatenate([own[:front], wide.reshape(-1)])
