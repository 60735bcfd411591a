"""Keywords of a call, such as ``Detector.load("best.onnx", conf=0.3)`` → the frozen options that they set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypedDict

from cvdetect.core.options import Conf, DetectOptions, ModelChoice, RunOptions
from cvdetect.core.printable import closest
from cvdetect.core.spec import Resize

__all__ = ["LoadKeywords", "options_of"]

AnyPath = str | Path
_PATHS = frozenset("cfg weights graph config onnx prototxt caffemodel tflite names registry cache".split())


class LoadKeywords(TypedDict, total=False):
    """All keywords that `Detector.load` takes: the fields of `ModelChoice`, `DetectOptions` and `RunOptions`.

    A path may be a text, `size` one number, `conf` a mapping from class names to thresholds, and `classes` one name.
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
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    rgb: bool | None
    pad_value: float | None
    size: int | tuple[int, int] | None
    resize: Resize | None
    registry: AnyPath | None
    cache: AnyPath | None
    offline: bool
    conf: float | Mapping[str, float] | Conf | None
    nms: float | None
    agnostic_nms: bool
    multi_label: bool
    max_det: int
    classes: str | Sequence[str]
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
    """The three with what `keywords` change.

    Args:
        function: what was called, for the message about an unknown keyword.

    Raises:
        TypeError: a keyword is no field of any of them; the message has the nearest one.
        UsageError: a value is out of range.
    """
    given = {name: _converted(name, value) for name, value in keywords.items()}
    owners = [{field.name for field in fields(each)} for each in (model, detect, run)]
    _refuse_unknown(function, given, [name for owner in owners for name in owner])
    parts = [{name: value for name, value in given.items() if name in owner} for owner in owners]
    return replace(model, **parts[0]), replace(detect, **parts[1]), replace(run, **parts[2])


def _refuse_unknown(function: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = closest(name, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def _converted(name: str, value: Any) -> Any:
    """A value as its field holds it."""
    if name in _PATHS and isinstance(value, str):
        return Path(value)
    if name == "size" and isinstance(value, int):
        return value, value
    if name == "conf" and isinstance(value, Mapping):
        return Conf(None, value)
    if name == "classes":
        return (value,) if isinstance(value, str) else tuple(map(str, value))
    return value
