"""Options as frozen values: which model, what counts as a detection, what runs it; and keywords that set them."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict, get_args

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.core.printable import closest
from cvdetect.core.spec import Resize

__all__ = [
    "Conf",
    "DetectOptions",
    "LoadKeywords",
    "ModelChoice",
    "RunOptions",
    "check_least",
    "check_share",
    "options_of",
    "usable_cores",
]

AnyPath = str | Path
_PATH_FIELDS = frozenset("cfg weights graph config onnx prototxt caffemodel tflite names registry cache".split())
_MODEL_FILES = {
    ".caffemodel": "caffemodel", ".cfg": "cfg", ".onnx": "onnx", ".pb": "graph", ".pbtxt": "config",
    ".prototxt": "prototxt", ".tflite": "tflite", ".weights": "weights",
}  # fmt: skip
# Files with another suffix are opened as this; the check of their content reports what they are.
_OTHER_FILE = "onnx"


@dataclass(frozen=True, slots=True)
class Conf:
    """Score thresholds: `default` for all classes (None: the model's own), `per_class` by class name or number."""

    default: float | None = None
    per_class: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in [*self.per_class.values(), *([] if self.default is None else [self.default])]:
            if not _is_number(value):
                raise UsageError(f"{arg('conf')} {value!r}: expected a number")
            check_share(value, "conf")
        object.__setattr__(self, "per_class", {str(key): value for key, value in self.per_class.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model: a name in models.yaml, or the files of one that no yaml names.

    Attributes:
        name: a model of models.yaml; None takes the default, unless files are given.
        cfg, weights: a Darknet model.
        graph, config: a TensorFlow frozen graph and its OpenCV text graph.
        onnx: an ONNX model.
        prototxt, caffemodel: a Caffe model.
        tflite: a TensorFlow Lite model.
        decoder: how the output of `onnx` or `tflite` is read; None recognises it.
        names: the class names: a list, a numbered list, a label map, a data.yaml or a Darknet .data file; None takes
            the one beside the model.
        scale, mean, std, rgb, pad_value: preprocessing of such files; None takes the family's usual.
        size: width and height of the network input in pixels; None takes the model's own.
        resize: "stretch", "letterbox", or "tensorflow" (as a TensorFlow graph itself does it, in its own size where
            `size` gives none); None takes the model's own.
        registry: a models.yaml read on top of the shipped one and the user's.
        cache: where weights lie; None takes the platform's user cache directory.
        offline: never use the network.
    """

    name: str | None = None
    cfg: Path | None = None
    weights: Path | None = None
    graph: Path | None = None
    config: Path | None = None
    onnx: Path | None = None
    prototxt: Path | None = None
    caffemodel: Path | None = None
    tflite: Path | None = None
    decoder: str | None = None
    names: Path | None = None
    scale: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    rgb: bool | None = None
    pad_value: float | None = None
    size: tuple[int, int] | None = None
    resize: Resize | None = None
    registry: Path | None = None
    cache: Path | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _as_held(each.name, getattr(self, each.name)))
        _check_kinds(self)
        _check_all("scale", [self.scale], lambda value: 0 < value < math.inf, "must be above 0")
        _check_all("mean", self.mean, math.isfinite, "must be finite")
        _check_all("std", self.std, lambda value: 0 < value < math.inf, "must be above 0: pixels are divided by it")
        _check_all("pad_value", [self.pad_value], lambda value: 0 <= value <= 255, "must lie between 0 and 255")

    @classmethod
    def of(cls, model: str | Path | ModelChoice | None) -> ModelChoice:
        """What a name of models.yaml, a model's file, or None (the default model) stands for.

        A text is a path where it ends as model files do (``best.onnx``), or names a file in a folder that it states.

        >>> ModelChoice.of("best.onnx")
        ModelChoice(onnx=Path("best.onnx"))
        """
        if isinstance(model, ModelChoice):
            return model
        if not isinstance(model, str | os.PathLike | None) or model == "":
            raise UsageError(f"model {model!r}: expected a name of models.yaml, the path of a model file, or None")
        if model is None or (isinstance(model, str) and not _is_model_file(model)):
            return cls(name=model)
        file: dict[str, Any] = {_MODEL_FILES.get(Path(model).suffix.lower(), _OTHER_FILE): Path(model)}
        return cls(**file)

    @property
    def files(self) -> dict[str, Path]:
        """The arguments that name a model's main file, and what they name."""
        given = {name: getattr(self, name) for name in ("cfg", "graph", "onnx", "prototxt", "tflite")}
        return {name: path for name, path in given.items() if path}


def _is_model_file(text: str) -> bool:
    path = Path(text)
    return path.suffix.lower() in _MODEL_FILES or (path.suffix != "" and path.is_file()) or len(path.parts) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """What counts as a detection.

    Attributes:
        conf: score thresholds (≥), 0 to 1: one number, a mapping from class names or numbers to thresholds, or a
            `Conf`, which has both; None takes the model's own.
        nms: IoU above which the weaker of two boxes is dropped, 0 to 1; None takes the model's own.
        agnostic_nms: non-maximum suppression across classes, not per class.
        multi_label: every class over the threshold is a detection, not only the best of a box.
        max_det: at most so many detections an image, best first.
        classes: names or numbers of the classes to look for; empty for all.
        tile: cut large images into overlapping tiles: "auto" or "COLUMNSxROWS"; None for no tiles.
    """

    conf: Conf | float | Mapping[str, float] | Mapping[int, float] | None = None
    nms: float | None = None
    agnostic_nms: bool = False
    multi_label: bool = False
    max_det: int = 300
    classes: tuple[str, ...] = ()
    tile: str | None = None

    @property
    def thresholds(self) -> Conf:
        """`conf` with a plain number or a mapping spelled out."""
        if isinstance(self.conf, Mapping):
            return Conf(None, {str(key): share for key, share in self.conf.items()})
        return self.conf if isinstance(self.conf, Conf) else Conf(self.conf)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _as_classes(self.classes))
        _check_kinds(self)
        thresholds = self.thresholds  # which checks them
        if isinstance(self.conf, Mapping):
            object.__setattr__(self, "conf", thresholds)
        if self.nms is not None:
            check_share(self.nms, "nms")
        check_least(self.max_det, 1, "max_det")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What runs the network.

    Attributes:
        runtime: the library, a name of `cvdetect.runtime.RUNTIMES`.
        backend: "auto", or a name that `cvdetect doctor` lists.
        precision: "fp32" or "fp16".
        device_id: which device, from 0 on, of a backend that numbers them ("cuda"); None takes the first that fits.
        threads: threads for the network; None takes all cores. OpenCV has one number for the whole process: it is set
            for each pass of the network, and set back when no pass runs any more.
        winograd: OpenCV's Winograd convolutions: later forwards are faster, the first is slower, and the weights
            take twice the memory. Off is quicker for up to about four images.
    """

    runtime: str = "opencv"
    backend: str = "auto"
    precision: str = "fp32"
    device_id: int | None = None
    threads: int | None = None
    winograd: bool = True

    def __post_init__(self) -> None:
        _check_kinds(self)
        if self.threads is not None:
            check_least(self.threads, 1, "threads")
        if self.device_id is not None and self.device_id < 0:
            raise UsageError(f"{arg('device_id')} {self.device_id}: devices are counted from 0")


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_all(
    argument: str, values: Sequence[float | None] | None, allowed: Callable[[float], bool], must: str
) -> None:
    """Raise UsageError unless all `values` that are given are allowed."""
    given = [value for value in values or () if value is not None]
    if not all(allowed(value) for value in given):
        raise UsageError(f"{arg(argument)} {','.join(f'{value:g}' for value in given)}: {must}")


def check_least(value: float, least: float, argument: str) -> None:
    """Raise UsageError unless `value` is a finite number and at least `least`."""
    if not least <= value < math.inf:
        raise UsageError(f"{arg(argument)} {value:g}: at least {least:g} is needed")


def check_share(value: float, argument: str) -> None:
    """Raise UsageError unless `value` lies in 0..1."""
    if not 0 <= value <= 1:
        raise UsageError(f"{arg(argument)} {value:g}: it must lie between 0 and 1")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_flag(value: object) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # numpy's, whose name depends on its version, without importing it


def _is_row(value: Any, length: int, holds: Callable[[object], bool]) -> bool:
    return not isinstance(value, str) and isinstance(value, Iterable) and [holds(v) for v in value] == [True] * length


# What the value of an option may be: wrong types are reported by name before they fail somewhere inside.
_NUMBER = (_is_number, "a number")
_WHOLE = (_is_whole, "a whole number")
_FLAG = (_is_flag, "True or False")
_THREE = (lambda value: _is_row(value, 3, _is_number), "three numbers, one a channel")
_TEXT = (lambda value: isinstance(value, str), "a str")
_PATH = (lambda value: isinstance(value, os.PathLike), "a path")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys("scale pad_value nms".split(), _NUMBER),
    **dict.fromkeys("max_det device_id threads".split(), _WHOLE),
    **dict.fromkeys("rgb offline agnostic_nms multi_label winograd".split(), _FLAG),
    **dict.fromkeys("mean std".split(), _THREE),
    **dict.fromkeys("name decoder tile runtime backend precision".split(), _TEXT),
    "size": (lambda value: _is_row(value, 2, _is_whole), "a whole number, or two: width and height"),
    "resize": (lambda value: value in get_args(Resize), ", ".join(get_args(Resize))),
    "conf": (
        lambda value: isinstance(value, Conf | Mapping) or _is_number(value),
        "a number, a mapping from classes to numbers, or a Conf",
    ),
    "classes": (lambda value: isinstance(value, tuple), "names or numbers of classes"),
}


def _check_kinds(options: ModelChoice | DetectOptions | RunOptions) -> None:
    """Raise UsageError unless each option holds a value of its kind, or None where that is the default."""
    for each in fields(options):
        value = getattr(options, each.name)
        holds, expected = _KINDS.get(each.name, _PATH)
        if not (holds(value) or (value is None and each.default is None)):
            raise UsageError(f"{arg(each.name)} {value!r}: expected {expected}")


def _as_held(name: str, value: Any) -> Any:
    """A value as its field of `ModelChoice` holds it; what is none stays, for the check to report."""
    if name in _PATH_FIELDS and isinstance(value, str):
        return Path(value)
    if name == "size" and _is_whole(value):
        return int(value), int(value)
    if name in ("size", "mean", "std") and isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(value)
    return value


def _as_classes(value: Any) -> Any:
    """Names as a tuple; what is none of this stays, for the check to report."""
    if isinstance(value, str) or _is_whole(value):
        return (str(value),)
    return tuple(map(str, value)) if isinstance(value, Iterable) else value


class LoadKeywords(TypedDict, total=False):
    """All keywords that `Detector.load` takes: the fields of `ModelChoice`, `DetectOptions` and `RunOptions`.

    A path may be a text, `size` one number, `conf` a mapping from classes to thresholds, and `classes` one name.
    """

    name: str | None
    cfg: AnyPath | None
    weights: AnyPath | None
    graph: AnyPath | None
    config: AnyPath | None
    onnx: AnyPath | None
    prototxt: AnyPath | None
    caffemodel: AnyPath | None
    tflite: AnyPath | None
    decoder: str | None
    names: AnyPath | None
    scale: float | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    rgb: bool | None
    pad_value: float | None
    size: int | Sequence[int] | None
    resize: Resize | None
    registry: AnyPath | None
    cache: AnyPath | None
    offline: bool
    conf: float | Mapping[str, float] | Mapping[int, float] | Conf | None
    nms: float | None
    agnostic_nms: bool
    multi_label: bool
    max_det: int
    classes: str | int | Sequence[str | int]
    tile: str | None
    runtime: str
    backend: str
    precision: str
    device_id: int | None
    threads: int | None
    winograd: bool


def options_of(
    function: str, model: ModelChoice, detect: DetectOptions, run: RunOptions, keywords: Mapping[str, Any]
) -> tuple[ModelChoice, DetectOptions, RunOptions]:
    """The three with what the keywords of a call change, as in ``Detector.load("best.onnx", conf=0.3)``.

    Args:
        function: what was called, for the message about an unknown keyword.

    Raises:
        TypeError: a keyword is no field of any of them; the message has the nearest one.
        UsageError: a value is out of range.
    """
    for value, kind, name in ((detect, DetectOptions, "detect"), (run, RunOptions, "run")):
        if not isinstance(value, kind):
            raise TypeError(f"{function}() expects {name} to be {kind.__name__}, got {type(value).__name__}")
    owners = [{field.name for field in fields(each)} for each in (model, detect, run)]
    _refuse_unknown(function, keywords, [name for owner in owners for name in owner])
    parts = [{name: value for name, value in keywords.items() if name in owner} for owner in owners]
    return replace(model, **parts[0]), replace(detect, **parts[1]), replace(run, **parts[2])


def _refuse_unknown(function: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = closest(name, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
