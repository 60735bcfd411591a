"""Models of formats that do not say how their output is read (ONNX, TensorFlow Lite): decoder, input, class names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import DecodeError, UsageError
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import Progress
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.families import FAMILIES, Family
from cvdetect.families.base import HeadLayout, OutputSignature
from cvdetect.families.recognise import check_family, recognise
from cvdetect.models.opened import Opened
from cvdetect.models.resolve import changed, stated_input
from cvdetect.runtime import Network

__all__ = ["choose_size", "make_opened", "probe", "usual_input"]


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
        raise UsageError(f"{arg('size')} {asked[0]}x{asked[1]}: the input of {spec.name} is fixed at {have}")
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1]
    if asked or said:
        return asked or said or (0, 0)
    progress.warn(f"{spec.name}: the file does not say its input size, taking 640x640; {arg('size')} sets another")
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
    family, layout = _family(spec, model, progress)
    return Opened(
        network,
        family.name,
        replace(usual_input(spec, choice, family), wh=model.wh),
        layout.classes,
        first_class_id=layout.first_class_id,
        names=names,
        one_by_one=True,  # what OpenCV makes of a second image is an error, or wrong: the graph's shapes are for one
    )


def _count_names(path: Path) -> int:
    from cvdetect.formats.label_files import read_label_file

    return len(read_label_file(path).names)


def _family(spec: ModelSpec, model: OutputSignature, progress: Progress) -> tuple[Family, HeadLayout]:
    try:
        if spec.family:
            family = FAMILIES[spec.family]
            layout = check_family(family, model)
            _warn_of_likelier(spec.name, family, model, progress)
            return family, layout
        family, layout = recognise(model)
    except DecodeError as error:
        raise DecodeError(f"{spec.name}: {error}") from None
    progress.note(f"{spec.name}: taking decoder {family.name} for outputs {model} ({arg('decoder')} names another)")
    return family, layout


def _warn_of_likelier(name: str, family: Family, model: OutputSignature, progress: Progress) -> None:
    """Warn where the outputs fit the decoder that was named, but look like another's: it would find nonsense."""
    try:
        likelier, layout = recognise(model)
    except DecodeError:
        return
    if likelier.name not in (family.name, family.same_as):
        progress.warn(
            f"{name}: reading outputs {model} with decoder {family.name}, but they look like {likelier.name}"
            + (f" with {layout.classes} classes" if layout.classes else "")
        )


def usual_input(spec: ModelSpec, choice: ModelChoice, family: Family) -> InputSpec:
    """models.yaml states all for its own models; a file of one's own is fed as usual, but for what was asked."""
    return (
        changed(family.preprocessing or InputSpec(), **stated_input(choice), resize=choice.resize)
        if choice.files
        else spec.input
    )
