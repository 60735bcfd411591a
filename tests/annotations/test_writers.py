"""What every writer promises, and each format's own details."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.annotations.coco import image_ids
from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ImagePlace, ImageRecord
from cvdetect.annotations.voc import voc_pixels
from cvdetect.annotations.writing import Classes, escape_xml, fixed, output_stems
from cvdetect.core.errors import SinkError, SourceError
from cvdetect.core.files import safe_join
from cvdetect.core.frame import Frame
from cvdetect.core.labels import BUILT_IN, LabelSet
from cvdetect.sinks.json_lines import as_record
from tests.annotations.conftest import COCO80, FACTS, NASTY, Listed, record, some

DARKNET_LISTS = ("train.txt", "obj.names", "obj.data")
FILES = {
    "coco": {"instances.json", "results.json"},
    "voc": {"a.xml", "b.xml", "c.xml", "labelmap.txt", "ImageSets/Main/default.txt"},
    "yolo": {"labels/a.txt", "labels/b.txt", "labels/c.txt", "classes.txt", "data.yaml"},
    "yolo-darknet": {"obj_train_data/a.txt", "obj_train_data/b.txt", "obj_train_data/c.txt", *DARKNET_LISTS},
    "openimages": {"openimages.csv"},
    "jsonl": {"detections.jsonl"},
    "csv": {"detections.csv"},
    "cvat": {"annotations.xml"},
}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_formats_have_the_names_that_scripts_rely_on() -> None:
    assert {"coco", "voc", "yolo", "yolo-darknet", "openimages", "jsonl", "csv", "cvat"} <= set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_writes_its_files_and_no_others(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path / "out", some(), COCO80, FACTS)
    assert set(tree(tmp_path / "out")) == FILES[name]


@pytest.mark.parametrize("name", FORMATS)
def test_writing_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path / "x", some(), COCO80, FACTS)
    first = tree(tmp_path / "x")
    FORMATS[name].write(tmp_path / "x", some(), COCO80, FACTS)
    FORMATS[name].write(tmp_path / "y", some(), COCO80, FACTS)
    assert tree(tmp_path / "x") == tree(tmp_path / "y") == first


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_opens_all_its_files_by_the_facts_and_states_whose_they_are(name: str, tmp_path: Path) -> None:
    def opens(path: Path, image: str | None) -> AbstractContextManager[IO[str]]:
        opened[path.relative_to(tmp_path).as_posix()] = image
        return nullcontext(StringIO())

    opened: dict[str, str | None] = {}
    FORMATS[name].write(tmp_path, some(), COCO80, replace(FACTS, opens=opens))
    own = {path: f"{Path(path).stem}.png" for path in FILES[name] if Path(path).stem in ("a", "b", "c")}
    assert opened == dict.fromkeys(FILES[name]) | own
    assert not tree(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_no_output_states_where_it_lies(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path, some(), COCO80, FACTS)
    assert not any(str(tmp_path).encode() in data for data in tree(tmp_path).values())


class Breaking(Listed):
    """Records that can no longer be read after the first."""

    def __iter__(self) -> Iterator[ImageRecord]:
        yield self.records[0]
        raise SourceError("gone")


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_that_breaks_leaves_no_part_of_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone"):
        FORMATS[name].write(tmp_path, Breaking(some().records), COCO80, FACTS)
    assert set(tree(tmp_path)) <= {"a.xml", "labels/a.txt", "obj_train_data/a.txt"}  # an image's own file is whole


@pytest.mark.parametrize("name", FORMATS)
def test_an_output_that_cannot_be_written_is_reported(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file"):
        FORMATS[name].write(tmp_path / "file", some(), COCO80, FACTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvdetect.core import files

    def on_the_full_disk(path: Path) -> Path:
        link = path.parent / ".full"
        link.symlink_to("/dev/full")
        return link

    monkeypatch.setattr(files, "temporary_beside", on_the_full_disk)
    with pytest.raises(SinkError, match=r"detections\.csv: cannot be written: No space left"):
        FORMATS["csv"].write(tmp_path, some(), COCO80, FACTS)
    assert not tree(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_records_are_never_all_in_memory(name: str, tmp_path: Path) -> None:
    alive = Counting()
    FORMATS[name].write(tmp_path, alive, COCO80, FACTS)
    assert alive.most <= 2


class Counting:
    """Records made when asked for; `most` is how many there were at a time."""

    most = 0

    def names(self) -> Iterator[str]:
        return (f"{i}.png" for i in range(20))

    def __iter__(self) -> Iterator[ImageRecord]:
        import weakref

        made: list[weakref.ref[object]] = []
        for name in self.names():
            found = record(name, [[1, 2, 3, 4]]).found
            made.append(weakref.ref(found.xyxy))
            yield ImageRecord(name, (64, 48), found)
            del found
            self.most = max(self.most, sum(ref() is not None for ref in made))


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_set_gives_files_that_say_so(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path, Listed([]), COCO80, FACTS)
    files = tree(tmp_path)
    if name == "coco":
        assert json.loads(files["results.json"]) == []
        assert json.loads(files["instances.json"])["images"] == []
    elif name == "cvat":
        assert ElementTree.fromstring(files["annotations.xml"]).findall("image") == []
    elif name in ("yolo", "yolo-darknet", "voc"):
        assert set(files) == {file for file in FILES[name] if Path(file).stem not in ("a", "b", "c")}
    else:
        assert [data.count(b"\n") for data in files.values()] == [{"jsonl": 0}.get(name, 1)]


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.png", "a.jpg.png"]),
        (["A.jpg", "a.png"], ["A.jpg", "a.png"]),
        ([".jpg", "x.tar.gz"], [".jpg", "x.tar"]),
    ],
)
def test_images_whose_stems_clash_keep_their_suffix(names: list[str], stems: list[str]) -> None:
    assert list(output_stems(names).values()) == stems


@given(st.sets(st.text("aA.j/", min_size=1, max_size=6)))
def test_no_two_images_share_an_output(names: set[str]) -> None:
    assert len(set(output_stems(names).values())) == len(names)


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png"])
@pytest.mark.parametrize("fmt", ["voc", "yolo", "yolo-darknet"])
def test_a_name_that_leads_out_of_the_folder_is_refused(fmt: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="leads out"):
        FORMATS[fmt].write(tmp_path, Listed([record(name)]), COCO80, FACTS)
    assert safe_join(tmp_path, "a/b.xml") == tmp_path / "a" / "b.xml"


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000000000139.jpg", "x/7.png"], [139, 7]),
        (["1.jpg", "x/1.jpg"], [1, 2]),
        (["07.jpg", "7.png"], [1, 2]),
        (["5.jpg", "five.jpg"], [1, 2]),
        (["².jpg", "٣.jpg"], [1, 2]),
        (["9" * 19 + ".jpg"], [1]),
        ([], []),
    ],
)
def test_coco_image_ids_are_the_stems_numbers_where_all_are_different_numbers(names: list[str], ids: list[int]) -> None:
    assert image_ids(names) == ids


def test_coco_category_ids_are_the_official_ones(tmp_path: Path) -> None:
    FORMATS["coco"].write(tmp_path, some(), COCO80, FACTS)
    data = json.loads((tmp_path / "instances.json").read_text())
    assert [a["category_id"] for a in data["annotations"]] == [18, 3, 1]  # dog, car, person
    assert len(data["categories"]) == 80
    assert data["categories"][-1] == {"id": 90, "name": "toothbrush", "supercategory": ""}
    assert data["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 18, "bbox": [1.25, 2.5, 29.5, 37.6], "score": 0.9,
        "segmentation": [], "area": 1109.2, "iscrowd": 0,
    }  # fmt: skip


def test_other_label_sets_count_categories_from_1(tmp_path: Path) -> None:
    labels = LabelSet.from_names(["dog", "cat"], offset=-1)  # a model whose class 0 is the background
    FORMATS["coco"].write(tmp_path, Listed([record("a.png", [[0, 0, 1, 1]], [2])]), labels, FACTS)
    data = json.loads((tmp_path / "instances.json").read_text())
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(1, "dog"), (2, "cat")]
    assert data["annotations"][0]["category_id"] == 2


def test_tensorflows_gaps_do_not_reach_yolo() -> None:
    classes = Classes(BUILT_IN["coco91"](0))
    assert classes.index(90) == 79  # toothbrush
    assert classes.names() == Classes(COCO80).names()
    assert classes.category_id(90) == 90


def test_a_class_without_a_name_or_an_official_id_is_not_lost() -> None:
    classes = Classes(BUILT_IN["coco91"](0))
    assert (classes.index(12), classes.category_id(12)) == (80, 91)  # street sign has no data in COCO
    assert classes.names()[80] == "street sign"
    plain = Classes(LabelSet.from_names(["dog"]))
    assert (plain.index(5), plain.category_id(5), plain.names()) == (1, 2, ["dog", "class_5"])
    assert plain.categories() == [(1, "dog"), (2, "class_5")]


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0, 0, 64, 48), (1, 1, 64, 48)),
        ((10.2, 20, 30.7, 40), (11, 21, 31, 40)),
        ((3.4, 3.4, 3.6, 3.6), (4, 4, 4, 4)),
        ((3.1, 3.1, 3.2, 3.2), (4, 4, 4, 4)),
        ((64, 48, 64, 48), (64, 48, 64, 48)),
        ((0, 0, 0, 0), (1, 1, 1, 1)),
    ],
)
def test_voc_pixels_are_inclusive_and_counted_from_1(box: tuple[float, ...], pixels: tuple[int, ...]) -> None:
    assert voc_pixels(np.array(box, np.float32), (64, 48)) == pixels


def test_voc_has_what_its_readers_look_for(tmp_path: Path) -> None:
    FORMATS["voc"].write(tmp_path, Listed([record("x/a.png", [[5, 5, 9, 9], [5, 5, 64, 9]], [16, 0])]), COCO80, FACTS)
    root = ElementTree.parse(tmp_path / "x" / "a.xml").getroot()
    paths = ("folder", "filename", "size/width", "size/height", "size/depth", "segmented")
    assert [root.findtext(path) for path in paths] == ["x", "a.png", "64", "48", "3", "0"]
    inner, cut = root.findall("object")
    assert [e.tag for e in inner] == ["name", "pose", "truncated", "difficult", "confidence", "bndbox"]
    assert [inner.findtext(t) for t in ("name", "truncated", "difficult", "confidence")] == [
        "dog",
        "0",
        "0",
        "0.900000",
    ]
    assert cut.findtext("truncated") == "1"


def test_yolo_lines_have_six_decimals_and_the_score_when_asked(tmp_path: Path) -> None:
    FORMATS["yolo"].write(tmp_path, some(), COCO80, FACTS)
    assert (tmp_path / "labels/a.txt").read_text() == (
        "16 0.250000 0.443750 0.460938 0.783333\n2 0.500000 0.500000 1.000000 1.000000\n"
    )
    assert (tmp_path / "labels/b.txt").read_text() == ""
    FORMATS["yolo"].write(tmp_path, some(), COCO80, replace(FACTS, yolo_conf=True))
    assert (tmp_path / "labels/c.txt").read_text().split()[-1] == "0.123456"


def data_yaml(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / "data.yaml").read_text("ascii"))
    return found


@pytest.mark.parametrize("images", ["placed", "there"])
def test_data_yaml_names_the_images_in_its_own_folder_and_nothing_that_importers_stumble_over(
    images: ImagePlace, tmp_path: Path
) -> None:
    FORMATS["yolo"].write(tmp_path, some(), COCO80, replace(FACTS, images=images))
    names = dict(enumerate((tmp_path / "classes.txt").read_text().splitlines()))
    assert data_yaml(tmp_path) == {"train": "images", "val": "images", "names": names}
    assert len(names) == 80


def test_data_yaml_names_no_images_that_lie_elsewhere_or_whose_labels_would_not_be_found(tmp_path: Path) -> None:
    FORMATS["yolo"].write(tmp_path / "elsewhere", some(), COCO80, FACTS)
    clash = Listed([record("a.png"), record("a.jpg")])  # labels/a.png.txt: not where readers look for that of a.png
    FORMATS["yolo"].write(tmp_path / "clash", clash, COCO80, replace(FACTS, images="there"))
    FORMATS["yolo"].write(tmp_path / "placed", clash, COCO80, replace(FACTS, images="placed"))
    assert [list(data_yaml(tmp_path / name)) for name in ("elsewhere", "clash", "placed")] == [
        ["names"], ["names"], ["train", "val", "names"],
    ]  # fmt: skip


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=20), unique=True))
def test_every_label_comes_back_from_data_yaml_as_the_text_it_is(labels: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        FORMATS["yolo"].write(Path(folder), Listed([]), LabelSet.from_names(labels), FACTS)
        assert data_yaml(Path(folder)) == {"names": dict(enumerate(labels))}


@pytest.mark.parametrize(
    "label", ["yes", "no", "on", "y", "n", "null", "~", "1", "1.0", "1e3", "0x1f", "1:30", "=", "<<"]
)
def test_labels_stay_text_whatever_the_yaml_parser(label: str, tmp_path: Path) -> None:
    FORMATS["yolo"].write(tmp_path, Listed([]), LabelSet.from_names([label]), FACTS)
    assert f'  0: "{label}"' in (tmp_path / "data.yaml").read_text().splitlines()


def test_darknets_lists_name_every_image_and_class_relative_to_their_folder(tmp_path: Path) -> None:
    records = Listed([record("a.png", [[0, 0, 32, 24]], [16]), record("sub/b c.jpg"), record("a.jpg")])
    FORMATS["yolo-darknet"].write(tmp_path, records, COCO80, replace(FACTS, yolo_conf=True))
    assert (tmp_path / "train.txt").read_text().splitlines() == [
        "obj_train_data/a.png.png", "obj_train_data/sub/b c.jpg", "obj_train_data/a.jpg.jpg",
    ]  # fmt: skip
    data = dict(line.split(" = ") for line in (tmp_path / "obj.data").read_text().splitlines())
    assert data == {"classes": "80", "train": "train.txt", "names": "obj.names", "backup": "."}
    assert (tmp_path / "obj.names").read_text().splitlines()[16] == "dog"
    assert (tmp_path / "obj_train_data/sub/b c.txt").read_bytes() == b""
    # Five numbers: Darknet takes a sixth for the next class.
    assert (tmp_path / "obj_train_data/a.png.txt").read_text() == "16 0.250000 0.250000 0.500000 0.500000\n"


def test_voc_lists_its_images_and_the_labels_that_a_label_map_can_hold(tmp_path: Path) -> None:
    labels = LabelSet.from_names(["dog", "a: b", "cat"])
    records = Listed([record("x/a.png", [[1, 1, 9, 9]], [7]), record("b.jpg")])
    FORMATS["voc"].write(tmp_path, records, labels, FACTS)
    assert (tmp_path / "ImageSets/Main/default.txt").read_text() == "x/a\nb\n"
    lines = (tmp_path / "labelmap.txt").read_text().splitlines()
    assert lines == ["# label:color_rgb:parts:actions", "dog:::", "cat:::", "class_7:::"]


def test_voc_with_its_images_is_laid_out_as_vocs_own_data(tmp_path: Path) -> None:
    records = Listed([record("x/a.png"), record("x/a.jpg")])
    FORMATS["voc"].write(tmp_path, records, COCO80, replace(FACTS, images="placed"))
    root = ElementTree.parse(tmp_path / "Annotations/x/a.png.xml").getroot()
    assert [root.findtext(tag) for tag in ("folder", "filename")] == ["JPEGImages", "x/a.png.png"]
    assert not list(tmp_path.glob("x"))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_xml_gives_back_any_text_but_control_characters(text: str) -> None:
    written = escape_xml(text)
    read = ElementTree.fromstring(f'<a b="{written}">{written}</a>')
    held = "".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else repr(c)[1:-1] for c in text)
    assert read.get("b") == held
    assert (read.text or "") == held


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.0, 2, "0.00"), (-0.001, 2, "0.00"), (1e-9, 6, "0.000000"), (12.345678, 3, "12.346")],
)
def test_numbers_are_plain(value: float, digits: int, text: str) -> None:
    assert fixed(value, digits) == text


def test_open_images_rows_are_those_of_the_official_file(tmp_path: Path) -> None:
    FORMATS["openimages"].write(tmp_path, some(), COCO80, FACTS)
    with (tmp_path / "openimages.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert ",".join(rows[0]) == (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    assert rows[2] == "a.png,machine,car,0.500000,0.000000,1.000000,0.000000,1.000000,-1,-1,0,-1,-1".split(",")
    assert len(rows) == 4


def test_csv_keeps_images_without_detections(tmp_path: Path) -> None:
    FORMATS["csv"].write(tmp_path, some(), COCO80, FACTS)
    assert (tmp_path / "detections.csv").read_bytes().decode().split("\r\n") == [
        "source,width,height,class_id,label,category_id,score,x1,y1,x2,y2",
        "a.png,64,48,16,dog,18,0.9,1.25,2.5,30.75,40.1",
        "a.png,64,48,2,car,3,0.5,0.0,0.0,64.0,48.0",
        "b.png,33,77,,,,,,,,",
        "c.png,33,77,0,person,1,0.123456,3.3,60.6,20.9,77.0",
        "",
    ]


def test_json_lines_have_the_shape_of_json_of_the_image_command(tmp_path: Path) -> None:
    FORMATS["jsonl"].write(tmp_path, some(), COCO80, FACTS)
    lines = (tmp_path / "detections.jsonl").read_text().splitlines()
    for line, one in zip(lines, some(), strict=True):
        frame = Frame(np.zeros((one.wh[1], one.wh[0], 3), np.uint8), one.name)
        assert json.loads(line) == as_record(frame, one.found, "tiny", {"runtime": "opencv"}, COCO80)


def names_in(name: str, out: Path) -> list[str]:
    """The image names that a format's files hold, read by the standard library."""
    if name == "coco":
        return [image["file_name"] for image in json.loads((out / "instances.json").read_text("utf-8"))["images"]]
    if name == "jsonl":
        lines = (out / "detections.jsonl").read_bytes().decode().split("\n")[:-1]
        return [json.loads(line)["source"] for line in lines]
    if name == "cvat":
        return [str(e.get("name")) for e in ElementTree.parse(out / "annotations.xml").getroot().findall("image")]
    if name == "voc":
        return [str(ElementTree.parse(path).getroot().findtext("filename")) for path in out.rglob("*.xml")]
    if name in ("yolo", "yolo-darknet"):
        labels = {"yolo": "labels", "yolo-darknet": "obj_train_data"}[name]
        return [path.name[:-4] + ".png" for path in (out / labels).rglob("*.txt")]
    column = {"openimages": "ImageID", "csv": "source"}[name]
    with next(out.glob("*.csv")).open(newline="", encoding="utf-8") as stream:
        return [row[column] for row in csv.DictReader(stream)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_name_that_a_file_can_have_comes_through(name: str, tmp_path: Path) -> None:
    FORMATS[name].write(tmp_path, Listed([record(n, [[1, 2, 3, 4]]) for n in NASTY]), COCO80, FACTS)
    assert sorted(names_in(name, tmp_path)) == sorted(NASTY)


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_are_not_utf_8_or_have_control_characters_do_not_stop_a_run(name: str, tmp_path: Path) -> None:
    odd = [os.fsdecode(b"latin-\xe9.png"), "bell\x07.png"]
    FORMATS[name].write(tmp_path, Listed([record(n, [[1, 2, 3, 4]]) for n in odd]), COCO80, FACTS)
    exact = {"coco": odd, "jsonl": odd, "yolo": odd, "yolo-darknet": odd, "csv": ["latin-\\udce9.png", odd[1]]}
    exact["openimages"] = exact["csv"]
    assert sorted(names_in(name, tmp_path)) == sorted(exact.get(name, ["latin-\\udce9.png", "bell\\x07.png"]))
