from __future__ import annotations

import json
from pathlib import Path

import pytest

from cvdetect.core.errors import UsageError
from cvdetect.core.labels import BUILT_IN, LabelSet, for_class_count


def test_coco_80_and_voc_20_are_darknets_lists(shared: Path) -> None:
    for name, file in (("coco80", "coco.names"), ("voc20", "voc.names")):
        expected = (shared / "data/models" / file).read_text().split("\n")
        assert list(BUILT_IN[name](0).names.values()) == [line for line in expected if line]


def test_coco_category_ids_are_those_of_the_official_annotations(shared: Path) -> None:
    labels = BUILT_IN["coco80"](0)
    for category in json.loads((shared / "data/coco-mini/instances.json").read_text())["categories"]:
        assert labels.category_id(labels.find_all(category["name"])[0]) == category["id"]


@pytest.mark.parametrize(("offset", "dog"), [(0, 18), (1, 17)])
def test_the_offset_turns_a_models_number_into_the_category_id(offset: int, dog: int) -> None:
    labels = BUILT_IN["coco91"](offset)
    assert (labels.label(dog), labels.category_id(dog), labels.find_all("dog")[0]) == ("dog", 18, dog)


def test_of_the_91_only_80_have_a_category_id() -> None:
    labels = BUILT_IN["coco91"](0)
    assert sum(labels.category_id(i) is not None for i in labels.class_ids()) == 80
    assert labels.category_id(labels.find_all("street sign")[0]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("tvmonitor", "TV"), ("sofa", "couch"), ("motorbike", "motorcycle"), ("aeroplane", "airplane"),
     ("pottedplant", "potted plant"), ("diningtable", "Dining Table"), ("traffic light", "traffic_light")],
)  # fmt: skip
def test_both_spellings_name_the_same_class(one: str, other: str) -> None:
    labels = BUILT_IN["coco80"](0)
    assert labels.find_all(one)[0] == labels.find_all(other)[0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("dgo", "did you mean 'dog'"),
        ("mortorcycle", "did you mean 'motorbike'"),
        ("80", "run from 0 to 79"),
        ("", "80 classes"),
    ],
)
def test_an_unknown_class_is_answered_with_the_nearest(wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BUILT_IN["coco80"](0).find_all(wanted)


def test_numbers_name_classes_too() -> None:
    assert BUILT_IN["coco80"](0).find_all("16") == [16]


def test_a_class_that_no_label_names_is_called_by_its_number() -> None:
    assert LabelSet.from_names(["face"], -1).label(1) == "face"
    assert LabelSet.from_names(["face"], -1).label(2) == "class_2"


@pytest.mark.parametrize(("count", "size"), [(80, 80), (20, 20), (90, 91), (91, 91)])
def test_the_usual_label_set_follows_from_the_number_of_classes(count: int, size: int) -> None:
    labels = for_class_count(count)
    assert labels is not None and len(labels) == size


def test_other_numbers_of_classes_tell_nothing() -> None:
    assert for_class_count(7) is None
