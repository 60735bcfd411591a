"""Where the files of models.yaml's models lie: in the cache, else in given folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cvdetect.core.options import ModelChoice
from cvdetect.core.spec import ModelFile, ModelSpec, Role
from cvdetect.models.download import verify
from cvdetect.models.store import Store

Files = dict[Role, Path]


def find(spec: ModelSpec, folders: Sequence[Path]) -> Files:
    """All files of the model, or all but its weights; {} where others are missing too.

    In the folders a file is known by its digest, else by its name: a text graph, or another export of the same model.
    """
    found = {file.role: path for file in spec.files if (path := _find_file(spec, file, folders))}
    missing = {file.role for file in spec.files} - found.keys()
    return found if missing <= {"weights"} else {}


def _find_file(spec: ModelSpec, file: ModelFile, folders: Sequence[Path]) -> Path | None:
    cached = Store().path_of(spec, file)
    if cached.is_file():
        return cached
    same = (p for folder in folders for p in _of_size(folder, file) if verify(p, file) is None)
    named = (folder / file.name for folder in folders if (folder / file.name).is_file())
    return (next(same, None) if file.sha256 or file.sha1 else None) or next(named, None)


def _of_size(folder: Path, file: ModelFile) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size == file.size)


def choice(spec: ModelSpec, files: Files, folder: Path) -> ModelChoice:
    """These files with decoder, preprocessing and labels of the model's row; a label file goes into `folder`."""
    fed, names = spec.input, None
    if isinstance(spec.labels, tuple):
        names = folder / f"{spec.name}.names"
        names.write_text("".join(f"{label}\n" for label in spec.labels), encoding="utf-8")
    stated = {"scale": fed.scale, "mean": fed.mean, "std": fed.std, "rgb": fed.swap_rb, "resize": fed.resize}
    if "onnx" in files:
        stated |= {"decoder": spec.family, "pad_value": fed.pad_value}
    else:
        stated |= {"size": fed.wh}
    return ModelChoice(**files, names=names, **stated)  # type: ignore[arg-type]
