"""Label sets: the names of class numbers, and the data set's own category ids.

COCO's 80 names are in Darknet's spelling and order. COCO's paper lists 91, eleven of which have no data, so the
official category ids run from 1 to 90 with gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cvdetect.core.errors import UsageError
from cvdetect.core.printable import closest, counted

__all__ = ["BUILT_IN", "BY_CLASS_COUNT", "TITLES", "LabelSet", "canonical", "coco_ids", "for_class_count"]

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
    """One key for all spellings of a class name: case, spaces, dashes and underscores are ignored."""
    key = _squeeze(name)
    return _ALIASES.get(key, key)


def _squeeze(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " _-")


_ALIASES = {_squeeze(other): _squeeze(ours) for ours, other in _SPELLINGS.items()}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The names of a model's classes.

    Attributes:
        names: index → name. The index is the model's class number plus `offset`.
        category_ids: index → the data set's own id; empty where the set has none.
        offset: see `ModelSpec.class_id_offset`.
    """

    names: dict[int, str]
    category_ids: dict[int, int]
    offset: int = 0

    @classmethod
    def from_names(cls, names: Iterable[str], offset: int = 0) -> LabelSet:
        """Labels counted from index 0; COCO's 80 or 91 names, in either spelling, have COCO's category ids."""
        return cls.from_numbered(dict(enumerate(names)), offset)

    @classmethod
    def from_numbered(cls, names: Mapping[int, str], offset: int = 0) -> LabelSet:
        """Labels by index; COCO's 80 or 91 names in COCO's order have COCO's category ids."""
        indices = sorted(names)
        ids = coco_ids([names[index] for index in indices])
        return cls(dict(names), {i: number for i, number in zip(indices, ids, strict=False) if number}, offset)

    def __len__(self) -> int:
        return len(self.names)

    def label(self, class_id: int) -> str:
        """The name of a class; ``class_<number>`` where the set has none for it."""
        return self.names.get(class_id + self.offset, f"class_{class_id}")

    def category_id(self, class_id: int) -> int | None:
        """The data set's own id of a class (COCO: 1 to 90 with gaps), or None."""
        return self.category_ids.get(class_id + self.offset)

    def class_ids(self) -> list[int]:
        """The model's own numbers of all named classes, in rising order."""
        return sorted(index - self.offset for index in self.names)

    def hidden(self) -> list[int]:
        """The model's own numbers of classes whose name begins with ``dont_show``: Darknet does not report these.

        AlexeyAB's image.c, get_actual_detections: strncmp(names[j], "dont_show", 9).
        """
        return [class_id for class_id in self.class_ids() if self.label(class_id).startswith("dont_show")]

    def find_each(self, names_or_ids: Iterable[str]) -> list[int]:
        """The model's own numbers of several classes, each once, in the given order; see `find_all`."""
        return list(dict.fromkeys(class_id for asked in names_or_ids for class_id in self.find_all(asked)))

    def find_all(self, name_or_id: str) -> list[int]:
        """The model's own numbers, rising, of the classes given by name (either spelling) or number.

        Several classes may have the same name. An exact spelling goes before another one.

        Raises:
            UsageError: there is no such class; the message has the nearest name. A set without names takes any number.
        """
        asked = name_or_id.strip()
        exact = [class_id for class_id in self.class_ids() if self.label(class_id) == asked]
        by_key: dict[str, list[int]] = {}
        for class_id in self.class_ids():
            by_key.setdefault(canonical(self.label(class_id)), []).append(class_id)
        wanted = canonical(asked)
        if found := exact or by_key.get(wanted):
            return found
        if wanted.isdecimal() and (int(wanted) + self.offset in self.names or not self.names):
            return [int(wanted)]
        raise UsageError(f"no class {name_or_id!r} in this model{self._hint(wanted, by_key)}")

    def _hint(self, wanted: str, by_key: Mapping[str, list[int]]) -> str:
        if wanted.isdecimal():
            return f": its class ids run from {self.class_ids()[0]} to {self.class_ids()[-1]}"
        known = {**by_key, **{alias: by_key[ours] for alias, ours in _ALIASES.items() if ours in by_key}}
        near = closest(wanted, known, cutoff=0.5)
        return (
            f": did you mean {self.label(known[near][0])!r}?"
            if near
            else f" (it has {counted(len(self), 'class', 'classes')})"
        )


def coco_ids(names: Iterable[str]) -> list[int | None]:
    """COCO's category ids, where the names are COCO's 80 or 91 in COCO's order, in either spelling; else [].

    Those of the 91 that have no data have no id: None.
    """
    keys = [canonical(name) for name in names]
    if keys == [canonical(_COCO_91[i - 1]) for i in _COCO_IDS]:
        return list(_COCO_IDS)
    if len(keys) >= 90 and keys == [canonical(name) for name in _COCO_91[: len(keys)]]:  # the last has no data either
        return [i if i in _COCO_IDS else None for i in range(1, len(keys) + 1)]
    return []


def _coco_80(offset: int) -> LabelSet:
    return LabelSet.from_names((_COCO_91[i - 1] for i in _COCO_IDS), offset)


def _coco_91(offset: int) -> LabelSet:
    return LabelSet.from_numbered(dict(enumerate(_COCO_91, start=1)), offset)


def _voc_20(offset: int) -> LabelSet:
    return LabelSet.from_names(_VOC_20, offset)


BUILT_IN = {"coco80": _coco_80, "coco91": _coco_91, "voc20": _voc_20}

BY_CLASS_COUNT = {80: "coco80", 20: "voc20", 90: "coco91", 91: "coco91"}
"""The number of a model's classes, background not counted → the name of the label set that it is taken to have."""

TITLES = {"coco80": "COCO's", "voc20": "VOC's", "coco91": "TensorFlow's COCO"}
"""What messages call the classes of each built-in label set."""


def for_class_count(classes: int) -> LabelSet | None:
    """The label set that a model with so many classes (background not counted) is taken to have, or None."""
    name = BY_CLASS_COUNT.get(classes)
    return BUILT_IN[name](0) if name else None
