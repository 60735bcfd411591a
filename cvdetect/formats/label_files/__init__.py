"""Files that name a model's classes: lists, numbered lists, tables, YAML, JSON, label maps, Darknet's .data.

`read_label_file` reads any of them, and `LabelFile.by_class` assigns the names to a model's classes. Any other file
is an error, never a list of its lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.printable import counted
from cvdetect.formats.label_files.darknet_data import is_darknet_data
from cvdetect.formats.label_files.decoding import MOST_BYTES, decode
from cvdetect.formats.label_files.lines import Listed, read_lines
from cvdetect.formats.label_files.structured import read_structured

__all__ = [
    "BACKGROUND",
    "LabelFile",
    "parse_label_file",
    "read_label_file",
]

BACKGROUND = {
    "background", "__background__", "_background_", "unlabeled", "unlabelled", "???", "n/a", "none",
    "none_of_the_above", "bg",
}  # fmt: skip
_CONFIGURATION = re.compile(r"(?:\s|[#;][^\n]*\n)*(\[[A-Za-z][\w. -]*\])[ \t]*(?:[#;][^\n]*)?(?:\n|$)")
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLACEHOLDERS = {"", "???", "n/a"}  # stand in a list for numbers that are not used


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The class names of a file.

    Attributes:
        name: what errors call the file.
        kind: "list", "label map" or "YAML".
        listed: names by number, or each way to read a list; see `Listed`.
        encoding: of the file.
        certain: the bytes themselves state that encoding.
    """

    name: str
    kind: str
    listed: Listed
    encoding: str = "UTF-8"
    certain: bool = True

    @property
    def names(self) -> list[str]:
        """The names in order, in the likeliest reading."""
        return list(self.listed.values() if isinstance(self.listed, dict) else self.listed[0])

    def by_number(self) -> dict[int, str]:
        """Names by the number that the file gives them, or by their line from 0, as annotations refer to them."""
        return dict(self.listed) if isinstance(self.listed, dict) else _named(_by_order(self.listed, None) or {})

    def by_class(self, classes: int | None) -> dict[int, str]:
        """Names by class, from 0, background not counted, for a model of that many classes (None: unknown).

        A first entry that names the background is left out where the others are as many as the classes.

        Raises:
            ModelFileError: they are not as many; the message has both counts.
        """
        if isinstance(self.listed, dict):
            found = _by_number(self.listed, classes, self.kind == "label map")
        else:
            found = _by_order(self.listed, classes)
        if found is None:
            raise ModelFileError(f"{self.name}: {self._misfit(classes or 0)}")
        return _named(found)

    def _misfit(self, classes: int) -> str:
        if isinstance(self.listed, dict):
            low, high = min(self.listed), max(self.listed)
            found = f"numbers {counted(len(self.listed), 'name')} from {low} to {high}"
            count = high - low + 1
        else:
            count = len(self.listed[0])
            found = f"has {counted(count, 'name')}"
        gaps = isinstance(self.listed, dict) and len(self.listed) == classes
        reason = f"number them from 0 to {classes - 1}, in the model's order" if gaps else _reason(count - classes)
        return f"{found}, but the model has {counted(classes, 'class', 'classes')}: {reason}"


def _named(names: Mapping[int, str]) -> dict[int, str]:
    return {index: label for index, label in names.items() if label.casefold() not in _PLACEHOLDERS}


def _reason(surplus: int) -> str:
    other = "it is the label file of another model"
    if surplus == 1:
        return f"{other}, or one line is not a class (a heading, a background)"
    return f"{other}, or {'lines are missing' if surplus < 0 else 'has lines that are not classes'}"


def _by_order(ways: tuple[tuple[str, ...], ...], classes: int | None) -> dict[int, str] | None:
    """The first reading with as many names as there are classes; where their number is unknown, blank lines count."""
    if classes is None:
        return dict(enumerate(next((way for way in ways if "" in way), ways[0])))
    for way in ways:
        if len(way) == classes:
            return dict(enumerate(way))
        if len(way) == classes + 1 and way[0].casefold() in BACKGROUND:
            return dict(enumerate(way[1:]))
    return None


def _by_number(names: Mapping[int, str], classes: int | None, gaps_at_end: bool) -> dict[int, str] | None:
    """Numbers count from 0 where 0 is a class, else from 1; the last is the model's last."""
    last = max(names)
    from_zero = 0 in names and (names[0].casefold() not in BACKGROUND or last + 1 == classes)
    first = 0 if from_zero else 1
    count = last - first + 1
    if classes is not None and count != classes and not (gaps_at_end and count < classes):
        return None
    return {number - first: label for number, label in names.items() if number >= first}


def read_label_file(path: Path) -> LabelFile:
    """Read a label file of any kind.

    Raises:
        ModelFileError: it cannot be read, or is not a label file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_label_file(data, str(path))


def parse_label_file(data: bytes, name: str) -> LabelFile:
    """The class names in the content of a label file; `name` is what errors call it.

    Raises:
        ModelFileError: it is not a label file.
    """
    decoded = decode(data, name)
    text = decoded.text
    if is_darknet_data(text):
        raise ModelFileError(f"{name}: is a Darknet .data file, which names another file with the names: give that one")
    if header := _CONFIGURATION.match(text):
        raise ModelFileError(f"{name}: is a configuration file ({header[1]}), expected class names")
    read = read_structured(text, name, is_yaml=name.lower().endswith((".yaml", ".yml")))
    if read is None:
        foreign = describe_foreign(text[:512].encode("utf-8", "replace"), text_expected=True)
        if foreign:
            raise ModelFileError(f"{name}: is {foreign}, expected class names")
        read = "list", read_lines(text, name)
    kind, listed = read
    _check_names(listed.values() if isinstance(listed, dict) else listed[0], name)
    return LabelFile(name, kind, listed, decoded.encoding, decoded.certain)


def _check_names(names: Iterable[str], name: str) -> None:
    """Raise ModelFileError for names that no output could hold, and for those that were damaged before."""
    for label in names:
        if _UNUSABLE.search(label):
            raise ModelFileError(f"{name}: the name {label[:40]!r} has characters that a name cannot have")
        if "\ufffd" in label:
            raise ModelFileError(f"{name}: the name {label[:40]!r} was damaged when the file was saved: type it again")
