from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cvdetect.core.detections import Detection, Detections
from cvdetect.core.errors import MissingPackage
from cvdetect.core.labels import BUILT_IN, LabelSet
from tests.conftest import make_detections


def test_arrays_are_converted_to_the_stated_types() -> None:
    found = Detections([[1, 2, 3, 4]], [7], [0.5])  # type: ignore[arg-type]
    assert (found.xyxy.dtype, found.class_id.dtype, found.score.dtype) == (np.float32, np.int64, np.float32)


@pytest.mark.parametrize(
    ("xyxy", "classes", "scores", "message"),
    [
        (np.zeros((2, 5)), [0, 0], [0, 0], r"expected xyxy of shape \(2, 4\), got \(2, 5\)"),
        (np.zeros((2, 4)), [0], [0, 0], r"expected class_id of shape \(2,\), got \(1,\)"),
        (np.zeros((1, 4)), [0], [[0.5]], r"expected score of shape \(1,\), got \(1, 1\)"),
        ([[0, 0, np.nan, 1]], [0], [0.5], "NaN"),
        ([[0, 0, 1, 1]], [0], [np.inf], "infinity"),
        ([[5, 0, 1, 1]], [0], [0.5], "x1 <= x2"),
    ],
)
def test_wrong_arrays_are_refused_with_expected_and_got(xyxy, classes, scores, message) -> None:
    with pytest.raises(ValueError, match=message):
        Detections(np.asarray(xyxy, np.float32), np.asarray(classes), np.asarray(scores))


def test_index_by_mask_slice_array_and_position_picks_the_same_rows_everywhere() -> None:
    found = make_detections([[i, 0, i + 1, 1] for i in range(4)], [0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4])
    for index in (np.array([False, True, False, True]), slice(1, None, 2), np.array([1, 3]), [1, 3]):
        assert found[index].class_id.tolist() == [1, 3]
        assert found[index].xyxy[:, 0].tolist() == [1, 3]
    assert found[-1].score == pytest.approx(0.4) and found[-1].class_id == 3
    assert [d.class_id for d in found] == [0, 1, 2, 3]
    with pytest.raises(IndexError):
        found[4]


def test_concat_keeps_order_and_of_nothing_is_empty() -> None:
    a, b = make_detections([[0, 0, 1, 1]], [3]), make_detections([[1, 1, 2, 2]], [4])
    assert Detections.concat([a, Detections.empty(), b]).class_id.tolist() == [3, 4]
    assert len(Detections.concat([])) == 0


def test_track_ids_travel_with_their_rows() -> None:
    found = Detections(np.zeros((2, 4)), np.array([0, 1]), np.array([0.1, 0.9]), np.array([7, 8]))
    assert found.sort_by_score().track_id.tolist() == [8, 7]
    assert Detections.concat([found, found]).track_id.tolist() == [7, 8, 7, 8]
    assert Detections.concat([found, make_detections([[0, 0, 1, 1]])]).track_id is None


def test_best_first_keeps_the_order_of_equal_scores() -> None:
    found = make_detections([[0, 0, 1, 1]] * 4, [0, 1, 2, 3], [0.5, 0.9, 0.5, 0.9])
    assert found.sort_by_score().class_id.tolist() == [1, 3, 0, 2]


def test_detections_are_frozen() -> None:
    with pytest.raises(AttributeError):
        make_detections([[0, 0, 1, 1]]).score = np.zeros(1)  # type: ignore[misc]


def named(masks: bool = False, tracks: bool = False) -> Detections:
    """A dog and a cat on an image of 20x10; the dog's mask fills its box."""
    full = np.ones((2, 2), np.float32)
    return Detections(
        np.array([[1, 2, 5, 8], [10, 0, 14, 4]], np.float32),
        np.array([1, 0]),
        np.array([0.9, 0.25], np.float32),
        np.array([7, -1]) if tracks else None,
        (full, full * 0) if masks else None,
        labels=LabelSet.from_names(["cat", "dog"]),
        image_wh=(20, 10),
    )


def test_each_detection_has_its_label_score_box_and_number() -> None:
    dog, cat = named(tracks=True)
    assert dog == Detection("dog", pytest.approx(0.9), (1.0, 2.0, 5.0, 8.0), 1, 7)
    assert (cat.label, cat.score, cat.track_id, cat.mask) == ("cat", 0.25, None, None)
    assert named()[0].track_id is None


def test_a_detection_without_labels_is_called_by_its_number() -> None:
    assert make_detections([[0, 0, 1, 1]], [4])[0].label == "class_4"


def test_the_mask_of_a_detection_has_the_images_size() -> None:
    dog, cat = named(masks=True)
    assert dog.mask is not None and dog.mask.shape == (10, 20) and dog.mask.dtype == np.bool_
    assert dog.mask[2:8, 1:5].all() and dog.mask.sum() == 24
    assert cat.mask is not None and not cat.mask.any()
    assert replace(named(masks=True), image_wh=None)[0].mask is None


def test_labels_and_size_stay_with_a_part_and_with_all_together() -> None:
    found = named(masks=True, tracks=True)
    for part in (found[:1], found[found.score > 0.5], found[[1]], found.sort_by_score(), found.translate(1, 1)):
        assert part.labels is found.labels and part.image_wh == (20, 10) and part.masks is not None
    joined = Detections.concat([found, found])
    assert joined[3].label == "cat" and joined.image_wh == (20, 10)


def test_as_dicts_they_have_the_keys_of_the_command_lines_json() -> None:
    dog, cat = named(tracks=True).to_dicts()
    assert dog == {"class_id": 1, "label": "dog", "score": 0.9, "box": [1.0, 2.0, 5.0, 8.0], "track_id": 7}
    assert cat == {"class_id": 0, "label": "cat", "score": 0.25, "box": [10.0, 0.0, 14.0, 4.0]}
    coco = replace(named(), labels=BUILT_IN["coco80"](0)).to_dicts()[1]
    assert (coco["label"], coco["category_id"]) == ("person", 1)
    assert [list(each["mask"]) for each in named(masks=True).to_dicts()] == [["size", "counts"]] * 2
    with pytest.raises(ValueError, match="masks need the size of their image"):
        replace(named(masks=True), image_wh=None).to_dicts()


def recording(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> dict[str, Any]:
    """What the fake module's class is called with."""
    seen: dict[str, Any] = {}
    fake = ModuleType(module)
    setattr(fake, name, lambda *args, **named: seen.update(named, args=args) or SimpleNamespace())
    monkeypatch.setitem(sys.modules, module, fake)
    return seen


def test_supervision_gets_every_array_and_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recording(monkeypatch, "supervision", "Detections")
    found = named(masks=True, tracks=True)
    found.to_supervision()
    np.testing.assert_array_equal(seen["xyxy"], found.xyxy)
    np.testing.assert_array_equal(seen["confidence"], found.score)
    assert seen["class_id"].tolist() == [1, 0] and seen["tracker_id"].tolist() == [7, -1]
    assert seen["mask"].shape == (2, 10, 20) and seen["data"]["class_name"].tolist() == ["dog", "cat"]
    named().to_supervision()
    assert seen["mask"] is None and seen["tracker_id"] is None


def test_pandas_gets_a_column_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recording(monkeypatch, "pandas", "DataFrame")
    named(tracks=True).to_pandas()
    (columns,) = seen["args"]
    assert list(columns) == ["label", "class_id", "score", "x1", "y1", "x2", "y2", "track_id"]
    assert columns["label"].tolist() == ["dog", "cat"] and columns["x2"].tolist() == [5, 14]


@pytest.mark.parametrize("package", ["supervision", "pandas"])
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=f"needs {package}: run pip install {package}"):
        getattr(named(), f"to_{package}")()


def test_real_supervision_takes_what_it_gets() -> None:
    supervision = pytest.importorskip("supervision")
    for found in (named(masks=True, tracks=True), named(), Detections.empty()):
        made = found.to_supervision()
        assert isinstance(made, supervision.Detections) and len(made) == len(found)
    assert named().to_supervision()["class_name"].tolist() == ["dog", "cat"]


def test_real_pandas_takes_what_it_gets() -> None:
    pandas = pytest.importorskip("pandas")
    table = named(tracks=True).to_pandas()
    assert isinstance(table, pandas.DataFrame) and table[table.score > 0.5].label.tolist() == ["dog"]
    assert len(Detections.empty().to_pandas()) == 0


def test_a_position_that_is_not_there_is_named() -> None:
    one = Detections([[0, 0, 1, 1]], [0], [0.5])  # type: ignore[arg-type]
    assert one[np.argmax(one.score)] == one[-1]
    for index in (1, -2):
        with pytest.raises(IndexError, match=f"no detection {index}: there are 1"):
            one[index]


def test_parts_with_different_labels_are_not_put_together() -> None:
    cats, dogs = (
        Detections([[0, 0, 1, 1]], [0], [0.5], labels=LabelSet.from_names([name]))  # type: ignore[arg-type]
        for name in ("cat", "dog")
    )
    assert [d.label for d in Detections.concat([cats, cats])] == ["cat", "cat"]
    with pytest.raises(ValueError, match="expected the same labels in all parts"):
        Detections.concat([cats, dogs])


def test_an_empty_table_has_labels_that_are_texts() -> None:
    pytest.importorskip("pandas")
    assert Detections.empty().to_pandas()["label"].dtype == object
