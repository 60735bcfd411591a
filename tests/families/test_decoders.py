"""Every decoder gives back boxes that were written into its raw arrays by the inverse of its layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.boxes import xyxy_to_cxcywh
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families import FAMILIES, DecodeOptions, NetInput, Thresholds
from cvdetect.families.base import Priors, pick_classes
from cvdetect.models.registry import load_models
from tests.conftest import make_detections
from tests.families.test_onnx_decoders import WRITERS as ONNX_WRITERS

WH = (416, 288)  # w ≠ h everywhere
ANCHORS = ((1.5, 2.0), (4.0, 3.0), (6.0, 6.5))
CLASSES = 5
KNOWN = make_detections(
    [[10, 20, 110, 220], [200.5, 30.25, 390, 60], [300, 200, 412, 286]], [3, 0, 4], [0.9, 0.6, 0.45]
)


def write_yolo(images: list[Detections]) -> dict[str, np.ndarray]:
    """Two heads of 40 and 60 rows; the boxes are spread over both."""
    rows = np.zeros((len(images), 100, 5 + CLASSES), np.float32)
    for image, found in zip(rows, images, strict=True):
        for k in range(len(found)):
            row = image[7 + 31 * k]
            row[:4] = xyxy_to_cxcywh(found.xyxy[k]) / np.array([*WH, *WH])
            row[4] = min(1.0, float(found.score[k]) * 1.1)
            row[5 + found.class_id[k]] = found.score[k]
    heads = {"yolo_16": rows[:, :40], "yolo_23": rows[:, 40:]}
    return {k: v[0] for k, v in heads.items()} if len(images) == 1 else heads


def write_region(images: list[Detections]) -> dict[str, np.ndarray]:
    """A grid of 9 x 13 cells; each box goes to the cell of its centre and anchor k."""
    h, w = WH[1] // 32, WH[0] // 32
    raw = np.zeros((len(images), h, w, len(ANCHORS), 5 + CLASSES), np.float32)
    raw[..., 4] = -30
    for grid, found in zip(raw, images, strict=True):
        for k in range(len(found)):
            cx, cy, bw, bh = xyxy_to_cxcywh(found.xyxy[k]) / 32
            cell = grid[int(cy), int(cx), k]
            cell[:2] = [logit(cx % 1), logit(cy % 1)]
            cell[2:4] = np.log(np.array([bw, bh]) / ANCHORS[k])
            cell[4] = logit(min(0.999999, float(found.score[k])))
            cell[5 + found.class_id[k]] = 40.0  # softmax gives it all
    return {"permute_30": raw.reshape(len(images), h, w, -1)}


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def write_detection_output(images: list[Detections]) -> dict[str, np.ndarray]:
    rows = [
        [i, found.class_id[k], found.score[k], *(found.xyxy[k] / np.array([*WH, *WH]))]
        for i, found in enumerate(images)
        for k in range(len(found))
    ]
    rows += [[0.0] * 7] * 20  # rows beyond the detections are zero
    return {"detection_out": np.array(rows, np.float32)[None, None]}


def write_mask_rcnn(images: list[Detections]) -> dict[str, np.ndarray]:
    rows = write_detection_output(images)["detection_out"]
    masks = np.random.default_rng(5).random((rows.shape[2], CLASSES, 9, 15), dtype=np.float32)
    return {"detection_out_final": rows, "detection_masks": masks}


def _priors() -> Priors:
    """Two anchors a cell on 9 x 13 cells, and one a cell on 3 x 2, in shares of the input: y, x, height, width."""
    boxes = [((y + 0.5) / 9, (x + 0.5) / 13, *size) for y in range(9) for x in range(13) for size in SIZES]
    boxes += [((y + 0.5) / 3, (x + 0.5) / 2, 0.5, 0.75) for y in range(3) for x in range(2)]
    return Priors(np.array(boxes, np.float32), (10.0, 9.0, 5.0, 4.0), CLASSES)


SIZES = ((0.2, 0.1), (0.125, 0.25))
PRIORS = _priors()


def write_tflite_ssd(images: list[Detections]) -> dict[str, np.ndarray]:
    """The first map as a convolution gives it, (B, 2 · 4, 9, 13), the second in rows (B, 6, 4)."""
    codes = np.zeros((len(images), len(PRIORS.boxes), 4), np.float32)
    scores = np.zeros((len(images), len(PRIORS.boxes), 1 + CLASSES), np.float32)
    scores[..., 0] = 1  # the background, which is never found
    for i, found in enumerate(images):
        for k in range(len(found)):
            row = (31, 200, len(PRIORS.boxes) - 2)[k]
            cx, cy, w, h = xyxy_to_cxcywh(found.xyxy[k]) / [*WH, *WH]
            y, x, height, width = PRIORS.boxes[row]
            moved = [(cy - y) / height, (cx - x) / width, np.log(h / height), np.log(w / width)]
            codes[i, row] = np.array(moved) * PRIORS.scales
            scores[i, row, 1 + found.class_id[k]] = found.score[k]
    first = codes[:, : 2 * 9 * 13].reshape(len(images), 9, 13, 8).transpose(0, 3, 1, 2)
    return {"map0": first, "map1": codes[:, 2 * 9 * 13 :], "scores": scores}


WRITERS: dict[str, Callable[[list[Detections]], dict[str, np.ndarray]]] = {
    "yolo": write_yolo,
    "region": write_region,
    "detection_output": write_detection_output,
    "mask_rcnn": write_mask_rcnn,
    "tflite_ssd": write_tflite_ssd,
}
NAMES = sorted(WRITERS)


def decode(family: str, outputs: dict[str, np.ndarray], count: int = 1, **options: object) -> list[Detections]:
    chosen = DecodeOptions(anchors=ANCHORS, priors=PRIORS, **{"thresholds": Thresholds(0.25), **options})  # type: ignore[arg-type]
    return FAMILIES[family].decode(outputs, NetInput(count, WH), chosen)


def assert_same(found: Detections, expected: Detections) -> None:
    found, expected = found.sort_by_score(), expected.sort_by_score()
    np.testing.assert_array_equal(found.class_id, expected.class_id)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=0.02)


def test_every_registered_family_is_tested_here_and_every_family_of_models_yaml_is_known() -> None:
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(FAMILIES) <= set(WRITERS) | set(ONNX_WRITERS) | own
    assert {spec.family for spec in load_models()} <= set(FAMILIES)


@pytest.mark.parametrize("family", NAMES)
def test_known_boxes_come_back(family: str) -> None:
    assert_same(decode(family, WRITERS[family]([KNOWN]))[0], KNOWN)


@pytest.mark.parametrize("family", NAMES)
def test_a_batch_of_two_equals_two_batches_of_one(family: str) -> None:
    other = make_detections([[5, 5, 50, 250]], [2], [0.7])
    both = decode(family, WRITERS[family]([KNOWN, other]), 2)
    assert len(both) == 2
    assert_same(both[0], KNOWN)
    assert_same(both[1], other)


@pytest.mark.parametrize("family", NAMES)
def test_nothing_found_is_empty(family: str) -> None:
    assert [len(d) for d in decode(family, WRITERS[family]([Detections.empty()]))] == [0]
    assert [len(d) for d in decode(family, WRITERS[family]([Detections.empty(), KNOWN]), 2)] == [0, 3]


@pytest.mark.parametrize("family", NAMES)
def test_a_score_exactly_at_the_threshold_is_found_and_one_just_above_it_is_not_reached(family: str) -> None:
    score = decode(family, WRITERS[family]([KNOWN]))[0].sort_by_score().score[1]  # as float32 arithmetic gives it
    at = decode(family, WRITERS[family]([KNOWN]), thresholds=Thresholds(float(score)))
    above = decode(family, WRITERS[family]([KNOWN]), thresholds=Thresholds(float(np.nextafter(score, np.float32(1)))))
    assert (len(at[0]), len(above[0])) == (2, 1)


@pytest.mark.parametrize("family", NAMES)
def test_thresholds_of_single_classes_and_a_class_filter_act(family: str) -> None:
    raised = decode(family, WRITERS[family]([KNOWN]), thresholds=Thresholds(0.25, {3: 0.95}))
    lowered = decode(family, WRITERS[family]([KNOWN]), thresholds=Thresholds(0.95, {4: 0.4}))
    only = decode(family, WRITERS[family]([KNOWN]), thresholds=Thresholds(0.25, only=frozenset({0})))
    assert sorted(raised[0].class_id) == [0, 4]
    assert lowered[0].class_id.tolist() == [4]
    assert only[0].class_id.tolist() == [0]


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("yolo", (100,)), ("yolo", (100, 5)), ("yolo", (3, 100, 85)), ("yolo", (1, 1, 100, 7)),
        ("region", (1, 9, 13, 31)), ("region", (2, 9, 13, 30)), ("region", (845, 10)), ("region", (1, 9, 13, 15)),
        ("detection_output", (1, 1, 100, 6)), ("detection_output", (100, 7)), ("detection_output", (1, 90, 15, 15)),
        ("mask_rcnn", (1, 1, 100, 7)), ("tflite_ssd", (1, 240, 4)), ("tflite_ssd", (1, 240, 6)),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_error_with_expected_and_got(family: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError, match=r"expected .* got \("):
        decode(family, {"out": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_output_that_is_no_number_is_an_error_not_an_empty_result(family: str, bad: float) -> None:
    outputs = WRITERS[family]([KNOWN])
    broken = {name: np.full_like(array, bad) for name, array in outputs.items()}
    with pytest.raises(DecodeError, match="not numbers"):
        decode(family, broken)


def test_a_region_model_has_one_output() -> None:
    with pytest.raises(DecodeError, match="one \\[region\\] output"):
        decode("region", {"a": np.zeros((1, 9, 13, 30), np.float32), "b": np.zeros((1, 9, 13, 30), np.float32)})


def test_corners_that_a_graph_gives_swapped_are_put_in_order() -> None:
    outputs = {"detection_out": np.array([[[[0, 1, 0.9, 0.5, 0.75, 0.25, 0.25]]]], np.float32)}
    assert decode("detection_output", outputs)[0].xyxy.tolist() == [[104, 72, 208, 216]]


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_multi_label_finds_every_class_over_its_threshold_and_best_class_one_a_box(n, c, seed, conf) -> None:
    scores = np.random.default_rng(seed).random((n, c), dtype=np.float32)
    rows, classes = pick_classes(scores, DecodeOptions(Thresholds(conf), multi_label=True))
    expected = [(i, j) for i in range(n) for j in range(c) if scores[i, j] >= np.float32(conf)]
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == expected
    rows, classes = pick_classes(scores, DecodeOptions(Thresholds(conf)))
    expected = [(i, int(scores[i].argmax())) for i in range(n) if scores[i].max() >= np.float32(conf)]
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == expected


def test_the_threshold_of_a_class_that_is_filtered_out_cannot_be_reached() -> None:
    table = Thresholds(0.5, {1: 0.1, 9: 0.2}, frozenset({1, 2})).table(4)
    assert table.tolist() == [np.inf, np.float32(0.1), 0.5, np.inf]
    assert Thresholds(0.5, {1: 0.1}).floor == 0.1
