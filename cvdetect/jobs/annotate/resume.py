"""Resuming: which options a run takes from the manifest, and what must be the same for it to continue."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.core.options import Conf
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.spec import ModelSpec
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.models.download import digest_of
from cvdetect.models.resolve import resolve
from cvdetect.storage import Folder, is_url

__all__ = [
    "MODEL_KEY",
    "check_same",
    "model_digests",
    "options_on_resume",
    "result_options",
    "runtime_options",
    "shown_digests",
    "stored_options",
]

Digest = tuple[int, int, str]  # size, mtime_ns, SHA-256

# The manifest has options as the command line spells them; fields that are called otherwise:
MODEL_KEY = "--model"
_KEYS = {"formats": "--format", "name": MODEL_KEY, "registry": "--models"}
_ARGUMENTS = {"--format": "formats", "--models": "registry"}
# What may differ between two runs into one OUT. DIR is compared by itself, the runtime by what ran; the others do not
# decide about outputs.
_FREE = {
    "": {"images", "out", "resume", "overwrite", "fail_fast", "workers", "engine", "ray_address", "given"},
    "model": {"cache", "offline"},
    "run": {"runtime", "device_id", "threads", "winograd"},
}
_GROUPS = ("model", "detect", "run", "style")
# Where a model comes from: its files' content is compared, and its name by itself.
_WHERE_FROM = frozenset({"name", "registry", "cache", "offline"})
# Files of a model may have moved: their content is compared. Another kind of model is another model.
_MAIN_FILES = frozenset({"--cfg", "--graph", "--onnx", "--prototxt", "--tflite"})
# A page can be added later: nothing that exists already changes.
_ADDED = frozenset({"--review"})


@dataclass(frozen=True, slots=True)
class _Option:
    """An option: its key in the manifest, and the field with its value, of `AnnotateJob` or of one of its groups."""

    name: str
    group: str
    field: str
    default: Any

    def get(self, job: AnnotateJob) -> Any:
        """Its value, as JSON holds it."""
        owner = getattr(job, self.group) if self.group else job
        return _encode(getattr(owner, self.field), self.field)

    def set(self, job: AnnotateJob, value: Any) -> AnnotateJob:
        """The same job with a value that `get` returned."""
        decoded = _decode(value)
        if not self.group:
            return replace(job, **{self.field: decoded})
        return replace(job, **{self.group: replace(getattr(job, self.group), **{self.field: decoded})})


def _options() -> Iterator[_Option]:
    """Every option that decides about outputs, including those that are added to the dataclasses later."""
    usual = AnnotateJob(images="", out="")
    for group in ("", *_GROUPS):
        owner = getattr(usual, group) if group else usual
        for field in fields(owner):
            if field.name not in _FREE.get(group, set()) and not (not group and field.name in _GROUPS):
                name = _KEYS.get(field.name, "--" + field.name.replace("_", "-"))
                yield _Option(name, group, field.name, _encode(getattr(owner, field.name), field.name))


def stored_options(job: AnnotateJob, model: str) -> dict[str, Any]:
    """All of `job` that decides about outputs, for the manifest: option → value as JSON holds it.

    Args:
        model: the name of the model, which is the default one where `job` names none.
    """
    values = {option.name: option.get(job) for option in _options()}
    return values | ({} if job.model.files else {MODEL_KEY: model})


def options_on_resume(job: AnnotateJob, before: Mapping[str, Any]) -> AnnotateJob:
    """`job`, with options that were not given taken from `before`, which `stored_options` made.

    An option is given if `job.given` names it; where that is None, if its value is not the default.

    Raises:
        UsageError: options that were given contradict; it names each with both values.
    """
    resumed, then, now = job, {}, {}
    for option in _options():
        if option.name not in before:  # of a later version
            continue
        value, stored = option.get(job), before[option.name]
        if not _is_given(job, option, value):
            resumed = option.set(resumed, stored)
        elif _contradicts(option, value, stored):
            then[option.name], now[option.name] = _plain(stored), _plain(value)
    check_same(job.out_folder, then, now)
    return resumed


def _argument(key: str) -> str:
    """``--max-det`` → ``max_det``."""
    return _ARGUMENTS.get(key, key.removeprefix("--").replace("-", "_"))


def _spelled(key: str) -> str:
    """A key of the manifest in a message; keys that are not arguments are phrases already."""
    return arg(_argument(key)) if key.startswith("--") else key


def _is_given(job: AnnotateJob, option: _Option, value: Any) -> bool:
    return value != option.default if job.given is None else _argument(option.name) in job.given


def _contradicts(option: _Option, value: Any, stored: Any) -> bool:
    if option.name in _ADDED:
        return bool(stored and not value)
    if (_is_path(value) or _is_path(stored)) and option.group == "model":
        return option.name in _MAIN_FILES and (value is None) != (stored is None)
    return bool(_comparable(value) != _comparable(stored))


def _is_path(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value


def _comparable(value: Any) -> Any:
    """The order of names (formats, classes) does not matter."""
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
    """The value for `check_same`."""
    if isinstance(value, dict):
        return value["path"] if "path" in value else {"all": value["conf"]["default"], **value["conf"]["per_class"]}
    return value


def result_options(job: AnnotateJob) -> dict[str, Any]:
    """All that decides about results: option → value. No file of the model is read.

    Raises:
        UsageError, ModelError: there is no such model.
    """
    spec = resolve(job.model, NullProgress()).spec
    thresholds = job.detect.thresholds
    chosen = {key: value for key, value in asdict(job.model).items() if key not in _WHERE_FROM}
    chosen |= {key: value for key, value in asdict(job.detect).items() if key != "conf"}
    chosen |= {key: value for key, value in asdict(job.style).items() if job.draw and value}
    return {
        MODEL_KEY: spec.name,
        "DIR": _absolute(job.images) if job.images != "-" else "-",
        "--root": job.root and _absolute(job.root),
        "--recursive": job.recursive,
        "--conf": {"all": thresholds.default, **thresholds.per_class},
        **{f"--{key.replace('_', '-')}": value for key, value in chosen.items() if not isinstance(value, Path)},
        "--backend": job.run.backend,
        "--precision": job.run.precision,
        "--batch": job.batch,
        **{f"--{kind}": _absolute(str(folder)) for kind, folder in job.folders().items() if kind != "review"},
        "--blur": job.blur,
        "the model's entry in models.yaml": _entry(spec),
    }


def _entry(spec: ModelSpec) -> str:
    """What a models.yaml states of a model's use, except what has an option of its own."""
    stated = spec.input
    written = (  # as earlier versions wrote it, so that their runs can be resumed
        f"InputSpec(wh=None, scale={stated.scale}, mean={stated.mean}, std={stated.std}, swap_rb={stated.swap_rb}, "
        f"resize=None, pad_value={stated.pad_value}, pad_align={stated.pad_align!r}, sides=None, "
        f"channels={stated.channels})"
    )
    return f"{written}, labels {spec.labels} + {spec.class_id_offset}, conf {spec.conf}, nms {spec.nms}"


def _absolute(place: str | Path) -> str:
    if is_url(str(place)):
        return str(place).rstrip("/")
    return os.fsencode(os.path.abspath(place)).decode("utf-8", "backslashreplace")  # noqa: PTH100 - links stay


def model_digests(job: AnnotateJob, known: Mapping[str, Digest], progress: Progress) -> dict[str, Digest]:
    """Role and name of each file of the model → its size, modification time and SHA-256.

    A file whose size and time are those in `known` is not read again. A model that is not on this machine is pulled.

    Raises:
        UsageError, ModelError: the model is not available.
    """
    files = resolve(job.model, NullProgress()).fetch(progress)
    return {f"{role} {path.name}": _digest(path, known.get(f"{role} {path.name}")) for role, path in files.items()}


def _digest(path: Path, known: Digest | None) -> Digest:
    status = path.stat()
    if known is not None and tuple(known[:2]) == (status.st_size, status.st_mtime_ns):
        return status.st_size, status.st_mtime_ns, known[2]
    return status.st_size, status.st_mtime_ns, digest_of(path, "sha256")


def shown_digests(digests: Mapping[str, Any]) -> dict[str, str]:
    """The model's files as they are compared and shown: file → the beginning of its digest."""
    return {f"the model's {file}": f"sha256 {digest[2][:12]}…" for file, digest in digests.items()}


def runtime_options(ran: Mapping[str, str]) -> dict[str, str]:
    """The part of a `Ran` as JSON that decides about results: devices may differ."""
    return {key: ran[key] for key in ("runtime", "backend", "target", "precision")}


def check_same(out: Folder, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UsageError, naming what differs, unless a run may continue where another one stopped."""
    differing = [key for key in sorted({*before, *now}) if _as_json(before.get(key)) != _as_json(now.get(key))]
    if differing:
        listed = "; ".join(
            f"{_spelled(key)}: {_shown(before.get(key))}, now {_shown(now.get(key))}" for key in differing
        )
        raise UsageError(
            f"{out}: cannot be resumed, it was made with other options ({listed}).\n"
            "Options that are not given are taken from the first run; for others "
            f"(also for a further {arg('formats')}) "
            f"give another {arg('out')}, or start again with {arg('overwrite', True)}"
        )


def _as_json(value: Any) -> Any:
    """The value as it comes back from JSON."""
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if value is None or value in ([], (), ""):
        return "not given"
    if isinstance(value, dict):
        return ",".join(str(v) if k == "all" else f"{k}={v}" for k, v in value.items() if v is not None) or "not given"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
