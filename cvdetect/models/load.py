"""A model's name or files → a `Model`: all that is needed to detect with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import CvdetectError, ModelError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.families import FAMILIES, DecodeOptions, Decoder, Family
from cvdetect.models.check_file_type import check_formats
from cvdetect.models.labels import check_stated, find_labels, report_hidden, stated_labels, thresholds
from cvdetect.models.open_darknet import open_darknet
from cvdetect.models.opened import Opened
from cvdetect.models.registry import shipped_models, user_models
from cvdetect.models.resolve import resolve
from cvdetect.models.store import Store
from cvdetect.runtime import Network
from cvdetect.runtime.backends import check_two_stage, choose

__all__ = ["Model", "load_model", "model_inputs"]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model and how its output is to be read.

    Attributes:
        input: how images are fed; `input_wh` is its size in pixels, the usual one where `input.sides` gives each image
            its own.
        nms: the IoU threshold of suppression; None where the graph has done it.
        one_by_one: the network takes one image at a time.
    """

    name: str
    network: Network
    input: InputSpec
    input_wh: tuple[int, int]
    decode: Decoder
    options: DecodeOptions
    labels: LabelSet
    nms: float | None
    agnostic_nms: bool
    max_det: int
    one_by_one: bool = False


def load_model(
    choice: ModelChoice,
    detect: DetectOptions,
    run: RunOptions,
    progress: Progress = NullProgress(),
) -> Model:
    """Find, pull, check and load a model. What the arguments alone decide is told before anything is downloaded.

    Raises:
        UsageError: an option that cannot be met.
        ModelError: the model, or the backend, cannot be had.
    """
    spec = resolve(choice, progress)
    ran = choose(run.backend, run.precision, run.device_id).ran
    if spec.two_stage or (spec.family and FAMILIES[spec.family].two_stage):
        check_two_stage(spec.name, ran)
    labels = stated_labels(spec)
    _check_early(spec, detect, labels)
    files = Store(choice.cache).ensure(spec, progress, offline=choice.offline)
    check_formats(files, from_options=bool(choice.files or choice.weights))
    opened = _open(spec, files, choice, detect, run, progress)
    if labels:
        check_stated(spec, labels, opened)
    names = spec.file("names")
    labels = labels or find_labels(opened, files.get("names"), spec.name, progress, bool(names and names.found))
    report_hidden(labels, detect, spec.name, progress)
    return _model(spec, opened, labels, detect)


def _check_early(spec: ModelSpec, detect: DetectOptions, labels: LabelSet | None) -> None:
    if labels is not None:
        thresholds(detect, labels, spec.conf)
    if spec.family:
        _check_options(spec.name, FAMILIES[spec.family], detect)


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


def _open(
    spec: ModelSpec,
    files: Mapping[Role, Path],
    choice: ModelChoice,
    detect: DetectOptions,
    run: RunOptions,
    progress: Progress,
) -> Opened:
    # Each format is imported when it is met: a Darknet run does not wait for the reader of TensorFlow's graphs.
    if "cfg" in files:
        opened = open_darknet(spec, files, run, progress)
    elif "onnx" in files or "tflite" in files:
        from cvdetect.models.open_onnx import open_onnx
        from cvdetect.models.open_tflite import open_tflite

        opener = open_onnx if "onnx" in files else open_tflite
        opened = opener(spec, files, choice, run, progress)
    elif "prototxt" in files:
        from cvdetect.models.open_caffe import open_caffe

        opened = open_caffe(spec, files, choice, run, _lowest(spec, detect), detect.nms, progress)
    else:
        from cvdetect.models.open_tensorflow import open_tensorflow

        opened = open_tensorflow(spec, files, choice, run, _lowest(spec, detect), detect.nms, progress)
    if spec.family and opened.family != spec.family:
        raise ModelError(f"{spec.name}: models.yaml says family {spec.family}, but its files are {opened.family}")
    _check_options(spec.name, FAMILIES[opened.family], detect)
    return opened


def _lowest(spec: ModelSpec, detect: DetectOptions) -> float:
    """The lowest score that any class may have."""
    conf = detect.thresholds
    return min([spec.conf if conf.default is None else conf.default, *conf.per_class.values()])


def _model(spec: ModelSpec, opened: Opened, labels: LabelSet, detect: DetectOptions) -> Model:
    family = FAMILIES[opened.family]
    return Model(
        name=spec.name,
        network=opened.network,
        input=opened.input,
        input_wh=opened.input_wh,
        decode=family.decode,
        options=DecodeOptions(
            thresholds(detect, labels, spec.conf), detect.multi_label, opened.anchors, opened.priors, opened.in_pixels
        ),
        labels=labels,
        nms=None if family.suppressed else _nms(spec, opened, detect),
        agnostic_nms=detect.agnostic_nms,
        max_det=detect.max_det,
        one_by_one=opened.one_by_one,
    )


def _nms(spec: ModelSpec, opened: Opened, detect: DetectOptions) -> float:
    """The IoU threshold: as asked for, else as the file states it, else the spec's."""
    return next(nms for nms in (detect.nms, opened.nms, spec.nms) if nms is not None)


# Which files a choice of a model reads, so that no output of the run is written over one of them.


def model_inputs(*choices: ModelChoice) -> Iterator[Path]:
    """The files that were named, the models.yaml files, and the files that the chosen models have, here or later.

    A choice that cannot be met gives what it names; loading it reports what is wrong.
    """
    for choice in choices:
        values = (getattr(choice, one.name) for one in fields(choice))
        yield from (value for value in values if isinstance(value, Path))
        if choice.name:
            yield Path(choice.name)
        with suppress(CvdetectError):
            spec, store = resolve(choice, NullProgress()), Store(choice.cache)
            paths = [store.path_of(spec, file) for file in spec.files]
            yield from paths
            if any(file.found for file in spec.files):  # the names may have been found by way of Darknet's .data
                yield from (path.with_suffix(".data") for path in paths)
    yield from (shipped_models(), user_models())
