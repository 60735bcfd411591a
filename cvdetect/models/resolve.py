"""The choice of a model → a `ResolvedModel`: its row of models.yaml, or a spec made of the files that were given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import CvdetectError, ModelFileError, UsageError
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.spec import InputSpec, ModelFile, ModelSpec, Role
from cvdetect.core.targets import check_regular
from cvdetect.families import recognised
from cvdetect.formats import FORMATS, format_of
from cvdetect.formats.base import read_text
from cvdetect.models.check_file_type import check_format, refuse_darknet_data, unread_format
from cvdetect.models.registry import load_models, shipped_models, user_models
from cvdetect.models.store import Store

__all__ = ["ModelLookup", "ResolvedModel", "resolve"]

_NOT_READ = {".t7": "torch7", ".net": "torch7", ".pt": "pytorch", ".pth": "pytorch"}
_ROLES: tuple[Role, ...] = ("cfg", "graph", "onnx", "prototxt", "tflite", "weights", "caffemodel", "config", "names")
_INPUT_OPTIONS = {"scale": "scale", "mean": "mean", "std": "std", "rgb": "swap_rb", "pad_value": "pad_value"}
_RANKS = {"": 0, "_best": 1, "_last": 2, "_final": 3}  # of weights beside a cfg, by the end of their name
_TRAINED = re.compile(r"_(best|last|final|\d+)$")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that has been looked up, once for a run.

    Attributes:
        spec: with the size, resize and preprocessing that were asked for.
        store: where its files lie, or will lie.
        offline: never use the network.
    """

    spec: ModelSpec
    store: Store
    offline: bool = False

    def fetch(self, progress: Progress) -> dict[Role, Path]:
        """The paths of all files of the model; what is missing is pulled. Raises as `Store.ensure`."""
        return self.store.ensure(self.spec, progress, offline=self.offline)

    def inputs(self) -> Iterator[Path]:
        """The files that it is read from, here or later."""
        paths = [self.store.path_of(self.spec, file) for file in self.spec.files]
        yield from paths
        if any(file.found for file in self.spec.files):  # the names may have been found by way of Darknet's .data
            yield from (path.with_suffix(".data") for path in paths)


class _Recorder(NullProgress):
    """Keeps what is reported until it is to be read."""

    def __init__(self) -> None:
        self.lines: list[tuple[bool, str]] = []

    def note(self, message: str) -> None:
        self.lines.append((False, message))

    def warn(self, message: str) -> None:
        self.lines.append((True, message))

    def flush(self, progress: Progress) -> None:
        for warns, message in self.lines:
            (progress.warn if warns else progress.note)(message)
        self.lines.clear()


class ModelLookup:
    """The choice of a model, which a run looks up once, when it first needs it.

    Args:
        progress: gets a note on which companions of the model's files are taken, when the model is used.
    """

    def __init__(self, choice: ModelChoice, progress: Progress = NullProgress()) -> None:
        self._choice, self._progress = choice, progress
        self._recorder = _Recorder()

    @property
    def resolved(self) -> ResolvedModel:
        """As `resolve`; a choice that cannot be met raises the same error each time."""
        found = self._found
        self._recorder.flush(self._progress)
        if isinstance(found, CvdetectError):
            raise found
        return found

    @cached_property
    def _found(self) -> ResolvedModel | CvdetectError:
        try:
            return resolve(self._choice, self._recorder)
        except CvdetectError as error:
            return error

    def inputs(self) -> Iterator[Path]:
        """The files that were named, the models.yaml files, and the files that the model has, here or later.

        No output of the run may be written over one of them. A choice that cannot be met gives what it names; loading
        it reports what is wrong.
        """
        values = (getattr(self._choice, one.name) for one in fields(self._choice))
        yield from (value for value in values if isinstance(value, Path))
        if self._choice.name:
            yield Path(self._choice.name)
        if isinstance(self._found, ResolvedModel):
            yield from self._found.inputs()
        yield from (shipped_models(), user_models())


def resolve(choice: ModelChoice, progress: Progress) -> ResolvedModel:
    """Look up the chosen model, with the size and resize that were asked for.

    Raises:
        UsageError: no such model, or options that do not go together.
        RegistryError: a models.yaml is wrong.
        ModelFileError: a file that was named, or its companion, is not there.
    """
    if choice.weights and not choice.files and not choice.name:
        choice = replace(choice, cfg=_find_cfg(choice.weights, progress))
    _check(choice)
    spec = _from_files(choice, progress) if choice.files else _from_registry(choice)
    spec = replace(spec, files=_with_names(spec, progress), input=_input(spec, choice))
    return ResolvedModel(spec, Store(choice.cache), choice.offline)


def _input(spec: ModelSpec, choice: ModelChoice) -> InputSpec:
    """The model's input with what was asked for."""
    own_size = choice.resize == "tensorflow" and choice.size is None and spec.file("graph")  # as the graph itself does
    return replace(spec.input, **(_asked(choice) | ({"wh": None} if own_size else {})))


def _with_names(spec: ModelSpec, progress: Progress) -> tuple[ModelFile, ...]:
    """The model's files: a .data file replaced by the label file that it names, or one found beside the model added."""
    names = spec.file("names")
    if names is None:
        own = [file.path for file in spec.files if file.path and file.role != "config"]
        found = None if spec.labels else _find_names(own, progress)
        return (*spec.files, ModelFile(role="names", name=found.name, path=found, found=True)) if found else spec.files
    if names.path is None or (path := _label_file(names.path, progress)) == names.path:
        return spec.files
    return tuple(replace(file, name=path.name, path=path) if file is names else file for file in spec.files)


def _asked(choice: ModelChoice) -> dict[str, Any]:
    """What was asked for, by the fields of `InputSpec`."""
    options = {**_INPUT_OPTIONS, "size": "wh", "resize": "resize"}
    return {field: value for option, field in options.items() if (value := getattr(choice, option)) is not None}


def _check(choice: ModelChoice) -> None:
    """Refuse options that contradict each other."""
    named = [*(["model"] if choice.name else []), *choice.files]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(map(arg, named))} name two models: give one")
    for option, value, needs, there in (
        ("weights", choice.weights, arg("cfg"), choice.cfg),
        ("config", choice.config, arg("graph"), choice.graph),
        ("caffemodel", choice.caffemodel, arg("prototxt"), choice.prototxt),
        ("decoder", choice.decoder, f"{arg('onnx')} or {arg('tflite')}", choice.onnx or choice.tflite),
        ("names", choice.names, _main_files(), choice.files),
    ):
        if value and not there:
            raise UsageError(f"{arg(option)} goes with {needs}; a model of models.yaml brings its own")
    if choice.decoder not in (None, "auto", *recognised()):
        raise UsageError(
            f"{arg('decoder')} {choice.decoder}: no such decoder; there are auto, {', '.join(recognised())}"
        )
    given = [option for option in _INPUT_OPTIONS if getattr(choice, option) is not None]
    if given and not choice.files:
        raise UsageError(f"{arg(given[0])} goes with {_main_files()}; models.yaml states it for its own")


def _main_files() -> str:
    """The arguments that name a model's main file, in words."""
    *first, last = (arg(each.files[0]) for each in FORMATS.values())
    return f"{', '.join(first)} or {last}"


def _from_registry(choice: ModelChoice) -> ModelSpec:
    registry = load_models(choice.registry)
    if choice.name and choice.name not in registry.names():
        refuse_darknet_data(choice.name)
    return registry.get(choice.name or registry.default)


def _from_files(choice: ModelChoice, progress: Progress) -> ModelSpec:
    """A spec for files that no yaml names; it is called after the stem of its main file."""
    for role, path in _given(choice).items():  # before companions are looked for
        check_format(role, _existing(path))
    paths = _paths(choice, progress)
    if choice.names:
        paths["names"] = choice.names
    files = tuple(ModelFile(role=role, name=path.name, path=_existing(path)) for role, path in paths.items())
    family = "" if choice.decoder in (None, "auto") else str(choice.decoder)
    return ModelSpec(
        name=files[0].path.stem if files[0].path else "",
        family=family,
        files=files,
        input=FORMATS[format_of(paths)].preprocessing,
        listed=False,
        asked=frozenset(_asked(choice)),
    )


def _given(choice: ModelChoice) -> dict[Role, Path]:
    """The files that were named by options, the main one first."""
    return {role: path for role in _ROLES if (path := getattr(choice, role))}


def _paths(choice: ModelChoice, progress: Progress) -> dict[Role, Path]:
    """The files of the model, the main one first."""
    if choice.cfg:
        return {"cfg": choice.cfg, "weights": choice.weights or _find_weights(choice.cfg, progress)}
    if choice.onnx:
        return {"onnx": choice.onnx}
    if choice.tflite:
        return {"tflite": choice.tflite}
    if choice.prototxt:
        weights = choice.caffemodel or _require_beside(choice.prototxt, ".caffemodel", "caffemodel", progress)
        return {"prototxt": choice.prototxt, "caffemodel": weights}
    assert choice.graph is not None, "no main file was given"
    config = choice.config or _beside(choice.graph, ".pbtxt", "config", progress)
    # Without one a text graph is made from the graph itself.
    return {"graph": choice.graph, **({"config": config} if config else {})}


def _existing(path: Path) -> Path:
    check_regular(path, "a model file")
    if path.is_dir():
        raise ModelFileError(f"{path}: is a folder, expected a model file")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    if path.suffix.lower() in _NOT_READ:
        raise ModelFileError(f"{path}: is {unread_format(_NOT_READ[path.suffix.lower()])}")
    return path


def _require_beside(path: Path, suffix: str, argument: str, progress: Progress) -> Path:
    """The file of the same stem beside `path`, a text, which is reported, or an error that names the argument."""
    companion = _beside(path, suffix, argument, progress)
    if companion is None:
        read_text(path)  # what is no text has no companion to miss
        missing = path.with_suffix(suffix).name
        raise ModelFileError(f"{path}: its {suffix} file is missing ({missing} is not beside it): give {arg(argument)}")
    return companion


def _beside(path: Path, suffix: str, argument: str, progress: Progress) -> Path | None:
    """The file of the same stem beside `path`, which is reported; None where there is none."""
    companion = next(_of_stem(path.parent, path.stem, suffix), None)
    if companion is not None:
        progress.note(f"taking {companion} ({arg(argument)} was not given)")
    return companion


def _find_weights(cfg: Path, progress: Progress) -> Path:
    """The weights beside a cfg, which are reported: those of its stem, else of the names that Darknet's training gives.

    In this order: ``<stem>.weights``, ``_best``, ``_last``, ``_final``, ``_<iterations>`` (the highest).

    Raises:
        ModelFileError: there are none.
    """
    ranked = sorted(
        (rank, path) for path in _listed(cfg.parent, ".weights") if (rank := _rank(path.stem, cfg.stem)) is not None
    )
    if not ranked:
        return _require_beside(cfg, ".weights", "weights", progress)
    (_, taken), *others = ranked
    also = f"; {', '.join(path.name for _, path in others[:2])}{', …' if others[2:] else ''} not" if others else ""
    progress.note(f"taking {taken} ({arg('weights')} was not given{also})")
    return taken


def _rank(stem: str, of: str) -> tuple[int, int] | None:
    tail = stem.removeprefix(of)
    if not stem.startswith(of) or not (tail in _RANKS or re.fullmatch(r"_\d{1,12}", tail)):
        return None
    return (_RANKS[tail], 0) if tail in _RANKS else (len(_RANKS), -int(tail[1:]))


def _find_cfg(weights: Path, progress: Progress) -> Path:
    """The cfg beside weights that were given alone, which is reported.

    Raises:
        UsageError: there is none.
    """
    for stem in (weights.stem, _TRAINED.sub("", weights.stem)):
        if found := next(_of_stem(weights.parent, stem, ".cfg"), None):
            progress.note(f"taking {found} ({arg('cfg')} was not given)")
            return found
    raise UsageError(
        f"{arg('weights')} goes with {arg('cfg')}, and no cfg is beside {weights}; models of models.yaml "
        "bring their own"
    )


def _find_names(files: Iterable[Path], progress: Progress) -> Path | None:
    """The class names beside a model, which are reported: ``<stem>.names``, ``.data`` (Darknet's) or ``.txt``."""
    for folder, stem in dict.fromkeys((path.parent, path.stem) for path in files):
        for found in _of_stem(folder, stem, ".names", ".data", ".txt"):
            if found.suffix.lower() != ".names" and not _has_names(found):
                continue
            progress.note(f"taking {found} ({arg('names')} was not given)")
            return _label_file(found, progress)
    return None


def _has_names(path: Path) -> bool:
    """Whether it is a label file or a .data file: other files have those suffixes too."""
    from cvdetect.formats.label_files import read_label_file
    from cvdetect.formats.label_files.darknet_data import read_darknet_data

    try:
        return read_darknet_data(path) is not None or bool(read_label_file(path).names)
    except ModelFileError:
        return False


def _label_file(path: Path, progress: Progress) -> Path:
    """The label file that `path` is, or, where it is a Darknet .data file, the one that this names.

    Raises:
        ModelFileError: see `read_darknet_data`.
    """
    from cvdetect.formats.label_files import read_label_file
    from cvdetect.formats.label_files.darknet_data import read_darknet_data

    data = read_darknet_data(path)
    if data is None:
        return path
    progress.note(f"taking {data.names}, the names of {path}")
    try:
        count = len(read_label_file(data.names).names)
    except ModelFileError:  # reported when it is read for the model
        return data.names
    if data.classes not in (None, count):
        progress.warn(f"{path}: states classes = {data.classes}, but {data.names} has {count} names; taking the names")
    return data.names


def _of_stem(folder: Path, stem: str, *suffixes: str) -> Iterator[Path]:
    """The files of this stem, by suffix in this order, in capitals or not; of each the one spelled so alone, if there.

    The folder may hold a hundred thousand images: it is listed once, and only where a file is not spelled so.
    """
    others: list[Path] | None = None
    for suffix in suffixes:
        exact = folder / f"{stem}{suffix}"
        if exact.is_file():
            yield exact
            continue
        if others is None:
            others = _listed(folder, *suffixes)
        yield from (path for path in others if path.stem == stem and path.suffix.lower() == suffix)


def _listed(folder: Path, *suffixes: str) -> list[Path]:
    """The files of a folder with one of these suffixes, in capitals or not; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.lower().endswith(suffixes))
    except OSError:
        return []
    return [path for name in names if (path := folder / name).is_file()]
