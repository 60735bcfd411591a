"""Ground truth is read as others read it, and what is wrong with a file is said in one sentence."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from pycocotools.coco import COCO

from cvdetect.annotations.coco import read_coco, read_results
from cvdetect.annotations.formats import FORMATS, read_truth
from cvdetect.annotations.voc import read_voc
from cvdetect.annotations.yolo import read_yolo
from cvdetect.core.errors import SourceError, SourceNotFound
from tests.annotations.conftest import COCO80, FACTS, save_images, some


def voc_xml(*objects: str, size: str = "<size><width>64</width><height>48</height><depth>3</depth></size>") -> str:
    return f"<annotation><filename>a.png</filename>{size}{''.join(objects)}</annotation>"


def voc_object(corners: str = "2 3 31 40", extra: str = "", name: str = "<name>dog</name>") -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners.split(), strict=False))
    return f"<object>{name}{extra}<bndbox>{box}</bndbox></object>"


def coco(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 38], "iscrowd": 0, "area": 99}],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    return data | changes


def annotation(**changes: Any) -> dict[str, Any]:
    return coco(annotations=[coco()["annotations"][0] | changes])


def yolo(folder: Path, text: str, classes: str = "person\ndog\n") -> Path:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "labels/a.txt").write_text(text)
    (folder / "classes.txt").write_text(classes)
    return folder


def write_json(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_coco_mini_is_what_pycocotools_states_it_is(shared: Path) -> None:
    path = shared / "data/coco-mini/instances.json"
    truth = read_truth(path)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(path))
    assert truth.category_ids == tuple(theirs.getCatIds())
    assert truth.labels == tuple(c["name"] for c in theirs.loadCats(theirs.getCatIds()))
    assert [image.image_id for image in truth.images] == list(theirs.imgs)
    assert truth.notes == ()
    for image in truth.images:
        entries = theirs.loadAnns(theirs.getAnnIds(imgIds=[image.image_id]))
        x, y, w, h = np.array([a["bbox"] for a in entries]).reshape(-1, 4).T
        np.testing.assert_array_equal(image.xyxy, np.stack([x, y, x + w, y + h], 1))
        assert [truth.category_ids[i] for i in image.label] == [a["category_id"] for a in entries]
        assert image.crowd.tolist() == [bool(a["iscrowd"]) for a in entries]
        np.testing.assert_array_equal(image.area, [a["area"] for a in entries])
        assert not image.difficult.any()


def test_darknets_results_are_read(shared: Path) -> None:
    path = shared / "data/reference/darknet-yolov3-tiny-coco-mini.json"
    results = read_results(path)
    entries = json.loads(path.read_text())
    assert results.image_id.tolist() == [e["image_id"] for e in entries]
    assert results.category_id.tolist() == [e["category_id"] for e in entries]
    assert results.score.tolist() == [e["score"] for e in entries]
    x, y, w, h = np.array([e["bbox"] for e in entries]).T
    np.testing.assert_array_equal(results.xyxy, np.stack([x, y, x + w, y + h], 1))


def test_no_results_are_results_too(tmp_path: Path) -> None:
    results = read_results(write_json(tmp_path / "r.json", []))
    assert results.xyxy.shape == (0, 4)
    assert results.score.shape == results.image_id.shape == (0,)


def as_supervision(tmp_path: Path) -> supervision.DetectionDataset:
    """What we wrote as COCO, in the hands of supervision."""
    FORMATS["coco"].write(tmp_path / "ours", some(), COCO80, FACTS)
    pictures = save_images(tmp_path / "images", some())
    return supervision.DetectionDataset.from_coco(str(pictures), str(tmp_path / "ours" / "instances.json"))


def test_voc_files_of_supervision_are_read_as_it_reads_them(tmp_path: Path) -> None:
    as_supervision(tmp_path).as_pascal_voc(annotations_directory_path=str(tmp_path / "voc"))
    again = supervision.DetectionDataset.from_pascal_voc(str(tmp_path / "images"), str(tmp_path / "voc"))
    truth = read_truth(tmp_path / "voc")
    for image in truth.images:
        theirs = again.annotations[str(tmp_path / "images" / f"{image.name}.png")]
        np.testing.assert_allclose(image.xyxy, theirs.xyxy)
        names = [again.classes[c] for c in ([] if theirs.class_id is None else theirs.class_id)]
        assert [truth.labels[i] for i in image.label] == names
    assert {image.name: image.wh for image in truth.images} == {"a": (64, 48), "b": (33, 77), "c": (33, 77)}


def test_yolo_files_of_supervision_are_read_as_it_reads_them(tmp_path: Path) -> None:
    out = tmp_path / "yolo"
    as_supervision(tmp_path).as_yolo(
        annotations_directory_path=str(out / "labels"), data_yaml_path=str(out / "data.yaml")
    )
    again = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(out / "labels"), str(out / "data.yaml")
    )
    sizes = {one.name: one.wh for one in some()}
    truth = read_truth(out, lambda stem: sizes[stem + ".png"])
    assert list(truth.labels) == again.classes
    for image in truth.images:
        theirs = again.annotations[str(tmp_path / "images" / f"{image.name}.png")]
        np.testing.assert_allclose(image.xyxy, theirs.xyxy, rtol=1e-6, atol=1e-4)


def test_voc_corners_become_edges(tmp_path: Path) -> None:
    difficult = voc_object("1 1 64 48", "<difficult>1</difficult><part><bndbox><xmin>9</xmin></bndbox></part>")
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.xml").write_text(
        voc_xml(voc_object(), difficult, voc_object("5.5 6 7 8", name="<name>cat</name>"))
    )
    (image,) = (truth := read_voc(tmp_path)).images
    np.testing.assert_array_equal(image.xyxy, [[1, 2, 31, 40], [0, 0, 64, 48], [4.5, 5, 7, 8]])
    assert (image.name, image.wh, image.image_id) == ("x/a", (64, 48), 1)
    assert truth.labels == ("cat", "dog")
    assert truth.category_ids == (1, 2)
    assert image.label.tolist() == [1, 1, 0]
    assert image.difficult.tolist() == [False, True, False]
    assert image.area.tolist() == [30 * 38, 64 * 48, 2.5 * 3]


def test_folders_are_read_in_natural_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("img10.xml", "img2.XML", ".img1.tmp.xml", ".cvdetect/x.xml", "sub/img1.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(voc_xml())
    assert [image.name for image in read_truth(tmp_path).images] == ["img2", "img10", "sub/img1"]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<size></size>"])
def test_a_voc_file_need_not_know_the_size(size: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc_xml(voc_object(), size=size))
    assert read_voc(tmp_path).images[0].wh is None


def test_boxes_without_area_are_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc_xml(voc_object("5 5 4 9"), voc_object("9 9 3 3"), voc_object("5 5 5 5")))
    truth = read_voc(tmp_path)
    assert len(truth.images[0].xyxy) == 1
    assert truth.notes == (f"2 boxes of zero or negative size left out (first: {tmp_path / 'a.xml'}: object 1)",)
    path = write_json(tmp_path / "i.json", annotation(bbox=[1, 2, 0, 5]))
    assert read_coco(path).notes == (f"1 box of zero or negative size left out (first: {path}: annotations[0] (id 1))",)
    folder = yolo(tmp_path / "y", "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 -0.1 0.1\n")
    assert "labels/a.txt: line 2" in read_yolo(folder, lambda _: (64, 48)).notes[0]


def test_boxes_of_a_tool_that_counts_from_0_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc_xml(voc_object("0 3 31 40") + voc_object("3 0 31 40")))
    truth = read_voc(tmp_path)
    assert truth.notes[0].startswith("2 boxes ") and "1 in VOC" in truth.notes[0]
    assert truth.images[0].xyxy[:, :2].tolist() == [[-1, 2], [2, -1]]


def test_a_coco_truth_without_area_or_size_takes_the_boxes(tmp_path: Path) -> None:
    data = coco(images=[{"id": 7, "file_name": "x/a.png"}])
    data["annotations"] = [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 38.5]}]
    (image,) = read_coco(write_json(tmp_path / "i.json", data)).images
    assert (image.name, image.wh, image.area.tolist()) == ("x/a.png", None, [30 * 38.5])


def test_images_without_objects_are_images(tmp_path: Path) -> None:
    (image,) = read_coco(write_json(tmp_path / "i.json", coco(annotations=[]))).images
    assert image.xyxy.shape == (0, 4)
    (tmp_path / "v").mkdir()
    (tmp_path / "v/a.xml").write_text(voc_xml())
    assert read_voc(tmp_path / "v").images[0].label.shape == (0,)
    assert read_yolo(yolo(tmp_path / "y", ""), lambda _: (64, 48)).images[0].crowd.shape == (0,)


def test_a_files_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(coco()), encoding="utf-8-sig")
    assert read_coco(tmp_path / "i.json").labels == ("person", "dog")


@pytest.mark.parametrize(
    "text",
    [
        "names: [person, dog]",
        "names:\n  1: dog\n  0: person",
        "names:\n- person\n- 'dog'\nnc: 2",
        'names: {0: "person", 1: dog}',
    ],
)
@pytest.mark.parametrize("where", ["data.yaml", "labels/data.yaml"])
def test_yolo_takes_its_names_from_data_yaml(text: str, where: str, tmp_path: Path) -> None:
    folder = yolo(tmp_path, "1 0.5 0.5 0.25 0.5\n", classes="not\nthese\n")
    (folder / where).write_text(text)
    truth = read_yolo(folder / "labels", lambda _: (64, 48))
    assert truth.labels == ("person", "dog")
    np.testing.assert_array_equal(truth.images[0].xyxy, [[24, 12, 40, 36]])


def test_yolo_asks_for_the_size_of_each_relative_stem(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "")
    (folder / "labels/val").mkdir()
    (folder / "labels/val/x.jpg.txt").write_text("1.0 0.5 0.5 1 1 0.9\n\n")
    asked: list[str] = []
    truth = read_truth(folder, lambda stem: asked.append(stem) or (10, 20))
    assert asked == ["a", "val/x.jpg"]
    assert truth.images[1].xyxy.tolist() == [[0, 0, 10, 20]]


def test_yolo_labels_of_a_part_find_the_names_two_folders_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (yolo(tmp_path, "") / "labels/val").mkdir()
    (tmp_path / "labels/val/x.txt").write_text("")
    monkeypatch.chdir(tmp_path / "labels")
    assert read_yolo(Path("val"), lambda _: (1, 1)).labels == ("person", "dog")


COCO_FAULTS = {
    "results": ([], "is a list"),
    "number": (5, "is not a COCO annotation file"),
    "no annotations": ({"images": [], "categories": []}, "has no list 'annotations'"),
    "no categories": ({"images": [], "annotations": []}, "has no list 'categories'"),
    "image no object": (coco(images=[3]), r"images\[0\]: is not an object"),
    "image id text": (coco(images=[{"id": "7", "file_name": "a"}]), r"images\[0\]: id is not a whole number: '7'"),
    "image id true": (coco(images=[{"id": True, "file_name": "a"}]), "id is not a whole number: True"),
    "image id huge": (coco(images=[{"id": 2**70, "file_name": "a"}]), "id is not a whole number"),
    "image twice": (coco(images=coco()["images"] * 2), r"images\[1\]: id 7 appears twice"),
    "no file name": (coco(images=[{"id": 7}]), r"images\[0\] \(id 7\): file_name is not text: None"),
    "bad size": (coco(images=[{"id": 7, "file_name": "a", "width": 0, "height": 5}]), "width and height are 0 and 5"),
    "size NaN": (coco(images=[{"id": 7, "file_name": "a", "width": float("nan"), "height": 5}]), "are nan and 5"),
    "category twice": (coco(categories=coco()["categories"] * 2), r"categories\[2\]: id 1 appears twice"),
    "category no name": (coco(categories=[{"id": 18}]), "name is not text: None"),
    "unknown category": (annotation(category_id=19), r"annotations\[0\] \(id 1\): category_id 19 is not among the cat"),
    "unknown image": (annotation(image_id=8), "image_id 8 is not among the images"),
    "no image": (annotation(image_id=None), "image_id None is not among the images"),
    "list as id": (annotation(image_id=[7]), r"image_id \[7\] is not among the images"),
    "bbox NaN": (annotation(bbox=[1, 2, float("nan"), 4]), r"bbox is not four finite numbers.*nan"),
    "bbox infinite": (annotation(bbox=[1, 2, 3, float("inf")]), "bbox is not four finite"),
    "bbox short": (annotation(bbox=[1, 2, 3]), "bbox is not four finite"),
    "bbox long": (annotation(bbox=[1, 2, 3, 4, None]), "bbox is not four finite"),
    "bbox text": (annotation(bbox=["1", 2, 3, 4]), "bbox is not four finite"),
    "bbox huge": (annotation(bbox=[10**400, 2, 3, 4]), "bbox is not four finite"),
    "bbox missing": (annotation(bbox=None), "bbox is not four finite"),
    "crowd": (annotation(iscrowd=2), "iscrowd is 2, expected 0 or 1"),
    "area NaN": (annotation(area=float("nan")), "area is not a number from 0: nan"),
    "area negative": (annotation(area=-1), "area is not a number from 0: -1"),
}


@pytest.mark.parametrize(("data", "reported"), COCO_FAULTS.values(), ids=COCO_FAULTS)
def test_what_is_wrong_with_a_coco_file_is_reported(data: object, reported: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "i.json", data)
    with pytest.raises(SourceError, match=reported) as raised:
        read_truth(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


RESULT = {"image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.5}
RESULT_FAULTS = {
    "annotations": (coco(), "is a COCO annotation file"),
    "object": ({}, "is no list"),
    "no object": ([RESULT, 5], r"\[1\]: is not an object"),
    "score NaN": ([RESULT, RESULT | {"score": float("nan")}], r"\[1\]: score is not a finite number: nan"),
    "score infinite": ([RESULT | {"score": float("-inf")}], r"\[0\]: score is not a finite number: -inf"),
    "score text": ([RESULT | {"score": "0.5"}], "score is not a finite number: '0.5'"),
    "no score": ([{**RESULT, "score": None}], "score is not a finite number: None"),
    "bbox NaN": ([RESULT] * 3 + [RESULT | {"bbox": [1, 2, 3, float("nan")]}], r"\[3\]: bbox is not four"),
    "negative size": ([RESULT | {"bbox": [1, 2, -3, 4]}], "bbox has a negative size"),
    "image id": ([RESULT | {"image_id": 7.5}], "image_id is not a whole number: 7.5"),
    "category id": (
        [{k: v for k, v in RESULT.items() if k != "category_id"}],
        "category_id is not a whole number: None",
    ),
}


@pytest.mark.parametrize(("data", "reported"), RESULT_FAULTS.values(), ids=RESULT_FAULTS)
def test_what_is_wrong_with_results_is_reported(data: object, reported: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "r.json", data)
    with pytest.raises(SourceError, match=reported) as raised:
        read_results(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("data", "reported"),
    [
        (b"", "line 1, column 1: is not JSON"),
        (b'{"images": [\n{"id": 1,}]}', "line 2, column 10: is not JSON"),
        (b"\xff\xfe\x00", r"is not UTF-8 text \(byte 0\)"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[" + b"1" * 5000 + b"]", "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_is_reported(data: bytes, reported: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    for read in (read_truth, read_results):
        with pytest.raises(SourceError, match=reported):
            read(tmp_path / "x.json")


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1 if i else str()};" * 50}">' for i in range(8))
    + "]><annotation>&a7;</annotation>"
)
VOC_FAULTS = {
    "empty": ("", "line 1, column 0: is not XML: no element found"),
    "cut short": (voc_xml(voc_object())[:-5], "is not XML"),
    "another root": ("<annotations/>", "root element is <annotations>, not <annotation>"),
    "no name": (voc_xml(voc_object(name="<name> </name>")), "object 1: has no name"),
    "no box": (voc_xml("<object><name>dog</name></object>"), r"object 1 \(dog\): xmin is missing"),
    "no ymax": (voc_xml(voc_object(), voc_object("1 2 3")), r"object 2 \(dog\): ymax is missing"),
    "text": (voc_xml(voc_object("1 2 x 4")), "xmax is not a number: 'x'"),
    "NaN": (voc_xml(voc_object("1 2 nan 4")), "xmax is not a number: 'nan'"),
    "infinite": (voc_xml(voc_object("1 2 inf 4")), "xmax is not a number: 'inf'"),
    "difficult": (voc_xml(voc_object(extra="<difficult>maybe</difficult>")), "difficult is 'maybe', expected 0 or 1"),
    "size": (voc_xml(size="<size><width>6.5</width><height>9</height></size>"), "size: is not in whole pixels: '6.5'"),
    "entity bomb": (BOMB, "is not XML"),
    "encoding": ('<?xml version="1.0" encoding="klingon"?><annotation/>', "XML"),
}


@pytest.mark.parametrize(("text", "reported"), VOC_FAULTS.values(), ids=VOC_FAULTS)
def test_what_is_wrong_with_a_voc_file_is_reported(text: str, reported: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(SourceError, match=reported) as raised:
        read_truth(tmp_path)
    assert "a.xml" in str(raised.value)


YOLO_FAULTS = {
    "four": ("0 0.5 0.5 0.1\n", "line 1: expected class, centre x, .* got 4 values"),
    "polygon": ("\n0 0.5 0.5 0.1 0.1 0.2 0.2\n", "line 2: expected .* got 7 values"),
    "text": ("0 0.5 0.5 0.1 x\n", "line 1: not a number: 'x'"),
    "NaN": ("0 0.5 0.5 0.1 nan\n", "line 1: not a number: 'nan'"),
    "class": ("2 0.5 0.5 0.1 0.1\n", "class 2 is not among the 2 classes"),
    "negative class": ("-1 0.5 0.5 0.1 0.1\n", "class -1 is not among the 2 classes"),
    "half class": ("0.5 0.5 0.5 0.1 0.1\n", "the class is not a whole number: '0.5'"),
    "pixels": ("0 12 20 30 40\n", "these look like pixels"),
    "binary": ("\0\n", "got 1 values"),
}


@pytest.mark.parametrize(("text", "reported"), YOLO_FAULTS.values(), ids=YOLO_FAULTS)
def test_what_is_wrong_with_a_yolo_file_is_reported(text: str, reported: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=reported) as raised:
        read_truth(yolo(tmp_path, text), lambda _: (64, 48))
    assert "a.txt" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reported"),
    [("names: [a", "is not YAML"), ("nc: 3", "has no names"), ("5", "has no names"), ("names: {1: a}", "has no names"),
     ("names: [[a]]", "expected the name of a class"), ("names: []", "has no names"), ("\x07", "a binary file")],
)  # fmt: skip
def test_what_is_wrong_with_a_data_yaml_is_reported(text: str, reported: str, tmp_path: Path) -> None:
    folder = yolo(tmp_path, "0 0.5 0.5 0.1 0.1\n")
    (folder / "data.yaml").write_text(text)
    with pytest.raises(SourceError, match=reported):
        read_truth(folder, lambda _: (64, 48))


def test_folders_that_hold_no_truth_are_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file or folder"):
        read_truth(tmp_path / "x")
    with pytest.raises(
        SourceError,
        match=r"is not ground truth: expected .* or a folder of YOLO text files$",
    ):
        read_truth(tmp_path)
    write_json(tmp_path / "instances.json", coco())
    with pytest.raises(SourceError, match=r"for COCO give the file, e\.g\. .*instances\.json"):
        read_truth(tmp_path)
    (tmp_path / "voc/Annotations").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"holds no \.xml file"):
        read_truth(tmp_path / "voc")
    (tmp_path / "labels").mkdir()
    with pytest.raises(SourceError, match="holds no label files"):
        read_truth(tmp_path, lambda _: (1, 1))
    (tmp_path / "labels/a.txt").write_text("")
    with pytest.raises(SourceError, match=r"no data\.yaml, classes\.txt or obj\.names"):
        read_truth(tmp_path, lambda _: (1, 1))
    with pytest.raises(SourceError, match="the images are needed too"):
        read_truth(tmp_path)


def test_a_voc_data_set_is_known_by_its_annotations(tmp_path: Path) -> None:
    for name, text in (("Annotations/a.xml", voc_xml()), ("ImageSets/Main/train.txt", "a\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert [image.name for image in read_truth(tmp_path).images] == ["a"]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone: cannot be read: No such file"):
        read_voc(tmp_path / "gone")
