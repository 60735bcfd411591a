"""Preprocessing: images → the network's input, and boxes in it → boxes in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.boxes import Boxes, clip
from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Image
from cvdetect.core.resize import keep_aspect, resize_as_tensorflow
from cvdetect.core.spec import InputSpec

__all__ = ["Blob", "LetterboxTransform", "input_size", "preprocess", "transform_of"]

Blob = NDArray[np.float32]  # (B, C, H, W); C is the spec's channels, nearly always 3
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """Where an image lies in the network input: ``network = source * scale + pad``, in pixels, an axis each.

    A 768x576 image letterboxed into 416x416 is 416x312, padded by 52 above: scale 416/768 and 312/576, pad (0, 52).
    """

    source_wh: tuple[int, int]
    scale: tuple[float, float]
    pad: tuple[int, int] = (0, 0)

    def to_source(self, found: Detections) -> Detections:
        """Detections in network pixels → the source image's, clipped to it; boxes of masks are not clipped."""
        mask_xyxy = None if found.mask_xyxy is None else self._back(found.mask_xyxy)
        return replace(found, xyxy=clip(self._back(found.xyxy), *self.source_wh), mask_xyxy=mask_xyxy)

    def _back(self, xyxy: Boxes) -> Boxes:
        return np.asarray((xyxy.astype(np.float64) - self._pad4) / self._scale4, np.float32)

    @property
    def _scale4(self) -> NDArray[np.float64]:
        return np.array([*self.scale, *self.scale])

    @property
    def _pad4(self) -> NDArray[np.float64]:
        return np.array([*self.pad, *self.pad], np.float64)


def input_size(source_wh: tuple[int, int], input_wh: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Width and height of the network input for an image of `source_wh`: `input_wh`, or what its aspect ratio gives."""
    return keep_aspect(source_wh, spec.min_max_size) if spec.min_max_size else input_wh


def transform_of(source_wh: tuple[int, int], input_wh: tuple[int, int], spec: InputSpec) -> LetterboxTransform:
    """The transform of an image of `source_wh` into an input of `input_wh`.

    Letterboxing rounds sizes and padding down to whole pixels as Darknet's ``letterbox_image`` does.
    """
    if spec.resize != "letterbox":
        return LetterboxTransform(source_wh, (input_wh[0] / source_wh[0], input_wh[1] / source_wh[1]))
    inner = _fit(source_wh, input_wh)
    pad = ((input_wh[0] - inner[0]) // 2, (input_wh[1] - inner[1]) // 2) if spec.pad_align == "centre" else (0, 0)
    return LetterboxTransform(source_wh, (inner[0] / source_wh[0], inner[1] / source_wh[1]), pad)


def _fit(source_wh: tuple[int, int], input_wh: tuple[int, int]) -> tuple[int, int]:
    """The largest whole-pixel size with the source's aspect ratio inside `input_wh`."""
    (w, h), (to_w, to_h) = source_wh, input_wh
    if to_w * h < to_h * w:
        return to_w, max(1, h * to_w // w)
    return max(1, w * to_h // h), to_h


def preprocess(
    images: Sequence[Image], input_wh: tuple[int, int], spec: InputSpec
) -> tuple[Blob, list[LetterboxTransform]]:
    """Images (H, W, 3) BGR uint8, of any sizes → blob (B, C, h, w) float32 and the transform of each image.

    C is `spec.channels`. Grey (1) is Darknet's and OpenCV's, 0.299 R + 0.587 G + 0.114 B.

    (w, h) is `input_wh`; where `spec.min_max_size` gives each image a size of its own, one image goes at a time.
    """
    if spec.min_max_size:
        (image,) = images
        input_wh = input_size((image.shape[1], image.shape[0]), input_wh, spec)
    transforms = [transform_of((i.shape[1], i.shape[0]), input_wh, spec) for i in images]
    resized = [
        _resized(_with_channels(image, spec.channels), transform, input_wh, spec)
        for image, transform in zip(images, transforms, strict=True)
    ]
    blob = cv2.dnn.blobFromImages(resized, spec.scale, input_wh, spec.mean, spec.swap_rb)  # (B, C, h, w)
    if spec.std != (1.0, 1.0, 1.0):
        blob /= np.array((*spec.std, 1.0)[: spec.channels], np.float32).reshape(1, -1, 1, 1)
    return np.asarray(blob, np.float32), transforms


def _with_channels(image: Image, channels: int) -> Image:
    """A BGR image (H, W, 3) → (H, W) grey for 1, itself for 3, (H, W, 4) BGR and opaque alpha for 4."""
    if channels == 3:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2BGRA), np.uint8)


def _resized(image: Image, transform: LetterboxTransform, input_wh: tuple[int, int], spec: InputSpec) -> Image | Floats:
    """The image in the input's size; stretching is left to `blobFromImages`, which does it on the way."""
    if spec.resize == "tensorflow":
        return resize_as_tensorflow(image, input_wh)
    return _letterbox(image, transform, input_wh, spec.pad_value) if spec.resize == "letterbox" else image


def _letterbox(image: Image, transform: LetterboxTransform, input_wh: tuple[int, int], value: float) -> Image:
    """`image` resized to where it lies in the input, on a canvas of (h, w) and its channels, filled with `value`."""
    (w, h), (left, top) = input_wh, transform.pad
    inner = round(transform.scale[0] * transform.source_wh[0]), round(transform.scale[1] * transform.source_wh[1])
    canvas = np.full((h, w, *image.shape[2:]), value, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
    return canvas
