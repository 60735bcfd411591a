"""The measure that the GPU's tests rely on; needs no GPU."""

from __future__ import annotations

import pytest

from cvdetect.core.detections import Detections
from tests.conftest import make_detections
from tests.gpu.agreement import FP16, FP32, Tolerance, share_found

BOXES = [(10, 10, 110, 110), (200, 50, 300, 250)]


def pair(*, shift: float = 0, score: float = 0.8, label: int = 3) -> Detections:
    (x1, y1, x2, y2), other = BOXES
    return make_detections([(x1 + shift, y1, x2 + shift, y2), other], [label, 5], [score, 0.7])


@pytest.mark.parametrize(
    ("found", "tolerance", "share"),
    [
        (pair(), FP32, 1.0),
        (pair(shift=0.4), FP32, 1.0),
        (pair(shift=1.0), FP32, 0.5),
        (pair(shift=1.0), FP16, 1.0),
        (pair(shift=3.0), FP16, 0.5),
        (pair(score=0.804), FP32, 1.0),
        (pair(score=0.81), FP32, 0.5),
        (pair(score=0.83), FP16, 1.0),
        (pair(label=4), FP16, 0.5),
        (make_detections([]), FP16, 0.0),
    ],
)
def test_a_detection_is_found_where_class_box_and_score_are_near(
    found: Detections, tolerance: Tolerance, share: float
) -> None:
    assert share_found(pair(), found, 0.5, tolerance) == share


def test_what_is_under_the_threshold_needs_no_partner() -> None:
    assert share_found(pair(), make_detections([BOXES[0]], [3], [0.8]), 0.75, FP32) == 1.0
    assert share_found(pair(), make_detections([]), 0.9, FP32) == 1.0
