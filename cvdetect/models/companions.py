"""Files of a model that lie beside the one that was given: its weights or cfg, its text graph, its class names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.progress import Progress
from cvdetect.models.opened import read_text

__all__ = ["beside", "find_cfg", "find_names", "find_weights", "label_file", "require_beside"]

_RANKS = {"": 0, "_best": 1, "_last": 2, "_final": 3}
_TRAINED = re.compile(r"_(best|last|final|\d+)$")


def require_beside(path: Path, suffix: str, option: str, progress: Progress) -> Path:
    """The file of the same stem beside `path`, a text, which is reported, or an error that names the option."""
    companion = beside(path, suffix, option, progress)
    if companion is None:
        read_text(path)  # what is no text has no companion to miss
        missing = path.with_suffix(suffix).name
        raise ModelFileError(f"{path}: its {suffix} file is missing ({missing} is not beside it): give {option}")
    return companion


def beside(path: Path, suffix: str, option: str, progress: Progress) -> Path | None:
    """The file of the same stem beside `path`, which is reported; None where there is none."""
    companion = next(_of_stem(path.parent, path.stem, suffix), None)
    if companion is not None:
        progress.note(f"taking {companion} ({option} was not given)")
    return companion


def find_weights(cfg: Path, progress: Progress) -> Path:
    """The weights beside a cfg, which are reported: those of its stem, else of the names that Darknet's training gives.

    In this order: ``<stem>.weights``, ``_best``, ``_last``, ``_final``, ``_<iterations>`` (the highest).

    Raises:
        ModelFileError: there are none.
    """
    ranked = sorted(
        (rank, path) for path in _listed(cfg.parent, ".weights") if (rank := _rank(path.stem, cfg.stem)) is not None
    )
    if not ranked:
        return require_beside(cfg, ".weights", "--weights", progress)
    (_, taken), *others = ranked
    also = f"; {', '.join(path.name for _, path in others[:2])}{', …' if others[2:] else ''} not" if others else ""
    progress.note(f"taking {taken} (--weights was not given{also})")
    return taken


def _rank(stem: str, of: str) -> tuple[int, int] | None:
    tail = stem.removeprefix(of)
    if not stem.startswith(of) or not (tail in _RANKS or re.fullmatch(r"_\d{1,12}", tail)):
        return None
    return (_RANKS[tail], 0) if tail in _RANKS else (len(_RANKS), -int(tail[1:]))


def find_cfg(weights: Path, progress: Progress) -> Path:
    """The cfg beside weights that were given alone, which is reported.

    Raises:
        UsageError: there is none.
    """
    for stem in (weights.stem, _TRAINED.sub("", weights.stem)):
        if found := next(_of_stem(weights.parent, stem, ".cfg"), None):
            progress.note(f"taking {found} (--cfg was not given)")
            return found
    raise UsageError(
        f"--weights goes with --cfg, and no cfg is beside {weights}; models of models.yaml bring their own"
    )


def find_names(files: Iterable[Path], progress: Progress) -> Path | None:
    """The class names beside a model, which are reported: ``<stem>.names``, ``.data`` (Darknet's) or ``.txt``."""
    for folder, stem in dict.fromkeys((path.parent, path.stem) for path in files):
        for found in _of_stem(folder, stem, ".names", ".data", ".txt"):
            if found.suffix.lower() != ".names" and not _has_names(found):
                continue
            progress.note(f"taking {found} (--names was not given)")
            return label_file(found, progress)
    return None


def _has_names(path: Path) -> bool:
    """Whether it is a label file or a .data file: other files have those suffixes too."""
    from cvdetect.formats.label_files import read_darknet_data, read_label_file

    try:
        return read_darknet_data(path) is not None or bool(read_label_file(path).names)
    except ModelFileError:
        return False


def label_file(path: Path, progress: Progress) -> Path:
    """The label file that `path` is, or, where it is a Darknet .data file, the one that this names.

    Raises:
        ModelFileError: see `read_darknet_data`.
    """
    from cvdetect.formats.label_files import read_darknet_data, read_label_file

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
