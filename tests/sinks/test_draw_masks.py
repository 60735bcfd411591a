from __future__ import annotations

from dataclasses import replace

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.masks import regions
from cvdetect.sinks.draw import DrawStyle, class_colour, draw, tint
from tests.conftest import make_detections

UPPER = np.repeat([[1.0], [0.0]], 2, axis=1).astype(np.float32)


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def masked(boxes: list[list[float]], classes: list[int], scores: list[float]) -> Detections:
    return replace(make_detections(boxes, classes, scores), masks=(UPPER,) * len(boxes))


def test_a_mask_tints_its_pixels_in_its_classes_colour_and_no_others() -> None:
    found = masked([[10, 5, 30, 25]], [7], [0.9])
    image = grey(40, 30)
    out = tint(image, found)
    inside = regions(found, (40, 30))[0].on_image((40, 30))
    assert inside.sum() == 20 * 10
    assert (out[~inside] == 128).all()
    np.testing.assert_allclose(out[inside] - 128.0, np.tile(0.45 * (np.array(class_colour(7)) - 128), (200, 1)), atol=1)
    assert (image == 128).all()


def test_of_two_masks_the_better_one_lies_above() -> None:
    boxes, classes = [[5, 5, 25, 25], [5, 5, 25, 25]], [1, 2]
    for scores, above in (([0.9, 0.6], 1), ([0.6, 0.9], 2)):
        pixel = tint(grey(40, 30), masked(boxes, classes, scores))[8, 15].astype(float)
        distances = {c: np.abs(pixel - class_colour(c)).sum() for c in classes}
        assert min(distances, key=lambda c: distances[c]) == above


def test_masks_outside_the_image_and_of_no_size_draw_nothing() -> None:
    found = masked([[50, 5, 90, 20], [-20, -20, -1, -1], [7, 7, 7, 7]], [0, 0, 0], [0.9, 0.8, 0.7])
    assert (tint(grey(40, 30), found) == 128).all()


def test_boxes_and_labels_lie_above_masks() -> None:
    found = masked([[10, 20, 50, 60]], [3], [0.9])
    out = draw(grey(80, 70), found, lambda _: "dog", DrawStyle(line_width=2))
    without = draw(grey(80, 70), replace(found, masks=None), lambda _: "dog", DrawStyle(line_width=2))
    assert (out[20, 10:50] == class_colour(3)).all()  # the upper edge of the box
    np.testing.assert_array_equal(out[45:], without[45:])
    assert (out != without).any()
