"""What a resumed run is given and what it takes from the manifest: all that decides about outputs, option by option."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cvdetect.core.options import Conf
from cvdetect.jobs.annotate.identity import check_same
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.storage import is_url

__all__ = ["decisions", "settle"]

# Fields whose options have another name.
_NAMES = {"formats": "--format", "name": "--model", "registry": "--models"}
# What may differ between two runs into one OUT: DIR is compared by itself; the rest decides nothing about outputs.
_FREE = {
    "": {"images", "out", "resume", "overwrite", "fail_fast", "workers", "engine", "ray_address", "given"},
    "model": {"cache", "offline"},
    "run": {"device_id", "threads", "winograd"},
}
_GROUPS = ("model", "detect", "run", "style")
# Files of a model may lie elsewhere now: their content is compared. Another kind of model is another model.
_MAIN_FILES = frozenset({"--cfg", "--graph", "--onnx", "--prototxt", "--tflite"})
# A page can be added later, and nothing that is there already changes.
_ADDED = frozenset({"--review"})


@dataclass(frozen=True, slots=True)
class _Option:
    """An option, and the field of `AnnotateJob` that has its value, or of one of its groups."""

    name: str
    group: str
    field: str
    default: Any

    def get(self, job: AnnotateJob) -> Any:
        """Its value, as JSON holds it."""
        owner = getattr(job, self.group) if self.group else job
        return _encode(getattr(owner, self.field), self.field)

    def set(self, job: AnnotateJob, value: Any) -> AnnotateJob:
        """The same job with a value that `get` has given."""
        decoded = _decode(value)
        if not self.group:
            return replace(job, **{self.field: decoded})
        return replace(job, **{self.group: replace(getattr(job, self.group), **{self.field: decoded})})


def _options() -> Iterator[_Option]:
    """Every option that decides about outputs, also those that are added to the dataclasses later."""
    usual = AnnotateJob(images="", out="")
    for group in ("", *_GROUPS):
        owner = getattr(usual, group) if group else usual
        for field in fields(owner):
            if field.name not in _FREE.get(group, set()) and not (not group and field.name in _GROUPS):
                name = _NAMES.get(field.name, "--" + field.name.replace("_", "-"))
                yield _Option(name, group, field.name, _encode(getattr(owner, field.name), field.name))


def decisions(job: AnnotateJob, model: str) -> dict[str, Any]:
    """All of `job` that decides about outputs, for the manifest: option → value as JSON holds it.

    Args:
        model: the name of the model, which is the default one where `job` names none.
    """
    values = {option.name: option.get(job) for option in _options()}
    return values | ({} if job.model.files else {"--model": model})


def settle(job: AnnotateJob, before: Mapping[str, Any]) -> AnnotateJob:
    """`job` with what was not given taken from `before`, which `decisions` has made.

    An option is given where `job.given` names it; where that is None, where its value is not the default.

    Raises:
        UsageError: what was given contradicts; it names each such option with both values.
    """
    settled, then, now = job, {}, {}
    for option in _options():
        if option.name not in before:  # of a later version
            continue
        value, stored = option.get(job), before[option.name]
        if not _is_given(job, option, value):
            settled = option.set(settled, stored)
        elif _contradicts(option, value, stored):
            then[option.name], now[option.name] = _plain(stored), _plain(value)
    check_same(job.out_folder, then, now)
    return settled


def _is_given(job: AnnotateJob, option: _Option, value: Any) -> bool:
    return value != option.default if job.given is None else option.name in job.given


def _contradicts(option: _Option, value: Any, stored: Any) -> bool:
    if option.name in _ADDED:
        return bool(stored and not value)
    if (_is_path(value) or _is_path(stored)) and option.group == "model":
        return option.name in _MAIN_FILES and (value is None) != (stored is None)
    return bool(_comparable(value) != _comparable(stored))


def _is_path(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value


def _comparable(value: Any) -> Any:
    """The order of names (formats, classes) decides nothing."""
    return sorted(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _encode(value: Any, name: str) -> Any:
    if name == "conf":
        conf = value if isinstance(value, Conf) else Conf(value)
        return {"conf": asdict(conf)}
    if isinstance(value, Path):
        return {"path": os.path.abspath(value)}  # noqa: PTH100 - links stay
    if isinstance(value, str) and name in ("root", "draw", "crops"):
        return {"path": value.rstrip("/") if is_url(value) else os.path.abspath(value)}  # noqa: PTH100
    return list(value) if isinstance(value, tuple) else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    if "conf" in value:
        return Conf(value["conf"]["default"], value["conf"]["per_class"])
    return value["path"] if is_url(value["path"]) else Path(value["path"])


def _plain(value: Any) -> Any:
    """As `check_same` shows it."""
    if isinstance(value, dict):
        return value["path"] if "path" in value else {"all": value["conf"]["default"], **value["conf"]["per_class"]}
    return value
