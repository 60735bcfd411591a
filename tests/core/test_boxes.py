from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvdetect.core.boxes import area, clip, coverage, cxcywh_to_xyxy, intersection, iou, xyxy_to_cxcywh, xyxy_to_xywh

coordinate = st.floats(-5000, 5000, width=32)


@st.composite
def boxes(draw: st.DrawFn, most: int = 12) -> np.ndarray:
    corners = draw(arrays(np.float32, (draw(st.integers(0, most)), 4), elements=coordinate))
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    return np.concatenate([low, high], axis=1)


@given(boxes())
def test_centre_and_corner_form_are_each_others_inverse(xyxy: np.ndarray) -> None:
    np.testing.assert_allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(xyxy)), xyxy, atol=2e-3)


def test_a_worked_box_in_all_three_forms() -> None:
    xyxy = np.array([[10, 20, 40, 80]], np.float32)
    assert xyxy_to_cxcywh(xyxy).tolist() == [[25, 50, 30, 60]]
    assert xyxy_to_xywh(xyxy).tolist() == [[10, 20, 30, 60]]


@given(boxes(), st.integers(1, 4000), st.integers(1, 4000))
def test_clipped_boxes_lie_in_the_image_and_clipping_twice_changes_nothing(xyxy: np.ndarray, w: int, h: int) -> None:
    once = clip(xyxy, w, h)
    assert (once >= 0).all() and (once[:, 0::2] <= w).all() and (once[:, 1::2] <= h).all()
    np.testing.assert_array_equal(clip(once, w, h), once)


@given(boxes(), boxes())
def test_iou_is_symmetric_between_0_and_1_and_1_with_itself(a: np.ndarray, b: np.ndarray) -> None:
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert (overlap >= 0).all() and (overlap <= 1 + 1e-5).all()
    np.testing.assert_allclose(overlap, iou(b, a).T, atol=1e-6)
    np.testing.assert_allclose(np.diag(iou(a, a))[area(a) > 1e-3], 1, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "expected"),
    [([0, 0, 10, 10], 1), ([5, 0, 15, 10], 1 / 3), ([10, 0, 20, 10], 0), ([2, 2, 2, 2], 0), ([0, 0, 10, 5], 0.5)],
)
def test_iou_of_known_pairs(other: list[float], expected: float) -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    assert iou(box, np.array([other], np.float32))[0, 0] == pytest.approx(expected)


def test_coverage_is_the_share_of_the_first_box_in_the_second() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 20], [2, 2, 2, 2]], np.float64)
    assert intersection(boxes, boxes).tolist() == [[100, 50, 0], [50, 200, 0], [0, 0, 0]]
    assert coverage(boxes, boxes).tolist() == [[1, 0.5, 0], [0.25, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_overlaps_are_of_the_boxes_own_precision(kind: type) -> None:
    box = np.array([[0, 0, 3, 1]], kind)
    assert [f(box, box).dtype for f in (intersection, iou, coverage)] == [kind] * 3


def test_boxes_without_area_have_no_overlap() -> None:
    point, others = np.array([[5.0, 5, 5, 5]]), np.array([[5.0, 5, 5, 5], [0, 0, 10, 10]])
    assert iou(point, others).tolist() == [[0, 0]] and coverage(point, others).tolist() == [[0, 0]]
