"""Inputs and outputs at addresses, by fsspec's file system in memory: the same files as on a disk, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cvdetect.annotations.formats import FORMATS
from cvdetect.core.errors import SinkError, SourceError, SourceNotFound, UsageError
from cvdetect.core.options import DetectOptions
from cvdetect.jobs.annotate import manifest as parts_module
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
from cvdetect.jobs.annotate.run import annotate
from tests.jobs.annotate.conftest import Annotate, FakeDetector, Tree, install, make_images, tree

EVERYTHING = {"formats": tuple(FORMATS), "review": True}


@pytest.fixture(autouse=True)
def memory() -> Iterator[MemoryFileSystem]:
    """An empty store."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def stored(folder: str) -> Tree:
    """Every file below a folder of the store, the manifest's own folder apart."""
    system = fsspec.filesystem("memory")
    found = {str(path).removeprefix(f"/{folder}/"): system.cat_file(path) for path in system.find(f"/{folder}")}
    return {name: data for name, data in found.items() if not name.startswith(".cvdetect/")}


def put(photos: Path, folder: str) -> str:
    """The same tree in the store."""
    for path in photos.rglob("*"):
        if path.is_file():
            fsspec.filesystem("memory").pipe_file(f"/{folder}/{path.relative_to(photos).as_posix()}", path.read_bytes())
    return f"memory://{folder}"


def parts() -> list[str]:
    return sorted(str(path).rpartition("/")[2] for path in fsspec.filesystem("memory").find("/out/.cvdetect"))


def lines_of(part: str) -> list[dict[str, Any]]:
    text = fsspec.filesystem("memory").cat_file(f"/out/.cvdetect/parts/{part}").decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def cloud(fake: FakeDetector, photos: Path) -> Annotate:
    """Annotates ``photos`` in the store into ``out`` in the store."""
    url = put(photos, "photos")

    def call(**changes: Any) -> AnnotateReport:
        return annotate(AnnotateJob(**{"images": url, "out": "memory://out", **changes}))

    return call


@pytest.mark.parametrize("remote_in", [True, False])
@pytest.mark.parametrize("remote_out", [True, False])
def test_all_files_are_those_of_a_run_on_disk(
    fake: FakeDetector, photos: Path, tmp_path: Path, remote_in: bool, remote_out: bool
) -> None:
    names = ['it\'s "a"\n<b>&.png', "sub dir/%41#?.png", "-.png", "ü/日本.png", "[1]*.png", "same.jpg", "same.png"]
    make_images(photos, names)
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("hello")
    here = annotate(AnnotateJob(
        images=str(photos), out=tmp_path / "out", draw=tmp_path / "drawn", crops=tmp_path / "crops", **EVERYTHING,
    ))  # fmt: skip
    folders: dict[str, Any] = (
        {"out": "memory://out", "draw": "memory://drawn/", "crops": "memory://crops"} if remote_out
        else {"out": tmp_path / "o2", "draw": tmp_path / "d2", "crops": tmp_path / "c2"}
    )  # fmt: skip
    there = annotate(AnnotateJob(images=put(photos, "photos") if remote_in else str(photos), **folders, **EVERYTHING))
    assert replace(there, outputs=()) == replace(here, outputs=())
    for kind, own in (("out", "out"), ("draw", "drawn"), ("crops", "crops")):
        before = tree(tmp_path / own)
        now = stored(own) if remote_out else tree(folders[kind])
        assert now == before
    assert len(stored("crops") if remote_out else tree(tmp_path / "c2")) > 5


def test_resume_does_nothing_twice_redoes_what_changed_and_drops_what_is_gone(
    cloud: Annotate, fake: FakeDetector, photos: Path, memory: MemoryFileSystem
) -> None:
    options = {"formats": ("voc", "coco"), "review": True, "draw": "memory://drawn", "crops": "memory://crops"}
    cloud(**options)
    before = stored("out")
    assert (cloud(**options, resume=True).detected, fake.seen) == (0, 5)
    assert stored("out") == before
    done, data = cv2.imencode(".png", np.full((9, 9, 3), 200, np.uint8))  # has no objects
    assert done
    memory.pipe_file("/photos/img2.png", data.tobytes())
    memory.rm_file("/photos/sub/deep/x.png")
    report = cloud(**options, resume=True)
    assert (report.done, report.detected, fake.seen) == (4, 1, 6)
    annotate(AnnotateJob(images="memory://photos", out="memory://o2", formats=("voc", "coco"), review=True,
                         draw="memory://d2", crops="memory://c2"))  # fmt: skip
    for one, other in (("out", "o2"), ("drawn", "d2"), ("crops", "c2")):
        assert stored(one) == stored(other), one


def test_a_used_out_is_refused_without_resume_or_overwrite_and_other_options_with_resume(cloud: Annotate) -> None:
    cloud()
    before, log = stored("out"), parts()
    with pytest.raises(UsageError, match=r"memory://out: holds an earlier run.*resume.*overwrite"):
        cloud()
    with pytest.raises(UsageError, match=r"conf: not given, now 0\.3"):
        cloud(resume=True, detect=DetectOptions(conf=0.3))
    with pytest.raises(UsageError, match="draw: not given, now memory://drawn"):
        cloud(resume=True, draw="memory://drawn")
    assert (stored("out"), parts()) == (before, log)


def test_overwrite_leaves_nothing_of_the_earlier_run_nor_of_its_log(
    cloud: Annotate, memory: MemoryFileSystem, tmp_path: Path
) -> None:
    cloud(formats=("voc", "coco"), review=True, draw="memory://drawn", crops="memory://crops")
    memory.pipe_file("/out/mine.txt", b"a person's own file")
    last = parts()[-1]
    cloud(formats=("jsonl",), overwrite=True)
    assert set(stored("out")) == {"detections.jsonl", "mine.txt"}
    assert not stored("drawn") and not stored("crops")
    assert parts()[0] > last, "what was before the new beginning is deleted"
    assert lines_of(parts()[0])[1]["do"] == "begin"
    assert cloud(formats=("jsonl",), resume=True).detected == 0


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_MOST_EVENTS", 2)


@pytest.mark.usefixtures("small_parts")
def test_the_log_of_many_parts_reports_all(cloud: Annotate, fake: FakeDetector) -> None:
    cloud(formats=("voc",))
    names = parts()
    assert names == [f"{i + 1:08d}.jsonl" for i in range(len(names))] and len(names) >= 5
    done = [event["name"] for name in names for event in lines_of(name)[1:] if event["do"] == "record"]
    assert done == ["img1.png", "img2.png", "img10.png", "sub/deep/x.png", "sub/img3.jpg"]
    assert cloud(formats=("voc",), resume=True).detected == 0
    names = parts()  # this store has no digests, so the files were read, and their stamps are known from here on
    assert cloud(formats=("voc",), resume=True).detected == 0
    assert [event for name in parts()[len(names) :] for event in lines_of(name)[1:]] == [{"do": "written", "rows": []}]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "other version", "no JSON"])
def test_a_damaged_log_is_reported_and_overwrite_starts_again(
    cloud: Annotate, memory: MemoryFileSystem, damage: str
) -> None:
    cloud()
    path = f"/out/.cvdetect/parts/{parts()[2]}"
    data = memory.cat_file(path)
    changed = {
        "cut": data[:-5], "changed": data.replace(b'"size":', b'"sise":'), "no JSON": b"x",
        "other version": data.replace(b'"version": 2', b'"version": 1'),
    }  # fmt: skip
    if damage == "gone":
        memory.rm_file(path)
    else:
        assert changed[damage] != data
        memory.pipe_file(path, changed[damage])
    with pytest.raises(SinkError, match="overwrite"):
        cloud(resume=True)
    report = cloud(overwrite=True)
    assert (report.exit_code, report.detected) == (0, 5)
    assert cloud(resume=True).detected == 0


@pytest.mark.usefixtures("small_parts")
def test_an_overwrite_that_ends_while_it_deletes_the_old_log_can_be_resumed(
    cloud: Annotate, fake: FakeDetector, monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    cloud(formats=("voc", "csv"))
    rm_file = MemoryFileSystem.rm_file

    def breaks(self: Any, path: str) -> None:
        if path.endswith("00000003.jsonl"):
            raise PermissionError("Access Denied")
        rm_file(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "rm_file", breaks)
        with pytest.raises(SinkError, match=r"00000003.jsonl: cannot be deleted: the store refuses it"):
            cloud(formats=("jsonl",), overwrite=True)
    assert parts()[0] == "00000003.jsonl"
    assert cloud(formats=("jsonl",), resume=True).detected == 5
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("jsonl",)))
    assert stored("out") == tree(tmp_path / "out"), "the files of the first run are known and gone"


@pytest.mark.usefixtures("small_parts")
def test_of_two_runs_in_one_out_one_ends_and_the_other_does_it_all(
    cloud: Annotate, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Interloper(FakeDetector):
        """Where another run has begun in the same OUT, and comes to its end first."""

        def detect_batch(self, images: Any) -> Any:
            if not self.seen:
                self.seen += 1
                install(monkeypatch, [FakeDetector()])
                cloud(resume=True, formats=("jsonl",))
            return super().detect_batch(images)

    install(monkeypatch, [Interloper()])
    with pytest.raises(SinkError, match="another cvdetect annotate is running here"):
        cloud(formats=("jsonl",))
    install(monkeypatch, [FakeDetector()])
    assert cloud(resume=True, formats=("jsonl",)).detected == 0
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("jsonl",)))
    assert stored("out") == tree(tmp_path / "out")


def test_after_ctrl_c_the_files_hold_what_was_done_and_resume_does_the_rest(
    cloud: Annotate, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(make_images(photos, [f"n{i}.png" for i in range(60)]), "photos")
    slow = FakeDetector(0.01)
    install(monkeypatch, [slow])

    def send() -> None:
        while slow.seen < 5:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    report = cloud(formats=("jsonl",), draw="memory://drawn")
    sender.join()
    assert report.exit_code == 130 and report.waiting == 65 - report.done > 0
    assert len(stored("out")["detections.jsonl"].splitlines()) == len(stored("drawn")) == report.done
    cloud(formats=("jsonl",), draw="memory://drawn", resume=True)
    assert slow.seen == 65, "none is done twice"
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("jsonl",)))
    assert stored("out") == tree(tmp_path / "out")


def test_a_run_that_began_nothing_leaves_no_trace(cloud: Annotate, memory: MemoryFileSystem) -> None:
    before = memory.find("/")
    with pytest.raises(UsageError, match="no such class"):
        cloud(blur=("no such class",))
    memory.pipe_file("/none/a.txt", b"x")
    with pytest.raises(SourceError, match=r"memory://none: no images: looked for .*1 other file"):
        cloud(images="memory://none")
    memory.rm_file("/none/a.txt")
    assert memory.find("/") == before


def test_patterns_lists_and_single_images(cloud: Annotate, memory: MemoryFileSystem, tmp_path: Path) -> None:
    def found(images: str, **more: Any) -> list[str]:
        annotate(AnnotateJob(images=images, out="memory://out", formats=("jsonl",), overwrite=True, **more))
        return [json.loads(line)["source"] for line in stored("out")["detections.jsonl"].splitlines()]

    assert found("memory://photos/**/*.png") == ["img1.png", "img2.png", "img10.png", "sub/deep/x.png"]
    assert found("memory://photos/sub/*.jpg") == ["img3.jpg"]
    assert found("memory://photos/img1?.png") == ["img10.png"]
    assert found("memory://photos/sub/img3.jpg") == ["img3.jpg"]
    assert found("memory://photos", recursive=False) == ["img1.png", "img2.png", "img10.png"]
    lines = b"memory://photos/sub/img3.jpg\nimg2.png\n\nmemory://photos/img1.png\n"
    memory.pipe_file("/list.txt", lines)
    (tmp_path / "list.txt").write_bytes(lines)
    for place in ("memory://list.txt", tmp_path / "list.txt"):
        assert found(f"@{place}", root="memory://photos") == ["img1.png", "img2.png", "sub/img3.jpg"]
    with pytest.raises(UsageError, match=r"memory://photos/sub/img3.jpg: lies outside .*give root"):
        found(f"@{tmp_path / 'list.txt'}")
    with pytest.raises(UsageError, match="lies outside"):
        found("@memory://list.txt", root="memory://photos/sub")


@pytest.mark.parametrize("images", ["memory://nowhere", "memory://nowhere/*.jpg", "@memory://no.txt"])
def test_what_is_not_there_is_reported(cloud: Annotate, images: str) -> None:
    with pytest.raises(SourceNotFound, match="no such"):
        cloud(images=images)


def test_a_image_that_goes_between_listing_and_reading_fails_alone(
    cloud: Annotate, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat_file = MemoryFileSystem.cat_file

    def gone(self: Any, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("img10.png"):
            raise FileNotFoundError(path)
        return cat_file(self, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", gone)
    report = cloud(formats=("csv",))
    assert (report.exit_code, report.done, report.failed) == (1, 4, 1)
    monkeypatch.undo()
    assert json.loads(stored("out")["failures.jsonl"]) == {"source": "img10.png", "error": "no such file or folder"}


def test_bombs_and_files_beyond_any_image_are_not_decoded_nor_fetched(
    cloud: Annotate, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    memory.pipe_file("/photos/bomb.png", header + (100_000).to_bytes(4, "big") * 2 + bytes(99))
    memory.pipe_file("/photos/huge.bmp", bytes(9 << 20))
    memory.pipe_file("/photos/empty.png", b"")
    fetched = []
    cat_file = MemoryFileSystem.cat_file

    def reported(self: Any, path: str, start: int | None = None, end: int | None = None) -> Any:
        fetched.append((path, end))
        return cat_file(self, path, start, end)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", reported)
    assert cloud(max_pixels=100_000).failed == 3
    assert ("/photos/huge.bmp", 8 << 20) in fetched and ("/photos/huge.bmp", None) not in fetched
    errors = {line["source"]: line["error"] for line in map(json.loads, stored("out")["failures.jsonl"].splitlines())}
    assert "has 100000x100000 pixels" in errors["bomb.png"]
    assert errors["huge.bmp"] == "has 9,437,184 bytes, more than an image of 100,000 pixels can have"
    assert errors["empty.png"] == "is empty"


def test_a_image_larger_than_the_first_piece_is_read_whole(
    fake: FakeDetector, memory: MemoryFileSystem, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p" / "a.bmp"), noise)
    assert annotate(AnnotateJob(images=put(tmp_path / "p", "p"), out="memory://out")).exit_code == 0


def test_a_put_that_fails_midway_is_reported_and_resume_continues(
    cloud: Annotate, fake: FakeDetector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photos: Path
) -> None:
    pipe_file = MemoryFileSystem.pipe_file

    def fails(self: Any, path: str, value: bytes, mode: str = "overwrite") -> None:
        if path.endswith("/deep/x.png"):
            raise ConnectionResetError("Connection reset by peer")
        pipe_file(self, path, value, mode)

    options: dict[str, Any] = {"formats": ("voc",), "draw": "memory://drawn"}
    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "pipe_file", fails)
        with pytest.raises(SinkError, match=r"memory://drawn/sub/deep/x.png: cannot be written: the store cannot be"):
            cloud(**options)
    assert cloud(**options, resume=True).detected < 5, "what was recorded stays"
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "o", formats=("voc",), draw=tmp_path / "d"))
    assert (stored("out"), stored("drawn")) == (tree(tmp_path / "o"), tree(tmp_path / "d"))


def test_review_later_makes_the_thumbnails_that_are_missing(cloud: Annotate, fake: FakeDetector) -> None:
    cloud()
    cloud(resume=True, review=True)
    assert fake.seen == 5
    later = stored("out")
    assert len([name for name in later if name.startswith("review/thumbs/")]) == 5
    cloud(overwrite=True, review=True)
    assert stored("out") == later


@pytest.mark.parametrize("folder", ["memory://photos", "memory://"])
def test_images_are_never_written_over_the_inputs(cloud: Annotate, folder: str) -> None:
    with pytest.raises(UsageError, match="holds the input folder"):
        cloud(draw=folder)


def test_what_is_written_among_the_inputs_is_not_taken_for_input(cloud: Annotate) -> None:
    inside = {"out": "memory://photos", "formats": ("yolo",), "review": True, "draw": "memory://photos/drawn"}
    assert cloud(**inside).done == 5
    assert cloud(**inside, resume=True).done == 5
    with pytest.raises(UsageError, match="the same folder"):
        cloud(draw="memory://x/", crops="memory://x")
