"""What must be the same for two runs to write into one folder: model, options, inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cvdetect.core.errors import UsageError
from cvdetect.core.progress import Progress, Silent
from cvdetect.core.spec import ModelSpec
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.models.content import digest_of
from cvdetect.models.resolve import resolve
from cvdetect.models.store import Store
from cvdetect.storage import Folder, is_url

__all__ = ["check_same", "contents_of", "model_digests", "options_of", "runtime_of"]

Digest = tuple[int, int, str]  # size, mtime_ns, SHA-256


def options_of(job: AnnotateJob) -> dict[str, Any]:
    """All that decides about results, as the option's name → its value; no file of the model is read.

    Raises:
        UsageError, ModelError: there is no such model.
    """
    spec = resolve(job.model, Silent())
    thresholds = job.detect.thresholds
    chosen = {key: value for key, value in asdict(job.model).items() if key not in _WHERE_FROM}
    chosen |= {key: value for key, value in asdict(job.detect).items() if key != "conf"}
    chosen |= {key: value for key, value in asdict(job.style).items() if job.draw and value}
    return {
        "--model": spec.name,
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


# Where a model comes from; its files' content counts, and its name is told by itself.
_WHERE_FROM = frozenset({"name", "registry", "cache", "offline"})


def _entry(spec: ModelSpec) -> str:
    """What a models.yaml says of a model's use, the options that have a line of their own apart."""
    fed = replace(spec.input, wh=None, resize=None)
    return f"{fed}, labels {spec.labels} + {spec.class_id_offset}, conf {spec.conf}, nms {spec.nms}"


def _absolute(place: str | Path) -> str:
    if is_url(str(place)):
        return str(place).rstrip("/")
    return os.fsencode(os.path.abspath(place)).decode("utf-8", "backslashreplace")  # noqa: PTH100 - links stay


def model_digests(job: AnnotateJob, known: Mapping[str, Digest], progress: Progress) -> dict[str, Digest]:
    """Role and name of each file of the model → its size, modification time and SHA-256.

    A file whose size and time are those in `known` is not read again. A model that is not here yet is pulled.

    Raises:
        UsageError, ModelError: the model cannot be had.
    """
    spec = resolve(job.model, Silent())
    files = Store(job.model.cache).ensure(spec, progress, offline=job.model.offline)
    return {f"{role} {path.name}": _digest(path, known.get(f"{role} {path.name}")) for role, path in files.items()}


def _digest(path: Path, known: Digest | None) -> Digest:
    status = path.stat()
    if known is not None and tuple(known[:2]) == (status.st_size, status.st_mtime_ns):
        return status.st_size, status.st_mtime_ns, known[2]
    return status.st_size, status.st_mtime_ns, digest_of(path, "sha256")


def contents_of(digests: Mapping[str, Any]) -> dict[str, str]:
    """What `model_digests` gives, as what is compared and told of the model's files."""
    return {f"the model's {file}": f"sha256 {digest[2][:12]}…" for file, digest in digests.items()}


def runtime_of(ran: Mapping[str, str]) -> dict[str, str]:
    """Of a `Ran` as JSON, all that decides about results: devices may differ."""
    return {key: ran[key] for key in ("runtime", "backend", "target", "precision")}


def check_same(out: Folder, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UsageError, naming what differs, unless a run may go on where another one stopped."""
    differing = [key for key in sorted({*before, *now}) if _plain(before.get(key)) != _plain(now.get(key))]
    if differing:
        told = "; ".join(f"{key}: {_told(before.get(key))}, now {_told(now.get(key))}" for key in differing)
        raise UsageError(
            f"{out}: cannot be resumed, it was made with other options ({told}).\n"
            "Options that are not given are taken from the first run; for others (also for a further --format) "
            "give another --out, or start again with --overwrite"
        )


def _plain(value: Any) -> Any:
    """The value as JSON would give it back."""
    return list(value) if isinstance(value, tuple) else value


def _told(value: Any) -> str:
    if value is None or value in ([], (), ""):
        return "not given"
    if isinstance(value, dict):
        return ",".join(str(v) if k == "all" else f"{k}={v}" for k, v in value.items() if v is not None) or "not given"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
