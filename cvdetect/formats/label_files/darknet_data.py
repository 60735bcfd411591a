"""Darknet's .data files: where the lists of a training lie, its class names among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files.decoding import decode

__all__ = ["DarknetData", "is_darknet_data", "read_darknet_data"]

_MOST_BYTES = 1 << 16
_COMMENT = re.compile(r"\s*([#;]|$)")  # as Darknet's read_data_cfg passes over them
_SETTING = re.compile(r"(\w+)\s*=\s*(.*)")
_KEYS = {"classes", "train", "valid", "names", "labels", "backup", "test", "results", "eval", "top", "difficult"}


@dataclass(frozen=True, slots=True)
class DarknetData:
    """What a .data file says of the classes: the file of their names, and how many there are (None: not stated)."""

    names: Path
    classes: int | None


def is_darknet_data(text: str) -> bool:
    """Whether all lines are settings, and some of them Darknet's."""
    lines = [line for line in text.splitlines() if not _COMMENT.match(line)]
    keys = {match[1] for line in lines if (match := _SETTING.fullmatch(line.strip()))}
    return bool(lines) and all("=" in line for line in lines) and len(keys & _KEYS) >= min(2, len(lines))


def read_darknet_data(path: Path) -> DarknetData | None:
    """Read a .data file and find the names file that it names; None where `path` is no .data file.

    Darknet looks from the folder that it is started in, mostly the one above ``data/``; here a file is looked for from
    the .data file's folder, then from the current one, then beside the .data file by its name alone.

    Raises:
        ModelFileError: it has no ``names``, or they are not there, or ``classes`` is no number.
    """
    settings = _settings(path)
    if settings is None:
        return None
    named = settings.get("names") or settings.get("labels")
    if not named:
        raise ModelFileError(f"{path}: is a Darknet .data file without names =, so it names no classes")
    found = next((place for place in _places(path, named) if place.is_file()), None)
    if found is None:
        raise ModelFileError(f"{path}: its names file {named} is not there: give it as --names")
    stated = settings.get("classes", "")
    if stated and not re.fullmatch(r"\d{1,6}", stated):
        raise ModelFileError(f"{path}: classes = {stated} is no number")
    return DarknetData(found, int(stated) if stated else None)


def _settings(path: Path) -> dict[str, str] | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        text = decode(data, str(path)).text
    except (OSError, ModelFileError):  # its reader says what it is
        return None
    if not is_darknet_data(text):
        return None
    return {match[1]: match[2] for line in text.splitlines() if (match := _SETTING.fullmatch(line.strip()))}


def _places(path: Path, named: str) -> Iterator[Path]:
    relative = Path(named.replace("\\", "/")).expanduser()
    yield path.parent / relative
    yield relative
    yield path.parent.parent / relative
    yield path.parent / relative.name
