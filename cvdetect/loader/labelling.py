"""Which label set a model has: what models.yaml states, else a label file, else the number of classes."""

from __future__ import annotations

from pathlib import Path

from cvdetect.decoders import Thresholds
from cvdetect.errors import ModelFileError
from cvdetect.events import Progress
from cvdetect.labels import BUILT_IN, LabelSet, canonical, for_class_count
from cvdetect.loader.opened import Opened, read_text
from cvdetect.options import DetectOptions
from cvdetect.spec import ModelSpec

__all__ = ["check_stated", "file_names", "find_labels", "stated_labels", "thresholds"]

_BUILT_IN_BY_COUNT = {80: "coco80", 20: "voc20", 90: "coco91", 91: "coco91"}
_BACKGROUND = {"background", "__background__", "unlabeled", "unlabelled", "???", "n/a", "none"}


def stated_labels(spec: ModelSpec) -> LabelSet | None:
    """The label set that models.yaml gives the model, or None."""
    if isinstance(spec.labels, str):
        return BUILT_IN[spec.labels](spec.class_id_offset)
    return LabelSet.from_names(spec.labels, spec.class_id_offset) if spec.labels else None


def check_stated(spec: ModelSpec, labels: LabelSet, opened: Opened) -> None:
    """Check that the labels of models.yaml end where the model's class numbers do.

    COCO's list of 91 fits graphs of 90 and of 91 classes, and those that count a background in front.

    Raises:
        ModelFileError: they are the labels of another model, or the offset is wrong.
    """
    if opened.classes is None:
        return
    last, ends = opened.first_class_id + opened.classes - 1, labels.class_ids()[-1]
    if abs(ends - last) > (2 if spec.labels == "coco91" else 0):
        usual = _BUILT_IN_BY_COUNT.get(opened.classes)
        hint = f" (perhaps {usual})" if usual not in (None, spec.labels) else ""
        raise ModelFileError(
            f"{spec.name}: models.yaml labels class numbers up to {ends}, but the model's {opened.classes} classes are "
            f"numbered {opened.first_class_id} to {last}: look at labels{hint} and class_id_offset"
        )


def find_labels(opened: Opened, names: Path | None, model: str, progress: Progress) -> LabelSet:
    """The label set of a model for which none is stated.

    Raises:
        ModelFileError: the label file, or the names in the model file, are not as many as the model's classes.
    """
    if names is not None:
        return _from_file(names, opened)
    if opened.names:
        return _from_model(opened, model)
    if opened.classes is None:
        progress.warn(f"{model}: does not say its classes, naming them class_0, …; --names sets their names")
        return LabelSet({}, {}, 0)
    known, first_id = for_class_count(opened.classes), opened.first_class_id
    if known is None:
        progress.warn(
            f"{model}: no label file for its {opened.classes} classes, naming them class_0, …; --names sets it"
        )
        return LabelSet({i: f"class_{i}" for i in range(first_id, first_id + opened.classes)}, {}, 0)
    first = min(known.names)
    return LabelSet(known.names, known.category_ids, first - first_id)


def _from_model(opened: Opened, model: str) -> LabelSet:
    """The names that the model file itself holds; COCO's 80 keep COCO's category ids."""
    names = _foreground(list(opened.names), opened.classes)
    if opened.classes not in (None, len(names)):
        raise ModelFileError(
            f"{model}: its metadata names {len(names)} classes, but its output has {opened.classes}: it is no plain "
            "detection model, or needs another decoder (--decoder)"
        )
    known = for_class_count(len(names))
    same = known is not None and [canonical(n) for n in known.names.values()] == [canonical(n) for n in names]
    ids = dict(enumerate(known.category_ids.values())) if known is not None and same else {}
    return LabelSet(dict(enumerate(names)), ids, -opened.first_class_id)


def _foreground(names: list[str], classes: int | None) -> list[str]:
    """`names` without a background in front, where that makes them as many as the classes."""
    return names[1:] if classes == len(names) - 1 and names[0].casefold() in _BACKGROUND else names


def file_names(path: Path) -> list[str]:
    """The class names of a label file: one name a line, or a TensorFlow label map."""
    text = read_text(path)
    if path.suffix == ".pbtxt":
        from cvdetect.formats.textgraph import read_label_map

        return list(read_label_map(text, str(path)).values())
    return [line.strip() for line in text.splitlines() if line.strip()]


def _from_file(path: Path, opened: Opened) -> LabelSet:
    """One name a line, or a TensorFlow label map."""
    if path.suffix == ".pbtxt":
        from cvdetect.formats.textgraph import read_label_map

        names = read_label_map(read_text(path), str(path))
        if opened.classes is not None and max(names) > opened.classes:
            raise ModelFileError(f"{path}: names class {max(names)}, but the model has {opened.classes} classes")
        return LabelSet(names, {}, 1 - opened.first_class_id)
    lines = _foreground(file_names(path), opened.classes)
    if opened.classes not in (None, len(lines)):
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
