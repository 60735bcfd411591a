"""Models of formats that do not say how their output is read (ONNX, TensorFlow Lite): decoder, input, class names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cvdetect.core.errors import DecodeError, UsageError
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.core.progress import Progress
from cvdetect.core.spec import DEFAULT_PREPROCESSING, InputSpec, ModelSpec, Role
from cvdetect.families.recognise import HeadLayout, OutputSignature, check_decoder, recognise
from cvdetect.models.opened import Opened
from cvdetect.models.resolve import changed, stated_input
from cvdetect.runtime import Network

__all__ = ["check_suppressed", "choose_size", "make_opened", "probe", "usual_input"]


def choose_size(
    spec: ModelSpec, fixed: tuple[int | None, int | None], said: tuple[int, int] | None, progress: Progress
) -> tuple[int, int]:
    """Width and height of the input: what the file fixes, else what was asked for, else what the file mentions.

    Args:
        spec: the model; `input.wh` is what was asked for.
        fixed: width and height as the file declares them; None where it leaves one open.
        said: what its metadata mentions.

    Raises:
        UsageError: another size was asked for than the file fixes.
    """
    asked = spec.input.wh
    if asked and any(have is not None and have != want for have, want in zip(fixed, asked, strict=True)):
        have = "x".join(str(size or "any") for size in fixed)
        raise UsageError(f"--size {asked[0]}x{asked[1]}: the input of {spec.name} is fixed at {have}")
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1]
    if asked or said:
        return asked or said or (0, 0)
    progress.warn(f"{spec.name}: the file does not say its input size, taking 640x640; --size sets another")
    return 640, 640


def probe(network: Network, wh: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes that the network gives for one black image, by output."""
    outputs = network.forward(np.zeros((1, 3, wh[1], wh[0]), np.float32))
    return {name: array.shape for name, array in outputs.items()}


def make_opened(
    spec: ModelSpec,
    files: Mapping[Role, Path],
    choice: ModelChoice,
    network: Network,
    model: OutputSignature,
    names: tuple[str, ...],
    progress: Progress,
) -> Opened:
    """The model as it is to be read: by the decoder that its spec names, else by the one its outputs look like.

    Raises:
        DecodeError: no decoder fits, or not the one that was named.
    """
    known = _count_names(files["names"]) if "names" in files else len(names)
    if isinstance(spec.labels, tuple):
        known = len(spec.labels)
    model = replace(model, names=known or None)
    decoder, layout = _decoder(spec, model, progress)
    return Opened(
        network,
        decoder,
        replace(usual_input(spec, choice, decoder), wh=model.wh),
        layout.classes,
        first_class_id=layout.first_class_id,
        suppressed=layout.suppressed,
        names=names,
        one_by_one=True,  # what OpenCV makes of a second image is an error, or wrong: the graph's shapes are for one
    )


def _count_names(path: Path) -> int:
    from cvdetect.formats.label_files import read_label_file

    return len(read_label_file(path).names)


def _decoder(spec: ModelSpec, model: OutputSignature, progress: Progress) -> tuple[str, HeadLayout]:
    try:
        if spec.family:
            layout = check_decoder(spec.family, model)
            _tell_likelier(spec, model, progress)
            return spec.family, layout
        decoder, layout = recognise(model)
    except DecodeError as error:
        raise DecodeError(f"{spec.name}: {error}") from None
    progress.note(f"{spec.name}: taking decoder {decoder} for outputs {model} (--decoder names another)")
    return decoder, layout


def _tell_likelier(spec: ModelSpec, model: OutputSignature, progress: Progress) -> None:
    """Warn where the outputs fit the decoder that was named, but look like another's: it would find nonsense."""
    try:
        likelier, layout = recognise(model)
    except DecodeError:
        return
    if {likelier, spec.family} - {"yolo_v5", "yolo_v7"} and likelier != spec.family:  # those two read alike
        progress.warn(
            f"{spec.name}: reading outputs {model} with decoder {spec.family}, but they look like {likelier}"
            + (f" with {layout.classes} classes" if layout.classes else "")
        )


def usual_input(spec: ModelSpec, choice: ModelChoice, decoder: str) -> InputSpec:
    """models.yaml states all for its own models; a file of one's own is fed as usual, but for what was asked."""
    return (
        changed(DEFAULT_PREPROCESSING[decoder], **stated_input(choice), resize=choice.resize)
        if choice.files
        else spec.input
    )


def check_suppressed(spec: ModelSpec, opened: Opened, detect: DetectOptions) -> None:
    """Refuse options that cannot act on a model which leaves nothing to suppress.

    Raises:
        UsageError: one of them is given.
    """
    given = [("--agnostic-nms", detect.agnostic_nms), ("--nms", detect.nms is not None)]
    if opened.family == "end2end":
        given.append(("--multi-label", detect.multi_label))
    for option, value in given:
        if value:
            raise UsageError(f"{option} cannot act on {spec.name}: its {opened.family} output needs no suppression")
