"""What a folder at an address promises, and what is told when it cannot be had."""

from __future__ import annotations

import builtins
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from cvdetect.core.errors import SinkError, SourceError, SourceNotFound, UnwritableName, UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import ABSENT, Folder, LocalFolder, State, is_url, open_folder
from cvdetect.storage.urls import join, parent_and_name
from tests.conftest import Cli

# A store where a name is a name, and one whose folders must be made and whose files grow while they are written.
KINDS = ["memory", "local", "path"]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield open_folder({"memory": "memory://f", "local": f"local://{tmp_path}/f", "path": tmp_path / "f"}[request.param])
    memory.store.clear()


def names(folder: Folder, below: str = "") -> list[tuple[str, bool]]:
    return sorted((entry.name, entry.is_folder) for entry in folder.entries(below))


def test_what_is_written_is_listed_read_and_removed(folder: Folder) -> None:
    folder.prepare()
    for name in ("a.txt", "sub/b.txt", 'sub/deep/[x]*? é "q"\n.txt'):
        folder.write(name, name.encode())
        assert folder.read(name) == name.encode()
        assert folder.start(name) == (name.encode(), len(name.encode()))
    folder.sweep()
    assert names(folder) == [("a.txt", False), ("sub", True)]
    assert names(folder, "sub") == names(folder.folder("sub")) == [("b.txt", False), ("deep", True)]
    assert [folder.kind(name) for name in ("", "a.txt", "sub", "none")] == ["folder", "file", "folder", None]
    folder.write("a.txt", b"again")
    assert folder.read("a.txt") == b"again"
    folder.remove(["a.txt", "sub/b.txt", "none.txt", "no/folder.txt"])
    assert [folder.kind(name) for name in ("a.txt", "sub/b.txt")] == [None, None]


def test_a_folder_can_be_pickled(folder: Folder) -> None:
    folder.write("a.txt", b"x")
    same = pickle.loads(pickle.dumps(folder))
    assert same.read("a.txt") == b"x" and same.identity() == folder.identity() and str(same) == str(folder)


def test_a_files_state_shows_a_change(folder: Folder) -> None:
    folder.write("a.txt", b"x")
    (before, missing) = folder.look(["a.txt", "none.txt"])
    assert missing == State() and before.size == 1
    listed = next(iter(folder.entries()))
    assert listed.state in (None, before)
    folder.write("a.txt", b"yy")
    (after,) = folder.look(["a.txt"])
    assert after.size == 2 and after.stamp != before.stamp


def test_a_file_is_created_once(folder: Folder) -> None:
    assert folder.create("a.txt", b"x")
    assert not folder.create("a.txt", b"y")
    assert folder.read("a.txt") == b"x"


def test_finished_files_are_moved_in(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "done" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / "done" / name).write_text(name)
    assert folder.move_in(tmp_path / "done", dict.fromkeys(["a.txt", "sub/b.txt"], ABSENT)) == {}
    assert [folder.read(name) for name in ("a.txt", "sub/b.txt")] == [b"a.txt", b"sub/b.txt"]


def test_a_name_that_is_a_folders_is_unfit(folder: Folder, tmp_path: Path) -> None:
    folder.write("a/b.txt", b"x")
    folder.write("c", b"x")
    with pytest.raises(UnwritableName, match=r"c/d.txt: cannot be written"):
        folder.write("c/d.txt", b"y")
    (tmp_path / "done" / "c").mkdir(parents=True)
    (tmp_path / "done" / "c" / "d.txt").touch()
    assert set(folder.move_in(tmp_path / "done", {"c/d.txt": ABSENT})) == {"c/d.txt"}
    assert folder.read("c") == b"x" and folder.read("a/b.txt") == b"x"


def test_nothing_unfinished_stays(folder: Folder) -> None:
    folder.prepare()
    folder.write("a.txt", b"x")
    folder.sweep()
    found = {name for name, _ in names(folder)} - {".cvdetect-unfinished"}
    assert found == {"a.txt"}
    with pytest.raises(SourceNotFound):
        folder.read(".cvdetect-unfinished/x")


def test_names_that_lead_out_are_refused(folder: Folder) -> None:
    for act in (lambda: folder.write("../x", b""), lambda: folder.remove(["a/../../x"])):
        with pytest.raises(SinkError, match="leads out"):
            act()


def test_what_does_not_exist_is_reported(folder: Folder) -> None:
    with pytest.raises(SourceNotFound, match="no such"):
        folder.read("none.txt")
    with pytest.raises(SourceError, match=r"[nN]o such"):
        list(folder.entries("none"))


def test_names_are_relative_to_the_folder_or_lie_outside(folder: Folder) -> None:
    assert folder.relative(folder.shown("a/b.txt")) == "a/b.txt"
    assert folder.relative("memory://other/a.txt") is None
    assert folder.relative("../x.txt") is None


def test_which_folder_lies_in_which(folder: Folder, tmp_path: Path) -> None:
    inside = folder.folder("x")
    assert inside.within(folder) and folder.within(folder) and not folder.within(inside)
    assert not folder.folder("xy").within(inside)
    assert not folder.within(open_folder("memory://g")) and not LocalFolder(tmp_path).within(open_folder("memory://g"))


@pytest.mark.parametrize(
    ("text", "url"), [("s3://b/x", True), ("zip://x::s3://b/y.zip", True), ("C:\\x", False), ("a:b", False),
                      ("./s3://b", False), ("@s3://b", False)],
)  # fmt: skip
def test_what_is_an_address(text: str, url: bool) -> None:
    assert is_url(text) == url


def test_addresses_of_what_lies_in_a_folder() -> None:
    assert join("s3://b", "x/y.jpg") == "s3://b/x/y.jpg" and join("memory://", "x") == "memory://x"
    assert join("zip://::s3://b/p.zip", "x.jpg") == "zip://x.jpg::s3://b/p.zip"
    assert parent_and_name("s3://b/x/y.jpg") == ("s3://b/x", "y.jpg")


def test_images_in_an_archive_in_a_store_are_read(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a/b.txt", "x")
    folder = open_folder(f"zip://::file://{tmp_path}/p.zip")
    assert names(folder) == [("a", True)] and names(folder, "a") == [("b.txt", False)]
    assert folder.read("a/b.txt") == b"x"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s4://bucket/x", r"no such protocol s4://; did you mean s3://\?"),
        ("qqqqqq://x", "no such protocol qqqqqq://; s3://, gs://"),
        ("ftp://me:secret@host/x", r"ftp://me:\*\*\*@host/x: contains a password; .*FSSPEC_FTP_PASSWORD"),
    ],
)
def test_a_mistaken_address_is_reported(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_folder(url)


@pytest.mark.parametrize(
    ("absent", "url", "cure"),
    [
        ("fsspec", "s3://b/x", "pip install 'cvdetect[cloud]'"),
        ("s3fs", "s3://b/x", "pip install 'cvdetect[cloud]'"),
        ("gcsfs", "gs://b/x", "pip install gcsfs"),
        ("adlfs", "az://b/x", "pip install adlfs"),
    ],
)
@pytest.mark.parametrize("place", ["images", "--out", "--draw"])
def test_a_missing_package_is_reported_with_a_hint_before_anything_is_loaded(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, absent: str, url: str, cure: str, place: str
) -> None:
    without(absent, monkeypatch)
    Path("photos").mkdir()
    places = {"images": "photos", "--out": "out", place: url}
    images = places.pop("images")
    done = cli("annotate", images, "-m", "yolov4", *(word for pair in places.items() for word in pair))
    assert done.code == 3, done
    assert f"{url}: " in done.err and cure in done.err and len(done.err.splitlines()) == 1
    assert not Path("out").exists()


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {package!r}", name=package)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    if package != "fsspec":
        for protocol in ("s3", "s3a", "gs", "gcs", "az", "abfs"):
            monkeypatch.delitem(_registry, protocol, raising=False)


def test_paths_do_not_need_fsspec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without("fsspec", monkeypatch)
    open_folder(tmp_path).write("a.txt", b"x")
    assert open_folder(tmp_path).read("a.txt") == b"x"


def test_a_store_that_refuses_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(SinkError, match=r"the store refuses it \(Access Denied\): check the credentials"):
        annotate(AnnotateJob(images=str(tmp_path), out="memory://out"))
    monkeypatch.setattr(MemoryFileSystem, "info", refuse)
    with pytest.raises(SourceError, match=r"memory://photos: cannot be read: the store refuses it"):
        annotate(AnnotateJob(images="memory://photos", out=tmp_path / "out"))
