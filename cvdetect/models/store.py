"""Where model files lie on this machine, and how those that are missing get there.

CACHE/NAME/FILE        complete files, checked before they got their name
CACHE/.tmp/NAME/       parts of downloads, so that they can be resumed
CACHE/.tmp/NAME.lock   held while a model's files are pulled or removed
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cvdetect.core.arguments import arg
from cvdetect.core.errors import FetchError, ModelFileError
from cvdetect.core.progress import Progress
from cvdetect.core.spec import ModelFile, ModelSpec, Role
from cvdetect.models.download import RetryPolicy, megabytes, verify, verify_size, writing

if TYPE_CHECKING:
    from cvdetect.models.pull import Pull

__all__ = ["FileState", "State", "Store", "cache_dir"]

State = Literal["verified", "unverified", "present", "missing", "wrong"]


def cache_dir(explicit: Path | None) -> Path:
    """The folder that model files are kept in: `explicit`, else CVDETECT_CACHE, else the user's cache folder."""
    if explicit is not None:
        return explicit
    if named := os.environ.get("CVDETECT_CACHE"):
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("cvdetect")


@dataclass(frozen=True, slots=True)
class FileState:
    """How one file of a model stands on this disk.

    Attributes:
        state: "verified": its digest is right. "unverified": here, but no digest of it is known. "present": here with
            the right size, digest not checked. "missing". "wrong": `detail` gives the reason.
        size: its bytes on disk, None where it is missing.
    """

    file: ModelFile
    path: Path
    state: State
    size: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """The model files on this machine; `cache` as in `cache_dir`."""

    cache: Path | None = None
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def root(self) -> Path:
        """The cache folder; it need not exist."""
        return cache_dir(self.cache)

    def path_of(self, spec: ModelSpec, file: ModelFile) -> Path:
        """Where the file lies or will lie: in the cache, or where the user's yaml puts it."""
        return file.path if file.path is not None else self.root / spec.name / file.name

    def ensure(self, spec: ModelSpec, progress: Progress, offline: bool = False) -> dict[Role, Path]:
        """The paths of all files of the model, cfg or config first; what is missing is pulled.

        Digests are checked when a file is pulled; of files that are here only the size is checked.

        Raises:
            FetchError: a file cannot be had, written, or is missing while `offline`.
            ModelFileError: a file of the user's own does not exist or has another size than the yaml states.
        """
        self._check_local(spec)
        if missing := self._missing(spec):
            if offline:
                raise FetchError(self._offline_message(spec, missing))
            self._pull_missing(spec, progress)
        return {file.role: self.path_of(spec, file) for file in spec.files}

    def verify(self, spec: ModelSpec, digests: bool = True) -> list[FileState]:
        """How each file of the model stands; without `digests` only sizes are checked, and nothing is read."""
        return [self._state(file, self.path_of(spec, file), digests) for file in spec.files]

    def remove(self, spec: ModelSpec, progress: Progress) -> list[Path]:
        """Delete the model's files from the cache, and return their paths; the user's own files are never touched.

        Raises:
            FetchError: a file cannot be deleted.
        """
        with self._locked(spec, progress):
            paths = [self.path_of(spec, file) for file in spec.files if file.path is None]
            removed = [path for path in paths if path.is_file()]
            with writing(self.root / spec.name):
                for path in removed:
                    path.unlink()
                folder = self.root / spec.name
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            shutil.rmtree(self._scratch(spec), ignore_errors=True)
        return removed

    def _state(self, file: ModelFile, path: Path, digests: bool) -> FileState:
        if not path.is_file():
            return FileState(file, path, "missing")
        try:
            problem = verify(path, file) if digests else verify_size(path, file)
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        good: State = "present" if not digests else "verified" if file.sha256 or file.sha1 else "unverified"
        return FileState(file, path, "wrong" if problem else good, path.stat().st_size, problem or "")

    def _check_local(self, spec: ModelSpec) -> None:
        for file in spec.files:
            if file.path is None:
                continue
            if not file.path.is_file():
                raise ModelFileError(f"{file.path}: no such file; it is the {file.role} of model {spec.name}")
            if problem := verify_size(file.path, file):
                raise ModelFileError(f"{file.path}: {problem}; it is the {file.role} of model {spec.name}")

    def _missing(self, spec: ModelSpec) -> list[FileState]:
        states = self.verify(spec, digests=False)
        return [state for state in states if state.file.path is None and state.state != "present"]

    def _offline_message(self, spec: ModelSpec, missing: list[FileState]) -> str:
        names = ", ".join(f"{each.path} {each.detail or 'is missing'}" for each in missing)
        return f"{names}, and {arg('offline')} forbids pulling; run: cvdetect models pull {spec.name}"

    def _pull_missing(self, spec: ModelSpec, progress: Progress) -> None:
        from cvdetect.models.download import open_session
        from cvdetect.models.index import pip_setting
        from cvdetect.models.pull import Pull

        with self._locked(spec, progress):
            missing = self._missing(spec)  # anew: the process that held the lock may have pulled them
            self._check_possible(spec, missing)
            scratch = self._scratch(spec)
            with writing(scratch):
                scratch.mkdir(parents=True, exist_ok=True)
            with open_session(pip_setting("cert")) as session:
                pull = Pull(model=spec.name, scratch=scratch, session=session, policy=self.policy, progress=progress)
                self._pull_all(pull, missing, progress)
            shutil.rmtree(scratch, ignore_errors=True)

    def _pull_all(self, pull: Pull, missing: list[FileState], progress: Progress) -> None:
        try:
            for each in missing:
                if each.state == "wrong":
                    progress.warn(f"{each.path} {each.detail}: it is pulled again")
                pull.file(each.file, each.path)
        except FetchError:
            for archive in pull.scratch.glob("*.archive"):  # parts stay, to be resumed
                archive.unlink()
            raise

    def _check_possible(self, spec: ModelSpec, missing: list[FileState]) -> None:
        """Raise `FetchError` for what cannot succeed, before anything is pulled."""
        for each in missing:
            if not each.file.sources:
                raise FetchError(
                    f"{each.file.name} of model {spec.name} is available nowhere: put it at {each.path} "
                    "yourself, or name the model's files on the command line"
                )
        needed = sum(each.file.size or 0 for each in missing)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise FetchError(
                f"{self.root} has {megabytes(free)} left, model {spec.name} needs {megabytes(needed)}: make room or "
                f"choose another folder with {arg('cache')} or CVDETECT_CACHE"
            )

    def _scratch(self, spec: ModelSpec) -> Path:
        return self.root / ".tmp" / spec.name

    @contextmanager
    def _locked(self, spec: ModelSpec, progress: Progress) -> Iterator[None]:
        """Keep other processes from pulling or removing the same model meanwhile."""
        import filelock

        path = self.root / ".tmp" / f"{spec.name}.lock"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                progress.note(f"another process is busy with model {spec.name}: waiting for it")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()
