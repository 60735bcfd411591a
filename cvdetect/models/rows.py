"""Rows of models.yaml, already parsed, become `ModelSpec`s; the keys are described at the top of models.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from cvdetect.core.labels import BUILT_IN
from cvdetect.core.spec import Accuracy, InputSpec, ModelFile, ModelSpec, Resize, Role, Source, Speed
from cvdetect.families import FAMILIES, Family
from cvdetect.formats import FORMATS
from cvdetect.models.fields import (
    KeyPath,
    above_zero,
    choice,
    flag,
    integer,
    items,
    number,
    positive,
    read_fields,
    table,
    text,
    within,
)

__all__ = ["read_model"]

_ROLES: tuple[Role, ...] = (  # the order in which files are listed
    "cfg", "prototxt", "config", "names", "weights", "caffemodel", "graph", "onnx", "tflite",
)  # fmt: skip
_NAME = re.compile(r"\w[\w.+-]*")  # one path component that no file system and no shell takes amiss
_LOCAL = {"127.0.0.1", "localhost", "::1"}


def read_model(name: Any, row: Any, file: Path) -> ModelSpec:
    """The model `name` of the yaml `file`; local paths are taken relative to it. Raises `RegistryError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KeyPath(file).error(f"model name {name!r} must be text of letters, digits and . _ + - (quote numbers)")
    where = KeyPath(file, name)
    row = table(row, where, ("family", *_ROLES, "input", *_MODEL))
    if "family" not in row:
        raise where.error(f"key 'family' is missing (one of {', '.join(FAMILIES)})")
    family = FAMILIES[choice(row["family"], where.at("family"), FAMILIES)]
    return ModelSpec(
        name=name,
        family=family.name,
        files=_read_files(row, family, where),
        input=_read_input(row.get("input", {}), where.at("input"), family),
        **read_fields(row, where, _MODEL),
    )


def _read_files(row: dict[str, Any], family: Family, where: KeyPath) -> tuple[ModelFile, ...]:
    sets = [FORMATS[name].files for name in family.formats]
    if not any(set(roles) <= row.keys() for roles in sets):
        begun = next((roles for roles in sets if set(roles) & row.keys()), sets[0])
        role = next(role for role in begun if role not in row)
        other = "" if begun != sets[0] or len(sets) == 1 else f" (or {' and '.join(sets[1])})"
        raise where.error(f"key {role!r} is missing: family {family.name} needs it{other}")
    files = tuple(_read_file(role, row[role], where.at(role)) for role in _ROLES if role in row)
    names = [file.name for file in files if file.path is None]
    if len(set(names)) < len(names):
        raise where.error("two of its files have the same name")
    return files


def _read_file(role: Role, value: Any, where: KeyPath) -> ModelFile:
    row = table({"path": value} if isinstance(value, str) else value, where, ("path", "name", "sources", *_DIGESTS))
    digests = read_fields(row, where, _DIGESTS)
    if "path" in row:
        if clash := {"name", "sources"} & row.keys():
            raise where.error(f"key {min(clash)!r} does not go with 'path': such a file is never pulled")
        path = where.file.parent / Path(text(row["path"], where.at("path"))).expanduser()
        return ModelFile(role=role, name=path.name, path=path, **digests)
    if "name" not in row:
        raise where.error("key 'name' (the file's name in the cache) or 'path' (a file on this machine) is missing")
    sources = _read_sources(row["sources"], where.at("sources")) if "sources" in row else ()
    return ModelFile(role=role, name=_file_name(row["name"], where.at("name")), sources=sources, **digests)


def _file_name(value: Any, where: KeyPath) -> str:
    if not _NAME.fullmatch(text(value, where)):
        raise where.error(f"{value!r} must be a plain file name of letters, digits and . _ + -, without folders")
    return str(value)


def _read_sources(value: Any, where: KeyPath) -> tuple[Source, ...]:
    return tuple(_read_source(item, where.at(index)) for index, item in enumerate(items(value, where), 1))


def _read_source(value: Any, where: KeyPath) -> Source:
    row = {"url": value} if isinstance(value, str) else table(value, where, ("url", "archive", *_PACKAGE, "sha256"))
    if "package" in row:
        return _source("package", row, where, ("package", "file", "member", "sha256"))
    if "archive" in row:
        return _source("archive", row, where, ("archive", "member", "sha256"))
    if "url" in row:
        return _source("url", row, where, ("url",))
    raise where.error("must have one of the keys 'url', 'archive', 'package'")


def _source(
    kind: Literal["url", "archive", "package"], row: dict[str, Any], where: KeyPath, keys: tuple[str, ...]
) -> Source:
    row = _with_keys(table(row, where, keys), where, [key for key in keys if key != "sha256"])
    return Source(kind=kind, **read_fields(row, where, _SOURCE))


def _address(value: Any, where: KeyPath) -> str:
    try:
        parts = urlsplit(text(value, where))
        host = parts.hostname
    except ValueError as problem:
        raise where.error(f"{value!r} is not an address: {problem}") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL)):
        raise where.error(f"{value!r} must be an https:// address")
    return str(value)


def _hexadecimal(length: int) -> Any:
    def read(value: Any, where: KeyPath) -> str:
        # A digest of decimal digits alone is a number to YAML, and its leading zeros are lost: text() asks for quotes.
        if not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", text(value, where)):
            raise where.error(f"{value!r} must be {length} hexadecimal digits")
        return str(value).lower()

    return read


def _read_input(value: Any, where: KeyPath, family: Family) -> InputSpec:
    fields = read_fields(table(value, where, _INPUT), where, _INPUT)
    return replace(family.preprocessing or InputSpec(), **fields)


def _size(value: Any, where: KeyPath) -> tuple[int, int]:
    if not isinstance(value, list):
        return (positive(value, where),) * 2
    if len(value) != 2:
        raise where.error(f"must be N or [width, height], not {value!r}")
    return positive(value[0], where), positive(value[1], where)


def _triple(value: Any, where: KeyPath) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3:
        raise where.error(f"must be a list of three numbers, not {value!r}")
    first, second, third = (number(item, where) for item in value)
    return first, second, third


def _std(value: Any, where: KeyPath) -> tuple[float, float, float]:
    if min(result := _triple(value, where)) <= 0:
        raise where.error(f"must be above 0, not {value}")
    return result


def _resize(value: Any, where: KeyPath) -> str:
    return choice(value, where, get_args(Resize))


def _pad_align(value: Any, where: KeyPath) -> str:
    return choice(value, where, ("centre", "top_left"))


def _labels(value: Any, where: KeyPath) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return choice(value, where, BUILT_IN)
    return tuple(text(item, where.at(index)) for index, item in enumerate(items(value, where)))


def _accuracy(value: Any, where: KeyPath) -> tuple[Accuracy, ...]:
    """A list of published figures, each with all of its keys."""
    return tuple(_figure(item, where.at(index)) for index, item in enumerate(items(value, where), 1))


def _figure(value: Any, where: KeyPath) -> Accuracy:
    return Accuracy(**read_fields(_with_keys(table(value, where, _FIGURE), where, _FIGURE), where, _FIGURE))


def _speed(value: Any, where: KeyPath) -> Speed:
    """Time, operations or both, and where they come from."""
    row = _with_keys(table(value, where, _SPEED), where, ("source",))
    if not {"forward", "gflop"} & row.keys():
        raise where.error("one of the keys 'forward', 'gflop' is missing")
    return Speed(**read_fields(row, where, _SPEED))


def _with_keys(row: dict[str, Any], where: KeyPath, keys: Iterable[str]) -> dict[str, Any]:
    for key in keys:
        if key not in row:
            raise where.error(f"key {key!r} is missing")
    return row


# key → (the field's name, its reader)
_FIGURE = {"metric": ("metric", text), "value": ("value", within(0, 100)), "source": ("source", text)}
_SPEED = {"forward": ("forward", above_zero), "gflop": ("gflop", above_zero), "source": ("source", text)}
_DIGESTS = {"size": ("size", positive), "sha256": ("sha256", _hexadecimal(64)), "sha1": ("sha1", _hexadecimal(40))}
_PACKAGE = ("package", "file", "member")
_SOURCE = {
    "url": ("url", _address),
    "archive": ("url", _address),
    "package": ("project", text),
    "file": ("file", _file_name),
    "member": ("member", text),
    "sha256": ("sha256", _hexadecimal(64)),
}
_INPUT = {
    "size": ("wh", _size),
    "scale": ("scale", above_zero),
    "mean": ("mean", _triple),
    "std": ("std", _std),
    "rgb": ("swap_rb", flag),
    "resize": ("resize", _resize),
    "pad_value": ("pad_value", within(0, 255)),
    "pad_align": ("pad_align", _pad_align),
}
_MODEL = {
    "labels": ("labels", _labels),
    "class_id_offset": ("class_id_offset", integer),
    "conf": ("conf", within(0, 1)),
    "nms": ("nms", within(0, 1)),
    "licence": ("licence", text),
    "accuracy": ("accuracy", _accuracy),
    "speed": ("speed", _speed),
    "two_stage": ("two_stage", flag),
    "tested": ("tested", text),
}
