from __future__ import annotations

import numpy as np
import pytest

from cvdetect.core.detections import Detections
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
    assert found[-1].score.tolist() == pytest.approx([0.4])
    assert [d.class_id[0] for d in found] == [0, 1, 2, 3]


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
