from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.core.labels import BUILT_IN
from cvdetect.core.record import as_line, image_record
from cvdetect.sinks.json_lines import JsonLines
from tests.conftest import make_detections

COCO80 = BUILT_IN["coco80"](0)


def test_a_record_has_the_keys_of_the_contract_in_their_order() -> None:
    found = make_detections([[124.44, 218.9, 382.3, 518.456]], [16], [0.829])
    record = image_record("photo.jpg", (768, 576), found, "tiny", {"runtime": "opencv"}, COCO80, {"frame": 3})
    assert as_line(record) == (
        '{"schema":1,"source":"photo.jpg","width":768,"height":576,"model":"tiny","frame":3,"ran":{"runtime":"opencv"},'
        '"detections":[{"class_id":16,"label":"dog","category_id":18,"score":0.829,"box":[124.44,218.9,382.3,518.46]}]}'
    )


def test_a_mask_is_coco_rle_of_the_whole_image() -> None:
    found = replace(make_detections([[1, 1, 3, 3]], [16]), masks=(np.ones((2, 2), np.float32),))
    (detection,) = image_record("a.jpg", (4, 5), found, "tiny", {}, COCO80)["detections"]
    assert list(detection)[-1] == "mask"
    # Runs down the columns of 5: 6 outside, 2 inside, 3 outside, 2 inside, 7 outside.
    assert detection["mask"] == {"size": [5, 4], "counts": "62304"}


@given(st.text(st.characters(codec="utf-8")), st.binary())
def test_any_file_name_comes_back(text: str, raw: bytes) -> None:
    for name in (text, raw.decode("utf-8", "surrogateescape")):
        line = as_line({"source": name})
        line.encode("utf-8")
        assert "\n" not in line
        assert json.loads(line) == {"source": name}


def test_what_is_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError):
        as_line({"score": float("nan")})


def test_the_sink_takes_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    with JsonLines(str(tmp_path / "x.jsonl"), "tiny", {}, COCO80) as sink:
        sink.write(Frame(np.zeros((2, 3, 3), np.uint8), name), Detections.empty())
    assert json.loads((tmp_path / "x.jsonl").read_text("utf-8"))["source"] == name
