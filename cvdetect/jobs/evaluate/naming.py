"""Which class of the model is which of the truth's: by name, either spelling, case and spaces not counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cvdetect.core.errors import SourceError
from cvdetect.core.labels import LabelSet, canonical
from cvdetect.jobs.evaluate.pictures import examples

__all__ = ["Pairing", "pair_labels"]


@dataclass(frozen=True, slots=True)
class Pairing:
    """How two sets of classes go together.

    Attributes:
        label_of: the model's class number → index into the truth's labels.
        only_model: names of the model's classes that the truth does not have.
        only_truth: indices of the truth's labels that the model does not have.
    """

    label_of: dict[int, int]
    only_model: tuple[str, ...]
    only_truth: tuple[int, ...]


def pair_labels(model: LabelSet, truth: Sequence[str], class_ids: Iterable[int] | None = None) -> Pairing:
    """Pair the model's classes (or those of `class_ids`) with the truth's; a name spelled alike goes before an alias.

    Raises:
        SourceError: they have nothing in common.
    """
    by_name = {name: i for i, name in reversed(list(enumerate(truth)))}
    by_key = {canonical(name): i for i, name in reversed(list(enumerate(truth)))}
    label_of: dict[int, int] = {}
    only_model = []
    for class_id in model.class_ids() if class_ids is None else class_ids:
        name = model.label(class_id)
        index = by_name.get(name, by_key.get(canonical(name)))
        if index is None:
            only_model.append(name)
        else:
            label_of[class_id] = index
    if not label_of:
        raise SourceError(
            f"no class of the model is one of the truth's: the model has {examples(only_model)}, the truth has "
            f"{examples(truth) or 'none'}; classes are matched by name, --names sets those of a model"
        )
    met = set(label_of.values())
    return Pairing(label_of, tuple(only_model), tuple(i for i in range(len(truth)) if i not in met))
