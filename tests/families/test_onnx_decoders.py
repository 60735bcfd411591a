"""Decoders of ONNX models give back boxes that were written into raw arrays by the inverse of their layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.boxes import xyxy_to_cxcywh
from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families import FAMILIES, DecodeOptions, NetInput, Thresholds, check_family, recognise, recognised
from cvdetect.families.base import OutputSignature, sigmoid
from tests.conftest import make_detections

WH = (416, 288)  # w ≠ h everywhere
CLASSES = 6
KNOWN = make_detections(
    [[10, 20, 110, 220], [200.5, 30.25, 390, 60], [300, 200, 412, 286]], [3, 1, 4], [0.9, 0.6, 0.45]
)
OTHER = make_detections([[5, 5, 50, 250]], [2], [0.7])
Outputs = dict[str, np.ndarray]


def cell_of(box: np.ndarray, strides: tuple[int, ...], scale: int) -> tuple[int, int, int]:
    """Row number among the cells of all strides, column and row of the cell under the middle of `box`."""
    before = total(strides[:scale])
    cx, cy = (box[0] + box[2]) / 2 / strides[scale], (box[1] + box[3]) / 2 / strides[scale]
    return before + int(cy) * -(-WH[0] // strides[scale]) + int(cx), int(cx), int(cy)


def total(strides: tuple[int, ...]) -> int:
    return sum(-(-WH[0] // s) * -(-WH[1] // s) for s in strides)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def write_yolo_v5(images: list[Detections]) -> Outputs:
    rows = np.zeros((len(images), 3 * total((8, 16, 32)), 5 + CLASSES), np.float32)
    for image, found in zip(rows, images, strict=True):
        for k in range(len(found)):
            row = image[11 + 301 * k]
            row[:4] = xyxy_to_cxcywh(found.xyxy[k])
            row[4] = 0.95
            row[5 + found.class_id[k]] = found.score[k] / 0.95
    return {"output0": rows}


def write_yolo_v8(images: list[Detections]) -> Outputs:
    raw = np.zeros((len(images), 4 + CLASSES, total((8, 16, 32))), np.float32)
    for image, found in zip(raw, images, strict=True):
        for k in range(len(found)):
            image[:4, 7 + 401 * k] = xyxy_to_cxcywh(found.xyxy[k])
            image[4 + found.class_id[k], 7 + 401 * k] = found.score[k]
    return {"output0": raw}


def write_yolox(images: list[Detections]) -> Outputs:
    strides = (8, 16, 32)
    raw = np.zeros((len(images), total(strides), 5 + CLASSES), np.float32)
    for image, found in zip(raw, images, strict=True):
        for k in range(len(found)):
            index, column, row = cell_of(found.xyxy[k], strides, k % 3)
            cx, cy, w, h = xyxy_to_cxcywh(found.xyxy[k]) / strides[k % 3]
            image[index, :4] = [cx - column, cy - row, np.log(w), np.log(h)]
            image[index, 4] = 0.95
            image[index, 5 + found.class_id[k]] = found.score[k] / 0.95
    return {"output": raw}


def distribution(distance: float) -> np.ndarray:
    """Logits of eight bins whose mean is `distance` (0 to 7): the two bins beside it share all."""
    low = min(int(distance), 6)
    share = np.clip(distance - low, 1e-7, 1 - 1e-7)
    logits = np.full(8, -40.0, np.float32)
    logits[low], logits[low + 1] = np.log(1 - share), np.log(share)
    return logits


def write_nanodet(images: list[Detections], strides: tuple[int, ...] = (8, 16, 32), middle: float = 0.5) -> Outputs:
    scores = np.zeros((len(images), total(strides), CLASSES), np.float32)
    boxes = np.zeros((len(images), total(strides), 32), np.float32)
    for i, found in enumerate(images):
        for k in range(len(found)):
            index, column, row = cell_of(found.xyxy[k], strides, 2)
            at = np.array([column + middle, row + middle] * 2)
            sides = (found.xyxy[k] / 32 - at) * [-1, -1, 1, 1]
            boxes[i, index] = np.concatenate([distribution(float(side)) for side in sides])
            scores[i, index, found.class_id[k]] = found.score[k]
    if len(strides) == 4:
        return {"output": np.concatenate([scores, boxes], axis=2)}
    cuts = np.cumsum([total((s,)) for s in strides])[:-1]
    parts = {"s": np.split(scores, cuts, axis=1), "b": np.split(boxes, cuts, axis=1)}
    return {f"{kind}{level}": part for level in (1, 0, 2) for kind, p in parts.items() for part in [p[level]]}


def write_detr(images: list[Detections]) -> Outputs:
    """Softmax with "no object" last; each guess has two classes that share all."""
    logits = np.full((len(images), 30, CLASSES + 1), -40, np.float32)
    logits[..., -1] = 40
    boxes = np.full((len(images), 30, 4), 0.5, np.float32)
    for i, found in enumerate(images):
        for k in range(len(found)):
            logits[i, 9 * k, -1] = np.log(1 - found.score[k])
            logits[i, 9 * k, found.class_id[k]] = np.log(found.score[k])
            boxes[i, 9 * k] = xyxy_to_cxcywh(found.xyxy[k]) / [*WH, *WH]
    return {"logits": logits, "pred_boxes": boxes}


def write_rt_detr(images: list[Detections]) -> Outputs:
    softmaxed = write_detr(images)
    logits = np.full((len(images), 30, CLASSES), -40, np.float32)
    for i, found in enumerate(images):
        for k in range(len(found)):
            logits[i, 9 * k, found.class_id[k]] = logit(float(found.score[k]))
    return {"pred_boxes": softmaxed["pred_boxes"], "logits": logits}


GRIDS = ((52, 36), (26, 18), (13, 9), (7, 5), (4, 3))


def write_retinanet(images: list[Detections]) -> Outputs:
    """Known boxes on the fourth scale (anchors of 256 pixels and more) and its square anchor, number 3."""
    rows = 9 * sum(w * h for w, h in GRIDS)
    logits = np.full((len(images), rows, CLASSES), -40, np.float32)
    offsets = np.zeros((len(images), rows, 4), np.float32)
    before = 9 * sum(w * h for w, h in GRIDS[:3])
    for i, found in enumerate(images):
        for k in range(len(found)):
            column, row = 2 * k, 1 + k
            index = before + 9 * (row * 7 + column) + 3
            cx, cy, w, h = xyxy_to_cxcywh(found.xyxy[k])
            x, y = column * (416 // 7), row * (288 // 5)
            offsets[i, index] = [(cx - x) / 256, (cy - y) / 256, np.log(w / 256), np.log(h / 256)]
            logits[i, index, found.class_id[k]] = logit(float(found.score[k]))
    return {"cls_logits": logits, "bbox_regression": offsets}


def write_fcos(images: list[Detections]) -> Outputs:
    rows = sum(w * h for w, h in GRIDS)
    logits = np.full((len(images), rows, CLASSES), -40, np.float32)
    sides = np.zeros((len(images), rows, 4), np.float32)
    centreness = np.full((len(images), rows, 1), logit(0.98), np.float32)
    before = sum(w * h for w, h in GRIDS[:2])
    for i, found in enumerate(images):
        for k in range(len(found)):
            column, row = (found.xyxy[k, :2] + found.xyxy[k, 2:]) // 64
            index = before + int(row) * 13 + int(column)
            at = np.array([column, row, column, row]) * 32
            sides[i, index] = (found.xyxy[k] - at) / 32 * [-1, -1, 1, 1]
            logits[i, index, found.class_id[k]] = logit(float(found.score[k]) ** 2 / 0.98)
    return {"cls_logits": logits, "bbox_regression": sides, "bbox_ctrness": centreness}


def write_end2end(images: list[Detections]) -> Outputs:
    rows = np.zeros((len(images), 40, 6), np.float32)
    for image, found in zip(rows, images, strict=True):
        n = len(found)
        image[:n, :4], image[:n, 4], image[:n, 5] = found.xyxy, found.score, found.class_id
    return {"output0": rows}


WRITERS: dict[str, Callable[[list[Detections]], Outputs]] = {
    "yolo_v5": write_yolo_v5,
    "yolo_v7": write_yolo_v5,
    "yolo_v8": write_yolo_v8,
    "yolox": write_yolox,
    "nanodet": write_nanodet,
    "detr": write_detr,
    "rt_detr": write_rt_detr,
    "retinanet": write_retinanet,
    "fcos": write_fcos,
    "end2end": write_end2end,
}
DECODER_NAMES = sorted(WRITERS)


def decode(decoder: str, outputs: Outputs, count: int = 1, **options: object) -> list[Detections]:
    chosen = DecodeOptions(**{"thresholds": Thresholds(0.25), **options})  # type: ignore[arg-type]
    return FAMILIES[decoder].decode(outputs, NetInput(count, WH), chosen)


def assert_same(found: Detections, expected: Detections, atol: float = 0.02) -> None:
    found, expected = found.sort_by_score(), expected.sort_by_score()
    np.testing.assert_array_equal(found.class_id, expected.class_id)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=atol)


def test_every_family_that_is_written_here_can_be_named() -> None:
    assert set(WRITERS) <= set(recognised())


@pytest.mark.parametrize("decoder", DECODER_NAMES)
def test_known_boxes_come_back(decoder: str) -> None:
    assert_same(decode(decoder, WRITERS[decoder]([KNOWN]))[0], KNOWN)


@pytest.mark.parametrize("decoder", DECODER_NAMES)
def test_a_batch_of_two_equals_two_batches_of_one(decoder: str) -> None:
    both = decode(decoder, WRITERS[decoder]([KNOWN, OTHER]), 2)
    alone = [decode(decoder, WRITERS[decoder]([image]))[0] for image in (KNOWN, OTHER)]
    assert len(both) == 2
    for got, one, expected in zip(both, alone, (KNOWN, OTHER), strict=True):
        assert_same(got, one, atol=1e-4)
        assert_same(got, expected)


@pytest.mark.parametrize("decoder", DECODER_NAMES)
def test_nothing_found_is_empty(decoder: str) -> None:
    assert [len(d) for d in decode(decoder, WRITERS[decoder]([Detections.empty()]))] == [0]
    assert [len(d) for d in decode(decoder, WRITERS[decoder]([Detections.empty(), KNOWN]), 2)] == [0, 3]


@pytest.mark.parametrize("decoder", DECODER_NAMES)
def test_a_score_exactly_at_the_threshold_is_found_and_one_just_above_it_is_not_reached(decoder: str) -> None:
    score = decode(decoder, WRITERS[decoder]([KNOWN]))[0].sort_by_score().score[1]  # as float32 arithmetic gives it
    at = decode(decoder, WRITERS[decoder]([KNOWN]), thresholds=Thresholds(float(score)))
    above = decode(decoder, WRITERS[decoder]([KNOWN]), thresholds=Thresholds(float(np.nextafter(score, np.float32(1)))))
    assert (len(at[0]), len(above[0])) == (2, 1)


@pytest.mark.parametrize("decoder", DECODER_NAMES)
def test_thresholds_of_single_classes_and_a_class_filter_act(decoder: str) -> None:
    raised = decode(decoder, WRITERS[decoder]([KNOWN]), thresholds=Thresholds(0.25, {3: 0.95}))
    lowered = decode(decoder, WRITERS[decoder]([KNOWN]), thresholds=Thresholds(0.95, {4: 0.4}))
    only = decode(decoder, WRITERS[decoder]([KNOWN]), thresholds=Thresholds(0.25, only=frozenset({1})))
    assert sorted(raised[0].class_id) == [1, 4]
    assert lowered[0].class_id.tolist() == [4]
    assert only[0].class_id.tolist() == [1]


@pytest.mark.parametrize("decoder", sorted(set(WRITERS) - {"end2end"}))
def test_multi_label_gives_every_class_of_a_box_that_reaches_the_threshold(decoder: str) -> None:
    outputs = WRITERS[decoder]([KNOWN])
    assert len(decode(decoder, outputs, thresholds=Thresholds(1e-9), multi_label=True)[0]) >= 3
    both = WRITERS["yolo_v8"]([OTHER])
    both["output0"][0, 4 + 5, 7] = 0.5
    assert decode("yolo_v8", both, multi_label=True)[0].class_id.tolist() == [2, 5]
    assert decode("yolo_v8", both)[0].class_id.tolist() == [2]


@pytest.mark.parametrize("decoder", DECODER_NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_output_that_is_no_number_is_an_error_not_an_empty_result(decoder: str, bad: float) -> None:
    broken = {name: np.full_like(array, bad) for name, array in WRITERS[decoder]([KNOWN]).items()}
    with pytest.raises(DecodeError, match="not numbers"):
        decode(decoder, broken)


@pytest.mark.parametrize("decoder", DECODER_NAMES)
@pytest.mark.parametrize(
    "shapes",
    [
        [], [(100,)], [(1, 1, 100, 7)], [(3, 100, 85)], [(1, 100, 4)], [(1, 6, 100), (1, 6, 100), (1, 6, 100)],
        [(1, 84, 77)] * 4, [(2, 30, 7), (2, 30, 4)], [(1, 30, 7), (1, 31, 4)], [(1, 0, 0)],
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_error_with_expected_and_got(decoder: str, shapes: list[tuple[int, ...]]) -> None:
    outputs = {f"out{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(DecodeError, match=r"expected .* got "):
        decode(decoder, outputs)


@pytest.mark.parametrize("decoder", ["yolo_v5", "yolo_v8", "yolox", "nanodet", "end2end"])
def test_scores_that_are_no_probabilities_are_another_decoders_output(decoder: str) -> None:
    raw = {name: array - 5 for name, array in WRITERS[decoder]([KNOWN]).items()}
    with pytest.raises(DecodeError, match=r"expected 0 to 1: .*decoder"):
        decode(decoder, raw)


@pytest.mark.parametrize("decoder", ["yolo_v5", "yolox"])
def test_a_size_that_overflows_is_an_error(decoder: str) -> None:
    outputs = WRITERS[decoder]([KNOWN])
    next(iter(outputs.values()))[..., 2:4] = 1e38 if decoder == "yolox" else np.inf
    with pytest.raises(DecodeError, match="boxes that are not numbers"):
        decode(decoder, outputs)


def test_nanodet_plus_measures_from_the_corner_of_its_cells_on_four_strides() -> None:
    found = make_detections([[10, 20, 110, 220], [300, 200, 412, 286]], [3, 4], [0.9, 0.45])
    assert_same(decode("nanodet", write_nanodet([found], (8, 16, 32, 64), 0.0))[0], found)


def test_nanodet_with_as_many_classes_as_box_values_takes_the_scores_that_come_first() -> None:
    outputs = write_nanodet([KNOWN])
    wide = {n: np.pad(a, ((0, 0), (0, 0), (0, 32 - a.shape[2]))) for n, a in outputs.items()}
    assert_same(decode("nanodet", wide)[0], KNOWN)


def test_yolo_v7_end2end_rows_say_which_image_they_are_of() -> None:
    rows = [[i, *found.xyxy[k], found.class_id[k], found.score[k]] for i, found in enumerate((OTHER, KNOWN))
            for k in range(len(found))]  # fmt: skip
    first, second = decode("end2end", {"output": np.array(rows, np.float32)}, 2)
    assert_same(first, OTHER)
    assert_same(second, KNOWN)


def test_boxes_with_scores_beside_an_array_of_classes_are_read_too() -> None:
    dets = np.concatenate([KNOWN.xyxy, KNOWN.score[:, None]], axis=1)[None]
    for outputs in ({"dets": dets, "labels": KNOWN.class_id[None]}, {"labels": KNOWN.class_id[None], "dets": dets}):
        assert_same(decode("end2end", outputs)[0], KNOWN)


@pytest.mark.parametrize("class_id", [-3, 1e9])
def test_a_class_number_beyond_reason_is_an_error(class_id: float) -> None:
    rows = np.array([[[1, 2, 3, 4, 0.9, class_id]]], np.float32)
    with pytest.raises(DecodeError, match="has class"):
        decode("end2end", {"output0": rows})


def test_rt_detr_in_one_array_has_scores_that_are_squashed_already() -> None:
    both = write_rt_detr([KNOWN])
    rows = np.concatenate([both["pred_boxes"], sigmoid(both["logits"])], axis=2)
    assert_same(decode("rt_detr", {"output0": rows})[0], KNOWN)


def test_class_0_of_torchvisions_heads_is_the_background_and_never_found() -> None:
    background = make_detections([[10, 20, 110, 220]], [0], [0.9])
    for decoder in ("retinanet", "fcos"):
        assert len(decode(decoder, WRITERS[decoder]([background]))[0]) == 0


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=9))
def test_sigmoid_never_overflows_and_is_symmetric(values: list[float]) -> None:
    x = np.array(values, np.float32)
    np.testing.assert_allclose(sigmoid(x) + sigmoid(-x), 1, atol=1e-6)


@pytest.mark.parametrize("decoder", ["yolo_v5", "yolo_v8"])
def test_boxes_in_shares_of_the_input_come_back_in_pixels(decoder: str) -> None:
    ((name, raw),) = WRITERS[decoder]([KNOWN]).items()
    where = np.s_[:, :4] if decoder == "yolo_v8" else np.s_[..., :4]
    shape = (4, 1) if decoder == "yolo_v8" else (4,)
    raw[where] /= np.array([*WH, *WH], np.float32).reshape(shape)
    assert_same(decode(decoder, {name: raw})[0], KNOWN)


# ---- which decoder ----

SEEN = {
    "yolo_v5": ({"output0": (1, 25200, 85)}, (640, 640), False, 80),
    "yolo_v5 of one class": ({"output0": (1, 25200, 6)}, (640, 640), False, 1),
    "yolo_v5 (YOLOX that decodes)": ({"output": (1, 8400, 85)}, (640, 640), False, 80),
    "yolo_v5 (p6)": ({"output0": (1, 102000, 85)}, (1280, 1280), False, 80),
    "yolo_v8": ({"output0": (1, 84, 8400)}, (640, 640), False, 80),
    "yolo_v8 of two classes, wide": ({"output0": (1, 6, 4620)}, (640, 352), False, 2),
    "yolox": ({"output": (1, 3549, 85)}, (416, 416), True, 80),
    "nanodet": ({"c8": (1, 2704, 80), "c16": (1, 676, 80), "c32": (1, 169, 80), "b8": (1, 2704, 32),
                 "b16": (1, 676, 32), "b32": (1, 169, 32)}, (416, 416), True, 80),
    "nanodet (plus)": ({"output": (1, 3598, 112)}, (416, 416), True, 80),
    "detr": ({"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}, (800, 800), False, 90),
    "rt_detr": ({"pred_boxes": (1, 300, 4), "logits": (1, 300, 80)}, (640, 640), False, 80),
    "rt_detr of Ultralytics": ({"output0": (1, 300, 84)}, (640, 640), False, 80),
    "retinanet": ({"cls_logits": (1, 76725, 91), "bbox_regression": (1, 76725, 4)}, (640, 640), True, 90),
    "fcos": ({"a": (1, 8525, 91), "b": (1, 8525, 4), "c": (1, 8525, 1)}, (640, 640), True, 90),
    "end2end": ({"output0": (1, 300, 6)}, (640, 640), False, None),
    "end2end (v7)": ({"output": (17, 7)}, (640, 640), False, None),
    "end2end (dets)": ({"dets": (1, 100, 5), "labels": (1, 100)}, (640, 640), False, None),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_a_decoder_is_recognised_by_names_and_shapes(case: str) -> None:
    outputs, wh, raw, classes = SEEN[case]
    family, layout = recognise(OutputSignature(outputs, wh, raw))
    assert (family.name, layout.classes) == (case.split(maxsplit=1)[0], classes)
    assert check_family(family, OutputSignature(outputs, wh, raw)) == layout
    assert family.suppressed == (family.name in ("detr", "rt_detr", "end2end"))


def test_a_segmentation_model_fits_no_decoder_and_all_are_listed() -> None:
    shapes = {"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}
    with pytest.raises(DecodeError) as caught:
        recognise(OutputSignature(shapes, (640, 640)))
    assert all(name in str(caught.value) for name in [*recognised(), "1x32x160x160", "640x640"])


def test_shapes_that_fit_two_decoders_are_an_error_that_names_both_unless_class_names_decide() -> None:
    shapes = {"logits": (1, 100, 12), "pred_boxes": (1, 100, 4)}
    with pytest.raises(DecodeError, match=r"fit the decoders detr and rt_detr: choose one with decoder"):
        recognise(OutputSignature(shapes, (640, 640)))
    assert recognise(OutputSignature({"o": (1, 3549, 35)}, (416, 416), True, names=3))[0].name == "nanodet"
    assert recognise(OutputSignature({"o": (1, 3549, 35)}, (416, 416), True, names=30))[0].name == "yolox"


def test_a_wrong_decoder_is_reported_with_the_right_one() -> None:
    with pytest.raises(DecodeError, match=r"1x84x8400 do not fit decoder yolox: they look like yolo_v8"):
        check_family(FAMILIES["yolox"], OutputSignature({"output0": (1, 84, 8400)}, (640, 640)))
    with pytest.raises(DecodeError, match=r"do not fit decoder yolox for an input of 320x320; there are yolo_v5"):
        check_family(FAMILIES["yolox"], OutputSignature({"output0": (1, 84, 8400)}, (320, 320)))


@pytest.mark.parametrize(
    "shapes",
    [
        {"a": (1, 3, 36, 52, 85), "b": (1, 3, 18, 26, 85), "c": (1, 3, 9, 13, 85)},
        {"a": (1, 255, 36, 52), "b": (1, 255, 18, 26), "c": (1, 255, 9, 13)},
        {"a": (1, 18, 18, 26), "b": (1, 18, 9, 13)},  # a tiny one with one class
    ],
)
def test_heads_whose_boxes_are_not_decoded_are_reported_with_an_export_hint(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    for ask in (
        recognise,
        lambda model: check_family(FAMILIES["yolo_v7"], model),
        lambda model: check_family(FAMILIES["yolo_v5"], model),
    ):
        with pytest.raises(DecodeError, match=r"before their boxes are decoded.*export.py --grid"):
            ask(OutputSignature(shapes, WH))
    with pytest.raises(DecodeError, match="fit no decoder"):
        recognise(OutputSignature(shapes, (640, 640)))


def test_the_grid_distinguishes_a_yolox_that_decodes_in_its_graph_from_one_that_does_not() -> None:
    shapes = {"output": (1, 3549, 85)}
    assert recognise(OutputSignature(shapes, (416, 416), raw=True))[0].name == "yolox"
    assert recognise(OutputSignature(shapes, (416, 416), raw=False))[0].name == "yolo_v5"
