"""Which detections found which objects."""

from __future__ import annotations

import numpy as np
import pytest

from cvdetect.jobs.evaluate.score import (
    IGNORED,
    RIGHT,
    WRONG,
    Ranking,
    best_f1,
    confusion_matrix,
    match,
    most_confused,
    rank,
    unmatched,
)
from tests.jobs.evaluate.scenes import make_found, make_objects, random_scene

BOX = [0, 0, 10, 10]
HALF = [0, 0, 10, 5]  # IoU 0.5 with BOX
LESS = [0, 0, 10, 4.99]
FAR = [50, 50, 60, 60]


@pytest.mark.parametrize(("box", "verdict"), [(BOX, RIGHT), (HALF, RIGHT), (LESS, WRONG), (FAR, WRONG)])
def test_a_detection_is_right_from_iou_one_half_on(box: list[float], verdict: int) -> None:
    assert match(make_objects([BOX]), make_found([box], [0.9])).verdict.tolist() == [verdict]


def test_the_second_detection_of_an_object_is_wrong_and_the_better_score_goes_first() -> None:
    matches = match(make_objects([BOX]), make_found([BOX, HALF], [0.5, 0.9]))
    assert matches.verdict.tolist() == [WRONG, RIGHT]
    assert matches.partner.tolist() == [-1, 0]


def test_of_equal_scores_the_first_counts() -> None:
    assert match(make_objects([BOX]), make_found([HALF, BOX], [0.5, 0.5])).verdict.tolist() == [RIGHT, WRONG]


def test_a_detection_belongs_to_the_object_it_overlaps_most_even_if_that_is_taken() -> None:
    objects = make_objects([[0, 0, 10, 10], [0, 0, 10, 8]])
    matches = match(objects, make_found([[0, 0, 10, 10], [0, 0, 10, 9.5]], [0.9, 0.8]))
    assert matches.verdict.tolist() == [RIGHT, WRONG]


def test_other_classes_and_other_images_do_not_match() -> None:
    objects = make_objects([BOX], labels=[1], images=[1])
    found = make_found([BOX, BOX, BOX], [0.9, 0.8, 0.7], labels=[0, 1, 1], images=[1, 0, 1])
    assert match(objects, found).verdict.tolist() == [WRONG, WRONG, RIGHT]


def test_difficult_objects_are_neither_to_be_found_nor_wrong_when_found() -> None:
    objects = make_objects([BOX, FAR], difficult=[0])
    found = make_found([BOX, HALF], [0.9, 0.8])
    assert match(objects, found).verdict.tolist() == [IGNORED, IGNORED]
    assert objects.positives(1).tolist() == [1]


def test_detections_inside_a_crowd_of_their_class_are_ignored_others_are_not() -> None:
    objects = make_objects([[0, 0, 100, 100], BOX], crowd=[0])
    found = make_found([BOX, BOX, [90, 0, 110, 10], [91, 0, 111, 10]], [0.9, 0.8, 0.7, 0.6])
    assert match(objects, found).verdict.tolist() == [RIGHT, IGNORED, IGNORED, WRONG]
    assert match(objects, make_found([BOX], [0.9], labels=[1])).verdict.tolist() == [WRONG]


def test_nothing_and_nothing_match() -> None:
    assert match(make_objects([]), make_found([], [])).verdict.tolist() == []
    assert match(make_objects([BOX]), make_found([], [])).verdict.tolist() == []
    assert match(make_objects([]), make_found([BOX], [1])).verdict.tolist() == [WRONG]


def test_rates_count_detections_from_the_threshold_on() -> None:
    ranked = Ranking(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, True]), 4)
    rates = ranked.at(0.8)
    assert (rates.tp, rates.fp, rates.fn) == (2, 1, 2)
    assert (rates.precision, rates.recall) == (pytest.approx(2 / 3), 0.5)
    assert rates.f1 == pytest.approx(2 * 2 / (3 + 4))
    assert ranked.at(0.95).precision is None


def test_the_best_f1_is_that_of_no_other_threshold_and_equal_scores_come_along() -> None:
    objects, found = random_scene(3)
    tied = make_found(found.xyxy, np.round(found.score, 1), found.label, found.image)
    ranked = rank(objects, tied, match(objects, tied))
    best = ranked.at(best_f1(ranked)).f1 or 0
    assert best == pytest.approx(ranked.f1().max())
    assert best == max(ranked.at(t).f1 or 0 for t in np.linspace(0, 1, 101))


def test_the_best_f1_without_a_hit_is_at_one_half() -> None:
    assert best_f1(Ranking(np.array([0.9]), np.array([False]), 2)) == 0.5
    assert best_f1(Ranking(np.zeros(0), np.zeros(0, np.bool_), 2)) == 0.5


def test_the_confusion_matrix_counts_mistakes_misses_and_false_alarms() -> None:
    objects = make_objects([BOX, FAR, [80, 0, 90, 10]], labels=[0, 1, 1])
    found = make_found([BOX, BOX, FAR, [0, 80, 10, 90], FAR], [0.9, 0.8, 0.7, 0.6, 0.2], labels=[0, 1, 0, 0, 1])
    matrix = confusion_matrix(objects, found, match(objects, found), 0.5, 2)
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]
    assert most_confused(matrix, 5) == [(1, 0, 1)]


def test_the_confusion_matrix_pairs_the_best_overlaps_first_and_counts_from_the_threshold_on() -> None:
    objects = make_objects([[0, 0, 10, 8], BOX, [0, 0, 10, 7], FAR], labels=[0, 1, 0, 0])
    found = make_found([BOX, FAR], [0.5, 0.5], labels=[2, 0])
    matrix = confusion_matrix(objects, found, match(objects, found), 0.5, 3)
    assert matrix.tolist() == [[1, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert most_confused(matrix, 5) == [(1, 2, 1)]


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_the_confusion_matrix_sum_to_objects_and_columns_to_detections(seed: int) -> None:
    objects, found = random_scene(seed, crowds=True)
    matches = match(objects, found)
    matrix = confusion_matrix(objects, found, matches, 0.4, 3)
    np.testing.assert_array_equal(matrix[:3].sum(axis=1), objects.positives(3))
    for label in range(3):
        rates = rank(objects, found, matches, label).at(0.4)
        assert matrix[label, label] == rates.tp
        assert matrix[:, label].sum() == rates.tp + rates.fp
    missed, wrong = unmatched(objects, found, matches, 0.4)
    assert len(missed) == objects.counted.sum() - np.trace(matrix)
    assert len(wrong) == matrix[:, :3].sum() - np.trace(matrix)
