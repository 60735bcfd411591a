"""The text of a Darknet cfg: its sections, its options with their lines, and numbers read from them.

Everything is read as Darknet reads it (option_list.c, parser.c, utils.c): spaces and tabs are dropped wherever they
stand, lines that begin with "#" or ";" are comments, the first of two equal keys counts, and a number is what C's
atoi and atof make of the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign

__all__ = ["Option", "Section", "SectionReader", "fail", "plain_numbers", "read_sections"]

_DROPPED = re.compile(r"[ \t\r\ufeff]+")
_COMMENT = re.compile(r"[#;].*", re.DOTALL)
_ATOI = re.compile(r"\s*([-+]?[0-9]{1,10})(?![0-9])")
_TOO_LARGE = re.compile(r"\s*[-+]?[0-9]{11}")
_ATOF = re.compile(r"\s*[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[-+]?[0-9]+(\.0*)?")
_HEX = re.compile(r"\s*[-+]?0[xX]([0-9a-fA-F]{1,16}(\.[0-9a-fA-F]{0,16})?|\.[0-9a-fA-F]{1,16})([pP][-+]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"\s*[-+]?(inf|nan)", re.IGNORECASE)
_INT32_MAX = 2**31 - 1
_LONGEST_MESSAGE = 300
# All of [net] that matters when nobody trains.
_NET_KEYS = ("width", "height", "channels", "letter_box")
# Darknet's other names for the same sections (parser.c, string_to_layer_type).
_ALIASES: Mapping[str, str] = MappingProxyType(
    {"network": "net", "conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool"}
    | {"soft": "softmax", "lrn": "normalization", "deconv": "deconvolutional", "local_avg": "local_avgpool"}
    | {"silence": "empty"}
)


@dataclass(frozen=True, slots=True)
class Option:
    """The value of one `key=value` line, without spaces, and the number of that line (from 1).

    The value is "" for a line without "=": Darknet takes its default then, even where the key comes again below.
    """

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a cfg: `kind` is "convolutional" for `[convolutional]` and `[conv]`, `line` that of its header."""

    kind: str
    line: int
    options: Mapping[str, Option]


def fail(name: str, line: int, section: str, message: str) -> NoReturn:
    """Raise the ModelFileError of one place in a cfg."""
    where = f"[{section[:40]}] " if section else ""
    shown = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."
    raise ModelFileError(f"{name}:{line}: {where}{shown}")


def plain_numbers(value: str, whole: bool) -> bool:
    """Whether C's atoi (`whole`) or atof reads all of an option's numbers, a comment behind them left out."""
    items = _COMMENT.sub("", value).removesuffix(",").split(",")
    return all(_WHOLE.fullmatch(item) if whole else _ATOF.fullmatch(item) for item in items)


@dataclass(frozen=True, slots=True)
class SectionReader:
    """Reads the options of one section and names file, line and section where they are wrong.

    Every method raises ModelFileError.
    """

    name: str
    section: Section

    def fail(self, message: str, key: str = "") -> NoReturn:
        """Raise ModelFileError at the line of `key`, or of the section where it has no such option."""
        option = self.section.options.get(key)
        fail(self.name, option.line if option else self.section.line, self.section.kind, message)

    def has(self, key: str) -> bool:
        """Whether the section gives this option a value."""
        option = self.section.options.get(key)
        return bool(option and option.value)

    def line(self, key: str) -> int:
        """The line of the option, or of the section where it has no such option."""
        return self.section.options[key].line if self.has(key) else self.section.line

    def text(self, key: str, default: str = "") -> str:
        """The option's whole value; Darknet compares a comment behind it too."""
        return self.section.options[key].value if self.has(key) else default

    def integer(self, key: str, default: int, least: int | None = None) -> int:
        """The option as a whole number of at least `least`."""
        value = self._atoi(key, self.text(key)) if self.has(key) else default
        if least is not None and value < least:
            written = self.text(key, str(value))
            read = f", which Darknet reads as {value}" if written != str(value) else ""
            self.fail(f"{key}={written}{read}: must be {least} or more", key)
        return value

    def number(self, key: str, default: float) -> float:
        """The option as a finite number."""
        return self._atof(key, self.text(key)) if self.has(key) else default

    def integers(self, key: str) -> tuple[int, ...]:
        """The option as whole numbers between commas; required."""
        if not self.has(key):
            self.fail(f"has no {key}=: Darknet needs it")
        items = _COMMENT.sub("", self.text(key)).split(",")
        # Only a mask ends at "#" for Darknet (parser.c); elsewhere it counts the commas of a comment too.
        read = self.text(key).partition("#")[0] if key == "mask" else self.text(key)
        if read.count(",") >= len(items):
            self.fail(f"{key}={read}: Darknet counts the commas of the comment; put it on a line of its own", key)
        if not items[-1]:
            self.fail(f"{key}={self.text(key)}: Darknet reads another 0 behind the last comma; remove the comma", key)
        return tuple(self._atoi(key, item) for item in items)

    def numbers(self, key: str) -> tuple[float, ...]:
        """The option as finite numbers between commas; () where it is missing.

        Anchors end at "#" for Darknet, not at ";" (parser.c, parse_yolo): of "14;23" it reads 14.
        """
        items = self.text(key).partition("#")[0].removesuffix(",")
        return tuple(self._atof(key, item) for item in items.split(",")) if items else ()

    def _atoi(self, key: str, text: str) -> int:
        found = _ATOI.match(text)
        value = int(found[1]) if found else 0
        if abs(value) > _INT32_MAX or _TOO_LARGE.match(text):
            self.fail(f"{key}={text}: the number is too large", key)
        return value

    def _atof(self, key: str, text: str) -> float:
        as_hex, found = _HEX.match(text), _ATOF.match(text)
        value = float.fromhex(as_hex[0]) if as_hex else float(found[0]) if found else 0.0
        if not math.isfinite(value) or _NOT_FINITE.match(text):
            self.fail(f"{key}={text!r}: a finite number is needed", key)
        return value


def read_sections(text: str, name: str) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Split a cfg into its sections.

    Returns the sections in order, and one note on each line that counts less than its writer may think (keys given
    twice, keys without a value). Raises ModelFileError for a line that is no header, option or comment.
    """
    foreign = describe_foreign(text[:4096].rstrip("\x1a").encode("utf-8", "replace"), text_expected=True)
    if foreign:
        raise ModelFileError(f"{name}: not a Darknet cfg but {foreign}; get the .cfg file itself")
    sections: list[Section] = []
    notes: list[str] = []
    options: dict[str, Option] = {}
    for number, raw in enumerate(text.rstrip("\x1a").split("\n"), start=1):
        line = _DROPPED.sub("", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            options = {}
            sections.append(Section(_header(line, number, name), number, MappingProxyType(options)))
            continue
        if not sections:
            fail(name, number, "", f"{_short(line)} stands before any section; a cfg begins with [net]")
        kind = sections[-1].kind
        notes += [f"{name}:{number}: [{kind}] {note}" for note in _read_option(line, number, kind, options)]
    return tuple(sections), tuple(notes)


def _header(line: str, number: int, name: str) -> str:
    kind, bracket, rest = line[1:].partition("]")
    if not bracket or not kind or (rest and rest[0] not in "#;"):
        fail(name, number, "", f"{_short(line)} is no section header; write it as [kind] on a line of its own")
    return _ALIASES.get(kind, kind)


def _read_option(line: str, number: int, kind: str, options: dict[str, Option]) -> list[str]:
    """Add one line to `options`; returns what is to be noted of it."""
    key, equals, value = line.partition("=")
    if not equals or not key:
        options.setdefault(key, Option("", number))
        return [f"{_short(line)} is no key=value and is ignored, as Darknet does"]
    if not value:
        return [f"{_short(key)[1:-1]}= has no value and is ignored"]
    earlier = options.setdefault(key, Option(value, number))
    if earlier.value == value or (kind == "net" and key not in _NET_KEYS):
        return []
    first = f"the first ({_short(earlier.value)[1:-1]})" if earlier.value else "the default"
    return [f"{_short(key)[1:-1]} is given twice (lines {earlier.line} and {number}): {first} counts, as in Darknet"]


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")
