"""The table of formats: a format is one value, and a line in the table is all that a new one needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cvdetect.annotations import formats
from cvdetect.annotations.formats import FORMATS, list_formats, list_readers, read_truth, truth_files
from cvdetect.annotations.parsing import GroundTruthObject, read_text, truth_image
from cvdetect.annotations.types import (
    AnnotationFormat,
    ExportInfo,
    GroundTruth,
    GroundTruthReader,
    Match,
    Records,
    SizeOf,
)  # fmt: skip
from cvdetect.annotations.writing import Classes
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from tests.annotations.conftest import COCO80, FACTS, some
from tests.conftest import Cli
from tests.jobs.annotate.conftest import FakeDetector, fake, photos, tree

__all__ = ["fake", "photos"]


def write_lines(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """``boxes.made``: an image's name and size in a line, its boxes in the lines that follow."""
    classes = Classes(labels)
    with info.file(out / "boxes.made") as stream:
        for record in records:
            stream.write(f"{record.name}|{record.wh[0]}|{record.wh[1]}\n")
            for box, class_id in zip(record.found.xyxy.tolist(), record.found.class_id, strict=True):
                stream.write("\t".join([classes.names()[classes.index(int(class_id))], *map(str, box)]) + "\n")


def read_lines(path: Path, _: SizeOf | None) -> GroundTruth:
    found: list[tuple[str, tuple[int, int], list[GroundTruthObject]]] = []
    labels: list[str] = []
    for line in read_text(path).splitlines():
        if "\t" not in line:
            name, width, height = line.split("|")
            found.append((name, (int(width), int(height)), []))
        else:
            label, x1, y1, x2, y2 = line.split("\t")
            labels += [label] if label not in labels else []
            found[-1][2].append(GroundTruthObject((float(x1), float(y1), float(x2), float(y2)), labels.index(label)))
    images = tuple(truth_image(name, wh, objects, i) for i, (name, wh, objects) in enumerate(found, start=1))
    return GroundTruth(tuple(labels), tuple(range(1, len(labels) + 1)), images)


MADE_UP = AnnotationFormat(
    name="made-up",
    write=write_lines,
    help="for tests",
    reader=GroundTruthReader(
        reads="a .made file",
        match=lambda path: Match.CERTAIN if path.suffix == ".made" else Match.NONE,
        files=lambda path: [path],
        read=read_lines,
    ),
)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnnotationFormat]:
    monkeypatch.setitem(formats._FORMATS, "made-up", MADE_UP)
    yield MADE_UP


def test_a_new_line_in_the_table_is_written_by_annotate_and_read_back(
    made_up: AnnotationFormat, fake: FakeDetector, photos: Path, tmp_path: Path
) -> None:
    job = AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("made-up", "coco"))
    assert annotate(job).exit_code == 0
    written = tree(tmp_path / "out")
    assert sorted(written) == ["coco/instances.json", "coco/results.json", "made-up/boxes.made"]
    truth = read_truth(tmp_path / "out/made-up/boxes.made")
    coco = read_truth(tmp_path / "out/coco/instances.json")
    assert [image.name for image in truth.images] == [image.name for image in coco.images]
    for mine, theirs in zip(truth.images, coco.images, strict=True):
        np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=0.01)
        assert [truth.labels[i] for i in mine.label] == [coco.labels[i] for i in theirs.label]


def test_its_files_are_checked_as_those_of_every_format_are(
    made_up: AnnotationFormat, fake: FakeDetector, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/boxes.made").write_text("mine")
    with pytest.raises(UsageError, match=r"boxes\.made"):
        annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("made-up",)))
    assert (tmp_path / "out/boxes.made").read_text() == "mine"


def test_it_appears_in_the_help_and_among_what_can_be_read(made_up: AnnotationFormat, cli: Cli, tmp_path: Path) -> None:
    assert "made-up (for tests)" in " ".join(cli("annotate", "--help").out.split())
    assert "a .made file" in " ".join(cli("eval", "--help").out.split())
    with pytest.raises(SourceError, match=r"a folder of YOLO text files, or a \.made file"):
        read_truth(tmp_path)


def test_a_format_has_the_name_under_which_it_stands_in_the_table() -> None:
    assert [one.name for one in FORMATS.values()] == list(FORMATS)


def test_the_lists_for_help_come_from_the_table() -> None:
    assert list_formats() == "coco, voc, yolo, yolo-darknet (CVAT's YOLO 1.1), openimages, jsonl, csv, cvat"
    assert list_formats(with_images=True) == "voc, yolo, yolo-darknet"
    assert list_readers() == "a COCO JSON file, a folder of VOC XML files, or a folder of YOLO text files"


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.reader])
def test_what_a_format_writes_is_recognised_as_its_own(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path, some(), COCO80, FACTS)
    path = tmp_path / "instances.json" if name == "coco" else tmp_path
    truth = read_truth(path, lambda _: (64, 77))
    assert sum(len(image.label) for image in truth.images) == 3
    read = set(truth_files(path))
    assert read and read <= {file for file in tmp_path.rglob("*") if file.is_file()}


def test_files_that_are_read_are_those_of_the_format_alone(tmp_path: Path) -> None:
    for name in ("labels/a.txt", "labels/.hidden.txt", "classes.txt", "notes.md", "a.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert {file.relative_to(tmp_path).as_posix() for file in truth_files(tmp_path)} == {"labels/a.txt", "classes.txt"}
    assert list(truth_files(tmp_path / "not there")) == [tmp_path / "not there"]


def test_a_voc_data_set_converted_for_yolo_is_read_as_yolo(tmp_path: Path) -> None:
    """Darknet's voc_label.py puts ``labels/`` beside ``Annotations/``."""
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("dog\n")
    truth = read_truth(tmp_path, lambda _: (10, 20))
    assert truth.labels == ("dog",) and json.dumps(truth.images[0].xyxy.tolist()) == "[[0.0, 0.0, 10.0, 20.0]]"
