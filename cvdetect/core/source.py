"""A model's files as bytes and facts: what formats give, runtimes load, and families are recognised by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bytes", "ModelSource", "Priors"]

Bytes = NDArray[np.uint8]
"""A file's content, (size,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """Anchors that a model's file lists one by one.

    Attributes:
        boxes: (N, 4) y and x of the centre, height and width, normalized (0 to 1 across the input).
        scales: what codes are divided by, in the same order.
        classes: how many classes there are, background not counted.
    """

    boxes: NDArray[np.float32]
    scales: tuple[float, float, float, float]
    classes: int


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelSource:
    """A model whose files have been read and checked.

    Attributes:
        format: a name of `cvdetect.formats.FORMATS`.
        name: what errors call it: the path of its main file.
        content: the content of the file with the weights.
        text: the description beside it: Darknet's cfg, Caffe's prototxt, OpenCV's text graph; "" for none.
        wh: width and height of the network input in pixels; the usual ones where `min_max_size` gives each its own.
        min_max_size: each image has an input size of its own: what the shorter side is brought to, and the most for the
            longer one.
        channels: of the network input: 1, 3 or 4.
        letterbox: the file asks for images that keep their aspect ratio.
        image_input, size_input: the names of the inputs that take the image ("" for the first) and its size ("" for
            none).
        outputs: the names of the outputs to return; () for all that nothing else uses.
        shapes: each output's shape for one image; {} where the file does not state them all.
        raw: see `OutputSignature`.
        head: what the format calls the layer that gives the boxes, which decides the family; "" where it does not.
        classes: how many classes come out, background not counted; None where the file does not state it.
        first_class_id: the smallest class number that comes out: 1 where 0 is the background.
        class_names: those that the model file itself holds, or ().
        anchors, priors, in_pixels: see `DecodeOptions`.
        nms: the IoU threshold that the file itself states; None for none.
        two_stage: it proposes regions and crops them.
        one_image: OpenCV runs it on one image at a time only.
        diagnose: called where a runtime cannot load it: raises a ModelFileError that explains it better, where it can.
    """

    format: str
    name: str
    content: Bytes
    text: str = ""
    wh: tuple[int, int]
    min_max_size: tuple[int, int] | None = None
    channels: int = 3
    letterbox: bool = False
    image_input: str = ""
    size_input: str = ""
    outputs: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    raw: bool | None = None
    head: str = ""
    classes: int | None = None
    first_class_id: int = 0
    class_names: tuple[str, ...] = ()
    anchors: tuple[tuple[float, float], ...] = ()
    priors: Priors | None = None
    in_pixels: bool = False
    nms: float | None = None
    two_stage: bool = False
    one_image: bool = False
    diagnose: Callable[[], None] = _nothing
