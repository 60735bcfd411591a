from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvdetect.core.errors import UsageError
from cvdetect.core.images import as_bgr

BGR = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)  # (H, W, 3)


def test_a_bgr_image_is_returned_as_it_is() -> None:
    assert as_bgr(BGR) is BGR


def test_an_rgb_image_is_turned_round() -> None:
    np.testing.assert_array_equal(as_bgr(BGR[:, :, ::-1], "rgb"), BGR)
    assert as_bgr(BGR, "rgb").flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_images_get_three_equal_channels(shape: tuple[int, ...]) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(shape)
    made = as_bgr(grey)
    assert made.shape == (2, 3, 3)
    for channel in range(3):
        np.testing.assert_array_equal(made[:, :, channel], grey.reshape(2, 3))


def test_white_shows_through_what_is_transparent() -> None:
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :] = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]
    assert as_bgr(image)[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]
    assert as_bgr(image, "rgb")[0].tolist() == [[30, 20, 10], [255, 255, 255], [127, 127, 127]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "CMYK"])
def test_a_pil_image_of_any_mode_is_taken(mode: str) -> None:
    pil = pytest.importorskip("PIL.Image")
    made = as_bgr(pil.new("RGB", (4, 2), (250, 0, 0)).convert(mode))
    assert made.shape == (2, 4, 3) and made.dtype == np.uint8
    if mode in ("RGB", "RGBA", "CMYK"):
        assert made[0, 0].tolist() == pytest.approx([0, 0, 250], abs=6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "got NoneType"),
        ([[1, 2]], "got list"),
        (BGR.astype(np.float32), r"got float32 \(2, 3, 3\); for values from 0 to 1: \(image \* 255\)"),
        (BGR.astype(np.uint16), r"got uint16 \(2, 3, 3\)$"),
        (np.zeros((3, 480, 640), np.uint8), r"got uint8 \(3, 480, 640\): channels come last: image.transpose"),
        (np.zeros((2, 3, 2), np.uint8), r"got uint8 \(2, 3, 2\)$"),
        (np.zeros((0, 3, 3), np.uint8), r"got uint8 \(0, 3, 3\)$"),
        (np.zeros(3, np.uint8), r"got uint8 \(3,\)$"),
        (np.zeros((1, 2, 3, 3), np.uint8), r"got uint8 \(1, 2, 3, 3\)$"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(image: Any, words: str) -> None:
    with pytest.raises(UsageError, match=f"expected an image, uint8 .*{words}"):
        as_bgr(image)


def test_another_order_of_channels_is_refused() -> None:
    with pytest.raises(UsageError, match="color 'hsv': expected 'bgr' or 'rgb'"):
        as_bgr(BGR, "hsv")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_a_deep_pil_image_is_refused_because_pillow_would_cut_it_off_at_255(mode: str) -> None:
    pil = pytest.importorskip("PIL.Image")
    with pytest.raises(UsageError, match=f"^PIL image of mode {mode}: .* give the path of its file"):
        as_bgr(pil.new(mode, (4, 2)))


def test_a_matrix_is_an_array_of_grey() -> None:
    assert as_bgr(BGR[:, :, 0].view(np.matrix)).shape == (2, 3, 3)
