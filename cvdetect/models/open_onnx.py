"""Opens an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cvdetect.core.errors import ModelError, ModelFileError
from cvdetect.core.options import ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.spec import ModelSpec, Role
from cvdetect.families.base import OutputSignature
from cvdetect.formats.onnx import OnnxModel, read_onnx
from cvdetect.models.opened import Opened, read_bytes
from cvdetect.models.recognised import choose_size, make_opened, probe
from cvdetect.runtime import opencv

__all__ = ["open_onnx"]


def open_onnx(
    spec: ModelSpec, files: Mapping[Role, Path], choice: ModelChoice, run: RunOptions, progress: Progress
) -> Opened:
    """Read and load an ONNX model, and find out how its output is read.

    Raises:
        ModelFileError: the file is no ONNX model, is damaged, or holds what OpenCV cannot run.
        ModelError: it is no detection model.
        DecodeError: no decoder fits its outputs, or not the one that was named.
        UsageError: its input has another size than was asked for.
    """
    path = files["onnx"]
    data = read_bytes(path)
    facts = read_onnx(data, str(path))
    _check(facts, path)
    ((_, shape),) = facts.inputs.items()
    wh = choose_size(spec, (shape[3], shape[2]), facts.image_wh, progress)
    shapes = _output_shapes(facts)
    network = opencv.read_onnx(data, str(path), list(shapes or facts.outputs), run)
    signature = OutputSignature(shapes or probe(network, wh), wh, facts.raw)
    return make_opened(spec, files, choice, network, signature, facts.class_names, progress)


def _check(facts: OnnxModel, path: Path) -> None:
    """Refuse what cannot work, before OpenCV does so in its own words."""
    if facts.external:
        place = ", ".join(sorted(facts.external)[:3])
        raise ModelFileError(
            f"{path}: keeps its weights in {place}, which OpenCV does not read: save it as one file "
            "(onnx.save(onnx.load(FILE), OUT), or export with external_data=False)"
        )
    task = facts.metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"{path}: is a model for the task {task!r}; only detection models are supported")
    if len(facts.inputs) != 1 or not facts.outputs:
        raise ModelFileError(
            f"{path}: has {len(facts.inputs)} inputs ({', '.join(facts.inputs)}), expected one, the image: export the "
            "model without its post-processing"
        )
    ((name, shape),) = facts.inputs.items()
    if len(shape) != 4 or shape[0] not in (1, None) or shape[1] not in (3, None):
        got = "x".join(str(size or "?") for size in shape)
        raise ModelFileError(f"{path}: input {name} is {got}, expected 1x3xHEIGHTxWIDTH: export it for one image, NCHW")


def _output_shapes(facts: OnnxModel) -> dict[str, tuple[int, ...]]:
    """The outputs' shapes for one image where the file states them all, else {}.

    Old exports of YOLOv5 have their heads as they were before the decoding beside it: those are left out.
    """
    shapes = {name: tuple(s for s in (1, *shape[1:]) if s) for name, shape in facts.outputs.items()}
    whole = all(len(shapes[name]) == len(shape) > 2 for name, shape in facts.outputs.items())
    decoded = [name for name, shape in shapes.items() if len(shape) == 3]
    if whole and len(decoded) == 1 and all(len(shape) == 5 for name, shape in shapes.items() if name not in decoded):
        return {decoded[0]: shapes[decoded[0]]}
    return shapes if whole else {}
