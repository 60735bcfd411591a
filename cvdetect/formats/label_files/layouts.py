"""Label files of structured text: YAML, JSON, Python lists, and label maps of TensorFlow and Caffe."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.textgraph import read_label_map

__all__ = ["Listed", "read_lines", "read_tree"]


_MOST_PARSED = 1 << 20  # characters; Python's parsers take seconds for more, and gigabytes
_KEYS = (
    "names", "class_names", "labels", "classes", "categories", "id2label", "label2id", "class_to_idx", "label_map",
    "CLASSES",
)  # fmt: skip
_LABEL_MAP = re.compile(r"(?:\s|#[^\n]*\n)*\w+\s*(?::\s*)?[{<]")
_YAML = re.compile(r"^(names|class_names|classes|labels|nc)[ \t]*:", re.MULTILINE)
_YAML_LIST = re.compile(r"(?:(?:---|#[^\n]*|[ \t]*)\n)*-[ \t]+\S[^\n]*(\n([ \t]*#[^\n]*|[ \t]*|-[ \t]+\S[^\n]*))*")
_PYTHON = re.compile(r"(?:\s|#[^\n]*\n)*(?:(\w+)\s*=\s*)?([\[({])")
_TREES = {"[": "a JSON or Python list", "{": "a JSON or Python mapping", "(": "a Python tuple"}


def read_tree(text: str, name: str, is_yaml: bool = False) -> tuple[str, Listed] | None:
    """What the file is and its class names, where it is structured text; None where it is none.

    `is_yaml`: its suffix says that it is YAML.

    Raises:
        ModelFileError: it is structured text, but damaged, or holds no class names.
    """
    if is_yaml:
        return "YAML", _yaml_names(text, name)
    if match := _PYTHON.match(text):
        return "list", _names(_literal(text[match.start(2) :], match[2], name), name)
    if _LABEL_MAP.match(text):
        _check_length(text, name)
        return "label map", read_label_map(text, name)
    if _YAML.search(text) or _YAML_LIST.fullmatch(text.rstrip()):
        return "YAML", _yaml_names(text, name)
    return None


def _check_length(text: str, name: str) -> None:
    if len(text) > _MOST_PARSED:
        raise ModelFileError(f"{name}: has {len(text):,} characters, expected class names")


def _literal(text: str, opening: str, name: str) -> Any:
    """JSON, else a literal of Python."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        wrong = error
    _check_length(text, name)
    try:
        return ast.literal_eval(text.strip().rstrip(","))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        where = f"line {wrong.lineno}: {wrong.msg}" if isinstance(wrong, json.JSONDecodeError) else str(wrong)
        raise ModelFileError(f"{name}: begins as {_TREES[opening]} does, but is none ({where})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _names(value: Any, name: str) -> Listed:
    """The names in plain data: a list, a mapping from or to numbers, or one of these under a usual key."""
    if isinstance(value, dict):
        under = next((value[key] for key in _KEYS if key in value), None)
        if under is not None:
            return _names(under, name)
        return _mapping(value.items(), name)
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        return _mapping([(_first(item, ("id", "label", "index")), _first(item, _ITEM)) for item in value], name)
    if isinstance(value, list | tuple) and value:
        return (tuple(_name(item, name) for item in value),)
    raise ModelFileError(f"{name}: holds no class names (expected a list of names, or a mapping from 0, 1, …)")


_ITEM = ("display_name", "name", "title", "label")


def _first(item: dict[Any, Any], keys: Iterable[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _mapping(pairs: Iterable[tuple[Any, Any]], name: str) -> dict[int, str]:
    """Number to name, or name to number."""
    pairs = list(pairs)
    if pairs and all(_number(key) is None for key, _ in pairs):
        pairs = [(value, key) for key, value in pairs]
    names: dict[int, str] = {}
    for key, value in pairs:
        number = _number(key)
        if number is None or number in names:
            raise ModelFileError(
                f"{name}: does not give each class a number of its own (expected a list of names, or a mapping from 0)"
            )
        names[number] = _name(value, name)
    if not names:
        raise ModelFileError(f"{name}: holds no class names")
    return names


def _number(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def _name(value: Any, name: str) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) < 1000:
        return str(value).strip()
    raise ModelFileError(f"{name}: has {type(value).__name__!s} where the name of a class should be")


# --- YAML -------------------------------------------------------------------------------------------------------------


def _yaml_names(text: str, name: str) -> Listed:
    """The class names of a data.yaml (Ultralytics, Roboflow), or of a YAML list.

    Names are taken as they are written: ``no`` is a name, not false.

    Raises:
        ModelFileError: it is no YAML, has no names, or its ``nc`` is not their number.
    """
    import yaml

    _check_length(text, name)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}: is not YAML: {' '.join(str(error).split())[:200]}") from error
    top = _pairs(root, name) if isinstance(root, yaml.MappingNode) else []
    nodes = dict(top)
    node = next((nodes[key] for key in _KEYS if key in nodes), None if top else root)
    listed = _node_names(node, name)
    _check_count(nodes.get("nc"), listed, name)
    return listed


def _pairs(node: Any, name: str) -> list[tuple[str, Any]]:
    """Key and value of a mapping's entries; each key is there once."""
    pairs = [(_scalar(key, name), value) for key, value in node.value]
    if len(dict(pairs)) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ModelFileError(f"{name}: has {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return pairs


def _scalar(node: Any, name: str) -> str:
    if isinstance(node.value, str):
        return node.value.strip()
    raise ModelFileError(f"{name}: line {node.start_mark.line + 1}: expected the name of a class")


def _node_names(node: Any, name: str) -> Listed:
    kind = getattr(node, "id", "nothing")
    if kind == "sequence" and node.value:
        return (tuple(_scalar(item, name) for item in node.value),)
    if kind == "mapping" and node.value:
        return _mapping([(key, _scalar(value, name)) for key, value in _pairs(node, name)], name)
    if kind == "scalar" and "." in node.value:
        raise ModelFileError(f"{name}: its names are in {node.value}: give that file")
    raise ModelFileError(f"{name}: has no names: expected a list of class names, or a mapping from 0, 1, …")


def _check_count(node: Any, listed: Listed, name: str) -> None:
    count = len(listed) if isinstance(listed, dict) else len(listed[0])
    stated = getattr(node, "value", None)
    if isinstance(stated, str) and stated.isdecimal() and int(stated) != count:
        raise ModelFileError(f"{name}: states nc: {stated}, but names {count} classes: one of them is wrong")


# Label files of one class a line: plain lists, numbered lists, tables, and what only looks like a list of names.

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
"""Names by the numbers that the file gives them; or, of a list without numbers, each way to read it, likeliest first.
A line without a name is "" there."""


def read_lines(text: str, name: str) -> Listed:
    """The class names in the lines of `text`; `name` is what errors call the file.

    A list of names alone may be read in several ways: a blank line in the middle is a class without a name to Darknet,
    and nothing to others; a line that begins with "#" is mostly a comment. The number of classes decides.

    Raises:
        ModelFileError: it is no list of class names.
    """
    lines = [line.strip() for line in text.rstrip().split("\n")]
    content = [line for line in lines if line and not _COMMENT.match(line)]
    if not content:
        raise ModelFileError(f"{name}: has comments only, expected class names")
    if len(content) > _MOST_NAMES:
        raise _no_list(name, f"it has {len(content):,} lines")
    if len(content) == 1 and len(content[0]) > _LONGEST_NAME and re.search("[,;]", content[0]):
        return _ways(lines, content)[1:]
    if max(map(len, content)) > _LONGEST_ROW:
        raise _no_list(name, f"a line of it has {max(map(len, content)):,} characters")
    for read in (_table, _numbered, _numbered_last):
        if numbered := read(content, name):
            return numbered
    _check(content, name)
    return _ways(lines, content)


def _ways(lines: Sequence[str], content: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Without comments and blank lines; with blank lines; with both; without what begins with "#" at all; split."""
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
    """Without the quotes, where each name has them."""
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
    if len(pairs) > 1 and (unique == 1 or 2 * unique < len(pairs)):  # "1 dot", "2 dots": the number is of the name
        return None
    if len(pairs) < len(content):
        missing = next(line for line, match in zip(content, found, strict=True) if not match)
        raise ModelFileError(f"{name}: its lines have numbers, but {missing[:40]!r} has none: number all, or none")
    _check_boxes(content, name)
    names = dict(zip(numbers, _unquoted([pair[1] for pair in pairs]), strict=True))
    if len(names) < len(pairs):
        twice = next(a for a, b in pairwise(sorted(numbers)) if a == b)
        raise ModelFileError(f"{name}: has number {twice} twice")
    return names


def _counts(numbers: Sequence[int]) -> bool:
    """Whether numbers count from 0 or 1, in order or without gaps, each once but for slips."""
    low, unique = min(numbers), len(set(numbers))
    whole = sorted(set(numbers)) == list(range(low, low + unique))
    return low <= 1 and 5 * unique >= 4 * len(numbers) and (whole or list(numbers) == sorted(numbers))


def _table(content: Sequence[str], name: str) -> dict[int, str] | tuple[tuple[str, ...], ...] | None:
    """A table with a heading that says which column has the names, and which the numbers, if any."""
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


# --- what is no list --------------------------------------------------------------------------------------------------


def _check(content: Sequence[str], name: str) -> None:
    """Raise ModelFileError where the lines are no names."""
    if max(map(len, content)) > _LONGEST_NAME:
        raise _no_list(name, f"a line of it has {max(map(len, content)):,} characters")
    _check_boxes(content, name)
    markup = next((line for line in content if _MARKUP.match(line)), None)
    if markup:
        raise _no_list(name, f"it has the line {markup[:40]!r}")
    settings = [line for line in content if _SETTING.match(line)]
    keys = {re.split("[:=]", line)[0].strip() for line in settings}  # "light: red", "light: green" are names
    if len(keys) > 1 and 2 * len(settings) >= len(content):
        raise _no_list(name, f"it has settings, such as {settings[0][:40]!r}")
    for separator in "\t,":
        counts = {line.rstrip(separator).count(separator) for line in content}
        if len(content) > 1 and len(counts) == 1 and counts != {0}:
            raise _no_list(name, "it is a table without a heading: give its columns names, such as id and name")


def _check_boxes(content: Sequence[str], name: str) -> None:
    """YOLO's annotations are five or more numbers a line."""
    if all(map(_NUMBERS_ONLY.fullmatch, content)) and all(len(re.split(r"[\s,;]+", c)) > 2 for c in content):
        raise _no_list(name, "it has numbers only, as annotations of boxes have")


def _no_list(name: str, why: str) -> ModelFileError:
    return ModelFileError(f"{name}: is no list of class names ({why}): expected one name a line")
