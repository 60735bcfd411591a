from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.sinks.draw import (
    BLACK,
    WHITE,
    DrawStyle,
    Label,
    class_colour,
    contrast,
    crop,
    draw,
    pixelate,
    place_labels,
    plain_text,
    text_colour,
)

Image = NDArray[np.uint8]
PLAIN = DrawStyle()
NAMES = (
    "dog",
    "traffic light",
    "Straße",
    "犬",
    "a very long name of a class that no narrow picture has room for",
    "g|(",
)


def name_of(class_id: int) -> str:
    return NAMES[class_id % len(NAMES)]


def found(
    boxes: list[list[float]] | NDArray[np.float32],
    classes: list[int] | None = None,
    scores: list[float] | None = None,
    tracks: list[int] | None = None,
) -> Detections:
    n = len(boxes)
    return Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(classes or [0] * n, np.int64),
        np.asarray(scores or np.linspace(0.9, 0.3, n), np.float32),
        None if tracks is None else np.asarray(tracks, np.int64),
    )


def grey(width: int, height: int) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(width * 10007 + height).integers(0, 256, (height, width, 3), np.uint8)


def overlap(a: Label, b: Label) -> bool:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.corners, b.corners
    return ax1 < bx2 and bx1 < ax2 and ay1 < by2 and by1 < ay2


sizes = st.tuples(st.integers(1, 300), st.integers(1, 300)) | st.sampled_from(
    [(2000, 50), (50, 2000), (1, 1), (64, 48)]
)
coordinates = st.floats(-400, 800, width=32) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def detections(draw_from: st.DrawFn) -> Detections:
    n = draw_from(st.integers(0, 6))
    corners = draw_from(hnp.arrays(np.float32, (n, 2, 2), elements=coordinates))
    boxes = np.sort(corners, axis=1).reshape(n, 4)
    classes = draw_from(st.lists(st.integers(0, 2**62), min_size=n, max_size=n))
    scores = draw_from(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
    tracks = draw_from(st.none() | st.lists(st.integers(0, 10**9), min_size=n, max_size=n))
    return Detections(
        boxes,
        np.array(classes, np.int64),
        np.array(scores, np.float32),
        None if tracks is None else np.array(tracks, np.int64),
    )


styles = st.builds(
    DrawStyle,
    line_width=st.none() | st.integers(1, 1000),
    font_scale=st.none() | st.floats(0.01, 50),
    hide_scores=st.booleans(),
    hide_labels=st.booleans(),
)


# --- any input


@settings(max_examples=150, deadline=None)
@given(size=sizes, boxes=detections(), style=styles)
def test_any_boxes_can_be_drawn_on_a_image_of_any_size_and_the_input_stays(
    size: tuple[int, int], boxes: Detections, style: DrawStyle
) -> None:
    image = noise(*size)
    before = image.copy()
    out = draw(image, boxes, name_of, style)
    assert out.shape == image.shape and out.dtype == np.uint8
    assert not np.shares_memory(out, image)
    np.testing.assert_array_equal(image, before)


@settings(max_examples=150, deadline=None)
@given(size=sizes, boxes=detections(), style=styles)
def test_every_label_lies_inside_the_image(size: tuple[int, int], boxes: Detections, style: DrawStyle) -> None:
    for label in place_labels(size, boxes, name_of, style):
        x1, y1, x2, y2 = label.corners
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]


@settings(max_examples=100, deadline=None)
@given(size=sizes, boxes=detections())
def test_pixelate_leaves_the_outside_untouched_and_the_inside_with_few_colours(
    size: tuple[int, int], boxes: Detections
) -> None:
    image = noise(*size)
    before = image.copy()
    out = pixelate(image, boxes.xyxy)
    np.testing.assert_array_equal(image, before)
    outside = np.ones(image.shape[:2], bool)
    for x1, y1, x2, y2 in np.clip(boxes.xyxy.astype(float), 0, [*size, *size]):
        outside[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))] = False
    np.testing.assert_array_equal(out[outside], before[outside])
    if len(boxes) == 1 and not outside.all():
        assert len(np.unique(out[~outside], axis=0)) <= 64


@settings(max_examples=100, deadline=None)
@given(size=sizes, boxes=detections())
def test_a_crop_of_any_box_has_at_least_one_pixel(size: tuple[int, int], boxes: Detections) -> None:
    image = noise(*size)
    for box in boxes.xyxy:
        piece = crop(image, box)
        assert piece.shape[0] >= 1 and piece.shape[1] >= 1 and piece.shape[2] == 3
        assert piece.shape[0] <= size[1] and piece.shape[1] <= size[0]


# --- boxes


def test_a_image_without_detections_comes_back_as_a_copy() -> None:
    image = noise(64, 48)
    np.testing.assert_array_equal(draw(image, Detections.empty(), name_of), image)


def test_a_image_that_is_a_view_or_read_only_can_be_drawn_on() -> None:
    image = noise(64, 48)[::-1, ::-1]
    image.setflags(write=False)
    boxes = found([[5, 25, 40, 45]])
    np.testing.assert_array_equal(draw(image, boxes, name_of), draw(image.copy(), boxes, name_of))


def test_a_box_is_a_frame_in_its_class_colour_that_leaves_its_inside_alone() -> None:
    out = draw(grey(100, 80), found([[20, 30, 60, 70]], [3]), name_of, DrawStyle(line_width=2, hide_labels=True))
    frame = np.zeros((80, 100), bool)
    frame[29:71, 19:61] = True
    frame[31:69, 21:59] = False
    assert (out[frame] == class_colour(3)).all()
    assert (out[~frame] == 128).all()


@pytest.mark.parametrize("line_width", [1, 2, 3, 5])
def test_the_lines_of_a_box_as_large_as_the_image_are_drawn_at_full_width(line_width: int) -> None:
    style = DrawStyle(line_width=line_width, hide_labels=True)
    out = draw(grey(100, 80), found([[0, 0, 100, 80]]), name_of, style)
    inner = np.zeros((80, 100), bool)
    inner[line_width:-line_width, line_width:-line_width] = True
    assert (out[~inner] == class_colour(0)).all()
    assert (out[inner] == 128).all()


@pytest.mark.parametrize("box", [[-50, -50, -10, -10], [110, 5, 150, 60], [10, 90, 20, 95], [-9, 10, 0, 20]])
def test_a_box_outside_the_image_is_neither_drawn_nor_labelled(box: list[float]) -> None:
    np.testing.assert_array_equal(draw(grey(100, 80), found([box]), name_of), grey(100, 80))
    assert place_labels((100, 80), found([box]), name_of, PLAIN) == []


def test_a_box_without_area_inside_the_image_can_be_seen() -> None:
    out = draw(grey(100, 80), found([[50, 40, 50, 40]]), name_of, DrawStyle(hide_labels=True))
    assert (out != 128).any()


def test_wide_lines_leave_half_of_a_small_box_to_be_seen() -> None:
    out = draw(grey(100, 80), found([[40, 40, 44, 44]]), name_of, DrawStyle(line_width=6, hide_labels=True))
    assert (out[40:44, 40:44] == 128).all()


@pytest.mark.parametrize(("size", "line_width"), [((64, 48), 1), ((640, 480), 2), ((1280, 720), 3), ((8000, 6000), 21)])
def test_lines_grow_with_the_image(size: tuple[int, int], line_width: int) -> None:
    assert PLAIN.sizes_on(*size)[0] == line_width


@pytest.mark.parametrize("line_width", [0, -3])
def test_a_line_width_below_one_pixel_is_refused(line_width: int) -> None:
    with pytest.raises(UsageError, match=r"line_width .*: at least 1 is needed"):
        DrawStyle(line_width=line_width)


@pytest.mark.parametrize("font_scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_font_scale_that_is_no_positive_number_is_refused(font_scale: float) -> None:
    with pytest.raises(UsageError, match=r"font_scale .*: a positive number is needed"):
        DrawStyle(font_scale=font_scale)


# --- labels: what they say


@pytest.mark.parametrize(
    ("style", "tracks", "text"),
    [
        (PLAIN, None, "dog 0.83"),
        (PLAIN, [7], "#7 dog 0.83"),
        (DrawStyle(hide_scores=True), None, "dog"),
        (DrawStyle(hide_scores=True), [7], "#7 dog"),
    ],
)
def test_a_label_has_track_name_and_score(style: DrawStyle, tracks: list[int] | None, text: str) -> None:
    boxes = found([[100, 100, 300, 300]], scores=[0.829], tracks=tracks)
    assert [label.text for label in place_labels((640, 480), boxes, name_of, style)] == [text]


def test_hidden_labels_leave_the_boxes() -> None:
    boxes = found([[100, 100, 300, 300]])
    assert place_labels((640, 480), boxes, name_of, DrawStyle(hide_labels=True)) == []
    assert (draw(grey(640, 480), boxes, name_of, DrawStyle(hide_labels=True)) != 128).any()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("dog", "dog"),
        ("hot dog", "hot dog"),
        ("Straße", "Strasse"),
        ("garçon à vélo", "garcon a velo"),
        ("Ｄｏｇ", "Dog"),
        ("smørrebrød – Łódź", "smorrebrod - Lodz"),
        ("two\nlines\t", "two lines"),
        ("犬 dog", "dog"),
        ("犬", "class 12"),
        ("собака", "class 12"),
        ("", "class 12"),
        ("?", "class 12"),
        ("🐕\x00", "class 12"),
    ],
)
def test_labels_become_ascii_or_the_class_number(text: str, plain: str) -> None:
    assert plain_text(text, 12) == plain


@given(st.text(max_size=20))
def test_no_label_holds_what_the_font_cannot_draw(text: str) -> None:
    plain = plain_text(text, 5)
    assert plain and all(" " <= letter <= "~" for letter in plain)


# --- labels: how large


@pytest.mark.parametrize(
    ("size", "at_least"), [((64, 48), 6), ((320, 240), 8), ((640, 480), 8), ((1920, 1080), 20), ((8000, 6000), 95)]
)
def test_capitals_have_a_readable_height(size: tuple[int, int], at_least: int) -> None:
    """8000x6000 on a screen 1000 wide is an eighth: 95 pixels are 12 there."""
    width, height = size
    boxes = found([[width * 0.1, height * 0.4, width * 0.8, height * 0.9]], scores=[0.83])
    label = place_labels(size, boxes, lambda _: "H", DrawStyle(hide_scores=True))[0]
    canvas = draw(grey(*size), boxes, lambda _: "H", DrawStyle(hide_scores=True))
    x1, y1, x2, y2 = label.corners
    ink = np.abs(canvas[y1:y2, x1:x2].astype(int) - class_colour(0)).sum(axis=2) > 120
    assert np.flatnonzero(ink.any(axis=1)).size >= at_least


def test_a_label_wider_than_the_image_is_made_smaller() -> None:
    boxes = found([[2, 20, 60, 46]], scores=[0.99])
    (label,) = place_labels((64, 48), boxes, lambda _: "horse", PLAIN)
    assert label.text == "horse 0.99"
    assert 0.3 <= label.scale < 0.4


def test_a_label_that_cannot_be_small_enough_loses_its_score_then_letters() -> None:
    boxes = found([[2, 20, 60, 46]], scores=[0.99])
    assert place_labels((64, 48), boxes, lambda _: "motorbikes", PLAIN)[0].text == "motorbikes"
    cut = place_labels((64, 48), boxes, lambda _: "a" + "i" * 30 + "z", PLAIN)[0].text
    assert 4 < len(cut) < 32 and ("a" + "i" * 30).startswith(cut)


def test_a_image_too_small_for_letters_has_boxes_only() -> None:
    assert place_labels((8, 8), found([[1, 1, 6, 6]]), name_of, PLAIN) == []


@pytest.mark.parametrize("scale", [0.3, 0.4, 0.7, 1.0, 2.3, 5.0])
@pytest.mark.parametrize("text", ["Agjpqy", "g|(", "{[$@/\\]}", "#7 dog 0.83", "|||", "Q_,;"])
def test_the_ink_of_a_text_stays_off_the_edge_of_its_background(text: str, scale: float) -> None:
    boxes = found([[300, 300, 600, 600]])
    style = DrawStyle(font_scale=scale, hide_scores=True)
    (label,) = place_labels((3000, 1000), boxes, lambda _: "x" + text, style)
    x1, y1, x2, y2 = label.corners
    ground = draw(grey(3000, 1000), boxes, lambda _: "x" + text, style)[y1:y2, x1:x2]
    edge = np.concatenate([ground[0], ground[-1], ground[:, 0], ground[:, -1]])
    assert (edge == class_colour(0)).all()
    assert (ground != class_colour(0)).any()


# --- labels: where


@pytest.mark.parametrize(
    ("box", "corner", "at"),
    [
        pytest.param([100, 100, 300, 300], (0, 3), (99, 99), id="above the box, from its left edge"),
        pytest.param([100, 5, 300, 300], (0, 1), (99, 4), id="inside its top edge at the top of the picture"),
        pytest.param([620, 100, 640, 300], (2, 3), (640, 99), id="shifted left at the right border"),
        pytest.param([-50, 100, 300, 300], (0, 3), (0, 99), id="shifted right at the left border"),
    ],
)
def test_a_label_sits(box: list[float], corner: tuple[int, int], at: tuple[int, int]) -> None:
    (label,) = place_labels((640, 480), found([box]), name_of, PLAIN)
    assert tuple(label.corners[i] for i in corner) == at


def test_five_detections_of_one_object_get_labels_that_do_not_overlap() -> None:
    boxes = found([[200, 200, 400, 350]] * 5, [0, 5, 6, 11, 12])
    placed = place_labels((640, 480), boxes, lambda _: "cat", PLAIN)
    assert len(placed) == 5
    assert not any(overlap(a, b) for a, b in itertools.combinations(placed, 2))


def test_the_best_label_takes_the_first_place_whatever_the_order_of_the_detections() -> None:
    boxes = found([[200, 200, 400, 350], [202, 200, 402, 352]], [0, 1], [0.4, 0.9])
    first, second = place_labels((640, 480), boxes, name_of, PLAIN)
    assert (first.index, second.index) == (1, 0)
    assert first.corners[3] == second.corners[1] == 199  # above the box, inside the box


def test_where_no_place_is_free_the_best_label_is_on_top() -> None:
    boxes = found([[30, 20, 60, 46]] * 12, list(range(12)), list(np.linspace(0.2, 0.9, 12)))
    best = place_labels((64, 48), boxes, lambda _: "dog", PLAIN)[0]
    together = draw(grey(64, 48), boxes, lambda _: "dog", PLAIN)
    alone = draw(grey(64, 48), boxes[[11]], lambda _: "dog", PLAIN)
    x1, y1, x2, y2 = best.corners
    assert best.index == 11
    np.testing.assert_array_equal(together[y1:y2, x1:x2], alone[y1:y2, x1:x2])


# --- colours


def test_text_stands_out_from_every_class_colour() -> None:
    assert min(contrast(text_colour(class_colour(i)), class_colour(i)) for i in range(1000)) >= 4.5


def test_the_text_colour_is_the_better_of_black_and_white() -> None:
    for colour in map(class_colour, range(1000)):
        assert contrast(text_colour(colour), colour) == max(contrast(BLACK, colour), contrast(WHITE, colour))


def test_contrast_is_that_of_the_web_guidelines() -> None:
    assert contrast(BLACK, WHITE) == pytest.approx(21)
    assert contrast((0, 0, 255), WHITE) == pytest.approx(3.998, abs=1e-3)  # pure red on white
    assert contrast(WHITE, (119, 119, 119)) == pytest.approx(4.478, abs=1e-3)  # #777


@given(st.integers(0, 2**63 - 1))
def test_any_class_has_one_vivid_colour(class_id: int) -> None:
    colour = class_colour(class_id)
    assert colour == class_colour(class_id)
    assert all(0 <= part <= 255 for part in colour)
    assert max(colour) - min(colour) >= 100


def test_the_colours_of_eighty_classes_differ() -> None:
    colours = np.array([class_colour(i) for i in range(80)], int)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    assert distance[~np.eye(80, dtype=bool)].min() > 20


def test_a_class_keeps_its_colour_in_any_company() -> None:
    style = DrawStyle(hide_labels=True)
    alone = draw(grey(200, 100), found([[10, 10, 60, 60]], [7]), name_of, style)
    among = draw(grey(200, 100), found([[10, 10, 60, 60], [100, 10, 160, 60]], [7, 3]), name_of, style)
    np.testing.assert_array_equal(alone[:, :80], among[:, :80])


# --- pixelate and crop


@pytest.mark.parametrize("side", [9, 16, 40, 100, 333])
def test_a_box_of_any_size_keeps_at_most_eight_cells_across(side: int) -> None:
    out = pixelate(noise(400, 400), np.array([[20, 30, 20 + side, 30 + side]], np.float32))
    row = out[30 + side // 2, 20 : 20 + side]
    assert (np.abs(np.diff(row.astype(int), axis=0)).sum(axis=1) > 0).sum() <= 7


def test_small_boxes_lose_their_detail_too() -> None:
    out = pixelate(noise(40, 40), np.array([[10, 10, 14, 14]], np.float32))
    assert len(np.unique(out[10:14, 10:14].reshape(-1, 3), axis=0)) == 1


def test_pixelating_keeps_the_mean_of_a_cell() -> None:
    image = noise(64, 64)
    out = pixelate(image, np.array([[0, 0, 64, 64]], np.float32))
    np.testing.assert_allclose(out[0, 0], image[:8, :8].reshape(-1, 3).mean(axis=0), atol=1)


def test_boxes_outside_without_area_or_absent_are_ignored() -> None:
    image = noise(40, 30)
    boxes = np.array([[50, 5, 90, 20], [-20, -20, -1, -1], [7, 7, 7, 7]], np.float32)
    np.testing.assert_array_equal(pixelate(image, boxes), image)
    np.testing.assert_array_equal(pixelate(image, np.zeros((0, 4), np.float32)), image)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([10, 5, 20, 25], slice(5, 25), slice(10, 20)),
        ([9.5, 4.2, 20.1, 24.9], slice(4, 25), slice(9, 21)),
        ([-10, -10, 3, 4], slice(0, 4), slice(0, 3)),
        ([30, 20, 99, 99], slice(20, 30), slice(30, 40)),
        ([7, 8, 7, 8], slice(8, 9), slice(7, 8)),
        ([90, 90, 99, 99], slice(29, 30), slice(39, 40)),
    ],
)
def test_a_crop_is_what_the_box_touches(box: list[float], rows: slice, columns: slice) -> None:
    image = noise(40, 30)
    piece = crop(image, np.array(box, np.float32))
    np.testing.assert_array_equal(piece, image[rows, columns])
    assert not np.shares_memory(piece, image)


# --- the street of samples/


def test_the_sample_video_is_read_by_opencv_to_its_last_frame(samples: Path) -> None:
    video = cv2.VideoCapture(str(samples / "street.mp4"))
    shapes = []
    try:
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(30000 / 1001)
        while (frame := video.read()[1]) is not None:
            shapes.append(frame.shape)
    finally:
        video.release()
    assert shapes == [(480, 640, 3)] * 120
    assert (samples / "street.mp4").stat().st_size <= 1_500_000
