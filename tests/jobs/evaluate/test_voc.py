"""VOC's average precision against a worked example, and against another program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.jobs.evaluate.score import IGNORED, RIGHT, ap_11_points, ap_all_points, match, rank
from tests.jobs.evaluate.scenes import random_scene

# Ten detections, five objects: precision/recall 1.0/0.2, 1.0/0.4, 0.67/0.4, 0.5/0.4, 0.6/0.6, 0.5/0.6, 0.57/0.8, …
TEN = np.array([1, 1, 0, 0, 1, 0, 1, 0, 0, 1], np.bool_)


def test_the_ten_detections_have_the_precisions_and_recalls_of_the_example() -> None:
    hits = np.cumsum(TEN)
    precision = [1.0, 1.0, 0.67, 0.5, 0.6, 0.5, 0.57, 0.5, 0.44, 0.5]
    recall = [0.2, 0.4, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 0.8, 1.0]
    np.testing.assert_allclose(hits / np.arange(1, 11), precision, atol=0.005)
    np.testing.assert_allclose(hits / 5, recall)


def test_the_ten_detections_have_an_11_point_ap_of_0758() -> None:
    assert ap_11_points(TEN, 5) == pytest.approx((5 * 1 + 2 * 0.6 + 2 * 4 / 7 + 2 * 0.5) / 11)
    assert round(ap_11_points(TEN, 5), 4) == 0.7584
    assert round(ap_11_points(TEN, 5), 3) == 0.758


def test_the_ten_detections_have_an_all_point_ap_of_the_area_of_their_steps() -> None:
    assert ap_all_points(TEN, 5) == pytest.approx(0.2 * (1 + 1 + 0.6 + 4 / 7 + 0.5))


@pytest.mark.parametrize("positives", [10, 20, 30, 100])
@pytest.mark.parametrize("tenths", range(11))
def test_a_recall_of_exactly_some_tenths_counts_all_its_points(tenths: int, positives: int) -> None:
    right = np.ones(tenths * positives // 10, np.bool_)
    assert ap_11_points(right, positives) == pytest.approx((tenths + 1) / 11 if tenths else 0)


def test_no_detection_has_ap_0_and_all_found_first_has_ap_1() -> None:
    for ap in (ap_11_points, ap_all_points):
        assert ap(np.zeros(0, np.bool_), 3) == 0
        assert ap(np.array([True, True, True, False, False]), 3) == pytest.approx(1)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 20))
def test_a_wrong_detection_at_the_end_changes_nothing(right: list[bool], missed: int) -> None:
    positives = sum(right) + missed + 1
    before, after = np.array(right, np.bool_), np.array([*right, False], np.bool_)
    for ap in (ap_11_points, ap_all_points):
        assert ap(after, positives) == pytest.approx(ap(before, positives))
        assert 0 <= ap(before, positives) <= 1


# pandas warns of its own future there
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(4))
def test_voc_ap_equals_that_of_the_package_mean_average_precision(seed: int) -> None:
    other = pytest.importorskip("mean_average_precision").MetricBuilder.build_evaluation_metric(
        "map_2d", async_mode=False, num_classes=3
    )
    objects, found = random_scene(seed)
    inclusive = np.array([1, 1, 0, 0])  # that package counts pixels as VOC's devkit does: from 1, both corners belong
    for image in range(12):
        there, seen = objects.image == image, found.image == image
        flags = np.zeros((there.sum(), 2))
        other.add(
            np.column_stack([found.xyxy[seen] + inclusive, found.label[seen], found.score[seen]]),
            np.column_stack([objects.xyxy[there] + inclusive, objects.label[there], flags]),
        )
    eleven = other.value(iou_thresholds=0.5, recall_thresholds=np.arange(11) / 10)
    every = other.value(iou_thresholds=0.5)
    matches = match(objects, found)
    for label in range(3):
        ranked = rank(objects, found, matches, label)
        assert 0.05 < ap_all_points(ranked.right, ranked.positives) < 0.95
        assert ap_11_points(ranked.right, ranked.positives) == pytest.approx(eleven[0.5][label]["ap"], abs=1e-6)
        assert ap_all_points(ranked.right, ranked.positives) == pytest.approx(every[0.5][label]["ap"], abs=1e-6)


def test_ignored_detections_are_in_no_ranking() -> None:
    objects, found = random_scene(7, crowds=True)
    matches = match(objects, found)
    ignored = int((matches.verdict == IGNORED).sum())
    ranked = rank(objects, found, matches)
    assert ignored > 0
    assert len(ranked.score) == len(found) - ignored
    assert int(ranked.right.sum()) == int((matches.verdict == RIGHT).sum())
