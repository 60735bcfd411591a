"""The known models: models.yaml files, read strictly and laid over each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cvdetect.core.errors import UsageError
from cvdetect.core.spec import ModelSpec
from cvdetect.core.targets import check_regular
from cvdetect.models.fields import KeyPath, nearest, table, text
from cvdetect.models.rows import read_model

__all__ = ["Registry", "load_models", "shipped_models", "user_models"]


@dataclass(frozen=True, slots=True)
class Registry:
    """The known models by name, in the order of their files, and the one that is taken where none is named."""

    models: Mapping[str, ModelSpec]
    default: str

    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self.models)

    def get(self, name: str) -> ModelSpec:
        """The model of this name; raises `UsageError` with the nearest right name."""
        if name not in self.models:
            raise UsageError(f"unknown model {name!r}{nearest(name, self.models) or ', see: cvdetect models list'}")
        return self.models[name]

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self.models


def load_models(extra: Path | None = None, *, users: bool = True) -> Registry:
    """Read the shipped models.yaml, the user's own (unless not `users`) where there is one, and `extra`; later win.

    An entry of the same name replaces the whole entry; the last `default:` counts.

    Raises:
        RegistryError: a file is missing or malformed; the message names file, model, key and the nearest right key.
    """
    user = user_models()
    files = [shipped_models(), *([user] if users and user.is_file() else []), *([extra] if extra is not None else [])]
    models: dict[str, ModelSpec] = {}
    default, default_file = "", files[0]
    for file in files:
        found, named = _read(file)
        models.update(found)
        default, default_file = (named, file) if named else (default, default_file)
    if default not in models:
        raise KeyPath(default_file).at("default").error(f"no model is named {default!r}{nearest(default, models)}")
    return Registry(MappingProxyType(models), default)


def shipped_models() -> Path:
    """The models.yaml that came with cvdetect: inside the package in a wheel, one level above it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "models.yaml"
    return inside if inside.is_file() else package.parent / "models.yaml"


def user_models() -> Path:
    """Where the user's own models.yaml lies, if there is one: the platform's user configuration folder."""
    import platformdirs

    return platformdirs.user_config_path("cvdetect") / "models.yaml"


def _read(file: Path) -> tuple[Mapping[str, ModelSpec], str]:
    """The models of one file, and its `default:` or ""; a file that has not changed is not parsed again."""
    try:
        status = file.stat()
    except OSError:  # reading it reports why
        return _read_state(file, 0, 0)
    return _read_state(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _read_state(file: Path, _modified: int, _size: int) -> tuple[Mapping[str, ModelSpec], str]:
    where = KeyPath(file)
    document = _parse(file)
    top = table({} if document is None else document, where, ("default", "models"))
    models = top.get("models")
    if models is not None and not isinstance(models, dict):
        raise where.at("models").error("must be a mapping from names to models")
    default = text(top["default"], where.at("default")) if "default" in top else ""
    return {name: read_model(name, row, file) for name, row in (models or {}).items()}, default


def _parse(file: Path) -> Any:
    """The document in the file as plain values; raises `RegistryError`, also for a key given twice.

    Raises UsageError where it is a pipe or a device.
    """
    import yaml

    check_regular(file, "a models.yaml")
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster, and not everywhere
    try:
        loader = loader_class(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _refuse_duplicates(node, KeyPath(file), set())
        return None if node is None else loader.construct_document(node)
    except OSError as problem:
        raise KeyPath(file).error(f"cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise KeyPath(file).error("is not UTF-8 text") from None
    except yaml.YAMLError as problem:
        raise KeyPath(file).error(f"is not valid YAML: {_explain(problem)}") from None
    except (ValueError, RecursionError) as problem:  # a date such as 2017-13-45; a thousand open brackets
        raise KeyPath(file).error(f"is not valid YAML: {problem}") from None


def _explain(problem: Exception) -> str:
    """One line of PyYAML's several: what, and where."""
    mark = getattr(problem, "problem_mark", None)
    message = getattr(problem, "problem", None) or str(problem).splitlines()[0]
    return f"{message} (line {mark.line + 1}, column {mark.column + 1})" if mark else message


def _refuse_duplicates(node: Any, where: KeyPath, seen: set[int]) -> None:
    """Refuse a mapping that has a key twice: PyYAML silently keeps the last. `seen` ends loops of aliases."""
    if node is None or id(node) in seen or not isinstance(node.value, list):
        return
    seen.add(id(node))
    keys: set[str] = set()
    for item in node.value:
        key, child = item if isinstance(item, tuple) else (None, item)
        name = getattr(key, "value", None)
        if isinstance(name, str):
            if name in keys:
                raise where.error(f"key {name!r} is given twice (line {key.start_mark.line + 1})")
            keys.add(name)
        _refuse_duplicates(child, where.at(name) if isinstance(name, str) else where, seen)
