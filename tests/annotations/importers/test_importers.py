"""What is written is what other people's importers read: the same images, sizes, classes and boxes.

They need an environment of their own, because datumaro and labelformat bring opencv-python-headless, which would take
the place of the OpenCV that other tests need: ``bash tests/annotations/importers/make_environment.sh``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.writing import output_stems, placed_name
from cvdetect.core.detections import Detections
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.annotate import run as run_module
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.runtime import Ran
from tests.conftest import ROOT, make_detections

HERE = Path(__file__).parent
FOLDER = ROOT / ".venv-importers"
PYTHON = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

# Labels that YAML takes for something else where they are not quoted, and what a list or a table may trip over.
LABELS = ["person", "traffic light", 'it\'s "x"', "yes", "n", "1", "null", "köttbullar 😀", "1e3", "~", "[x]", "50%"]
FLAT = ["a.jpg", "b c.jpg", "ünï.jpg", "d.e.f.jpg", "none.jpg", "turned.jpg"]
TREE = ["a.jpg", "a.png", "sub/a.jpg", "sub two/b.jpg", "sub/deep/ü c.png", "sub/none.jpg"]

Boxes = list[list[Any]]


class Detector:
    """As many boxes as an image's brightness says, none where it is black."""

    name = "fake"
    labels = LabelSet.from_names(LABELS)
    ran = Ran("fake", "fake", "cpu", "none", "fp32")

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        grey = round(float(image.mean()))
        height, width = image.shape[:2]
        boxes = [[5.37 + i, 6.61, 0.7 * width + i, 0.9 * height - 0.29] for i in range(min(grey // 20, 3))]
        return make_detections(boxes, [(grey // 20 + 5 * i) % len(LABELS) for i in range(len(boxes))])


def picture(path: Path, number: int) -> None:
    """Every size and brightness differs; ``turned`` is upright only by its EXIF orientation, ``none`` is black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = 0 if path.stem == "none" else 20 * number + 25
    data = cv2.imencode(path.suffix, np.full((60 + number, 90 + 3 * number, 3), grey, np.uint8))[1].tobytes()
    if path.stem == "turned":
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    path.write_bytes(data)


def written(base: Path, names: Sequence[str], **images: bool) -> dict[str, Any]:
    """Write all formats for images of these names → what they must say of each, in JSON's shape."""
    for number, name in enumerate(names):
        picture(base / "photos" / name, number)
    job = AnnotateJob(images=str(base / "photos"), out=base / "out", formats=tuple(FORMATS), **images)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_module, "load_detectors", lambda *_, **__: [Detector()])
        patched.setattr(run_module, "model_digests", lambda *_: {"weights fake": (1, 1, "0" * 64)})
        assert annotate(job).exit_code == 0
    lines = (base / "out/jsonl/detections.jsonl").read_text("utf-8").splitlines()
    return {one["source"]: one for one in map(json.loads, lines)}


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the flat set and of the tree, what each importer found, and under "truth" what is there.

    One process reads all, because it takes seconds to import the importers.
    """
    if not PYTHON.exists():
        pytest.skip(f"no {FOLDER.name}: bash {(HERE / 'make_environment.sh').relative_to(ROOT)}")
    base = tmp_path_factory.mktemp("sets")
    truths = [written(base / "flat", FLAT, link_images=True), written(base / "tree", TREE, copy_images=True)]
    places = [str(base / kind / folder) for kind in ("flat", "tree") for folder in ("out", "photos")]
    done = subprocess.run(
        [str(PYTHON), str(HERE / "read_all.py"), *places],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    flat, tree = (found | {"truth": truth} for found, truth in zip(json.loads(done.stdout), truths, strict=True))
    return {"flat": flat, "tree": tree}


@pytest.fixture
def flat(read: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = read["flat"]
    return found


@pytest.fixture
def tree(read: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = read["tree"]
    return found


# Readers that look into no sub-folders; that take an image's pixels as they are stored, whatever its EXIF orientation;
# that name an image by its stem alone, or want all of one suffix; and formats or readers that pass over empty images.
FLAT_READERS = {"labelformat voc", "supervision yolo", "supervision voc"}
STORED_READERS = {"labelformat yolo", "globox yolo", "globox openimages"}
STEM_READERS = {"datumaro coco", "datumaro cvat", "datumaro yolo", "globox yolo"}
NO_EMPTY_IMAGES = {"globox openimages", "globox coco results"}
READERS = [
    *(f"datumaro {name}" for name in ("coco", "voc", "yolo", "yolo-darknet", "cvat")),
    *(f"labelformat {name}" for name in ("coco", "voc", "yolo", "cvat")),
    *(f"supervision {name}" for name in ("coco", "voc", "yolo")),
    *(f"globox {name}" for name in ("coco", "coco results", "voc", "yolo", "cvat", "openimages")),
    *(f"pycocotools {name}" for name in ("coco", "coco results")),
]


def tolerance(reader: str) -> float:
    """In pixels, of what two decimals and the format itself round."""
    if reader.endswith("voc"):  # readers but datumaro take its pixels, which count from 1, for edges
        return 0.51 if reader.startswith("datumaro") else 1.51
    return 0.011


def check(reader: str, everything: dict[str, Any], expected: set[str]) -> None:
    result, truth = everything[reader], everything["truth"]
    assert "error" not in result, result["error"]
    stems = output_stems(truth)
    own = {text: name for name, stem in stems.items() for text in (name, stem, placed_name(name, stem))}
    assert {own[name] for name in result["images"]} == expected
    assert len(result["images"]) == len(expected)
    for name, image in result["images"].items():
        one = truth[own[name]]
        wh = [one["width"], one["height"]]
        stored = wh[::-1] if own[name].startswith("turned") and reader in STORED_READERS else wh
        assert image["wh"] == stored
        right = sorted([d["label"], *d["box"]] for d in one["detections"])
        found = sorted(image["boxes"])
        assert [box[0] for box in found] == [box[0] for box in right]
        edges = np.array([box[1:] for box in right]).reshape(-1, 4) * np.tile(np.divide(stored, wh), 2)
        np.testing.assert_allclose(np.array([b[1:] for b in found]).reshape(-1, 4), edges, atol=tolerance(reader))
    if result["labels"] is not None and reader != "supervision voc":  # which knows those alone that it met
        assert result["labels"] == LABELS


@pytest.mark.parametrize("reader", READERS)
def test_what_is_written_is_what_an_importer_reads(reader: str, flat: dict[str, Any]) -> None:
    check(reader, flat, {n for n in FLAT if n != "none.jpg" or reader not in NO_EMPTY_IMAGES})


@pytest.mark.parametrize("reader", [r for r in READERS if r not in STEM_READERS])
def test_sub_folders_and_clashing_stems_are_read_too(reader: str, tree: dict[str, Any]) -> None:
    expected = {n for n in TREE if n != "sub/none.jpg" or reader not in NO_EMPTY_IMAGES}
    check(reader, tree, {n for n in expected if "/" not in n} if reader in FLAT_READERS else expected)


def test_every_reader_of_the_script_is_checked(flat: dict[str, Any]) -> None:
    assert {*READERS, "labelformat coco masks", "truth"} == set(flat)


def test_boxes_without_masks_do_not_stop_a_reader_of_masks(flat: dict[str, Any]) -> None:
    assert "error" not in flat["labelformat coco masks"]
