"""The numbers that annotation files give to classes."""

from __future__ import annotations

from cvdetect.core.labels import LabelSet

__all__ = ["Classes"]


class Classes:
    """Contiguous numbers and category ids of a label set's classes.

    Where the set has official category ids (COCO), its classes are those with such an id, in their order: 80 for the
    TensorFlow models too, whose own numbers have gaps. Else they are all that the set names. A class that is found and
    is none of these gets the next number when it is first met, so that nothing is lost; read `names` and `categories`
    after all detections.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        official = [c for c in labels.class_ids() if labels.category_id(c) is not None]
        self._index = {class_id: i for i, class_id in enumerate(official or labels.class_ids())}
        # Where a class without an official id must get one, it comes after all official ones.
        self._beyond = max(labels.category_ids.values()) + 1 - len(official) if official else 1

    def index(self, class_id: int) -> int:
        """The class's number from 0, its line in `names`."""
        return self._index.setdefault(class_id, len(self._index))

    def category_id(self, class_id: int) -> int:
        """The data set's own id where it has one, else the number from 1."""
        index = self.index(class_id)
        official = self._labels.category_id(class_id)
        return self._beyond + index if official is None else official

    def names(self) -> list[str]:
        """The label of each class, by its number."""
        return [self._labels.label(class_id) for class_id in self._index]

    def categories(self) -> list[tuple[int, str]]:
        """(category id, label) of each class, by its number."""
        return [(self.category_id(class_id), self._labels.label(class_id)) for class_id in list(self._index)]
