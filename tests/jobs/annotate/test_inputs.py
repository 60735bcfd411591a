"""Which images are found, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.jobs.annotate.inputs import (
    ListedImage,
    WalkStats,
    describe_ignored,
    find_inputs,
    list_images,
    no_images_error,
)
from cvdetect.storage import LocalFolder


def found(text: object, root: Path | None = None, recursive: bool = True, outputs: tuple[Path, ...] = ()) -> list[str]:
    identities = frozenset((p.stat().st_dev, p.stat().st_ino) for p in outputs)
    return sorted(i.name for i in list_images(find_inputs(str(text), root, recursive), identities, WalkStats()))


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_is_walked_to_its_leaves_for_images_that_are_not_hidden(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "B.PNG", "n.txt", "noext", ".hidden.jpg", ".git/x.jpg", "sub/c.webp", "sub/deep/d.tif")
    assert found(tmp_path) == ["B.PNG", "a.jpg", "sub/c.webp", "sub/deep/d.tif"]
    assert found(tmp_path, recursive=False) == ["B.PNG", "a.jpg"]


def test_hidden_images_are_counted_and_what_macos_puts_beside_others_is_not(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", ".b.jpg", "sub/.c.png", "._a.jpg", ".DS_Store", ".git/x.jpg")
    inputs, tally = find_inputs(str(tmp_path)), WalkStats()
    assert len(list(list_images(inputs, frozenset(), tally))) == 1
    assert describe_ignored(tally) == "ignored, as hidden (the name begins with a dot): 2 images"
    assert "2 hidden images" in str(no_images_error(inputs, tally))


def test_files_of_unknown_suffix_or_none_are_images_by_their_first_bytes(tmp_path: Path) -> None:
    make(tmp_path, "a.jfif", "b.heic", "c.txt", "README", "d.strange", "v.mp4", "w.mov")
    for name in ("noext", "e.strange", "f.jpg~", "g.txt"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    os.mkfifo(tmp_path / "pipe")
    tally = WalkStats()
    names = sorted(i.name for i in list_images(find_inputs(str(tmp_path)), frozenset(), tally))
    assert names == ["a.jfif", "b.heic", "e.strange", "f.jpg~", "noext"]
    reported = describe_ignored(tally)
    assert reported.startswith("ignored, as not images: 5 other files (no suffix 2, .txt 2, .strange 1), 2 videos (")
    assert ".mp4 1" in reported and "cvdetect video" in reported


def test_known_suffixes_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "b.txt", "c.json", "d.mp4", "e.csv")
    monkeypatch.setattr(LocalFolder, "beginning", lambda *_: pytest.fail("was read"))
    assert found(tmp_path) == ["a.jpg"]


def test_names_with_newlines_quotes_brackets_and_bytes_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    names = ["a\nb.jpg", 'it\'s "x".jpg', "[1].jpg", " lead.jpg", os.fsdecode(b"\xff\xfe.jpg"), "%41.jpg", "-.jpg"]
    make(tmp_path, *names)
    assert found(tmp_path) == sorted(names)


def test_a_loop_of_links_is_entered_once_and_reported(tmp_path: Path) -> None:
    make(tmp_path, "a/x.jpg", "b/y.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "self").symlink_to("self")
    tally = WalkStats()
    names = sorted(i.name for i in list_images(find_inputs(str(tmp_path)), frozenset(), tally))
    assert names == ["a/other/y.jpg", "a/x.jpg", "b/y.jpg"]
    assert tally.loops == ["a/up/"]


def test_a_link_that_leads_nowhere_is_an_image_that_will_fail(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    listed = list(list_images(find_inputs(str(tmp_path)), frozenset(), WalkStats()))
    assert listed == [ListedImage("gone.jpg", -1, -1)]


def test_folders_that_are_written_to_are_not_walked_unless_they_are_the_input_itself(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "out/b.jpg", "drawn/c.jpg")
    assert found(tmp_path, outputs=(tmp_path / "out", tmp_path / "drawn")) == ["a.jpg"]
    assert found(tmp_path, outputs=(tmp_path,)) == ["a.jpg", "drawn/c.jpg", "out/b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a1.jpg", "a2.jpg"]),
        ("a?.jpg", ["a1.jpg", "a2.jpg"]),
        ("a[2-9].*", ["a2.jpg"]),
        ("a[!2].jpg", ["a1.jpg"]),
        ("*/*.jpg", ["sub/a3.jpg"]),
        ("**/*.jpg", ["a1.jpg", "a2.jpg", "sub/a3.jpg", "sub/deep/a4.jpg"]),
        ("**", ["a1.jpg", "a2.jpg", "b.png", "sub/a3.jpg", "sub/deep/a4.jpg"]),
        ("s*/**/*", ["sub/a3.jpg", "sub/deep/a4.jpg"]),
        ("*", ["a1.jpg", "a2.jpg", "b.png"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, names: list[str]) -> None:
    make(tmp_path, "a1.jpg", "a2.jpg", "b.png", "b.txt", "sub/a3.jpg", "sub/deep/a4.jpg")
    assert found(f"{tmp_path}/{pattern}") == names


def test_a_folder_with_brackets_in_its_name_is_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "[x]/a.jpg")
    assert found(tmp_path / "[x]") == ["a.jpg"]


def test_names_of_a_pattern_are_relative_to_the_part_before_its_first_wildcard(tmp_path: Path) -> None:
    make(tmp_path, "p/x/a.jpg")
    assert find_inputs(f"{tmp_path}/p/*/a.jpg").root == LocalFolder(tmp_path / "p")


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_gives_paths_line_by_line_or_between_nul_bytes(
    tmp_path: Path, separator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "sub/b.data")
    monkeypatch.chdir(tmp_path)
    lines = ["a.jpg", str(tmp_path / "sub" / "b.data"), "./a.jpg", "missing.jpg", ""]
    (tmp_path / "list.txt").write_bytes(separator.join(lines).encode())
    assert found("@list.txt") == ["a.jpg", "a.jpg", "missing.jpg", "sub/b.data"]


def test_a_long_list_is_read_in_pieces_without_losing_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{'é' * 40}{i}.jpg" for i in range(5000)]
    Path("list.txt").write_text("\n".join(names), encoding="utf-8")
    assert found("@list.txt") == sorted(names)


def test_a_listed_path_outside_of_the_root_is_refused_and_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "here/a.jpg", "there/b.jpg")
    monkeypatch.chdir(tmp_path / "here")
    Path("list.txt").write_text("../there/b.jpg\n")
    with pytest.raises(UsageError, match="root"):
        found("@list.txt")
    assert found("@list.txt", root=tmp_path) == ["there/b.jpg"]


def test_one_image_is_relative_to_its_folder(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.jpg")
    assert found(tmp_path / "sub" / "a.jpg") == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere", "no such folder, image or pattern"),
        ("nowhere/*.jpg", "no such folder"),
        ("@no.txt", "no such list"),
    ],
)
def test_what_is_not_there_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFound, match=words):
        found(text)


def test_root_does_not_go_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="root"):
        find_inputs(str(tmp_path), root=tmp_path.parent)


def test_nothing_found_states_what_was_looked_for_and_what_was_there(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.txt", "c.mp4", "sub/d.jpg")
    inputs, tally = find_inputs(str(tmp_path), recursive=False), WalkStats()
    assert not list(list_images(inputs, frozenset(), tally))
    reported = str(no_images_error(inputs, tally))
    for part in (str(tmp_path), ".jpg", ".png", "3 other files (.txt 2, .mp4 1)", "did not enter 1 sub-folder"):
        assert part in reported


def test_a_folder_that_cannot_be_read_is_reported_and_the_others_are_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tally = WalkStats()
    assert [i.name for i in list_images(find_inputs(str(tmp_path)), frozenset(), tally)] == ["a.jpg"]
    assert tally.unreadable == [f"{tmp_path}/locked: cannot be read: Permission denied"]
    with pytest.raises(SourceError, match="Permission denied"):
        found(tmp_path / "locked")
