"""Detections come back from the manifest as they went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.jobs.annotate.manifest.outcome import pack, unpack
from tests.conftest import make_detections


def same(a: Detections, b: Detections) -> None:
    for name in ("xyxy", "class_id", "score", "mask_xyxy"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.masks is None) == (b.masks is None)
    for one, other in zip(a.masks or (), b.masks or (), strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=5))
def test_masks_of_any_sizes_come_back_bit_for_bit(seed: int, shapes: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(seed)
    low = random.random((len(shapes), 2)) * 50
    boxes = np.concatenate([low, low + random.random((len(shapes), 2)) * 50], axis=1)
    plain = make_detections(boxes.tolist(), list(range(len(shapes))), random.random(len(shapes)).tolist())
    masks = tuple(random.random(shape, dtype=np.float32) for shape in shapes)
    same(unpack(pack(plain)), plain)
    if shapes:  # of nothing there is nothing to remember
        found = replace(plain, masks=masks, mask_xyxy=plain.xyxy - np.float32(3))
        same(unpack(pack(found)), found)
    assert len(unpack(pack(replace(plain[:0], masks=())))) == 0


@pytest.mark.parametrize("boxes", [[], [[1, 2, 3, 4]]])
def test_what_failed_is_not_what_is_empty(boxes: list[list[float]]) -> None:
    assert pack(None) is None
    assert len(unpack(pack(make_detections(boxes)))) == len(boxes)
