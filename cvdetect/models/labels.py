"""Which label set a model has: what models.yaml states, else a label file, else the number of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.core.labels import BUILT_IN, BY_CLASS_COUNT, TITLES, LabelSet, coco_ids, for_class_count
from cvdetect.core.options import DetectOptions
from cvdetect.core.printable import counted
from cvdetect.core.progress import Progress
from cvdetect.core.spec import ModelSpec
from cvdetect.families import Thresholds
from cvdetect.families.base import HeadLayout

if TYPE_CHECKING:  # its readers are loaded where there is a label file
    from cvdetect.formats.label_files import LabelFile

__all__ = ["check_stated", "find_labels", "report_hidden", "stated_labels", "thresholds"]


def stated_labels(spec: ModelSpec) -> LabelSet | None:
    """The label set that models.yaml gives the model, or None."""
    if isinstance(spec.labels, str):
        return BUILT_IN[spec.labels](spec.class_id_offset)
    return LabelSet.from_names(spec.labels, spec.class_id_offset) if spec.labels else None


def check_stated(spec: ModelSpec, labels: LabelSet, layout: HeadLayout) -> None:
    """Check that the labels of models.yaml end where the model's class numbers do.

    COCO's list of 91 fits graphs of 90 and of 91 classes, and those that count a background in front.

    Raises:
        ModelFileError: they are the labels of another model, or the offset is wrong.
    """
    if layout.classes is None:
        return
    last, ends = layout.first_class_id + layout.classes - 1, labels.class_ids()[-1]
    if abs(ends - last) > (2 if spec.labels == "coco91" else 0):
        usual = BY_CLASS_COUNT.get(layout.classes)
        hint = f" (perhaps {usual})" if usual not in (None, spec.labels) else ""
        raise ModelFileError(
            f"{spec.name}: models.yaml labels class numbers up to {ends}, but the model's {layout.classes} classes are "
            f"numbered {layout.first_class_id} to {last}: look at labels{hint} and class_id_offset"
        )


def find_labels(
    layout: HeadLayout, own: Sequence[str], names: Path | None, model: str, progress: Progress, found: bool
) -> LabelSet:
    """The label set of a model for which none is stated.

    Args:
        own: the names that the model file itself holds.
        names: its label file; None where there is none.
        found: nobody has named that file, it was found beside the model. A text file that does not fit the model is
            then passed over, as its name is no sign of labels.

    Raises:
        ModelFileError: the label file, or the names in the model file, are not as many as the model's classes.
    """
    if names is not None:
        try:
            return _from_file(names, layout, progress)
        except ModelFileError as error:
            if not found or names.suffix.lower() != ".txt":
                raise
            progress.warn(f"{error}; passing it over")
    if own:
        return _from_model(own, layout, model)
    return _by_count(layout, model, progress)


def _by_count(layout: HeadLayout, model: str, progress: Progress) -> LabelSet:
    """The labels that a model with so many classes is taken to have, which is reported."""
    first = layout.first_class_id
    if layout.classes is None:
        progress.warn(
            f"{model}: does not state its classes, naming them class_{first}, …; {arg('names')} sets the names"
        )
        return LabelSet({}, {}, 0)
    known = for_class_count(layout.classes)
    if known is None:
        between = ", …, " if layout.classes > 2 else ", "
        last = f"{between}class_{first + layout.classes - 1}" if layout.classes > 1 else ""
        progress.warn(
            f"{model}: no label file for its {counted(layout.classes, 'class', 'classes')}, naming "
            f"{'them' if last else 'it'} class_{first}{last}; {arg('names')} sets {'them' if last else 'it'}"
        )
        return LabelSet({i: f"class_{i}" for i in range(first, first + layout.classes)}, {}, 0)
    progress.note(
        f"{model}: no label file, taking its {layout.classes} classes for {TITLES[BY_CLASS_COUNT[layout.classes]]}; "
        f"{arg('names')} sets others"
    )
    return LabelSet(known.names, known.category_ids, min(known.names) - first)


def _from_model(own: Sequence[str], layout: HeadLayout, model: str) -> LabelSet:
    """The names that the model file itself holds."""
    names = _foreground(list(own), layout.classes)
    if layout.classes not in (None, len(names)):
        raise ModelFileError(
            f"{model}: its metadata names {len(names)} classes, but its output has {layout.classes}: it is not a plain "
            f"detection model, or needs another decoder ({arg('decoder')})"
        )
    return LabelSet.from_names(names, -layout.first_class_id)


def _foreground(names: list[str], classes: int | None) -> list[str]:
    """`names` without a background in front, where that makes them as many as the classes."""
    from cvdetect.formats.label_files import BACKGROUND

    return names[1:] if classes == len(names) - 1 and names[0].casefold() in BACKGROUND else names


def _from_file(path: Path, layout: HeadLayout, progress: Progress) -> LabelSet:
    """The names of a label file, by the model's own class numbers."""
    from cvdetect.formats.label_files import read_label_file

    file = read_label_file(path)
    if file.encoding != "UTF-8":
        report = progress.note if file.certain else progress.warn
        report(f"{path}: is not UTF-8, read as {file.encoding}{_example(file)}")
    names = _coco(file, layout.classes) or file.by_class(layout.classes)
    unnamed = (layout.classes or 0) - max(names, default=-1) - 1
    if unnamed > 0 and file.kind == "label map":
        progress.warn(f"{path}: names {counted(len(names), 'class', 'classes')} of the model's {layout.classes}")
    return LabelSet.from_numbered({index + layout.first_class_id: name for index, name in names.items()})


def _example(file: LabelFile) -> str:
    """The first name that shows whether the encoding is the right one."""
    return next((f" ({name})" for name in file.names if not name.isascii()), "")


def _coco(file: LabelFile, classes: int | None) -> dict[int, str]:
    """COCO's 80 or 91 names in the places that models of 80, 90 and 91 classes have for them, else {}.

    A list may number them by COCO's category ids, which have gaps; a model of 80 classes has none.
    """
    listed = file.listed
    names = [listed[number] for number in sorted(listed)] if isinstance(listed, dict) else file.names
    ids = coco_ids(names) if classes in (80, 90, 91) else []
    if classes == 80:
        return dict(enumerate(names)) if len(ids) == 80 else {}
    places = ids if len(ids) == 80 else range(1, len(ids) + 1)
    return {i - 1: name for i, name in zip(places, names, strict=False) if i and i <= (classes or 0)}


def thresholds(options: DetectOptions, labels: LabelSet, default: float) -> Thresholds:
    """The user's thresholds by class id; `default` is the model's own.

    Raises:
        UsageError: a class that the model does not have.
    """
    conf = options.thresholds
    only = frozenset(labels.find_each(options.classes)) if options.classes else None
    per_class = {class_id: value for name, value in conf.per_class.items() for class_id in labels.find_all(name)}
    if only is None:  # who asks for a hidden class by `classes` wants to see it
        per_class |= dict.fromkeys(labels.hidden(), math.inf)
    return Thresholds(default if conf.default is None else conf.default, per_class, only)


def report_hidden(labels: LabelSet, options: DetectOptions, model: str, progress: Progress) -> None:
    """Report the classes whose names ask not to be shown."""
    hidden = [] if options.classes else labels.hidden()
    if hidden:
        names = ", ".join(labels.label(class_id) for class_id in hidden[:5]) + (", …" if hidden[5:] else "")
        progress.note(f"{model}: not reporting {names} (Darknet's dont_show; {arg('classes')} shows what it names)")
