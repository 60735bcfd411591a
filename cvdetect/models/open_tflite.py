"""Opens a TensorFlow Lite model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import DecodeError, ModelFileError
from cvdetect.core.options import ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.families import FAMILIES, Priors
from cvdetect.families.base import OutputSignature
from cvdetect.formats.tflite import PostProcess, TFLiteInput, cut_postprocess, read_tflite_inputs
from cvdetect.models.opened import Opened, read_bytes
from cvdetect.models.recognised import choose_size, make_opened, probe, usual_input
from cvdetect.runtime import opencv

__all__ = ["open_tflite"]


def open_tflite(
    spec: ModelSpec, files: Mapping[Role, Path], choice: ModelChoice, run: RunOptions, progress: Progress
) -> Opened:
    """Read and load a TensorFlow Lite model of one image, and find out how its output is read.

    Raises:
        ModelFileError: the file is none, is damaged, or holds what OpenCV cannot run.
        DecodeError: no decoder fits its outputs, or not the one that was named.
        UsageError: its input has another size than was asked for.
    """
    path = files["tflite"]
    data = read_bytes(path)
    height, width = _image_hw(read_tflite_inputs(data, str(path)), path)
    wh = choose_size(spec, (width, height), None, progress)
    post = cut_postprocess(data, str(path))
    if post is not None:
        progress.note(
            f"{spec.name}: ends in TFLite_Detection_PostProcess; taking its anchors and its IoU {post.iou:.3g}"
        )
        return _open_ssd(spec, path, post, wh, choice, run)
    network = opencv.read_tflite(data, str(path), (), run)
    return make_opened(spec, files, choice, network, OutputSignature(probe(network, wh), wh), (), progress)


def _open_ssd(
    spec: ModelSpec, path: Path, post: PostProcess, wh: tuple[int, int], choice: ModelChoice, run: RunOptions
) -> Opened:
    """A model that ended in TFLite_Detection_PostProcess, whose work the decoder does."""
    if choice.decoder not in (None, "auto"):
        raise DecodeError(
            f"{path}: ends in TFLite_Detection_PostProcess, so its decoder is known: leave {arg('decoder')} out"
        )
    network = opencv.read_tflite(post.model, str(path), (*post.boxes, post.scores), run)
    return Opened(
        network,
        "tflite_ssd",
        replace(usual_input(spec, choice, FAMILIES["tflite_ssd"]), wh=wh),
        post.classes,
        priors=Priors(post.anchors, post.scales, post.classes),
        nms=post.iou,
        one_by_one=True,
    )


def _image_hw(inputs: list[TFLiteInput], path: Path) -> tuple[int, int]:
    """Height and width of the one input, a float image."""
    if len(inputs) != 1:
        raise ModelFileError(f"{path}: has {len(inputs)} inputs, expected one, the image")
    (image,) = inputs
    if image.dtype not in ("float32", "float16"):
        raise ModelFileError(f"{path}: takes {image.dtype} pixels: only models with a float input are supported")
    if len(image.shape) != 4 or image.shape[0] != 1 or image.shape[3] != 3 or min(image.shape) < 1:
        got = "x".join(map(str, image.shape))
        raise ModelFileError(f"{path}: its input is {got}, expected 1xHEIGHTxWIDTHx3")
    return image.shape[1], image.shape[2]
