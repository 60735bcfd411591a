from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.spec import InputSpec
from cvdetect.inference.preprocess import input_size, preprocess, transform_of
from tests.conftest import make_detections

side = st.integers(1, 3000)
wh = st.tuples(side, side)
resize = st.sampled_from(["stretch", "letterbox", "tensorflow"])
align = st.sampled_from(["centre", "top_left"])


@given(wh, wh, resize, align, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_to_source_undoes_scale_and_pad(source, network, how, where, shares) -> None:
    place = transform_of(source, network, InputSpec(resize=how, pad_align=where))
    x1, x2 = sorted(shares[:2])
    y1, y2 = sorted(shares[2:])
    box = np.array([[x1 * source[0], y1 * source[1], x2 * source[0], y2 * source[1]]], np.float32)
    there = make_detections((box * [*place.scale, *place.scale] + [*place.pad, *place.pad]).tolist())
    tolerance = 1e-3 * max(source) / max(1, min(network)) + 1e-2
    np.testing.assert_allclose(place.to_source(there).xyxy, box, atol=tolerance)


@given(wh, wh, align)
def test_a_letterboxed_image_lies_inside_the_input_and_fills_one_side(source, network, where) -> None:
    place = transform_of(source, network, InputSpec(resize="letterbox", pad_align=where))
    inner = [round(s * k) for s, k in zip(source, place.scale, strict=True)]
    assert inner[0] == network[0] or inner[1] == network[1]
    for i in range(2):
        assert place.pad[i] >= 0 and place.pad[i] + inner[i] <= network[i]


def test_a_mask_stays_where_it_is_when_its_box_is_clipped_to_the_image() -> None:
    place = transform_of((768, 576), (416, 416), InputSpec(resize="letterbox"))
    there = replace(make_detections([[0, 26, 208, 208]]), masks=(np.ones((3, 3), np.float32),))
    found = place.to_source(there)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 384, 288]], atol=1e-3)
    np.testing.assert_allclose(found.mask_xyxy, [[0, -48, 384, 288]], atol=1e-3)


def test_a_worked_letterbox() -> None:
    place = transform_of((768, 576), (416, 416), InputSpec(resize="letterbox"))
    assert (place.pad, place.scale) == ((0, 52), (416 / 768, 312 / 576))
    assert transform_of((768, 576), (416, 416), InputSpec(resize="letterbox", pad_align="top_left")).pad == (0, 0)


def test_boxes_are_clipped_to_the_image() -> None:
    place = transform_of((100, 50), (200, 200), InputSpec())
    assert place.to_source(make_detections([[-20, -20, 500, 500]])).xyxy.tolist() == [[0, 0, 100, 50]]


def test_pixels_go_in_the_networks_channel_order_through_mean_scale_and_std() -> None:
    image = np.full((4, 6, 3), (10, 20, 30), np.uint8)  # B, G, R
    spec = InputSpec(scale=0.5, mean=(1, 2, 3), std=(1, 2, 4), swap_rb=True)
    blob, _ = preprocess([image], (8, 2), spec)
    assert blob.shape == (1, 3, 2, 8)
    np.testing.assert_allclose(blob[0, :, 0, 0], [(30 - 1) * 0.5, (20 - 2) * 0.5 / 2, (10 - 3) * 0.5 / 4])
    blob, _ = preprocess([image], (8, 2), InputSpec(mean=(1, 2, 3), swap_rb=False))
    np.testing.assert_allclose(blob[0, :, 0, 0], [9, 18, 27])


@pytest.mark.parametrize(("align_to", "rows"), [("centre", (2, 6)), ("top_left", (0, 4))])
def test_letterboxing_pads_with_the_pad_value(align_to, rows) -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    spec = InputSpec(resize="letterbox", pad_value=114, pad_align=align_to)
    blob, _ = preprocess([image], (8, 8), spec)
    inside = np.zeros(8, bool)
    inside[rows[0] : rows[1]] = True
    assert (blob[0, :, inside] == 200).all() and (blob[0, :, ~inside] == 114).all()


@pytest.mark.parametrize("how", ["stretch", "letterbox", "tensorflow"])
def test_two_images_in_one_batch_are_fed_as_each_by_itself(how) -> None:
    images = [np.random.default_rng(n).integers(0, 256, (h, w, 3), np.uint8) for n, h, w in ((1, 30, 50), (2, 90, 40))]
    spec = InputSpec(scale=0.5, mean=(1, 2, 3), std=(2, 3, 4), resize=how)
    both, places = preprocess(images, (48, 32), spec)
    for image, blob, place in zip(images, both, places, strict=True):
        alone, (its_place,) = preprocess([image], (48, 32), spec)
        np.testing.assert_array_equal(alone[0], blob)
        assert its_place == place


def test_tensorflows_resize_is_fed_unrounded_and_fills_the_input() -> None:
    image = np.array([[[0, 10, 20], [100, 30, 50]]], np.uint8)  # (1, 2, 3) BGR
    blob, (place,) = preprocess([image], (4, 1), InputSpec(scale=0.5, resize="tensorflow"))
    assert blob[0, :, 0].tolist() == [[10, 17.5, 25, 25], [5, 10, 15, 15], [0, 25, 50, 50]]
    assert (place.scale, place.pad) == ((2, 1), (0, 0))


def test_an_image_may_have_an_input_size_of_its_own() -> None:
    spec = InputSpec(min_max_size=(300, 512))
    for source, size in (((640, 480), (400, 300)), ((480, 640), (300, 400)), ((1920, 1080), (512, 288))):
        assert input_size(source, (7, 7), spec) == size
        blob, (place,) = preprocess([np.zeros((source[1], source[0], 3), np.uint8)], (7, 7), spec)
        assert (blob.shape, place.scale) == ((1, 3, size[1], size[0]), (size[0] / source[0], size[1] / source[1]))
    assert input_size((640, 480), (7, 7), InputSpec()) == (7, 7)


def test_images_of_different_sizes_make_one_batch() -> None:
    images = [np.zeros((10, 20, 3), np.uint8), np.full((33, 7, 3), 255, np.uint8)]
    blob, places = preprocess(images, (32, 64), InputSpec(scale=1 / 255))
    assert blob.shape == (2, 3, 64, 32) and blob[0].max() == 0 and blob[1].min() == pytest.approx(1)
    assert [p.source_wh for p in places] == [(20, 10), (7, 33)]


def test_a_grey_network_gets_one_channel_as_darknet_and_opencv_make_it() -> None:
    image = np.full((4, 6, 3), (10, 20, 30), np.uint8)  # B, G, R
    blob, _ = preprocess([image], (6, 4), InputSpec(scale=1 / 255, channels=1))
    assert blob.shape == (1, 1, 4, 6)
    np.testing.assert_allclose(blob, round(0.114 * 10 + 0.587 * 20 + 0.299 * 30) / 255, atol=1e-6)


def test_a_network_of_four_channels_gets_rgb_and_an_opaque_alpha() -> None:
    image = np.full((4, 6, 3), (10, 20, 30), np.uint8)  # B, G, R
    blob, _ = preprocess([image], (6, 4), InputSpec(channels=4))
    assert blob.shape == (1, 4, 4, 6)
    assert blob[0, :, 0, 0].tolist() == [30, 20, 10, 255]


@pytest.mark.parametrize("channels", [1, 4])
def test_letterbox_and_std_know_the_channels(channels: int) -> None:
    image = np.full((2, 8, 3), 255, np.uint8)
    spec = InputSpec(resize="letterbox", pad_value=127, std=(2.0, 2.0, 2.0), channels=channels)
    blob, _ = preprocess([image, image], (8, 8), spec)
    assert blob.shape == (2, channels, 8, 8)
    assert (blob[:, 0, 0, 0] == 63.5).all()
    assert (blob[:, 0, 4, 4] == 127.5).all()


@pytest.mark.parametrize(("channels", "taken"), [(1, [0]), (4, [0, 1, 2])])
def test_tensorflows_resize_knows_the_channels(channels: int, taken: list[int]) -> None:
    grey = np.random.default_rng(2).integers(0, 256, (9, 7, 1), np.uint8).repeat(3, axis=2)
    colour, _ = preprocess([grey], (5, 6), InputSpec(resize="tensorflow"))
    blob, _ = preprocess([grey], (5, 6), InputSpec(resize="tensorflow", channels=channels))
    assert blob.shape == (1, channels, 6, 5)
    np.testing.assert_allclose(blob[:, taken], colour[:, taken], atol=1e-3)
