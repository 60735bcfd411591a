from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.boxes import iou
from cvdetect.core.errors import UsageError
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.inference.detector import Detector
from cvdetect.inference.tiling import Tile, cut_by_seams, join_pieces, parse_tile, tiles
from cvdetect.runtime import Network
from cvdetect.sources.images import read_image
from tests.conftest import make_detections

side = st.integers(1, 5000)


@given(side, side, st.one_of(st.none(), st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_tiles_cover_the_image_and_lie_in_it(w: int, h: int, grid: tuple[int, int] | None) -> None:
    parts = tiles((w, h), grid, (416, 320))
    for low, high, length in (("x1", "x2", w), ("y1", "y2", h)):
        spans = sorted({(getattr(t, low), getattr(t, high)) for t in parts})
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert all(0 <= a < b <= length for a, b in spans)
        assert all(spans[i + 1][0] <= spans[i][1] for i in range(len(spans) - 1))


def test_tiles_overlap_by_a_fifth_of_their_side() -> None:
    first, second = tiles((1800, 1000), (2, 1), (416, 416))
    assert (first, second) == (Tile(0, 0, 1000, 1000), Tile(800, 0, 1800, 1000))


@pytest.mark.parametrize(
    ("wh", "grid"), [((416, 416), (1, 1)), ((1280, 720), (4, 2)), ((3840, 2160), (12, 6)), ((100, 90), (1, 1))]
)
def test_auto_makes_tiles_near_the_networks_size(wh: tuple[int, int], grid: tuple[int, int]) -> None:
    parts = tiles(wh, None, (416, 416))
    assert len(parts) == pytest.approx(grid[0] * grid[1], abs=max(grid))
    if len(parts) > 4:
        assert all(280 <= t.x2 - t.x1 <= 560 and 280 <= t.y2 - t.y1 <= 560 for t in parts)


@pytest.mark.parametrize("text", ["", "3", "3x", "0x2", "axb", "3x2x1", "99x99"])
def test_another_text_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="tile"):
        parse_tile(text)


def test_the_images_own_border_cuts_nothing() -> None:
    tile = Tile(0, 0, 100, 100)
    boxes = np.array([[0, 0, 20, 20], [80, 10, 100, 30], [10, 90, 30, 99], [40, 40, 60, 60]], np.float32)
    assert cut_by_seams(boxes, tile, (300, 100)).tolist() == [False, True, False, False]


def test_two_halves_of_an_object_become_one_with_the_better_score() -> None:
    pieces = make_detections([[50, 20, 200, 80], [160, 22, 330, 81]], [1, 1], [0.6, 0.8])
    joined = join_pieces(pieces, np.array([True, True]))
    assert joined.xyxy.tolist() == [[50, 20, 330, 81]]
    assert joined.score.tolist() == pytest.approx([0.8])


def test_four_quarters_of_an_object_become_one() -> None:
    pieces = make_detections([[50, 50, 110, 110], [90, 50, 150, 110], [50, 90, 110, 150], [90, 90, 150, 150]])
    assert join_pieces(pieces, np.ones(4, bool)).xyxy.tolist() == [[50, 50, 150, 150]]


def test_a_piece_of_a_whole_box_is_dropped_though_its_iou_is_small() -> None:
    found = make_detections([[0, 0, 400, 400], [300, 100, 380, 200]], [2, 2], [0.5, 0.9])
    assert join_pieces(found, np.array([False, True])).xyxy.tolist() == [[0, 0, 400, 400]]


def test_other_classes_and_whole_boxes_inside_others_stay() -> None:
    found = make_detections([[0, 0, 400, 400], [300, 100, 380, 200], [10, 10, 60, 60]], [2, 3, 2], [0.5, 0.9, 0.9])
    assert len(join_pieces(found, np.array([False, True, False]))) == 3


def test_neighbours_that_only_stand_side_by_side_stay_two() -> None:
    pieces = make_detections([[0, 0, 50, 100], [60, 0, 110, 100]])
    assert len(join_pieces(pieces, np.ones(2, bool))) == 2


@pytest.fixture
def choice(shared: Path) -> ModelChoice:
    return ModelChoice(
        cfg=shared / "data/models/yolo-fastest-1.1-xl.cfg", weights=shared / "data/models/yolo-fastest-1.1-xl.weights"
    )


def mosaic(samples: Path, n: int) -> np.ndarray:
    """The dog's image at half its size in a corner of a canvas of n x n such images, grey elsewhere."""
    dog = cv2.resize(read_image(samples / "dog.jpg"), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    canvas = np.full((dog.shape[0] * n, dog.shape[1] * n, 3), 127, np.uint8)
    canvas[: dog.shape[0], : dog.shape[1]] = dog
    return canvas


def test_small_objects_of_a_large_image_are_found_only_in_tiles(choice: ModelChoice, samples: Path) -> None:
    image = mosaic(samples, 5)
    plain = Detector.load(choice, DetectOptions(conf=0.4)).detect(image)
    tiled = Detector.load(choice, DetectOptions(conf=0.4, tile="auto"))
    found = tiled.detect(image)
    labels = {tiled.labels.label(int(c)) for c in found.class_id}
    assert {"dog", "bicycle", "car"} <= labels
    assert len(plain) < 3
    dog = found[found.class_id == 16]
    assert len(dog) == 1, "no piece of the dog is left beside it"
    assert iou(dog.xyxy, np.array([[114, 188, 386, 536]], np.float32) / 2)[0, 0] > 0.7


def test_tiles_of_an_image_of_the_networks_size_change_nothing(choice: ModelChoice, samples: Path) -> None:
    small = read_image(samples / "dog.jpg")[::2, ::2][:320, :320].copy()
    plain, tiled = (Detector.load(choice, DetectOptions(conf=0.3, tile=tile)).detect(small) for tile in (None, "1x1"))
    np.testing.assert_allclose(plain.xyxy, tiled.xyxy, atol=0.01)


class Watching:
    """A network that remembers how many images it was given each time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.batches: list[int] = []

    def forward(self, blob: np.ndarray) -> Mapping[str, np.ndarray]:
        self.batches.append(len(blob))
        return self.network.forward(blob)


@pytest.mark.parametrize(("one_batch_size", "batches"), [(False, [7, 7, 5]), (True, [7, 7, 7])])
def test_groups_of_tiles_are_as_equal_as_can_be_and_quite_where_the_runtime_wants_one_batch_size(
    one_batch_size: bool, batches: list[int], choice: ModelChoice, samples: Path
) -> None:
    image = mosaic(samples, 3)
    plain = Detector.load(choice, DetectOptions(conf=0.4, tile="6x3"))
    watching = Watching(plain.model.network)
    runtime = replace(plain.model.runtime, one_batch_size=one_batch_size)
    detector = Detector(replace(plain.model, network=watching, runtime=runtime), "6x3")
    found, expected = detector.detect(image), plain.detect(image)
    assert watching.batches == batches, "the whole image and 18 tiles"
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    np.testing.assert_array_equal(found.class_id, expected.class_id)
    assert len(found) >= 3
