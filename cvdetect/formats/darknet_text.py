"""The text of a Darknet cfg: its sections, its options with their lines, and numbers read from them.

The text is read as OpenCV's importer reads it: spaces and all characters outside "!".."z" are dropped wherever they
stand (tabs, carriage returns, a byte order mark), lines that begin with "#" or ";" are comments, the last of two
equal keys counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from cvdetect.errors import ModelFileError
from cvdetect.sniff import describe_foreign

__all__ = ["Option", "Section", "SectionReader", "fail", "read_sections", "with_open_thresholds"]

_DROPPED = re.compile(r"[^!-z]+")
_COMMENT = re.compile(r"[#;].*")
_INTEGER = re.compile(r"[-+]?\d{1,10}(\.0*)?")
_NUMBER = re.compile(r"[-+]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][-+]?\d{1,3})?")
_INT32_MAX = 2**31 - 1
_LONGEST_MESSAGE = 300
_HEADS = ("yolo", "region")
_OPEN = ("thresh", "nms_threshold")
# All of [net] that matters when nobody trains.
_NET_KEYS = ("width", "height", "channels", "letter_box")


@dataclass(frozen=True, slots=True)
class Option:
    """The value of one `key=value` line, without spaces, and the number of that line (from 1)."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a cfg: `kind` is "convolutional" for `[convolutional]`, `line` that of its header (from 1)."""

    kind: str
    line: int
    options: Mapping[str, Option]


def fail(name: str, line: int, section: str, message: str) -> NoReturn:
    """Raise the ModelFileError of one place in a cfg."""
    where = f"[{section[:40]}] " if section else ""
    shown = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."
    raise ModelFileError(f"{name}:{line}: {where}{shown}")


@dataclass(frozen=True, slots=True)
class SectionReader:
    """Reads the options of one section and names file, line and section where they are wrong.

    Every method raises ModelFileError; `required` means that there is no default.
    """

    name: str
    section: Section

    def fail(self, message: str, key: str = "") -> NoReturn:
        """Raise ModelFileError at the line of `key`, or of the section where it has no such option."""
        option = self.section.options.get(key)
        fail(self.name, option.line if option else self.section.line, self.section.kind, message)

    def has(self, key: str) -> bool:
        """Whether the section has this option."""
        return key in self.section.options

    def text(self, key: str, default: str = "") -> str:
        """The option's value without a comment that follows it."""
        option = self.section.options.get(key)
        return _COMMENT.sub("", option.value) if option else default

    def integer(self, key: str, default: int | None = None, least: int | None = None) -> int:
        """The option as a whole number of at least `least`; required where `default` is None."""
        text = self._given(key, default)
        value = default if text is None else self._integer(key, text)
        assert value is not None
        if least is not None and value < least:
            self.fail(f"{key}={value}: must be {least} or more", key)
        return value

    def number(self, key: str, default: float) -> float:
        """The option as a finite number."""
        text = self._given(key, default)
        return default if text is None else self._number(key, text)

    def integers(self, key: str) -> tuple[int, ...]:
        """The option as whole numbers between commas; required."""
        return tuple(self._integer(key, item) for item in self._items(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """The option as finite numbers between commas; required."""
        return tuple(self._number(key, item) for item in self._items(key))

    def _given(self, key: str, default: float | None) -> str | None:
        if key in self.section.options:
            return self.text(key)
        if default is None:
            self.fail(f"has no {key}=: OpenCV needs it")
        return None

    def _items(self, key: str) -> list[str]:
        text = self._given(key, None) or ""
        return text.removesuffix(",").split(",")

    def _integer(self, key: str, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            self.fail(f"{key}={text!r}: a whole number is needed", key)
        value = int(text.partition(".")[0])
        if abs(value) > _INT32_MAX:
            self.fail(f"{key}={text}: the number is too large", key)
        return value

    def _number(self, key: str, text: str) -> float:
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            self.fail(f"{key}={text!r}: a number is needed", key)
        return value


def read_sections(text: str, name: str) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Split a cfg into its sections.

    Returns the sections in order, and notes on what the two programs read differently or not at all (keys given
    twice, keys without a value). Raises ModelFileError for a line that is no header, option or comment.
    """
    foreign = describe_foreign(text[:4096].encode("utf-8", "replace"), text_expected=True)
    if foreign:
        raise ModelFileError(f"{name}: not a Darknet cfg but {foreign}; get the .cfg file itself")
    sections: list[Section] = []
    notes: list[str] = []
    options: dict[str, Option] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = _DROPPED.sub("", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            options = {}
            sections.append(Section(_header(line, number, name), number, MappingProxyType(options)))
            continue
        if not sections:
            fail(name, number, "", f"{_short(line)} stands before any section; a cfg begins with [net]")
        notes += _read_option(line, number, name, sections[-1].kind, options)
    return tuple(sections), tuple(notes)


def _header(line: str, number: int, name: str) -> str:
    kind, bracket, rest = line[1:].partition("]")
    if not bracket or not kind or (rest and rest[0] not in "#;"):
        fail(name, number, "", f"{_short(line)} is no section header; write it as [kind] on a line of its own")
    if kind == "net" and rest:
        # OpenCV compares the whole line, and takes "[net]#..." for an unknown layer.
        fail(name, number, kind, "has a comment on its line, which OpenCV cannot read; put it on the next line")
    return kind


def _read_option(line: str, number: int, name: str, kind: str, options: dict[str, Option]) -> list[str]:
    key, equals, value = line.partition("=")
    if not equals or not key:
        fail(name, number, kind, f"{_short(line)} is no option; write key=value, or # before a comment")
    if not value:
        return [f"{name}:{number}: [{kind}] {key}= has no value and is ignored"]
    earlier = options.get(key)
    options[key] = Option(value, number)
    if earlier is None or earlier.value == value or (kind == "net" and key not in _NET_KEYS):
        return []
    return [
        f"{name}:{number}: [{kind}] {key} is given twice: "
        f"Darknet takes the first ({earlier.value}), OpenCV the last ({value})"
    ]


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")


def with_open_thresholds(text: str) -> str:
    """The cfg text with exactly one `thresh=0` and one `nms_threshold=0` in every [yolo] and [region] section.

    OpenCV sets every class score under `thresh` to zero (0.2 where the cfg does not say) and may suppress boxes
    before anyone sees them. All other lines stay as they are; a second call changes nothing.
    A [region] has no key for its suppression: OpenCV 4.14 always runs one at IoU 0.4 there.
    """
    kept: list[str] = []
    in_head = False
    for raw in text.split("\n"):
        line = _DROPPED.sub("", raw)
        if line.startswith("["):
            in_head = line[1:].partition("]")[0] in _HEADS
        elif in_head and line.partition("=")[0] in _OPEN:
            continue
        kept.append(raw)
        if in_head and line.startswith("["):
            kept += [f"{key}=0{_line_end(raw)}" for key in _OPEN]
    return "\n".join(kept)


def _line_end(raw: str) -> str:
    return "\r" if raw.endswith("\r") else ""
