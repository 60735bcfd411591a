from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.boxes import iou
from cvdetect.core.detections import Detections
from cvdetect.inference.nms import nms
from tests.conftest import make_detections


def by_hand(found: Detections, limit: float, agnostic: bool) -> list[int]:
    """Greedy suppression, one box after another."""
    kept: list[int] = []
    for i in np.argsort(-found.score, kind="stable"):
        rivals = [k for k in kept if agnostic or found.class_id[k] == found.class_id[i]]
        if all(iou(found.xyxy[[k]], found.xyxy[[i]])[0, 0] <= limit for k in rivals):
            kept.append(int(i))
    return kept


@st.composite
def crowds(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = rng.uniform(-80, 60, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 80, (n, 2))], axis=1)
    scores = rng.permutation(np.linspace(0.01, 1, n)) if n else np.zeros(0)
    return make_detections(boxes.tolist(), rng.integers(0, 4, n).tolist(), scores.tolist())


@settings(max_examples=300)
@given(crowds(), st.sampled_from([0.1, 0.2, 0.45, 0.7]), st.booleans())
def test_it_equals_greedy_nms_written_out_also_for_negative_corners(found, limit, agnostic) -> None:
    kept = nms(found, limit, class_agnostic=agnostic, max_det=1000)
    expected = found[np.array(by_hand(found, limit, agnostic), np.int64)]
    np.testing.assert_array_equal(kept.score, expected.score)
    np.testing.assert_array_equal(kept.xyxy, expected.xyxy)


def test_boxes_of_different_classes_stay_apart_unless_class_agnostic() -> None:
    found = make_detections([[0, 0, 10, 10], [0, 0, 10, 10]], [1, 2], [0.9, 0.8])
    assert nms(found, 0.4).class_id.tolist() == [1, 2]
    assert nms(found, 0.4, class_agnostic=True).class_id.tolist() == [1]


def test_a_score_of_zero_stays_and_the_result_is_best_first() -> None:
    found = make_detections([[0, 0, 1, 1], [50, 50, 60, 60]], [0, 0], [0.0, 0.5])
    assert nms(found, 0.4).score.tolist() == [0.5, 0.0]


def test_at_most_max_det_remain_the_best_ones() -> None:
    found = make_detections([[i * 20, 0, i * 20 + 10, 10] for i in range(5)], scores=[0.1, 0.5, 0.3, 0.9, 0.2])
    assert nms(found, 0.4, max_det=2).score.tolist() == pytest.approx([0.9, 0.5])


def test_nothing_stays_nothing() -> None:
    assert len(nms(Detections.empty(), 0.4)) == 0


@given(crowds(), st.integers(1, 8), st.booleans())
def test_looking_at_the_best_first_changes_nothing(found, max_det, agnostic) -> None:
    expected = found[np.array(by_hand(found, 0.3, agnostic)[:max_det], np.int64)]
    kept = nms(found, 0.3, class_agnostic=agnostic, max_det=max_det)
    np.testing.assert_array_equal(kept.score, expected.score)
    np.testing.assert_array_equal(kept.xyxy, expected.xyxy)
