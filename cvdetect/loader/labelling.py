"""Which label set a model has: what models.yaml states, else a label file, else the number of classes."""

from __future__ import annotations

from pathlib import Path

from cvdetect.decoders import Thresholds
from cvdetect.errors import ModelFileError
from cvdetect.events import Progress
from cvdetect.formats.textgraph import read_label_map
from cvdetect.labels import BUILT_IN, LabelSet, for_class_count
from cvdetect.loader.opened import Opened, read_text
from cvdetect.options import DetectOptions
from cvdetect.spec import ModelSpec

__all__ = ["find_labels", "stated_labels", "thresholds"]

_BACKGROUND = {"background", "__background__", "unlabeled", "unlabelled", "???", "n/a", "none"}


def stated_labels(spec: ModelSpec) -> LabelSet | None:
    """The label set that models.yaml gives the model, or None."""
    if isinstance(spec.labels, str):
        return BUILT_IN[spec.labels](spec.class_id_offset)
    return LabelSet.from_names(spec.labels, spec.class_id_offset) if spec.labels else None


def find_labels(opened: Opened, names: Path | None, model: str, progress: Progress) -> LabelSet:
    """The label set of a model for which none is stated.

    Raises:
        ModelFileError: the label file does not have the model's number of classes.
    """
    if names is not None:
        return _from_file(names, opened)
    known = for_class_count(opened.classes)
    if known is None:
        progress.warn(
            f"{model}: no label file for its {opened.classes} classes, naming them class_0, …; --names sets it"
        )
        return LabelSet({i: f"class_{i}" for i in _class_ids(opened)}, {}, 0)
    first = min(known.names)
    return LabelSet(known.names, known.category_ids, first - opened.first_class_id)


def _class_ids(opened: Opened) -> range:
    return range(opened.first_class_id, opened.first_class_id + opened.classes)


def _from_file(path: Path, opened: Opened) -> LabelSet:
    """One name a line, or a TensorFlow label map."""
    text = read_text(path)
    if path.suffix == ".pbtxt":
        names = read_label_map(text, str(path))
        if max(names) > opened.classes:
            raise ModelFileError(f"{path}: names class {max(names)}, but the model has {opened.classes} classes")
        return LabelSet(names, {}, 1 - opened.first_class_id)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == opened.classes + 1 and lines[0].casefold() in _BACKGROUND:
        lines = lines[1:]
    if len(lines) != opened.classes:
        raise ModelFileError(
            f"{path}: has {len(lines)} names, but the model has {opened.classes} classes: it is the label file of "
            "another model, or lines are missing"
        )
    return LabelSet.from_names(lines, -opened.first_class_id)


def thresholds(options: DetectOptions, labels: LabelSet, default: float) -> Thresholds:
    """The user's thresholds by class id; `default` is the model's own.

    Raises:
        UsageError: a class that the model does not have.
    """
    conf = options.thresholds
    only = frozenset(labels.find(name) for name in options.classes) if options.classes else None
    return Thresholds(
        default if conf.default is None else conf.default,
        {labels.find(name): value for name, value in conf.per_class.items()},
        only,
    )
