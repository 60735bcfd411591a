"""The guard of a run's outputs: before any work it refuses those that would destroy an input or one another.

Every argument of every job that names a file or folder to write is checked here, as an `Output`. Names of annotated
copies are made here too.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SinkError, UsageError
from cvdetect.core.files import check_writable
from cvdetect.core.targets import Target, is_standard_output

__all__ = ["Guard", "Output", "claimed_by", "detected_name"]

_OWN = ".cvdetect"  # a run of annotate keeps its manifest there
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # `Path` makes one slash of two
_Identity = tuple[int, int]


def detected_name(stem: str, suffix: str) -> str:
    """The name of an annotated copy: ``photo`` and ``.jpg`` → ``photo_detected.jpg``."""
    return f"{stem}_detected{suffix}"


@dataclass(frozen=True, slots=True)
class Output:
    """A place that a run will write to.

    Attributes:
        argument: the argument that names it, e.g. "json".
        path: as it was typed (`Path` forgets a slash at the end).
        folder: whether it is a folder, in which the run names the files itself.
    """

    argument: str
    path: str | Path
    folder: bool = False


class Guard:
    """Knows what a run reads, so that none of it is overwritten.

    Args:
        inputs: every file that is read: media, lists, model files, label files, ground truth; "-" is standard input.
            They are looked up only where an output exists already. Addresses and missing files do no harm.
    """

    def __init__(self, inputs: Iterable[str | Path]) -> None:
        self._waiting = iter(inputs)
        self._inputs: dict[_Identity, str] | None = None
        self._files: set[str] = set()

    def check(self, outputs: Iterable[Output]) -> None:
        """Check all outputs of the run together, before any work.

        Raises:
            UsageError: one is an input (also by a link), the same as another, a folder where a file is meant or the
                reverse, or lies in a folder that a run of annotate has filled.
            SinkError: one cannot be written.
        """
        taken: dict[object, Output] = {}
        folders: set[str] = set()
        for output in outputs:
            _check_path(output)
            parent = os.path.realpath(output.path if output.folder else Path(output.path).parent)
            if output.folder:
                _check_folder(output)
            else:
                self._check_file(output, taken, known_folder=parent in folders)
            folders.add(parent)
        self._files |= {os.path.realpath(output.path) for output in taken.values()}
        for key, output in taken.items():
            if isinstance(key, str) and any(folder == key or folder.startswith(key + os.sep) for folder in folders):
                raise UsageError(f"{output.path}: another output lies in it, as in a folder; give another path")

    def check_name(self, argument: str, path: Path) -> None:
        """Check a file in an output folder whose name was not known before: it must be no input and no other output.

        Raises:
            UsageError: it is one; it has not been written to.
        """
        if os.path.realpath(path) in self._files:
            raise UsageError(f"{path}: {arg(argument)} and another output would write it; give another folder")
        target = Target.of(path)
        if target.status is not None and (name := self._read().get(_identity(target.status))):
            raise UsageError(_is_input(path, name, argument))

    def _check_file(self, output: Output, taken: dict[object, Output], known_folder: bool) -> None:
        key = self._key(output)
        if key is not None and (other := taken.setdefault(key, output)) is not output:
            raise UsageError(f"{output.path}: {_both(output, other)}")
        if is_standard_output(output.path):
            return
        if not known_folder:
            _check_unclaimed(output.path, Path(output.path).parent)
        if not known_folder or os.path.lexists(output.path):
            check_writable(output.path)

    def _key(self, output: Output) -> object:
        """What two outputs must not have in common; None for a device, which takes any number of outputs."""
        if is_standard_output(output.path):
            return 1
        target = Target.of(output.path)
        if target.status is None:
            return os.path.realpath(target.path)
        if stat.S_ISCHR(target.status.st_mode):
            return None
        identity = _identity(target.status)
        if name := self._read().get(identity):
            raise UsageError(_is_input(output.path, name, output.argument))
        return identity

    def _read(self) -> dict[_Identity, str]:
        """The identity of each input → its name."""
        if self._inputs is None:
            self._inputs = dict(_identities(self._waiting))
        return self._inputs


def _identities(names: Iterable[str | Path]) -> Iterator[tuple[_Identity, str]]:
    for name in names:
        try:
            status = os.fstat(0) if str(name) == "-" else os.stat(name)  # noqa: PTH116
        except (OSError, ValueError):
            continue
        if not stat.S_ISCHR(status.st_mode):  # a terminal is read and written
            yield _identity(status), "on standard input" if str(name) == "-" else str(name)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _is_input(path: str | Path, name: str, argument: str) -> str:
    called = "" if os.path.normpath(path) == os.path.normpath(name) else f" {name}"
    return f"{path}: the output is the input{called} itself; give another {arg(argument)}"


def _both(output: Output, other: Output) -> str:
    if other.argument == output.argument:
        return "two inputs would be written to this file: give each input once, or rename one"
    return f"{arg(other.argument)} and {arg(output.argument)} would both be written to it: give two names"


def _check_path(output: Output) -> None:
    if _ADDRESS.match(str(output.path)) and not os.path.exists(Path(output.path).parent):  # noqa: PTH110 - of any length
        raise UsageError(f"{output.path}: is an address, but {arg(output.argument)} writes files; give a path")


def _check_folder(output: Output) -> None:
    path = Path(output.path)
    target = Target.of(path)
    if target.status is not None and not target.is_folder:
        raise UsageError(f"{output.path}: is a file, but {arg(output.argument)} needs a folder here")
    if target.is_folder and not os.access(path, os.W_OK | os.X_OK):
        raise SinkError(f"{output.path}: cannot be written to: you may not write into this folder")
    _check_unclaimed(output.path, path)
    check_writable(path / "x.jpg")


def _check_unclaimed(shown: str | Path, folder: Path) -> None:
    """Refuse a folder that a run of annotate has filled."""
    if place := claimed_by(folder):
        raise UsageError(f"{shown}: lies in {place}, which holds the results of cvdetect annotate; choose another")


def claimed_by(folder: Path) -> Path | None:
    """The OUT of a run of annotate that `folder` is or lies in, whose manifest lists every file there."""
    real = Path(os.path.realpath(folder))
    for place in (real, *real.parents):
        own = place / _OWN
        if (own.is_dir() and place == real) or (own / "manifest.sqlite").is_file():
            return place
    return None
