"""Strict readers of plain values: each returns the value in its type, or raises a `RegistryError`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cvdetect.core.errors import RegistryError
from cvdetect.core.printable import closest

__all__ = [
    "KeyPath",
    "above_zero",
    "choice",
    "flag",
    "integer",
    "items",
    "nearest",
    "number",
    "positive",
    "read_fields",
    "table",
    "text",
    "within",
]

Reader = Callable[[Any, "KeyPath"], Any]


@dataclass(frozen=True, slots=True)
class KeyPath:
    """Where a value stands, for messages: the file, the model's name, the dotted key ("" for none)."""

    file: Path
    model: str = ""
    key: str = ""

    def at(self, key: object) -> KeyPath:
        """The path of `key` under this one."""
        return replace(self, key=f"{self.key}.{key}" if self.key else str(key))

    def error(self, why: str) -> RegistryError:
        """The error to raise for the value at this path."""
        parts = [str(self.file), f"model {self.model}" if self.model else "", self.key, why]
        return RegistryError(": ".join(part for part in parts if part))


def nearest(word: object, known: Collection[str]) -> str:
    """A hint ", did you mean …?" with the nearest of the known words, or "" where none is near."""
    meant = closest(str(word).lower(), known, cutoff=0.5)
    return f", did you mean {meant!r}?" if meant else ""


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def table(value: Any, where: KeyPath, known: Collection[str]) -> dict[str, Any]:
    """A mapping that has no other keys than the `known` ones."""
    if not isinstance(value, dict):
        raise where.error(f"must be a mapping, not {_kind(value)}")
    for key in value:
        if key not in known:
            hint = nearest(key, known) or f" (known: {', '.join(known)})"
            raise where.error(f"unknown key {key!r}{hint}")
    return value


def read_fields(row: Mapping[str, Any], where: KeyPath, fields: Mapping[str, tuple[str, Reader]]) -> dict[str, Any]:
    """The values of those `fields` (key → name of the field, its reader) that the row has, by the field's name."""
    return {name: read(row[key], where.at(key)) for key, (name, read) in fields.items() if key in row}


def text(value: Any, where: KeyPath) -> str:
    """Text that is not empty."""
    if not isinstance(value, str):
        raise where.error(f"must be text, not {_kind(value)} ({value!r}); put quotes around it")
    if not value.strip():
        raise where.error("must not be empty")
    return value


def flag(value: Any, where: KeyPath) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise where.error(f"must be true or false, not {_kind(value)} ({value!r})")
    return value


def integer(value: Any, where: KeyPath) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise where.error(f"must be a whole number, not {value!r}")
    return value


def positive(value: Any, where: KeyPath) -> int:
    """A whole number above 0."""
    if integer(value, where) <= 0:
        raise where.error(f"must be above 0, not {value}")
    return int(value)


def number(value: Any, where: KeyPath) -> float:
    """A finite number, or a fraction such as 1/255 (text, to YAML)."""
    result = _ratio(value) if isinstance(value, str) else value
    if isinstance(result, bool) or not isinstance(result, int | float):
        raise where.error(f"must be a number or a fraction like 1/255, not {value!r}")
    try:
        result = float(result)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise where.error(f"must be finite, not {value!r}")
    return result


def above_zero(value: Any, where: KeyPath) -> float:
    """A number above 0."""
    if (result := number(value, where)) <= 0:
        raise where.error(f"must be above 0, not {value}")
    return result


def _ratio(written: str) -> float | None:
    above, _, below = written.partition("/")
    try:
        return float(above) / float(below)
    except (ValueError, ZeroDivisionError):
        return None


def within(low: int, high: int) -> Reader:
    """The reader of a number from `low` to `high`."""

    def read(value: Any, where: KeyPath) -> float:
        if not low <= (result := number(value, where)) <= high:
            raise where.error(f"must be from {low} to {high}, not {value}")
        return result

    return read


def choice(value: Any, where: KeyPath, known: Collection[str]) -> str:
    """One of the `known` words."""
    if value not in known if isinstance(value, str) else True:
        raise where.error(f"unknown value {value!r}{nearest(value, known)} (known: {', '.join(known)})")
    return str(value)


def items(value: Any, where: KeyPath) -> list[Any]:
    """A list with at least one item."""
    if not isinstance(value, list):
        raise where.error(f"must be a list, not {_kind(value)}")
    if not value:
        raise where.error("must not be empty")
    return value
