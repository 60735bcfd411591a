"""A resolved model and a chosen runtime → a `Model`: all that is needed to detect with it.

It runs one way: files → `ModelSource` → `Network`; the source and the network's outputs → `Family` → `Model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import BackendError, DecodeError, ModelError, ModelFileError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions
from cvdetect.core.progress import Progress
from cvdetect.core.source import ModelSource
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.families import FAMILIES, DecodeOptions, Family, check_family, recognise, with_head
from cvdetect.families.base import HeadLayout, OutputSignature
from cvdetect.formats import FORMATS, format_of
from cvdetect.formats.base import GraphThresholds, WeightsError
from cvdetect.models.check_file_type import check_formats
from cvdetect.models.labels import check_stated, find_labels, report_hidden, stated_labels, thresholds
from cvdetect.models.registry import load_models
from cvdetect.models.resolve import ResolvedModel
from cvdetect.runtime import Network, Runtime

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model and how its output is to be read.

    Attributes:
        runtime: what runs the network.
        input: its preprocessing; `input_wh` is the size in pixels, the usual one where `input.min_max_size` gives each
            image its own.
        nms: the IoU threshold of non-maximum suppression; None where the graph has done it.
        one_by_one: the network takes one image at a time.
        files: what it was loaded from.
    """

    name: str
    runtime: Runtime
    network: Network
    input: InputSpec
    input_wh: tuple[int, int]
    family: Family
    options: DecodeOptions
    labels: LabelSet
    nms: float | None
    agnostic_nms: bool
    max_det: int
    one_by_one: bool = False
    files: Mapping[Role, Path] = field(default_factory=dict)


def load_model(model: ResolvedModel, detect: DetectOptions, runtime: Runtime, progress: Progress) -> Model:
    """Pull, check and load a model. What the arguments alone decide is reported before anything is downloaded.

    Raises:
        UsageError: an option that cannot be met.
        ModelError: the model cannot be had, or the runtime cannot run it.
    """
    spec, labels = model.spec, stated_labels(model.spec)
    _check_early(spec, detect, labels, runtime)
    files = model.fetch(progress)
    check_formats(files, from_options=not spec.listed)
    source = _open(spec, files, detect, progress)
    network = _load(spec, source, runtime)
    family, layout = _family(spec, source, network, files, progress)
    _check_options(spec.name, family, detect)
    if labels:
        check_stated(spec, labels, layout)
    names = spec.file("names")
    labels = labels or find_labels(
        layout, source.class_names, files.get("names"), spec.name, progress, bool(names and names.found)
    )
    report_hidden(labels, detect, spec.name, progress)
    return Model(
        name=spec.name,
        runtime=runtime,
        network=network,
        input=_input(spec, source, family),
        input_wh=source.wh,
        family=family,
        options=DecodeOptions(
            thresholds(detect, labels, spec.conf), detect.multi_label, source.anchors, source.priors, source.in_pixels
        ),
        labels=labels,
        nms=None if family.suppressed else _nms(spec, source, detect),
        agnostic_nms=detect.agnostic_nms,
        max_det=detect.max_det,
        one_by_one=runtime.takes_one_image(source),
        files=files,
    )


def _check_early(spec: ModelSpec, detect: DetectOptions, labels: LabelSet | None, runtime: Runtime) -> None:
    family = FAMILIES[spec.family] if spec.family else None
    _check_readable(spec, runtime)
    if spec.two_stage or (family and family.two_stage):
        runtime.check_two_stage(spec.name)
    if labels is not None:
        thresholds(detect, labels, spec.conf)
    if family:
        _check_options(spec.name, family, detect)


def _check_readable(spec: ModelSpec, runtime: Runtime) -> None:
    given = format_of(file.role for file in spec.files)
    if given not in runtime.formats:
        reads = ", ".join(each.title for name, each in FORMATS.items() if name in runtime.formats)
        raise BackendError(
            f"{spec.name}: runtime {runtime.ran.runtime} cannot read {FORMATS[given].title} models (it reads {reads})"
        )


def _check_options(name: str, family: Family, detect: DetectOptions) -> None:
    """Refuse options that cannot act on models of this family.

    Raises:
        UsageError: one of them is given.
    """
    for option, given, acts in (
        ("multi_label", detect.multi_label, family.multi_label),
        ("agnostic_nms", detect.agnostic_nms, not family.suppressed),
        ("nms", detect.nms is not None, not family.suppressed or family.nms_in_graph),
    ):
        if given and not acts:
            raise UsageError(
                f"{arg(option)} cannot act on {name}: models of family {family.name} give final detections"
            )


def _open(spec: ModelSpec, files: Mapping[Role, Path], detect: DetectOptions, progress: Progress) -> ModelSource:
    try:
        return FORMATS[format_of(files)].open(spec, files, GraphThresholds(_lowest(spec, detect), detect.nms), progress)
    except WeightsError as error:
        for other in load_models(users=False):
            known = other.file("weights")
            if known and known.size == files["weights"].stat().st_size:
                raise ModelFileError(f"{error}; {other.name}'s weights have this size") from error
        raise


def _lowest(spec: ModelSpec, detect: DetectOptions) -> float:
    """The lowest score that any class may have."""
    conf = detect.thresholds
    return min([spec.conf if conf.default is None else conf.default, *conf.per_class.values()])


def _load(spec: ModelSpec, source: ModelSource, runtime: Runtime) -> Network:
    if source.two_stage:
        runtime.check_two_stage(spec.name)
    try:
        return runtime.load(source)
    except ModelFileError:
        source.diagnose()
        raise


def _nms(spec: ModelSpec, source: ModelSource, detect: DetectOptions) -> float:
    """The IoU threshold: as asked for, else as the file states it, else the spec's."""
    return next(nms for nms in (detect.nms, source.nms, spec.nms) if nms is not None)


def _input(spec: ModelSpec, source: ModelSource, family: Family) -> InputSpec:
    """The preprocessing: models.yaml states all of its models'; files of one's own take their family's, but for what
    was asked for. Sizes and channels are the file's, and so is letterboxing where nothing else is stated.
    """
    stated = spec.input
    if not spec.listed:
        usual = family.preprocessing or FORMATS[source.format].preprocessing
        stated = replace(usual, **{field: getattr(stated, field) for field in spec.asked})
    return replace(
        stated,
        wh=source.wh,
        min_max_size=source.min_max_size,
        channels=source.channels,
        resize=stated.resize or ("letterbox" if source.letterbox else None),
    )


def _family(
    spec: ModelSpec, source: ModelSource, network: Network, files: Mapping[Role, Path], progress: Progress
) -> tuple[Family, HeadLayout]:
    """The family that the source states, else the one that the spec names, else the one its outputs look like.

    Raises:
        DecodeError: no family fits, or not the one that was named.
        ModelError: models.yaml names another family than the files have.
    """
    if source.head:
        family = with_head(source.head)
        _check_named(spec, source, family)
        return family, HeadLayout(source.classes, 0, source.first_class_id)
    shapes = source.shapes or _probe(network, source.wh)
    signature = OutputSignature(shapes, source.wh, source.raw, _count_names(spec, source, files))
    try:
        return _recognised(spec, signature, progress)
    except DecodeError as error:
        raise DecodeError(f"{spec.name}: {error}") from None


def _check_named(spec: ModelSpec, source: ModelSource, family: Family) -> None:
    if spec.family in ("", family.name):
        return
    if spec.listed:
        raise ModelError(f"{spec.name}: models.yaml states family {spec.family}, but its files are {family.name}")
    raise DecodeError(f"{source.name}: ends in {source.head}, so its decoder is known: leave {arg('decoder')} out")


def _probe(network: Network, wh: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes that the network gives for one black image, by output."""
    outputs = network.forward(np.zeros((1, 3, wh[1], wh[0]), np.float32))
    return {name: array.shape for name, array in outputs.items()}


def _count_names(spec: ModelSpec, source: ModelSource, files: Mapping[Role, Path]) -> int | None:
    """How many class names are known; None where there are none."""
    if isinstance(spec.labels, tuple):
        return len(spec.labels)
    if "names" not in files:
        return len(source.class_names) or None
    from cvdetect.formats.label_files import read_label_file

    return len(read_label_file(files["names"]).names) or None


def _recognised(spec: ModelSpec, signature: OutputSignature, progress: Progress) -> tuple[Family, HeadLayout]:
    if spec.family:
        family = FAMILIES[spec.family]
        layout = check_family(family, signature)
        _warn_of_likelier(spec.name, family, signature, progress)
        return family, layout
    family, layout = recognise(signature)
    progress.note(f"{spec.name}: taking decoder {family.name} for outputs {signature} ({arg('decoder')} names another)")
    return family, layout


def _warn_of_likelier(name: str, family: Family, signature: OutputSignature, progress: Progress) -> None:
    """Warn where the outputs fit the family that was named, but look like another's: it would find nonsense."""
    try:
        likelier, layout = recognise(signature)
    except DecodeError:
        return
    if likelier.name not in (family.name, family.same_as):
        progress.warn(
            f"{name}: reading outputs {signature} with decoder {family.name}, but they look like {likelier.name}"
            + (f" with {layout.classes} classes" if layout.classes else "")
        )
