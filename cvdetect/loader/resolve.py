"""What a person named → a `ModelSpec`: a row of models.yaml, or one made of the files they gave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cvdetect.errors import ModelFileError, UsageError
from cvdetect.events import Progress
from cvdetect.options import ModelChoice
from cvdetect.spec import InputSpec, ModelFile, ModelSpec, Role
from cvdetect.zoo.registry import load_models

__all__ = ["resolve"]

# How the models of a format are usually fed (facts of the formats, not of one model).
_DARKNET_INPUT = InputSpec(scale=1 / 255, swap_rb=True)
_TENSORFLOW_INPUT = InputSpec(scale=1.0, swap_rb=True)  # text graphs hold the rest of the preprocessing


def resolve(choice: ModelChoice, progress: Progress) -> ModelSpec:
    """The spec of the chosen model, with the size and resize that were asked for.

    Raises:
        UsageError: no such model, or options that do not go together.
        RegistryError: a models.yaml is wrong.
        ModelFileError: a file that was named, or its companion, is not there.
    """
    _check(choice)
    spec = _from_files(choice, progress) if choice.cfg or choice.graph else _from_registry(choice)
    return replace(spec, input=_changed(spec.input, wh=choice.size, resize=choice.resize))


def _changed(fed: InputSpec, **changes: Any) -> InputSpec:
    """`fed` with what was asked for; None changes nothing."""
    return replace(fed, **{key: value for key, value in changes.items() if value is not None})


def _check(choice: ModelChoice) -> None:
    """Refuse options that contradict each other."""
    named = [n for n, v in (("--model", choice.name), ("--cfg", choice.cfg), ("--graph", choice.graph)) if v]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} name two models: give one")
    for option, value, needs, there in (
        ("--weights", choice.weights, "--cfg", choice.cfg),
        ("--config", choice.config, "--graph", choice.graph),
        ("--names", choice.names, "--cfg or --graph", choice.cfg or choice.graph),
    ):
        if value and not there:
            raise UsageError(f"{option} goes with {needs}; a model of models.yaml brings its own")
    given = [o for o in ("scale", "mean", "std", "rgb", "pad_value") if getattr(choice, o) is not None]
    if given and not (choice.cfg or choice.graph):
        raise UsageError(
            f"--{given[0].replace('_', '-')} goes with --cfg or --graph; models.yaml states it for its own"
        )


def _from_registry(choice: ModelChoice) -> ModelSpec:
    registry = load_models(choice.registry)
    return registry.get(choice.name or registry.default)


def _from_files(choice: ModelChoice, progress: Progress) -> ModelSpec:
    """A spec for files that no yaml names; it is called after its cfg's or graph's stem."""
    if choice.cfg:
        weights = choice.weights or _beside(choice.cfg, ".weights", "--weights", progress)
        paths: dict[Role, Path] = {"cfg": choice.cfg, "weights": weights}
        usual = _DARKNET_INPUT
    else:
        assert choice.graph is not None
        paths = {"graph": choice.graph}
        config = choice.config or _beside(choice.graph, ".pbtxt", "--config", progress)
        paths["config"] = config
        usual = _TENSORFLOW_INPUT
    if choice.names:
        paths["names"] = choice.names
    files = tuple(ModelFile(role=role, name=path.name, path=_existing(path)) for role, path in paths.items())
    stem = (choice.cfg or choice.graph or Path()).stem
    fed = _changed(
        usual, scale=choice.scale, mean=choice.mean, std=choice.std, swap_rb=choice.rgb, pad_value=choice.pad_value
    )
    return ModelSpec(name=stem, family="", files=files, input=fed)


def _beside(path: Path, suffix: str, option: str, progress: Progress) -> Path:
    """The companion of `path` with the same stem, which is told, or an error that names the option."""
    companion = path.with_suffix(suffix)
    if not companion.is_file():
        raise ModelFileError(f"{path}: its {suffix} file is missing ({companion.name} is not beside it): give {option}")
    progress.note(f"taking {companion} ({option} was not given)")
    return companion


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise ModelFileError(f"{path}: is a folder, expected a model file")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    return path
