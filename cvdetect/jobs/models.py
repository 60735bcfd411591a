"""The jobs of ``cvdetect models``: list and show models, pull, verify, find and remove their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cvdetect.core.errors import CvdetectError, FetchError
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.spec import ModelSpec, Role, Speed
from cvdetect.models.registry import Registry, load_models
from cvdetect.models.store import FileState, Store

__all__ = [
    "SPEED_CLASSES",
    "ListModelsJob",
    "ListModelsReport",
    "ModelPathsJob",
    "ModelPathsReport",
    "ModelStatus",
    "PullModelsJob",
    "PullModelsReport",
    "RemoveModelsJob",
    "RemoveModelsReport",
    "ShowModelJob",
    "ShowModelReport",
    "VerifyModelsJob",
    "VerifyModelsReport",
    "list_models",
    "model_paths",
    "pull_models",
    "remove_models",
    "show_model",
    "speed_class",
    "verify_models",
]

SPEED_CLASSES = {"A": 0.5, "B": 1.5, "C": 5.0, "D": 20.0, "E": float("inf")}
"""Class → the longest forward pass in it, that of yolov3-tiny at 416 being 1."""


def speed_class(speed: Speed | None) -> str:
    """A (fastest) to E by the measured time, "" where it was not measured."""
    if speed is None or speed.forward is None:
        return ""
    return next(name for name, longest in SPEED_CLASSES.items() if speed.forward <= longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModelsJob:
    """Which models there are, and where their files lie. The other jobs of this module add to it.

    Attributes:
        registry: a models.yaml read on top of the shipped one and the user's.
        cache: where weights lie; None takes the platform's user cache directory.
    """

    registry: Path | None = None
    cache: Path | None = None

    @property
    def models(self) -> Registry:
        """The known models."""
        return load_models(self.registry)

    @property
    def store(self) -> Store:
        """Their files on this machine."""
        return Store(self.cache)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model, and how each of its files stands on this machine (sizes are checked, digests are not)."""

    spec: ModelSpec
    files: tuple[FileState, ...]

    @property
    def present(self) -> int:
        """How many of its files are here."""
        return sum(file.state != "missing" for file in self.files)


def _status(spec: ModelSpec, store: Store) -> ModelStatus:
    return ModelStatus(spec, tuple(store.verify(spec, digests=False)))


@dataclass(frozen=True, slots=True)
class ListModelsReport:
    """All models in the order of their files, and the name of the default one."""

    models: tuple[ModelStatus, ...]
    default: str
    exit_code: int = 0


def list_models(
    job: ListModelsJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> ListModelsReport:
    """List all models.

    Raises:
        RegistryError: a models.yaml cannot be read; so do all jobs of this module.
    """
    models, store = job.models, job.store
    return ListModelsReport(tuple(_status(spec, store) for spec in models), models.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowModelJob(ListModelsJob):
    """Which model to show."""

    name: str


@dataclass(frozen=True, slots=True)
class ShowModelReport:
    """All that is known of one model."""

    model: ModelStatus
    exit_code: int = 0


def show_model(
    job: ShowModelJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> ShowModelReport:
    """Look up one model.

    Raises:
        UsageError: no model has this name.
    """
    return ShowModelReport(_status(job.models.get(job.name), job.store))


@dataclass(frozen=True, slots=True, kw_only=True)
class PullModelsJob(ListModelsJob):
    """Which models to pull: `names`, or every one; without either the default model."""

    names: tuple[str, ...] = ()
    everything: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class PullModelsReport:
    """The folder of each model that is complete now, and why the others could not be pulled."""

    folders: Mapping[str, Path]
    failed: Mapping[str, CvdetectError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 where any failed."""
        return FetchError.exit_code if self.failed else 0


def pull_models(
    job: PullModelsJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> PullModelsReport:
    """Pull the files of models that are not here yet, going on after a model that cannot be pulled.

    Raises:
        UsageError: no model has this name.
    """
    models, store = job.models, job.store
    names = models.names() if job.everything else job.names or (models.default,)
    folders: dict[str, Path] = {}
    failed: dict[str, CvdetectError] = {}
    for spec in _specs(models, names):
        if controls is not None and controls.stopping:
            break
        try:
            paths = store.ensure(spec, progress, offline=job.offline)
            folders[spec.name] = next(iter(paths.values())).parent
            progress.note(f"{spec.name}: ready in {folders[spec.name]}")
        except CvdetectError as error:
            failed[spec.name] = error
            progress.error(f"{spec.name}: {error}")
    return PullModelsReport(folders, failed)


def _specs(models: Registry, names: Sequence[str]) -> list[ModelSpec]:
    """The models of these names; an unknown one is an error before anything is done."""
    return [models.get(name) for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyModelsJob(ListModelsJob):
    """Which models to verify: `names`, or all whose files are here."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyModelsReport:
    """How each file that was checked stands, by model."""

    files: tuple[tuple[str, FileState], ...]

    @property
    def sound(self) -> bool:
        """Whether none is wrong, or missing (then its model was named)."""
        return all(state.state not in ("missing", "wrong") for _, state in self.files)

    @property
    def exit_code(self) -> int:
        """0, or 3 where not all is sound."""
        return 0 if self.sound else FetchError.exit_code


def verify_models(
    job: VerifyModelsJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> VerifyModelsReport:
    """Check the digests of the files that are here.

    Raises:
        UsageError: no model has this name.
    """
    models, store = job.models, job.store
    checked = (
        (spec.name, state)
        for spec in _specs(models, job.names or models.names())
        if controls is None or not controls.stopping
        for state in store.verify(spec)
        if job.names or state.state != "missing"
    )
    return VerifyModelsReport(tuple(checked))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPathsJob(ShowModelJob):
    """Which model's files to find."""

    offline: bool = False


@dataclass(frozen=True, slots=True)
class ModelPathsReport:
    """The path of each file of a model, by role, cfg or config first."""

    paths: Mapping[Role, Path]
    exit_code: int = 0


def model_paths(
    job: ModelPathsJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> ModelPathsReport:
    """Find the files of a model; what is not here is pulled.

    Raises:
        UsageError: no model has this name.
        FetchError: a file cannot be pulled, or is missing while `offline`.
    """
    return ModelPathsReport(job.store.ensure(job.models.get(job.name), progress, offline=job.offline))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveModelsJob(ListModelsJob):
    """Which models to remove from the cache."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveModelsReport:
    """The files that were removed, by model."""

    removed: Mapping[str, list[Path]]
    exit_code: int = 0


def remove_models(
    job: RemoveModelsJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> RemoveModelsReport:
    """Delete the files of models from the cache; files outside it are never touched.

    Raises:
        UsageError: no model has this name.
        FetchError: a file cannot be deleted.
    """
    store = job.store
    removed: dict[str, list[Path]] = {}
    for spec in _specs(job.models, job.names):
        removed[spec.name] = store.remove(spec, progress)
        progress.note(f"{spec.name}: {'removed' if removed[spec.name] else 'nothing to remove'}")
    return RemoveModelsReport(removed)
