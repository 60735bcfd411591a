"""A model's name or files → a `Model`: all that is needed to detect with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cvdetect.decoders import DECODERS, DecodeOptions, Decoder
from cvdetect.errors import ModelError, UsageError
from cvdetect.events import Progress, Silent
from cvdetect.labels import LabelSet
from cvdetect.loader.darknet import open_darknet
from cvdetect.loader.labelling import find_labels, stated_labels, thresholds
from cvdetect.loader.opened import Opened
from cvdetect.loader.resolve import resolve
from cvdetect.loader.tensorflow import open_tensorflow
from cvdetect.network import Network
from cvdetect.network.backends import choose
from cvdetect.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.spec import InputSpec, ModelSpec, Role
from cvdetect.zoo.fetch import Store

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model and how its output is to be read.

    Attributes:
        input: how images are fed; `input_wh` is its size in pixels.
        nms: the IoU threshold of suppression; None where the graph has done it.
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


def load_model(
    choice: ModelChoice,
    detect: DetectOptions,
    run: RunOptions,
    progress: Progress = Silent(),  # noqa: B008 - stateless
) -> Model:
    """Find, pull, check and load a model. What the arguments alone decide is told before anything is downloaded.

    Raises:
        UsageError: an option that cannot be met.
        ModelError: the model, or the backend, cannot be had.
    """
    spec = resolve(choice, progress)
    choose(run.backend, run.precision)
    labels = stated_labels(spec)
    _check_early(spec, detect, labels)
    files = Store(choice.cache).ensure(spec, progress, offline=choice.offline)
    opened = _open(spec, files, detect, run, progress)
    labels = labels or find_labels(opened, files.get("names"), spec.name, progress)
    return _model(spec, opened, labels, detect)


def _check_early(spec: ModelSpec, detect: DetectOptions, labels: LabelSet | None) -> None:
    if spec.family and spec.family not in DECODERS:
        raise ModelError(f"{spec.name}: models of family {spec.family} are not supported yet")
    if labels is not None:
        thresholds(detect, labels, spec.conf)
    if spec.file("graph"):
        for option, given in (("--multi-label", detect.multi_label), ("--agnostic-nms", detect.agnostic_nms)):
            if given:
                raise UsageError(f"{option} cannot act on {spec.name}: its graph suppresses boxes itself, per class")


def _open(
    spec: ModelSpec, files: Mapping[Role, Path], detect: DetectOptions, run: RunOptions, progress: Progress
) -> Opened:
    if "cfg" in files:
        opened = open_darknet(spec, files, run, progress)
    else:
        conf = detect.thresholds
        default = spec.conf if conf.default is None else conf.default
        opened = open_tensorflow(spec, files, run, min([default, *conf.per_class.values()]), detect.nms, progress)
    if spec.family and opened.family != spec.family:
        raise ModelError(f"{spec.name}: models.yaml says family {spec.family}, but its files are {opened.family}")
    return opened


def _model(spec: ModelSpec, opened: Opened, labels: LabelSet, detect: DetectOptions) -> Model:
    return Model(
        name=spec.name,
        network=opened.network,
        input=opened.input,
        input_wh=opened.input_wh,
        decode=DECODERS[opened.family],
        options=DecodeOptions(thresholds(detect, labels, spec.conf), detect.multi_label, opened.anchors),
        labels=labels,
        nms=None if opened.suppressed else spec.nms if detect.nms is None else detect.nms,
        agnostic_nms=detect.agnostic_nms,
        max_det=detect.max_det,
    )
