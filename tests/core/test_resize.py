"""Images are resized to a graph's input as TensorFlow resizes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.resize import keep_aspect, resize_as_tensorflow

side = st.integers(1, 40)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def grey(*rows: list[int]) -> np.ndarray:
    return np.repeat(np.array(rows, np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("source", "wh", "expected"),
    [
        # 4 pixels to 3: they lie at 0, 4/3 and 8/3
        (grey([0, 100, 200, 50]), (3, 1), [[0, 100 + 100 / 3, 200 - 150 * 2 / 3]]),
        # doubled: every other one halfway, the last one the last pixel again
        (grey([0, 100]), (4, 1), [[0, 50, 100, 100]]),
        (grey([10], [20]), (1, 4), [[10], [15], [20], [20]]),
        # halved: every other pixel as it is, no average
        (grey([1, 2, 3, 4], [5, 6, 7, 8]), (2, 1), [[1, 3]]),
        # 2x2 to 3x3: at 0, 2/3 and 4/3 both ways
        (grey([0, 90], [30, 240]), (3, 3), [[0, 60, 90], [20, 20 + 170 * 2 / 3, 190], [30, 170, 240]]),
    ],
)
def test_worked_by_hand(source: np.ndarray, wh: tuple[int, int], expected: list[list[float]]) -> None:
    found = resize_as_tensorflow(source, wh)
    assert found.dtype == np.float32
    for channel in range(3):
        np.testing.assert_allclose(found[..., channel], expected, rtol=1e-6)


@given(side, side, side, side, st.integers(0, 9))
def test_it_is_the_formula_pixel_by_pixel(height: int, width: int, to_height: int, to_width: int, seed: int) -> None:
    source = image(height, width, seed).astype(np.float64)
    expected = np.empty((to_height, to_width, 3))
    for i in range(to_height):
        for j in range(to_width):
            y, x = i * height / to_height, j * width / to_width
            top, left = int(y + 1e-6), int(x + 1e-6)
            low, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = source[top, left] + (source[top, right] - source[top, left]) * (x - left)
            below = source[low, left] + (source[low, right] - source[low, left]) * (x - left)
            expected[i, j] = above + (below - above) * (y - top)
    np.testing.assert_allclose(
        resize_as_tensorflow(source.astype(np.uint8), (to_width, to_height)), expected, atol=2e-2
    )


@given(side, side)
def test_the_same_size_changes_nothing(height: int, width: int) -> None:
    source = image(height, width)
    np.testing.assert_array_equal(resize_as_tensorflow(source, (width, height)), source)


def test_a_view_with_gaps_and_a_single_pixel_are_resized_too() -> None:
    source = image(30, 40)
    np.testing.assert_array_equal(
        resize_as_tensorflow(source[3:20:2, ::-1], (11, 7)),
        resize_as_tensorflow(np.ascontiguousarray(source[3:20:2, ::-1]), (11, 7)),
    )
    assert (resize_as_tensorflow(source[:1, :1], (5, 4)) == source[0, 0]).all()


@pytest.mark.parametrize("wh", [(300, 300), (300, 200), (1000, 700), (299, 17), (640, 427)])
def test_it_is_tensorflows_to_the_last_bit(wh: tuple[int, int]) -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    source = image(427, 640)
    resized = tensorflow.compat.v1.image.resize_bilinear(source[None], wh[::-1])  # align_corners False is its default
    np.testing.assert_array_equal(resize_as_tensorflow(source, wh), resized.numpy()[0])


@pytest.mark.parametrize(
    ("source", "sides", "size"),
    [
        ((640, 480), (600, 1024), (800, 600)),
        ((480, 640), (600, 1024), (600, 800)),
        ((500, 500), (600, 1024), (600, 600)),
        ((1920, 1080), (600, 1024), (1024, 576)),  # the longer side is the limit
        ((1024, 600), (600, 1024), (1024, 600)),
        ((333, 500), (600, 1024), (600, 901)),  # 900.9
        ((1000, 1), (600, 1024), (1024, 1)),
    ],
)
def test_sizes_that_keep_the_aspect_ratio(
    source: tuple[int, int], sides: tuple[int, int], size: tuple[int, int]
) -> None:
    assert keep_aspect(source, sides) == size


@settings(max_examples=300)
@given(st.tuples(st.integers(20, 4000), st.integers(20, 4000)), st.integers(20, 800), st.integers(0, 800))
def test_one_side_is_what_was_asked_and_none_is_more(source: tuple[int, int], shorter: int, more: int) -> None:
    size = keep_aspect(source, (shorter, shorter + more))
    assert min(size) == shorter or max(size) == shorter + more
    assert max(size) <= shorter + more and min(size) <= shorter
    assert (size[0] >= size[1]) == (source[0] >= source[1]) or size[0] == size[1]


def test_those_sizes_are_tensorflows() -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    rng = np.random.default_rng(1)
    for width, height in rng.integers(30, 900, (60, 2)).tolist():
        sides = [300, 512] if height < width else [512, 300]  # as object_detection's resize_to_range asks for them
        resized = tensorflow.compat.v1.image.resize_images(
            np.zeros((height, width, 1), np.uint8), sides, preserve_aspect_ratio=True
        )
        assert keep_aspect((width, height), (300, 512)) == (resized.shape[1], resized.shape[0])
