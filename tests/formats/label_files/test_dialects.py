"""Label files as people have them: each is read as what it is, or refused in a sentence, never line by line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files import LabelFile, parse_label_file


def read(text: str | bytes, name: str = "x.names") -> LabelFile:
    return parse_label_file(text if isinstance(text, bytes) else text.encode(), name)


def names(text: str | bytes, classes: int | None, name: str = "x.names") -> dict[int, str]:
    return read(text, name).by_class(classes)


def check(content: bytes, classes: int) -> None:
    """Names of the model's own classes come out, or one short sentence that names the file."""
    try:
        found = read(content).by_class(classes)
    except ModelFileError as error:
        assert str(error).startswith("x.names") and "\n" not in str(error) and len(str(error)) < 400
    else:
        assert found and set(found) <= set(range(classes)) and all(found.values())


TWO = {0: "cat", 1: "big dog"}
BOTH_OF_TWO = {
    "list": "cat\nbig dog\n",
    "without a last line end": "cat\nbig dog",
    "blank lines at the end": "cat\nbig dog\n\n  \n",
    "blank lines between": "cat\n\nbig dog\n",
    "DOS": "cat\r\nbig dog\r\n\x1a",
    "old Mac": "cat\rbig dog\r",
    "spaces around": "  cat \n\tbig dog\t\n",
    "comments": "# my classes\ncat\n// the second\nbig dog\n",
    "background in front": "background\ncat\nbig dog\n",
    "placeholder in front": "???\ncat\nbig dog\n",
    "numbered from 0": "0 cat\n1 big dog\n",
    "numbered from 1": "1 cat\n2 big dog\n",
    "numbered, colon": "0: cat\n1: big dog\n",
    "numbered, dot": "1. cat\n2. big dog\n",
    "numbered, comma": "0,cat\n1,big dog\n",
    "numbered, tab": "0\tcat\n1\tbig dog\n",
    "numbered, equals": "0 = cat\n1 = big dog\n",
    "numbered, other order": "1 big dog\n0 cat\n",
    "numbered, background": "0 background\n1 cat\n2 big dog\n",
    "numbered last": "cat: 0\nbig dog: 1\n",
    "numbered last, comma": "cat,1\nbig dog,2\n",
    "CSV": "id,name,colour\n0,cat,red\n1,big dog,blue\n",
    "CSV, other columns": "name;supercategory;id\ncat;animal;1\nbig dog;animal;2\n",
    "CSV without numbers": "label,colour\ncat,red\nbig dog,blue\n",
    "one line": "cat, big dog\n",
    "commas at the ends": "cat,\nbig dog,\n",
    "quoted lines": '"cat",\n"big dog",\n',
    "JSON list": '["cat", "big dog"]',
    "JSON mapping": '{"0": "cat", "1": "big dog"}',
    "JSON mapping to numbers": '{"cat": 0, "big dog": 1}',
    "JSON under a key": '{"nc": 2, "names": ["cat", "big dog"]}',
    "JSON, id2label": '{"id2label": {"0": "cat", "1": "big dog"}, "label2id": {"cat": 0}}',
    "COCO's categories": '{"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "big dog"}]}',
    "Python list": "['cat', 'big dog']",
    "Python assignment": "CLASSES = (\n    'cat',\n    'big dog',\n)\n",
    "Python mapping": "{0: 'cat', 1: 'big dog'}",
    "data.yaml, list": "path: ../data\ntrain: images\nnc: 2\nnames: ['cat', 'big dog']\n",
    "data.yaml, lines": "names:\n- cat\n- big dog\n",
    "data.yaml, mapping": "train: images\nnames:\n  0: cat\n  1: big dog\n",
    "YAML list": "- cat\n- big dog\n",
    "TensorFlow label map": "item {\n  id: 1\n  name: 'cat'\n}\nitem {\n id: 2 name: 'x'\n  display_name: 'big dog'\n}",
    "label map, one line": 'item { id: 1 name: "cat" } item { name: "big dog", id: 2 }',
    "label map, commas": 'item {\n name: "x",\n id: 1,\n display_name: "cat"\n}\nitem { id: 2, name: "big dog" }\n',
    "label map, comment": "# made by hand\nitem { id: 1 name: 'cat' }\nitem: < id: 2 name: 'big dog' >",
    "Caffe label map": (
        'item { name: "none_of_the_above" label: 0 display_name: "background" }\n'
        'item { name: "c" label: 1 display_name: "cat" }\nitem { name: "big dog" label: 2 }\n'
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOTH_OF_TWO)
def test_every_dialect_gives_the_same_two_names(kind: str) -> None:
    assert names(BOTH_OF_TWO[kind], 2) == TWO


@pytest.mark.parametrize("suffix", ["names", "txt", "pbtxt", "prototxt", "pb.txt", "labels", "map"])
def test_a_label_map_is_known_by_its_content_whatever_its_suffix(suffix: str) -> None:
    assert names(BOTH_OF_TWO["Caffe label map"], 2, f"x.{suffix}") == TWO


NO_NAMES = {
    "HTML": ("<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
    "XML": ('<?xml version="1.0"?>\n<annotation><object/></annotation>', "is an XML document"),
    "LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "Git LFS pointer"),
    "image": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "is a JPEG image"),
    "zip": (b"PK\x03\x04" + bytes(30), "is a zip archive"),
    "binary": (bytes(range(256)), "is a binary file"),
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "comments only": ("# nothing\n// here\n", "has only comments"),
    "cfg": ("# a cfg\n[net]\nwidth=416\nheight=416\n", r"is a configuration file \(\[net\]\)"),
    ".data": ("classes = 2\ntrain = a\nnames = b.names\n", "is a Darknet .data file"),
    "boxes": ("0 0.5 0.5 0.1 0.2\n1 0.2 0.2 0.1 0.1\n", "only numbers"),
    "text graph": ("node {\n  name: 'x'\n}\n", "node has no place in a label map"),
    "settings": ("task: detect\nmode: train\nmodel: yolov8n.pt\n", "has settings"),
    "source, classes": ("class Cat:\n    legs = 4\n", "the line 'class Cat:'"),
    "source": ("import os\nprint(1)\n", "the line 'import os'"),
    "a table without heading": ("/m/01,cat\n/m/02,dog\n", "table without a heading"),
    "long lines": ("a word " * 50 + "\nb\n", "has 349 characters"),
    "some numbers": ("0 cat\n1 dog\nhorse\n", "'horse' has none"),
    "a number twice": ("0 cat\n1 dog\n2 cow\n3 pig\n3 hen\n", "number 3 twice"),
    "JSON without names": ('{"a": {"b": 1}}', "does not give each class a number"),
    "damaged JSON": ('["cat", "dog"', "is not one"),
    "YAML without names": ("nc: 2\ntrain: x\n", "has no names"),
    "YAML, nc": ("nc: 3\nnames: [cat, dog]\n", "nc: 3, but names 2 classes"),
    "YAML, a name twice": ("names:\n  0: cat\n  0: dog\n", "'0' twice"),
    "YAML, names in a file": ("names: coco.names\nnc: 80\n", "names are in coco.names"),
    "label map, id twice": ("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", "id 1 is there twice"),
    "a NUL in a name": ("item { id: 1 name: 'a\\000b' }", "characters that a name cannot have"),
    "half a surrogate": ('["\\ud800"]', "characters that a name cannot have"),
    "damaged before": ("caf\ufffd\n", "was damaged"),
}


@pytest.mark.parametrize("kind", NO_NAMES)
def test_what_is_not_a_label_file_is_refused_in_one_sentence(kind: str) -> None:
    content, words = NO_NAMES[kind]
    with pytest.raises(ModelFileError, match=words) as caught:
        read(content)
    assert str(caught.value).startswith(("x.names: ", "x.names:1:", "x.names:2:"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("a\nb\n", 3, "has 2 names, but the model has 3 classes: .* lines are missing"),
        ("a\nb\nc\n", 2, "has 3 names, but the model has 2 classes: .* one line is not a class"),
        ("a\nb\nc\nd\n", 2, "has 4 names, but the model has 2 classes: .* lines that are not classes"),
        ("0 a\n1 b\n4 c\n", 3, "numbers 3 names from 0 to 4, but the model has 3 classes: number them from 0 to 2"),
        ("a\n", 2, "has 1 name, but the model has 2 classes"),
        ("a\nb\n", 1, "has 2 names, but the model has 1 class: "),
        ("item { id: 3 name: 'a' }", 2, "numbers 1 name from 3 to 3, but the model has 2"),
    ],
)
def test_another_number_of_names_than_classes_is_an_error_with_both_counts(
    text: str, classes: int, message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        names(text, classes)


def test_the_number_of_classes_decides_what_a_blank_line_and_a_hash_mean() -> None:
    assert names("cat\n\ndog\n", 3) == {0: "cat", 2: "dog"}  # to Darknet, every line is a class
    assert names("cat\n\ndog\n", 2) == {0: "cat", 1: "dog"}
    assert names("#hash\ndog\n", 2) == {0: "#hash", 1: "dog"}
    assert names("#animals\ndog\n", 1) == {0: "dog"}
    assert names("# 1\ndog\n", 2) == {0: "# 1", 1: "dog"}
    assert names("bread, sliced\n", 1) == {0: "bread, sliced"}


def test_gaps_and_placeholders_leave_classes_without_names() -> None:
    assert names("0 person\n2 car\n", 3) == {0: "person", 2: "car"}
    assert names("???\nperson\nbicycle\n???\ncar\n", 4) == {0: "person", 1: "bicycle", 3: "car"}
    assert names("item { id: 1 name: 'a' }\nitem { id: 3 name: 'c' }", 3) == {0: "a", 2: "c"}
    assert names("item { id: 2 name: 'b' }", 5) == {1: "b"}  # label maps may name fewer


@pytest.mark.parametrize(
    "content",
    ["3 euro\n5 euro\n10 euro", "1 euro\n2 euro\n5 euro", "0-2\n4-6\n8-12", "0\n1\n2", "car 1\ncar 2\nlorry",
     "9-ball\n8-ball\ncue", "no\nyes\n1e5", "T-shirt\nhot dog\n4x4", "1 hearts\n1 spades\n1 clubs",
     "class A\nclass B\nclass C", "light: red\nlight: green\nlight: amber", "import car\nfrom Rome\nreturn ticket"],
)  # fmt: skip
def test_numbers_may_belong_to_the_names(content: str) -> None:
    assert list(names(content, 3).values()) == content.split("\n")


def test_numbers_that_leave_hardly_any_names_apart_belong_to_the_names() -> None:
    dice = ["1 dot", "2 dots", "3 dots", "4 dots", "5 dots", "6 dots"]
    assert list(names("\n".join(dice), 6).values()) == dice


def test_yaml_takes_names_as_they_are_written() -> None:
    assert names("names: [no, 1, 007, ~, 'a b']\n", 5) == dict(enumerate(["no", "1", "007", "~", "a b"]))


def test_laughter_in_yaml_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    with pytest.raises(ModelFileError, match="expected the name of a class"):
        read("\n".join([*lines, "names: [*a39]"]))


@pytest.mark.parametrize(
    "content",
    ["a" + " , " * 500_000, "0 " + " " * 500_000, "a =" + " " * 500_000 + "b",
     "0 " + " " * 500_000 + "b", "a\n" + "b :" * 500_000, "[" + "0," * 1_000_000, "item {" * 500_000,
     "0 a\n" * 4_000_000, "x" * (17 << 20),
     "names: [" + "a, " * 500_000, "- " * 500_000, "#" * 1_000_000 + "\nx y\n" + "=" * 100_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_long_content_ends_in_names_or_in_one_short_sentence(content: str) -> None:
    check(content.encode(), classes=2)


@pytest.mark.parametrize("opening", ["[", "{", "- ", "names: [", "item {", "(", '{"a":'])
def test_deep_nesting_is_an_error(opening: str) -> None:
    with pytest.raises(ModelFileError):
        read(opening * 20_000)


# --- properties -------------------------------------------------------------------------------------------------------

LABEL = st.text(st.characters(categories=["L"], max_codepoint=0x2FFF), min_size=1, max_size=12).filter(
    lambda text: text.casefold() not in ("none", "bg", "background", "unlabeled", "unlabelled", "n", "id")
)
LABELS = st.lists(LABEL, min_size=2, max_size=12, unique=True)
WRITERS: dict[str, Callable[[list[str]], str]] = {
    "list": "\n".join,
    "numbered from 0": lambda labels: "\n".join(f"{i} {label}" for i, label in enumerate(labels)),
    "numbered from 1": lambda labels: "\n".join(f"{i}: {label}" for i, label in enumerate(labels, start=1)),
    "JSON": json.dumps,
    "JSON mapping": lambda labels: json.dumps(dict(enumerate(labels))),
    "Python": repr,
    "YAML": lambda labels: "names:\n" + "".join(f"  {i}: {json.dumps(v)}\n" for i, v in enumerate(labels)),
    "label map": lambda labels: "".join(
        f"item {{ id: {i} name: {json.dumps(label, ensure_ascii=False)} }}\n" for i, label in enumerate(labels, start=1)
    ),
    "table": lambda labels: "id\tname\n" + "".join(f"{i}\t{label}\n" for i, label in enumerate(labels)),
}


@pytest.mark.parametrize("dialect", WRITERS)
@given(labels=LABELS, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]), end=st.sampled_from("\n\r"))
def test_names_come_back_from_every_dialect_and_encoding(
    dialect: str, labels: list[str], encoding: str, end: str
) -> None:
    text = WRITERS[dialect](labels).replace("\n", end)
    assert names(text.encode(encoding), len(labels)) == dict(enumerate(labels))


STARTS = st.sampled_from([b"", b"names:", b"[", b"{", b"item {", b"0 ", b"id,name\n", b"\xff\xfe", b"\xfe\xff", b"- "])


@given(STARTS, st.one_of(st.binary(max_size=200), st.text(max_size=120).map(lambda t: t.encode("utf-8"))))
def test_no_content_raises_anything_but_the_projects_error(start: bytes, content: bytes) -> None:
    check(start + content, classes=3)


@given(st.text("0123456789 .,:;#/[]{}()-_=\"'\nabitemn\t", max_size=80))
def test_no_text_of_marks_and_numbers_raises_anything_but_the_projects_error(text: str) -> None:
    check(text.encode(), classes=2)
