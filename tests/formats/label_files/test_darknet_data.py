"""Darknet's .data files lead to the names that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files.darknet_data import is_darknet_data, read_darknet_data

DATA = (
    "# made by hand\nclasses= {classes}\ntrain  = data/train.txt\nvalid = data/test.txt\nnames = {names}\nbackup = b/\n"
)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("place", ["project/data/obj.names", "project/obj.names", "data/obj.names"])
def test_names_are_found_from_its_folder_the_current_one_and_the_one_above(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    names = put(tmp_path / place, "cat\ndog\n")
    found = read_darknet_data(put(tmp_path / "project/obj.data", DATA.format(classes=2, names="data/obj.names")))
    assert found is not None and found.names.resolve() == names and found.classes == 2


def test_names_lie_beside_a_data_file_in_its_data_folder(tmp_path: Path) -> None:
    names = put(tmp_path / "data/obj.names", "cat\n")
    found = read_darknet_data(put(tmp_path / "data/obj.data", DATA.format(classes=1, names="data\\obj.names")))
    assert found is not None and found.names.resolve() == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DATA.format(classes=2, names="none.names"), "its names file none.names does not exist"),
        ("classes = 2\ntrain = x\n", "without names ="),
        (DATA.format(classes="two", names="obj.names"), "classes = two is not a number"),
    ],
)
def test_what_is_wrong_in_it_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "obj.names", "cat\ndog\n")
    with pytest.raises(ModelFileError, match=message):
        read_darknet_data(put(tmp_path / "obj.data", text))


@pytest.mark.parametrize(
    "text", ["cat\ndog\n", "", "[net]\nwidth=3\nclasses=2\n", "a = b\nc = d\n", "names: [cat]\n", "classes\n"]
)
def test_other_files_are_none(text: str, tmp_path: Path) -> None:
    assert not is_darknet_data(text)
    assert read_darknet_data(put(tmp_path / "x", text)) is None
