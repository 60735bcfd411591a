"""Each detection of a Mask R-CNN has the mask of its own row and class."""

from __future__ import annotations

import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError
from cvdetect.families import DecodeOptions, NetInput, Thresholds
from cvdetect.families.mask_rcnn import decode_mask_rcnn
from tests.conftest import make_detections
from tests.families.test_decoders import CLASSES, KNOWN, WH, write_mask_rcnn

OPTIONS = DecodeOptions(Thresholds(0.25))


def decode(outputs: dict[str, np.ndarray], count: int = 1, options: DecodeOptions = OPTIONS) -> list[Detections]:
    return decode_mask_rcnn(outputs, NetInput(count, WH), options)


def test_known_masks_come_back() -> None:
    outputs = write_mask_rcnn([KNOWN])
    (found,) = decode(outputs)
    masks = outputs["detection_masks"]
    assert found.masks is not None and len(found.masks) == 3
    for row, (mask, class_id) in enumerate(zip(found.masks, KNOWN.class_id, strict=True)):
        np.testing.assert_array_equal(mask, masks[row, class_id])
    np.testing.assert_array_equal(found.mask_xyxy, found.xyxy)


def test_masks_of_a_batch_belong_to_their_images() -> None:
    other = make_detections([[5, 5, 50, 250]], [2], [0.7])
    outputs = write_mask_rcnn([KNOWN, other])
    first, second = decode(outputs, 2)
    np.testing.assert_array_equal(first.masks[2], outputs["detection_masks"][2, 4])
    np.testing.assert_array_equal(second.masks[0], outputs["detection_masks"][3, 2])


def test_detections_below_the_threshold_take_no_mask_from_others() -> None:
    outputs = write_mask_rcnn([KNOWN])
    (found,) = decode(outputs, options=DecodeOptions(Thresholds(0.5, {3: 0.95})))
    assert found.class_id.tolist() == [0]
    np.testing.assert_array_equal(found.masks[0], outputs["detection_masks"][1, 0])


def test_nothing_found_has_no_masks_but_is_of_their_kind() -> None:
    (found,) = decode(write_mask_rcnn([Detections.empty()]))
    assert found.masks == ()


def test_one_mask_for_all_classes_is_everyones() -> None:
    outputs = write_mask_rcnn([KNOWN])
    outputs["detection_masks"] = outputs["detection_masks"][:, :1]
    (found,) = decode(outputs)
    np.testing.assert_array_equal(found.masks[1], outputs["detection_masks"][1, 0])


def test_boxes_are_clipped_to_the_input_as_the_crops_are_that_masks_are_made_of() -> None:
    (found,) = decode(write_mask_rcnn([make_detections([[-20, 10, 500, 300]])]))
    assert found.xyxy.tolist() == found.mask_xyxy.tolist() == [[0, 10, *WH]]


def test_a_value_over_one_by_rounding_is_one() -> None:
    outputs = write_mask_rcnn([KNOWN])
    outputs["detection_masks"][:] = np.nextafter(np.float32(1), np.float32(2))
    assert decode(outputs)[0].masks[0].max() == 1


@pytest.mark.parametrize("shape", [(23, CLASSES, 15), (22, CLASSES, 9, 15), (23, CLASSES, 0, 15), (1, 1, 23, 7)])
def test_masks_of_a_wrong_shape_are_an_error_with_expected_and_got(shape: tuple[int, ...]) -> None:
    outputs = write_mask_rcnn([KNOWN]) | {"detection_masks": np.zeros(shape, np.float32)}
    with pytest.raises(DecodeError, match=r"expected \(23, classes, height, width\), got \("):
        decode(outputs)


def test_a_class_without_a_mask_is_an_error() -> None:
    outputs = write_mask_rcnn([KNOWN])
    outputs["detection_masks"] = outputs["detection_masks"][:, :4]
    with pytest.raises(DecodeError, match=r"expected a mask for class 4, got \(23, 4, 9, 15\)"):
        decode(outputs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_mask_that_is_no_number_is_an_error(bad: float) -> None:
    outputs = write_mask_rcnn([KNOWN])
    outputs["detection_masks"][1, 0, 4, 4] = bad
    with pytest.raises(DecodeError, match="not numbers"):
        decode(outputs)
    outputs["detection_masks"][1, 0, 4, 4] = 0
    outputs["detection_masks"][15:] = bad  # of rows beyond the detections
    assert len(decode(outputs)[0]) == 3
