"""Darknet's .data files: where the lists of a training are, its class names among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files.decoding import decode

__all__ = ["DarknetData", "is_darknet_data", "read_darknet_data"]

_MOST_BYTES = 1 << 16
_COMMENT = re.compile(r"\s*([#;]|$)")  # as Darknet's read_data_cfg skips them
_SETTING = re.compile(r"(\w+)\s*=\s*(.*)")
_KEYS = {"classes", "train", "valid", "names", "labels", "backup", "test", "results", "eval", "top", "difficult"}


@dataclass(frozen=True, slots=True)
class DarknetData:
    """The classes of a .data file: the file of their names, and how many there are (None: not stated)."""

    names: Path
    classes: int | None


def is_darknet_data(text: str) -> bool:
    """Whether all lines are settings, and some of them Darknet's."""
    lines = [line for line in text.splitlines() if not _COMMENT.match(line)]
    keys = {match[1] for line in lines if (match := _SETTING.fullmatch(line.strip()))}
    return bool(lines) and all("=" in line for line in lines) and len(keys & _KEYS) >= min(2, len(lines))


def read_darknet_data(path: Path) -> DarknetData | None:
    """Read a .data file and find its names file; None where `path` is not a .data file.

    Darknet resolves paths from the folder that it is started in, mostly the one above ``data/``. Here a path is tried
    from the .data file's folder, the current one and the one above the .data file's, then its name alone beside it.

    Raises:
        ModelFileError: it has no ``names``, their file does not exist, or ``classes`` is not a number.
    """
    settings = _settings(path)
    if settings is None:
        return None
    named = settings.get("names") or settings.get("labels")
    if not named:
        raise ModelFileError(f"{path}: is a Darknet .data file without names =, so it has no class names")
    found = next((candidate for candidate in _candidates(path, named) if candidate.is_file()), None)
    if found is None:
        raise ModelFileError(f"{path}: its names file {named} does not exist: give it as {arg('names')}")
    stated = settings.get("classes", "")
    if stated and not re.fullmatch(r"\d{1,6}", stated):
        raise ModelFileError(f"{path}: classes = {stated} is not a number")
    return DarknetData(found, int(stated) if stated else None)


def _settings(path: Path) -> dict[str, str] | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        text = decode(data, str(path)).text
    except (OSError, ModelFileError):  # whoever reads it as another file reports what it is
        return None
    if not is_darknet_data(text):
        return None
    return {match[1]: match[2] for line in text.splitlines() if (match := _SETTING.fullmatch(line.strip()))}


def _candidates(path: Path, named: str) -> Iterator[Path]:
    relative = Path(named.replace("\\", "/")).expanduser()
    yield path.parent / relative
    yield relative
    yield path.parent.parent / relative
    yield path.parent / relative.name
