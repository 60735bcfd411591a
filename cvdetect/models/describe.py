"""The zoo in words: rows for tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cvdetect.core.errors import CvdetectError, FetchError
from cvdetect.core.progress import Progress
from cvdetect.core.spec import Accuracy, InputSpec, ModelFile, ModelSpec, Speed
from cvdetect.models.registry import Registry
from cvdetect.models.store import FileState, Store

__all__ = ["SPEED_CLASSES", "details", "overview", "pull_models", "speed_class", "verification"]

SPEED_CLASSES = {"A": 0.5, "B": 1.5, "C": 5.0, "D": 20.0, "E": float("inf")}
"""Class → the longest forward pass in it, that of yolov3-tiny at 416 being 1."""

Rows = list[list[str]]


def overview(registry: Registry, store: Store) -> tuple[list[str], Rows]:
    """Headers and one row a model; the default model is marked."""
    rows = [
        [
            f"{spec.name} *" if spec.name == registry.default else spec.name,
            spec.family,
            _size(spec.input),
            _bytes(sum(f.size or 0 for f in spec.files)),
            _accuracy(spec.accuracy[0]) if spec.accuracy else "",
            _state(spec, store),
        ]
        for spec in registry
    ]
    return ["model (* default)", "-family", ">input", ">size", "-~published accuracy", "files"], rows


def _size(spec: InputSpec) -> str:
    return f"{spec.wh[0]}x{spec.wh[1]}" if spec.wh else "the file's"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "?"


def _accuracy(accuracy: Accuracy) -> str:
    return f"{accuracy.metric} {accuracy.value:g}"


def speed_class(speed: Speed | None) -> str:
    """A (fastest) to E by the measured time, "" where it was not measured."""
    if speed is None or speed.forward is None:
        return ""
    return next(name for name, longest in SPEED_CLASSES.items() if speed.forward <= longest)


def _speed(speed: Speed) -> str:
    named = f"class {speed_class(speed)}: {speed.forward:g} times yolov3-tiny's forward pass" if speed.forward else ""
    return ", ".join(part for part in (named, f"{speed.gflop:g} GFLOP" if speed.gflop else "") if part)


def _state(spec: ModelSpec, store: Store) -> str:
    here = sum(store.path_of(spec, file).is_file() for file in spec.files)
    return "here" if here == len(spec.files) else f"{here} of {len(spec.files)}" if here else "-"


def details(spec: ModelSpec, store: Store) -> Rows:
    """Key and value of all that is known of one model."""
    fed = spec.input
    rows = [
        ["name", spec.name],
        ["family", spec.family],
        ["input", f"{_size(fed)}, {fed.resize or 'as the file says'}, {'RGB' if fed.swap_rb else 'BGR'}"],
        ["pixels", f"(x - {_triple(fed.mean)}) * {fed.scale:.6g} / {_triple(fed.std)}"],
        [
            "labels",
            spec.labels if isinstance(spec.labels, str) else ", ".join(spec.labels or ("by number of classes",)),
        ],
        ["class id offset", str(spec.class_id_offset)],
        ["default conf, nms", f"{spec.conf:g}, {spec.nms:g}"],
        ["licence", spec.licence],
        *(["accuracy", f"{_accuracy(a)} ({a.source})"] for a in spec.accuracy),
        *([["speed", f"{_speed(spec.speed)} ({spec.speed.source})"]] if spec.speed else []),
        ["tested", spec.tested or "no"],
    ]
    return [*rows, *(row for file in spec.files for row in _file_rows(spec, file, store))]


def _triple(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{v:g}' for v in values)})"


def _file_rows(spec: ModelSpec, file: ModelFile, store: Store) -> Rows:
    path = store.path_of(spec, file)
    digest = (
        f"sha256 {file.sha256}" if file.sha256 else f"sha1 {file.sha1}" if file.sha1 else "unverified (no digest known)"
    )
    size = f"{file.size:,} bytes" if file.size else "size unknown"
    return [
        [file.role, f"{path} ({'here' if path.is_file() else 'not here'})"],
        ["", f"{size}, {digest}"],
        *(["", f"from {source}"] for source in file.sources),
    ]


def verification(specs: Iterable[ModelSpec], store: Store, named: bool) -> tuple[list[str], Rows, bool]:
    """Headers, one row a file, and whether all is sound.

    A file that is missing is unsound only where its model was asked for by name.
    """
    rows, sound = [], True
    for spec in specs:
        for state in store.verify(spec):
            missing = state.state == "missing"
            if missing and not named:
                continue
            rows.append([spec.name, state.file.name, _bytes(state.size or 0), _verdict(state)])
            sound = sound and not missing and state.state != "wrong"
    return ["model", "~file", ">size", "~state"], rows, sound


def _verdict(state: FileState) -> str:
    return f"{state.state}: {state.detail}" if state.detail else state.state


def pull_models(specs: Iterable[ModelSpec], store: Store, progress: Progress, offline: bool = False) -> int:
    """Pull each model, going on after one that cannot be had; the exit code: 0, or 3 where any failed."""
    failed = 0
    for spec in specs:
        try:
            folder = next(iter(store.ensure(spec, progress, offline=offline).values())).parent
            progress.note(f"{spec.name}: ready in {Path(folder)}")
        except CvdetectError as error:
            failed = FetchError.exit_code
            progress.error(f"{spec.name}: {error}")
    return failed
