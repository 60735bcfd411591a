"""Label files of one class a line: plain lists, numbered lists, tables, and what only looks like a list of names."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import pairwise

from cvdetect.core.errors import ModelFileError

__all__ = ["Listed", "read_lines"]

_LONGEST_NAME = 250  # characters; ImageNet's longest has 131
_LONGEST_ROW = 2000  # of a table
_MOST_NAMES = 200_000
_COMMENT = re.compile(r"\s*(//|#(\s|#|$))")
_NUMBERED = re.compile(r"(\d{1,6})(?:\s*[:=,;|]\s*|[.)]?\s+)(\S.*?)\s*,?$")
_NUMBER_LAST = re.compile(r"(\S.*?)\s*[:=,;\t|]\s*(\d{1,6})\s*,?$")
_QUOTED = re.compile(r"""\s*(["'])(.*)\1\s*,?\s*$""")
_SETTING = re.compile(r"[A-Za-z_\"'][\w .\"'-]*?(\s*[:=](?![:=/])\s*\S|:$)")
_NUMBERS_ONLY = re.compile(r"\s*[-+]?[\d.]+(?:e-?\d+)?(?:[\s,;]+[-+]?[\d.]+(?:e-?\d+)?)+\s*", re.IGNORECASE)
# Code, not names such as "class A" or "import car".
_CODE = (
    r"import\s+(os|sys|re|json|time|math|cv2|numpy|torch|\w+\.\w+|\w+\s+as\s+\w+)\b.*|from\s+\S+\s+import\s.*|"
    r"def\s+\w+\s*\(.*|class\s+\w+\s*(\(.*)?:|return\s.*[()\[\]=].*"
)
_MARKUP = re.compile(rf"\s*(\[\w+\]|</?\w+[^>]*>|[{{}}\[\]]+,?|{_CODE}|#!.*|---)\s*$")
_COLUMN_OF_NUMBERS = {"id", "index", "idx", "class_id", "classid", "number", "label_id", "category_id", "no"}
_COLUMN_OF_NAMES = (
    "display_name", "displayname", "name", "class_name", "classname", "label_name", "label", "class", "category",
    "category_name", "title",
)  # fmt: skip

Listed = dict[int, str] | tuple[tuple[str, ...], ...]
"""Names by their numbers in the file; or, for a list without numbers, each way to read it, the likeliest first. A line
without a name is "" there."""


def read_lines(text: str, name: str) -> Listed:
    """The class names in the lines of `text`; `name` is what errors call the file.

    A list without numbers may be read in several ways: a blank line in the middle is a class without a name to Darknet,
    and nothing to others; a line that begins with "#" is mostly a comment. The number of classes decides.

    Raises:
        ModelFileError: it is not a list of class names.
    """
    lines = [line.strip() for line in text.rstrip().split("\n")]
    content = [line for line in lines if line and not _COMMENT.match(line)]
    if not content:
        raise ModelFileError(f"{name}: has only comments, expected class names")
    if len(content) > _MOST_NAMES:
        raise _not_a_list(name, f"it has {len(content):,} lines")
    if len(content) == 1 and len(content[0]) > _LONGEST_NAME and re.search("[,;]", content[0]):
        return _ways(lines, content)[1:]
    if max(map(len, content)) > _LONGEST_ROW:
        raise _not_a_list(name, f"a line of it has {max(map(len, content)):,} characters")
    for read in (_table, _numbered, _numbered_last):
        if numbered := read(content, name):
            return numbered
    _check_is_list(content, name)
    return _ways(lines, content)


def _ways(lines: Sequence[str], content: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The lines without comments and blank ones; with blank lines; with comments; with both; without any "#"; split."""
    filled = [line for line in lines if line]
    ways = [
        content,
        [line for line in lines if not _COMMENT.match(line)],
        filled,
        lines,
        [line for line in filled if not line.startswith(("#", "//"))],
    ]
    if len(content) == 1:
        ways += [content[0].split(","), content[0].split(";")]
    unique = dict.fromkeys(tuple(_unquoted(list(way))) for way in ways)
    return tuple(way for way in unique if any(way))


def _unquoted(names: list[str]) -> list[str]:
    """The names without their quotes, where each has them."""
    if all(name.endswith(",") for name in names[:-1]) and len(names) > 1:
        names = [name.removesuffix(",") for name in names]
    found = [_QUOTED.match(name) for name in names if name.strip()]
    if found and all(found):
        names = [match[2] if (match := _QUOTED.match(name)) else "" for name in names]
    return [name.strip() for name in names]


def _numbered(content: Sequence[str], name: str) -> dict[int, str] | None:
    """``0 person``, ``1: bicycle``, ``2,car`` and the like."""
    return _by_number([_NUMBERED.match(line) for line in content], 1, 2, content, name)


def _numbered_last(content: Sequence[str], name: str) -> dict[int, str] | None:
    """``person: 0``, ``bicycle,1``."""
    return _by_number([_NUMBER_LAST.match(line) for line in content], 2, 1, content, name)


def _by_number(
    found: Sequence[re.Match[str] | None], number: int, label: int, content: Sequence[str], name: str
) -> dict[int, str] | None:
    """Names by number, where the lines count classes from 0 or 1; None where they do not."""
    pairs = [(int(match[number]), match[label]) for match in found if match]
    numbers = [pair[0] for pair in pairs]
    if 2 * len(pairs) <= len(content) or not _counts(numbers):
        return None
    unique = len({pair[1] for pair in pairs})
    if len(pairs) > 1 and (
        unique == 1 or 2 * unique < len(pairs)
    ):  # "1 dot", "2 dots": the number is a part of the name
        return None
    if len(pairs) < len(content):
        missing = next(line for line, match in zip(content, found, strict=True) if not match)
        raise ModelFileError(f"{name}: its lines have numbers, but {missing[:40]!r} has none: number all or none")
    _check_boxes(content, name)
    names = dict(zip(numbers, _unquoted([pair[1] for pair in pairs]), strict=True))
    if len(names) < len(pairs):
        twice = next(a for a, b in pairwise(sorted(numbers)) if a == b)
        raise ModelFileError(f"{name}: has number {twice} twice")
    return names


def _counts(numbers: Sequence[int]) -> bool:
    """Whether numbers count from 0 or 1, in order or without gaps, nearly all of them once."""
    low, unique = min(numbers), len(set(numbers))
    whole = sorted(set(numbers)) == list(range(low, low + unique))
    return low <= 1 and 5 * unique >= 4 * len(numbers) and (whole or list(numbers) == sorted(numbers))


def _table(content: Sequence[str], name: str) -> dict[int, str] | tuple[tuple[str, ...], ...] | None:
    """A table whose heading names the column of the names, and perhaps that of the numbers."""
    for separator in "\t;,":
        rows = _rows(content, separator)
        head = [cell.strip().casefold().replace(" ", "_") for cell in rows[0]] if rows else []
        names = [cell for cell in _COLUMN_OF_NAMES if cell in head]
        numbers = [i for i, cell in enumerate(head) if cell in _COLUMN_OF_NUMBERS]
        if len(head) > 1 and names:
            return _columns(rows[1:], head.index(names[0]), numbers[0] if numbers else None, name)
    return None


def _rows(content: Sequence[str], separator: str) -> list[list[str]]:
    try:
        return list(csv.reader(content, delimiter=separator))
    except csv.Error:
        return []


def _columns(rows: Sequence[list[str]], label: int, number: int | None, name: str) -> Listed:
    try:
        names = [row[label].strip() for row in rows if any(row)]
        if number is None:
            return (tuple(names),)
        numbers = [int(row[number]) for row in rows if any(row)]
    except (IndexError, ValueError):
        raise ModelFileError(f"{name}: is a table, but not every row has a number and a name") from None
    if not names or "" in names or len(set(numbers)) < len(names) or min(numbers) < 0:
        raise ModelFileError(f"{name}: is a table, but its rows do not give each class a number and a name of its own")
    return dict(zip(numbers, names, strict=True))


def _check_is_list(content: Sequence[str], name: str) -> None:
    """Raise ModelFileError where the lines are not names."""
    if max(map(len, content)) > _LONGEST_NAME:
        raise _not_a_list(name, f"a line of it has {max(map(len, content)):,} characters")
    _check_boxes(content, name)
    markup = next((line for line in content if _MARKUP.match(line)), None)
    if markup:
        raise _not_a_list(name, f"it has the line {markup[:40]!r}")
    settings = [line for line in content if _SETTING.match(line)]
    keys = {re.split("[:=]", line)[0].strip() for line in settings}  # "light: red", "light: green" are names
    if len(keys) > 1 and 2 * len(settings) >= len(content):
        raise _not_a_list(name, f"it has settings, such as {settings[0][:40]!r}")
    for separator in "\t,":
        counts = {line.rstrip(separator).count(separator) for line in content}
        if len(content) > 1 and len(counts) == 1 and counts != {0}:
            raise _not_a_list(name, "it is a table without a heading: give its columns names, such as id and name")


def _check_boxes(content: Sequence[str], name: str) -> None:
    """Refuse YOLO's annotations, which are five or more numbers a line."""
    if all(map(_NUMBERS_ONLY.fullmatch, content)) and all(len(re.split(r"[\s,;]+", c)) > 2 for c in content):
        raise _not_a_list(name, "it has only numbers, like annotations of boxes")


def _not_a_list(name: str, why: str) -> ModelFileError:
    return ModelFileError(f"{name}: is not a list of class names ({why}): expected one name a line")
