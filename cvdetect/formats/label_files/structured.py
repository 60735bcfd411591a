"""Label files of structured text: YAML, JSON, Python lists, and label maps of TensorFlow and Caffe."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files.lines import Listed
from cvdetect.formats.tensorflow.textgraph import read_label_map

__all__ = ["read_structured"]

_MOST_PARSED = 1 << 20  # characters; Python's parsers take seconds for more, and gigabytes
_KEYS = (
    "names", "class_names", "labels", "classes", "categories", "id2label", "label2id", "class_to_idx", "label_map",
    "CLASSES",
)  # fmt: skip
_ITEM = ("display_name", "name", "title", "label")
_LABEL_MAP = re.compile(r"(?:\s|#[^\n]*\n)*\w+\s*(?::\s*)?[{<]")
_YAML = re.compile(r"^(names|class_names|classes|labels|nc)[ \t]*:", re.MULTILINE)
_YAML_LIST = re.compile(r"(?:(?:---|#[^\n]*|[ \t]*)\n)*-[ \t]+\S[^\n]*(\n([ \t]*#[^\n]*|[ \t]*|-[ \t]+\S[^\n]*))*")
_PYTHON = re.compile(r"(?:\s|#[^\n]*\n)*(?:(\w+)\s*=\s*)?([\[({])")
_OPENINGS = {"[": "a JSON or Python list", "{": "a JSON or Python mapping", "(": "a Python tuple"}


def read_structured(text: str, name: str, is_yaml: bool) -> tuple[str, Listed] | None:
    """The kind of file and its class names, where it is structured text; else None.

    Args:
        text: the content of the file.
        name: what errors call the file.
        is_yaml: it has a suffix of YAML.

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
        raise ModelFileError(f"{name}: begins like {_OPENINGS[opening]}, but is not one ({where})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
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


def _yaml_names(text: str, name: str) -> Listed:
    """The class names of a data.yaml (Ultralytics, Roboflow), or of a YAML list.

    Names are read as they are written: ``no`` is a name, not false.

    Raises:
        ModelFileError: it is not YAML, has no names, or its ``nc`` is not their number.
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
    """Key and value of a mapping's entries, whose keys must differ."""
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
