"""Label sets: class numbers to names and to the data set's own category ids.

COCO's 80 names stand in Darknet's spelling and order; COCO's paper lists 91, of which eleven have no data, so the
official category ids run from 1 to 90 with gaps.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from cvdetect.errors import UsageError

__all__ = ["BUILT_IN", "LabelSet", "canonical", "for_class_count"]

_COCO_91 = (
    "person", "bicycle", "car", "motorbike", "aeroplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "street sign", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep",
    "cow", "elephant", "bear", "zebra", "giraffe", "hat", "backpack", "umbrella", "shoe", "eye glasses",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "plate", "wine glass", "cup", "fork",
    "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza",
    "donut", "cake", "chair", "sofa", "pottedplant", "bed", "mirror", "diningtable", "window", "desk", "toilet",
    "door", "tvmonitor", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster",
    "sink", "refrigerator", "blender", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush", "hair brush",
)  # fmt: skip
_WITHOUT_DATA = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
_COCO_IDS = tuple(i for i in range(1, 92) if i not in _WITHOUT_DATA)
_VOC_20 = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# One class, two spellings: Darknet's and VOC's on the left, COCO's own on the right.
_SPELLINGS = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
    "donut": "doughnut",
    "hair drier": "hair dryer",
    "cell phone": "mobile phone",
}


def canonical(name: str) -> str:
    """One key for all spellings of a class name: case, spaces, dashes and underscores do not count."""
    key = _squeeze(name)
    return _ALIASES.get(key, key)


def _squeeze(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " _-")


_ALIASES = {_squeeze(other): _squeeze(ours) for ours, other in _SPELLINGS.items()}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The names of a model's classes.

    Attributes:
        names: index → name. The index is the model's class id plus `offset`.
        category_ids: index → the data set's own id; empty where the set has none.
        offset: see `ModelSpec.class_id_offset`.
    """

    names: dict[int, str]
    category_ids: dict[int, int]
    offset: int = 0

    @classmethod
    def from_names(cls, names: Iterable[str], offset: int = 0) -> LabelSet:
        """Labels counted from index 0, without category ids."""
        return cls(dict(enumerate(names)), {}, offset)

    def __len__(self) -> int:
        return len(self.names)

    def label(self, class_id: int) -> str:
        """The name of a class; a number the set does not name is ``class_<number>``."""
        return self.names.get(class_id + self.offset, f"class_{class_id}")

    def category_id(self, class_id: int) -> int | None:
        """The data set's own id of a class (COCO: 1 to 90 with gaps), or None."""
        return self.category_ids.get(class_id + self.offset)

    def class_ids(self) -> list[int]:
        """The model's own numbers of all named classes, rising."""
        return sorted(index - self.offset for index in self.names)

    def find(self, name_or_id: str) -> int:
        """The model's own number of a class given by name (either spelling) or number.

        Raises:
            UsageError: no such class; the message has the nearest right name. A set without names takes any number.
        """
        by_key = {canonical(name): index - self.offset for index, name in sorted(self.names.items(), reverse=True)}
        wanted = canonical(name_or_id.strip())
        if wanted in by_key:
            return by_key[wanted]
        if wanted.isdecimal() and (int(wanted) + self.offset in self.names or not self.names):
            return int(wanted)
        raise UsageError(f"no class {name_or_id!r} in this model{self._hint(wanted, by_key)}")

    def _hint(self, wanted: str, by_key: dict[str, int]) -> str:
        if wanted.isdecimal():
            return f": its class ids run from {min(by_key.values())} to {max(by_key.values())}"
        known = {**by_key, **{alias: by_key[ours] for alias, ours in _ALIASES.items() if ours in by_key}}
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        return f": did you mean {self.label(known[near[0]])!r}?" if near else f" (it has {len(self)} classes)"


def _coco_80(offset: int) -> LabelSet:
    names = (_COCO_91[i - 1] for i in _COCO_IDS)
    return LabelSet(dict(enumerate(names)), dict(enumerate(_COCO_IDS)), offset)


def _coco_91(offset: int) -> LabelSet:
    return LabelSet(
        {i: name for i, name in enumerate(_COCO_91, start=1)},  # noqa: C416
        {i: i for i in _COCO_IDS},
        offset,
    )


def _voc_20(offset: int) -> LabelSet:
    return LabelSet.from_names(_VOC_20, offset)


BUILT_IN = {"coco80": _coco_80, "coco91": _coco_91, "voc20": _voc_20}


def for_class_count(classes: int, offset: int = 0) -> LabelSet | None:
    """The label set that a model with so many classes (background not counted) is taken to have, or None."""
    name = {80: "coco80", 20: "voc20", 90: "coco91", 91: "coco91"}.get(classes)
    return BUILT_IN[name](offset) if name else None
