"""Write, read, and have the same detections up to the format's rounding, whatever they are."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.annotations.coco import read_coco, read_results
from cvdetect.annotations.formats import FORMATS, read_truth
from cvdetect.annotations.types import GroundTruth, ImageRecord
from cvdetect.annotations.writing import output_stems
from cvdetect.core.labels import LabelSet
from tests.annotations.conftest import FACTS, Listed
from tests.conftest import make_detections

# One image as a reader finds it: name -> (xyxy (N, 4), labels, scores or None)
Found = dict[str, tuple[np.ndarray, list[str], list[float] | None]]

TEXT = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_categories=["Cc", "Cn"]), min_size=1, max_size=8)
LABELS = st.lists(TEXT.map(str.strip).filter(bool), min_size=1, max_size=4, unique=True)
NAMES = st.lists(
    TEXT.filter(lambda t: "/" not in t and not t.startswith(".") and len(t.encode()) < 60).map(lambda t: t + ".png"),
    max_size=4,
    unique_by=str.casefold,
)


@st.composite
def a_case(draw: st.DrawFn) -> tuple[Listed, LabelSet]:
    labels = draw(LABELS)
    records = []
    for name in draw(NAMES):
        wh = draw(st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
        shares = draw(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=4))
        boxes = [(min(a, c) * wh[0], min(b, d) * wh[1], max(a, c) * wh[0], max(b, d) * wh[1]) for a, b, c, d in shares]
        n = len(boxes)
        classes = draw(st.lists(st.integers(0, len(labels) - 1), min_size=n, max_size=n))
        scores = draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
        records.append(ImageRecord(name, wh, make_detections(boxes, classes, scores)))
    return Listed(records), LabelSet.from_names(labels)


def from_truth(truth: GroundTruth, names: dict[str, str]) -> Found:
    """`names`: the truth's name of an image -> the image's own."""
    return {names[image.name]: (image.xyxy, [truth.labels[i] for i in image.label], None) for image in truth.images}


def read_written_coco(folder: Path, records: Listed) -> Found:
    truth = read_coco(folder / "instances.json")
    results = read_results(folder / "results.json")
    found = from_truth(truth, {name: name for name in records.names()})
    for image in truth.images:
        xyxy, labels, _ = found[image.name]
        mine = results.image_id == image.image_id
        has_area = (results.xyxy[mine, 2:] > results.xyxy[mine, :2]).all(axis=1)
        np.testing.assert_array_equal(results.xyxy[mine][has_area], xyxy)
        found[image.name] = xyxy, labels, list(results.score[mine][has_area])
    return found


def read_written_voc(folder: Path, records: Listed) -> Found:
    return from_truth(read_truth(folder), {stem: name for name, stem in output_stems(records.names()).items()})


def read_written_yolo(folder: Path, records: Listed) -> Found:
    names = {stem: name for name, stem in output_stems(records.names()).items()}
    sizes = {one.name: one.wh for one in records}
    return from_truth(read_truth(folder, lambda stem: sizes[names[stem]]), names)


def read_written_jsonl(folder: Path, _: Listed) -> Found:
    lines = (folder / "detections.jsonl").read_bytes().decode().split("\n")[:-1]
    return {
        one["source"]: (
            np.array([d["box"] for d in one["detections"]]).reshape(-1, 4),
            [d["label"] for d in one["detections"]],
            [d["score"] for d in one["detections"]],
        )
        for one in map(json.loads, lines)
    }


def read_written_csv(folder: Path, _: Listed) -> Found:
    return from_rows(folder / "detections.csv", "source label score x1 y1 x2 y2".split(), lambda _: (1, 1))


def read_written_openimages(folder: Path, records: Listed) -> Found:
    sizes = {one.name: one.wh for one in records}
    columns = "ImageID LabelName Confidence XMin YMin XMax YMax".split()
    return from_rows(folder / "openimages.csv", columns, sizes.__getitem__)


def from_rows(path: Path, columns: list[str], scale: Callable[[str], tuple[int, int]]) -> Found:
    found: dict[str, list[list[str]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            name, *values = (row[c] for c in columns)
            found.setdefault(name, []).extend([values] if values[0] else [])
    return {
        name: (
            np.array([list(map(float, r[2:])) for r in rows]).reshape(-1, 4) * np.tile(scale(name), 2),
            [r[0] for r in rows],
            [float(r[1]) for r in rows],
        )
        for name, rows in found.items()
    }


def read_written_cvat(folder: Path, _: Listed) -> Found:
    found: Found = {}
    for image in ElementTree.parse(folder / "annotations.xml").getroot().findall("image"):
        boxes = image.findall("box")
        xyxy = [[float(box.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr")] for box in boxes]
        scores = [float(str(box.findtext("attribute"))) for box in boxes]
        found[image.attrib["name"]] = np.array(xyxy).reshape(-1, 4), [b.attrib["label"] for b in boxes], scores
    return found


# format -> (its reader, how far an edge may be off: pixels, and share of the image's longer side)
READERS: dict[str, tuple[Callable[[Path, Listed], Found], float, float]] = {
    "coco": (read_written_coco, 0.0101, 0),
    "voc": (read_written_voc, 1.5, 0),  # half a pixel by rounding, one more where a box gets its one pixel
    "yolo": (read_written_yolo, 0, 1e-6),
    "yolo-darknet": (read_written_yolo, 0, 1e-6),
    "jsonl": (read_written_jsonl, 0.00501, 0),
    "csv": (read_written_csv, 0.00501, 0),
    "openimages": (read_written_openimages, 0, 0.51e-6),
    "cvat": (read_written_cvat, 0.00501, 0),
}


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=60)
@given(case=a_case())
def test_what_was_written_is_read(name: str, case: tuple[Listed, LabelSet]) -> None:
    records, labels = case
    read, pixels, share = READERS[name]
    if name in ("voc", "yolo", "yolo-darknet") and not records.records:
        return  # a folder without a label file is refused
    with tempfile.TemporaryDirectory() as folder:
        FORMATS[name].write(Path(folder), records, labels, FACTS)
        found = read(Path(folder), records)
    for one in records:
        kept = one.found[_survivors(name, one)]
        xyxy, names, scores = found.get(one.name, (np.zeros((0, 4)), [], None))
        np.testing.assert_allclose(xyxy, kept.xyxy, rtol=1e-6, atol=pixels + share * max(one.wh))
        assert names == [labels.label(int(c)) for c in kept.class_id]
        if scores is not None:
            np.testing.assert_allclose(scores, kept.score, atol=0.51e-6)


def _survivors(name: str, one: ImageRecord) -> np.ndarray:
    """Ground truth has no boxes without area: those that rounding leaves with none are not read back."""
    xyxy = one.found.xyxy.astype(np.float64)
    size = xyxy[:, 2:] - xyxy[:, :2]
    if name == "coco":
        return np.array([all(round(float(v), 2) > 0 for v in row) for row in size], bool)
    if name in ("yolo", "yolo-darknet"):
        return np.array([all(round(float(v), 6) > 0 for v in row / one.wh) for row in size], bool)
    return np.ones(len(xyxy), bool)
