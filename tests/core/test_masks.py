"""Masks as pixels, as COCO's run lengths (held against pycocotools) and as polygons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from cvdetect.annotations.coco import polygons
from cvdetect.core.detections import Detections
from cvdetect.core.masks import Region, encode_rle, region, regions, union_mask
from cvdetect.inference.tiling import join_pieces
from tests.conftest import make_detections

# pycocotools has not caught up with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FULL = np.ones((15, 15), np.float32)


@st.composite
def placed_regions(draw: st.DrawFn) -> tuple[Region, tuple[int, int]]:
    """A region somewhere in an image, which it may fill, and the image's size."""
    inside = draw(hnp.arrays(np.bool_, st.tuples(st.integers(0, 9), st.integers(0, 9))))
    left, top, right, bottom = (draw(st.integers(0, 3)) for _ in range(4))
    height, width = inside.shape
    return Region(left, top, inside), (max(1, left + width + right), max(1, top + height + bottom))


@given(placed_regions())
def test_run_lengths_are_those_of_pycocotools(placed: tuple[Region, tuple[int, int]]) -> None:
    found, wh = placed
    whole = found.on_image(wh)
    expected = coco.encode(np.asfortranarray(whole.astype(np.uint8)))
    ours = encode_rle(found, wh)
    assert ours == {"size": list(expected["size"]), "counts": expected["counts"].decode()}
    np.testing.assert_array_equal(coco.decode(ours), whole)
    assert coco.area(ours) == found.area


@given(st.integers(1, 3000), st.integers(1, 2000), st.data())
def test_long_runs_are_those_of_pycocotools(width: int, height: int, data: st.DataObject) -> None:
    x1, x2 = sorted(data.draw(st.tuples(*[st.integers(0, width)] * 2)))
    y1, y2 = sorted(data.draw(st.tuples(*[st.integers(0, height)] * 2)))
    assume(x1 < x2 and y1 < y2)  # of an empty box pycocotools makes runs of no length
    expected = coco.frPyObjects(np.array([[x1, y1, x2 - x1, y2 - y1]], np.float64), height, width)
    ours = encode_rle(Region(x1, y1, np.ones((y2 - y1, x2 - x1), np.bool_)), (width, height))
    assert ours["counts"] == expected[0]["counts"].decode()


@given(placed_regions())
def test_polygons_enclose_exactly_the_pixels(placed: tuple[Region, tuple[int, int]]) -> None:
    found, (width, height) = placed
    outlines = polygons(found)
    if outlines is not None:
        rle = coco.merge(coco.frPyObjects(outlines, height, width))
        np.testing.assert_array_equal(coco.decode(rle), found.on_image((width, height)))


def test_parts_that_touch_at_a_corner_are_two_polygons_of_few_corners() -> None:
    inside = np.zeros((4, 5), np.bool_)
    inside[:2, :2] = inside[2:, 2:] = True
    assert polygons(Region(10, 20, inside)) == [
        [12, 20, 12, 22, 10, 22, 10, 20],
        [15, 22, 15, 24, 12, 24, 12, 22],
    ]


def test_polygons_cannot_say_holes_nor_nothing() -> None:
    ring = np.ones((3, 3), np.bool_)
    ring[1, 1] = False
    assert polygons(Region(0, 0, ring)) is None
    assert polygons(Region(0, 0, np.zeros((3, 3), np.bool_))) is None
    assert polygons(Region(0, 0, np.zeros((0, 0), np.bool_))) is None


def test_a_full_mask_is_every_pixel_whose_centre_lies_in_the_box() -> None:
    found = region(FULL, np.array([1.6, 2.4, 5.5, 4.4], np.float32), (20, 10))
    assert (found.x, found.y, found.inside.shape, found.area) == (2, 2, (2, 4), 8)
    assert found.on_image((20, 10)).nonzero()[1].max() == 5  # the centre of pixel 5 lies on the right edge


def test_grid_lines_lie_on_the_edges_of_the_box_and_pixels_are_looked_up_at_their_centres() -> None:
    # From 0 on the left edge to 1 on the right one: over one half from the middle on.
    ramp = np.array([[0, 1]], np.float32)
    for x1, first in ((0.0, 5), (0.4, 5), (0.6, 6), (-0.6, 4)):  # first pixel centre right of x1 + 5
        found = region(ramp, np.array([x1, 0, x1 + 10, 4], np.float32), (30, 4))
        assert np.flatnonzero(found.on_image((30, 4))[1])[0] == first


def test_the_values_are_those_of_tensorflows_crop_and_resize_at_the_same_places() -> None:
    """Its formula: out[i] is looked up at y1 (H - 1) + i (y2 - y1) (H - 1) / (crop - 1), bilinear, nothing outside."""
    mask = np.random.default_rng(7).random((15, 15), dtype=np.float32)
    box = np.array([3.2, 5.1, 40.9, 27.7], np.float32)
    found = region(mask, box, (64, 48))
    for y, x in np.ndindex(found.inside.shape):
        u = (found.x + x + 0.5 - box[0]) / (box[2] - box[0]) * 14
        v = (found.y + y + 0.5 - box[1]) / (box[3] - box[1]) * 14
        i, j = min(int(v), 13), min(int(u), 13)
        top = mask[i, j] * (1 - (u - j)) + mask[i, j + 1] * (u - j)
        foot = mask[i + 1, j] * (1 - (u - j)) + mask[i + 1, j + 1] * (u - j)
        value = top * (1 - (v - i)) + foot * (v - i)
        assert found.inside[y, x] == (value > 0.5) or abs(value - 0.5) < 1e-5


@given(
    hnp.arrays(np.float32, 4, elements=st.floats(-50, 90, width=32)),
    st.tuples(st.integers(1, 15), st.integers(1, 15)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_box_gives_a_region_inside_its_image_that_is_the_cut_of_the_one_in_a_larger_image(box, hw, wh) -> None:
    box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    mask = np.random.default_rng(1).random(hw, dtype=np.float32)
    found = region(mask, box, wh).on_image(wh)
    larger = region(mask, box + 64, (192, 192)).on_image((192, 192))[64 : 64 + wh[1], 64 : 64 + wh[0]]
    assert (found != larger).mean() <= 0.02 or (found != larger).sum() <= 1  # float32 moves a few by rounding


def test_a_box_without_width_has_no_pixels() -> None:
    for box in ([5.5, 1, 5.5, 9], [3.6, 1, 4.4, 9], [-9, -9, -1, -1], [50, 0, 60, 4]):
        found = region(FULL, np.array(box, np.float32), (20, 10))
        assert found.area == 0
        assert coco.area(encode_rle(found, (20, 10))) == 0


def masked(boxes: list[list[float]], *masks: np.ndarray, **also: object) -> Detections:
    plain = make_detections(boxes)
    return Detections(plain.xyxy, plain.class_id, plain.score, masks=masks, **also)  # type: ignore[arg-type]


def test_regions_of_detections_lie_at_the_boxes_of_their_masks() -> None:
    found = masked([[0, 0, 10, 10]], FULL, mask_xyxy=np.array([[-10, 0, 10, 10]]))
    assert [r.area for r in regions(found, (20, 10))] == [100]
    assert regions(make_detections([[0, 0, 1, 1]]), (20, 10)) == []


def test_the_union_of_two_halves_is_the_whole() -> None:
    left, right = [2.0, 3.0, 22.0, 33.0], [20.0, 3.0, 42.0, 33.0]
    mask, box = union_mask(masked([left, right], FULL, FULL))
    assert box.tolist() == [2, 3, 42, 33]
    whole = region(mask, box, (50, 40)).on_image((50, 40))
    np.testing.assert_array_equal(whole, region(FULL, box, (50, 40)).on_image((50, 40)))


def test_pieces_of_an_object_on_two_tiles_become_one_with_one_mask() -> None:
    pieces = masked([[10, 5, 60, 45], [50, 5, 90, 45]], FULL, FULL)
    joined = join_pieces(pieces, np.array([True, True]))
    assert joined.xyxy.tolist() == [[10, 5, 90, 45]]
    assert [r.area for r in regions(joined, (100, 50))] == [80 * 40]
    kept = join_pieces(pieces, np.array([False, False]))
    assert kept.masks is not None and len(kept.masks) == 2


def test_the_union_keeps_what_is_empty_in_both_empty() -> None:
    upper = np.repeat([[1.0]] * 7 + [[0.0]] * 8, 15, axis=1).astype(np.float32)
    mask, box = union_mask(masked([[0, 0, 30, 30], [24, 0, 54, 30]], upper, upper))
    found = region(mask, box, (60, 30)).on_image((60, 30))
    assert found[:12, :54].all()
    assert not found[18:].any()


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ((), "expected 1 masks, got 0"),
        ((FULL, FULL), "expected 1 masks, got 2"),
        ((FULL[0],), r"expected masks of shape \(h, w\), got \(15,\)"),
        ((FULL[:0],), r"expected masks of shape \(h, w\), got \(0, 15\)"),
        ((FULL * 2,), "expected masks from 0 to 1"),
        ((FULL * np.float32(np.nan),), "expected masks from 0 to 1"),
    ],
)
def test_wrong_masks_are_refused_with_expected_and_got(masks: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masked([[0, 0, 1, 1]], *masks)


def test_wrong_boxes_of_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected mask_xyxy of shape \(1, 4\), got \(2, 4\)"):
        masked([[0, 0, 1, 1]], FULL, mask_xyxy=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="finite boxes of masks"):
        masked([[0, 0, 1, 1]], FULL, mask_xyxy=np.full((1, 4), np.nan))


def test_masks_travel_with_their_detections() -> None:
    grids = [np.full((i + 1, 2 * i + 1), i / 10, np.float32) for i in range(4)]
    plain = make_detections([[i, 0, i + 1, 1] for i in range(4)], scores=[0.1, 0.2, 0.3, 0.4])
    found = Detections(plain.xyxy, plain.class_id, plain.score, masks=tuple(grids))
    for index in (np.array([False, True, False, True]), slice(1, None, 2), np.array([1, 3]), [1, 3]):
        assert [m.shape for m in found[index].masks] == [(2, 3), (4, 7)]
        assert found[index].mask_xyxy[:, 0].tolist() == [1, 3]
    assert [m.shape[0] for m in found.sort_by_score().masks] == [4, 3, 2, 1]
    assert [found[[i]].masks[0].shape[0] for i in range(len(found))] == [1, 2, 3, 4]
    assert [m.shape[0] for m in Detections.concat([found, Detections.empty(), found[:1]]).masks] == [1, 2, 3, 4, 1]
    assert Detections.concat([found, plain]).masks is None
    assert found.translate(5, 7).mask_xyxy[0].tolist() == [5, 7, 6, 8]
    assert found[:0].masks == ()
