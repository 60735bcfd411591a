"""A user's files are never replaced or deleted: what the manifest does not name as its own and unchanged stays."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.annotations.formats import FORMATS
from cvdetect.core.errors import SinkError, UsageError
from cvdetect.core.options import ModelChoice
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.ledger import Ledger
from cvdetect.jobs.annotate.manifest.outcome import WrittenFile
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import LocalFolder
from tests.conftest import Told
from tests.jobs.annotate.conftest import Annotate, FakeDetector, install, make_images, touch_later, tree

MINE = "a person's own work"
SHARED = {
    "coco": ["instances.json", "results.json"], "yolo": ["data.yaml", "classes.txt"], "openimages": ["openimages.csv"],
    "jsonl": ["detections.jsonl"], "csv": ["detections.csv"], "cvat": ["annotations.xml"],
}  # fmt: skip
PER_IMAGE = {"voc": "img1.xml", "yolo": "labels/sub/deep/x.txt"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def put(path: Path, text: str = MINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def everything(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"formats": tuple(FORMATS), "review": True, "draw": tmp_path / "drawn", "crops": tmp_path / "crops", **more}


def all_files(tmp_path: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(tmp_path).items() if name.partition("/")[0] in ("out", "drawn", "crops")}


WHERE_FILES_GO = [
    *[({"formats": (name,)}, f"out/{file}") for name, files in SHARED.items() for file in files],
    *[({"formats": (name,)}, f"out/{file}") for name, file in PER_IMAGE.items()],
    ({"formats": ("coco", "voc")}, "out/voc/img2.xml"),
    ({}, "out/failures.jsonl"),
    ({"review": True}, "out/review/index.html"),
    ({"review": True}, "out/review/thumbs/sub/img3.jpg.jpg"),
    ({"draw": "drawn"}, "drawn/img10.png"),
    ({"crops": "crops"}, "crops/person/sub/img3.jpg_1.jpg"),
]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(("changes", "file"), WHERE_FILES_GO)
def test_a_file_that_is_not_the_runs_own_ends_it_before_any_work(
    run: Annotate, fake: FakeDetector, tmp_path: Path, changes: dict[str, Any], file: str, resume: bool
) -> None:
    put(tmp_path / file)
    folders = {kind: tmp_path / changes[kind] for kind in ("draw", "crops") if kind in changes}
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="is not this run's own") as error:
        run(**{**changes, **folders, "resume": resume})
    assert str(tmp_path / file) in str(error.value) and "overwrite" in str(error.value)
    assert not fake.seen and tree(tmp_path) == before
    assert not list(tmp_path.rglob(".cvdetect*"))


@pytest.mark.parametrize(("changes", "file"), WHERE_FILES_GO)
def test_overwrite_replaces_it_and_reports_it(
    run: Annotate, tmp_path: Path, photos: Path, changes: dict[str, Any], file: str
) -> None:
    (photos / "empty.jpg").touch()  # so that there are failures
    path = put(tmp_path / file)
    beside = put(path.with_name("mine.txt"))
    folders = {kind: tmp_path / changes[kind] for kind in ("draw", "crops") if kind in changes}
    report = run(**{**changes, **folders, "overwrite": True})
    written = "crops" not in changes or path.read_bytes() != MINE.encode()
    assert report.replaced == written and beside.read_text() == MINE
    assert (MINE.encode() not in path.read_bytes()) == written
    assert run(**{**changes, **folders, "resume": True}).kept == 0


def test_what_overwrite_would_not_write_is_left_alone(run: Annotate, out: Path, tmp_path: Path) -> None:
    mine = [put(out / name) for name in ("notes.txt", "labels/other.txt", "failures.jsonl", "a.xml")]
    mine.append(put(tmp_path / "crops" / "person" / "img1.png_99.jpg"))
    report = run(formats=("yolo",), overwrite=True, crops=tmp_path / "crops")
    assert report.replaced == 0 and [path.read_text() for path in mine] == [MINE] * 5


def test_the_first_few_are_named_and_the_rest_counted(run: Annotate, photos: Path, out: Path) -> None:
    make_images(photos, [f"n{i}.png" for i in range(20)])
    for i in range(9):
        put(out / f"n{i}.xml")
    with pytest.raises(UsageError) as error:
        run(formats=("voc",))
    assert str(error.value).count(".xml") == 5 and "and 4 more" in str(error.value)


@pytest.mark.parametrize("resume", [False, True])
def test_where_the_manifest_was_deleted_all_is_the_users(run: Annotate, out: Path, resume: bool) -> None:
    run(formats=("voc",))
    for path in (out / ".cvdetect").iterdir():
        path.unlink()
    before = tree(out)
    with pytest.raises(UsageError, match="are not this run's own"):
        run(formats=("voc",), resume=resume)
    assert tree(out) == before
    assert run(formats=("voc",), overwrite=True).replaced == len(before)


@pytest.mark.parametrize("resume", [False, True])
def test_a_manifest_of_an_earlier_version_proves_nothing(run: Annotate, out: Path, resume: bool) -> None:
    run()
    with sqlite3.connect(out / ".cvdetect" / "manifest.sqlite") as base:
        base.execute("PRAGMA user_version = 2")
    base.close()
    before = tree(out)
    with pytest.raises(SinkError, match=r"another version of cvdetect.*another out.*overwrite") as error:
        run(resume=resume)
    assert error.value.exit_code == 2 and tree(out) == before
    assert run(overwrite=True).replaced == 2, "instances.json and results.json"


def test_what_else_lies_in_the_manifests_folder_stays(run: Annotate, out: Path) -> None:
    mine = put(out / ".cvdetect" / "mine.txt")
    put(out / "instances.json")
    with pytest.raises(UsageError):
        run()
    run(overwrite=True)
    (out / ".cvdetect" / "manifest.sqlite").write_bytes(b"x" * 5000)
    run(overwrite=True)
    assert mine.read_text() == MINE


@pytest.mark.parametrize("target", ["elsewhere.xml", "nowhere.xml"])
def test_a_link_to_a_users_file_elsewhere_is_a_users_file(
    run: Annotate, out: Path, tmp_path: Path, target: str
) -> None:
    elsewhere = put(tmp_path / "elsewhere.xml")
    out.mkdir()
    (out / "img1.xml").symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match=r"img1\.xml"):
        run(formats=("voc",))
    assert run(formats=("voc",), overwrite=True).replaced == 1
    assert elsewhere.read_text() == MINE, "the link was replaced, not what it leads to"


def test_a_link_in_the_place_of_our_own_file_is_kept(run: Annotate, out: Path, tmp_path: Path) -> None:
    run(formats=("voc",))
    elsewhere = tmp_path / "elsewhere.xml"
    (out / "img1.xml").rename(elsewhere)
    (out / "img1.xml").symlink_to(elsewhere)
    assert run(resume=True).kept == 1
    assert (out / "img1.xml").is_symlink()


def test_a_hard_link_to_a_users_file_is_refused(run: Annotate, out: Path, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere.xml")
    out.mkdir()
    os.link(elsewhere, out / "img1.xml")
    with pytest.raises(UsageError, match=r"img1\.xml"):
        run(formats=("voc",))


def test_labels_beside_the_images(run: Annotate, photos: Path) -> None:
    mine = put(photos / "img1.xml")
    with pytest.raises(UsageError, match=r"img1\.xml"):
        run(formats=("voc",), out=photos)
    mine.unlink()
    assert run(formats=("voc",), out=photos).exit_code == 0
    put(mine)
    assert run(out=photos, resume=True).kept == 1
    assert mine.read_text() == MINE


EDITABLE = [
    "out/voc/img1.xml", "out/yolo/labels/sub/img3.txt", "drawn/img2.png", "out/review/thumbs/img2.png.jpg", "crops"
]  # fmt: skip


def edited(tmp_path: Path, name: str) -> Path:
    """A file of an image, corrected by hand."""
    path = tmp_path / name
    if path.is_dir():
        path = next(path.rglob("img2.png_1.jpg"))
    return put(path)


@pytest.mark.parametrize("name", EDITABLE)
def test_an_images_file_that_was_corrected_by_hand_is_kept_and_reported(
    run: Annotate, tmp_path: Path, name: str
) -> None:
    run(**everything(tmp_path))
    path, reported = edited(tmp_path, name), Told()
    job = AnnotateJob(images=str(tmp_path / "photos"), out=tmp_path / "out", resume=True)
    for _ in range(2):
        assert annotate(job, reported).kept == 1
        assert path.read_text() == MINE
    assert f"1 file was edited since an earlier run wrote it, and is kept: {path}" in reported.warnings
    (tmp_path / "photos" / "img10.png").unlink()
    make_images(tmp_path / "photos", ["new.png"])
    assert annotate(job).kept == 1 and path.read_text() == MINE


@pytest.mark.parametrize("what", ["gone", "changed", "failed"])
@pytest.mark.parametrize("name", EDITABLE)
def test_it_is_kept_too_where_its_image_is_gone_changed_or_fails(
    run: Annotate, photos: Path, tmp_path: Path, name: str, what: str
) -> None:
    run(**everything(tmp_path))
    path = edited(tmp_path, name)
    for image in ("img1.png", "img2.png", "sub/img3.jpg"):
        if what == "gone":
            (photos / image).unlink()
        else:
            colour = np.full((9, 9, 3), 201, np.uint8)
            (photos / image).write_bytes(b"" if what == "failed" else cv2.imencode(".png", colour)[1].tobytes())
            touch_later(photos / image)
    assert run(resume=True).kept == 1
    assert path.read_text() == MINE
    assert run(resume=True).exit_code == (1 if what == "failed" else 0)
    assert path.read_text() == MINE


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in SHARED.items() for file in files])
def test_an_edited_file_for_all_images_ends_the_resume(
    run: Annotate, photos: Path, fake: FakeDetector, tmp_path: Path, name: str, file: str
) -> None:
    run(**everything(tmp_path))
    put(tmp_path / "out" / name / file)
    make_images(photos, ["new.png"])
    before, seen = tree(tmp_path), fake.seen
    with pytest.raises(UsageError, match=rf"out/{name}/{file} was edited since it was written"):
        run(resume=True)
    assert tree(tmp_path) == before and fake.seen == seen
    report = run(**everything(tmp_path), overwrite=True)
    assert (report.replaced, report.detected) == (1, 6)


def test_one_that_is_edited_during_the_run_ends_it_with_nothing_written_and_no_result_lost(
    run: Annotate, photos: Path, out: Path, fake: FakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(formats=("voc", "coco"))
    make_images(photos, ["new.png"])
    detect = fake.detect_batch

    def editing(images: Any) -> Any:
        put(out / "coco" / "instances.json")
        return detect(images)

    with monkeypatch.context() as patched:
        patched.setattr(fake, "detect_batch", editing)
        before = tree(out)
        with pytest.raises(UsageError, match=r"instances.json was edited"):
            run(resume=True)
    assert tree(out) == {**before, "coco/instances.json": MINE.encode()}
    (out / "coco" / "instances.json").unlink()
    assert run(resume=True).detected == 0 and "voc/new.xml" in tree(out)


def test_files_that_were_deleted_are_written_again(run: Annotate, fake: FakeDetector, tmp_path: Path) -> None:
    run(**everything(tmp_path))
    before = all_files(tmp_path)
    for name in [*before][::3]:
        (tmp_path / name).unlink()
    run(resume=True)
    assert all_files(tmp_path) == before and fake.seen == 5


def test_a_resume_with_nothing_to_do_touches_no_file_and_reads_none(
    run: Annotate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(**everything(tmp_path))
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file() and ".cvdetect" not in path.parts}
    digest = LocalFolder.digest

    def only_new(folder: LocalFolder, name: str) -> str:
        assert ".cvdetect" in folder.path.parts, f"{folder.path / name} is hashed, though its size and time are known"
        return digest(folder, name)

    monkeypatch.setattr(LocalFolder, "digest", only_new)
    run(resume=True)
    assert {path: path.stat() for path in before} == before


def test_a_file_that_was_only_touched_or_copied_is_our_own_still(run: Annotate, out: Path, photos: Path) -> None:
    run(formats=("voc",))
    for path in out.glob("*.xml"):
        touch_later(path)
    make_images(photos, ["a.png", "b.png", "img1.png"])
    touch_later(photos / "img1.png")
    report = run(resume=True)
    assert (report.kept, report.detected, report.exit_code) == (0, 3, 0)


@pytest.mark.parametrize("kind", ["draw", "crops", "out"])
def test_a_file_that_appears_during_the_run_is_kept_and_reported(
    run: Annotate, tmp_path: Path, fake: FakeDetector, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / {"draw": "drawn/img2.png", "crops": "crops/x/img2.png_1.jpg", "out": "out/voc/img2.xml"}[kind]
    detect = fake.detect_batch

    def appearing(images: Any) -> Any:
        if not path.exists():
            put(path)
        return detect(images)

    monkeypatch.setattr(type(fake.labels), "label", lambda *_: "x")
    pictures = {kind: tmp_path / path.relative_to(tmp_path).parts[0]} if kind != "out" else {}
    with monkeypatch.context() as patched:
        patched.setattr(fake, "detect_batch", appearing)
        report = run(formats=("voc", "jsonl"), **pictures)
    assert report.exit_code == 1 and path.read_text() == MINE
    assert (report.failed, report.occupied) == ((0, 1) if kind == "out" else (1, 0))
    path.unlink()
    assert run(resume=True).exit_code == 0 and path.read_bytes() != MINE.encode()


def test_one_that_appears_between_the_last_look_and_the_rename_is_kept(
    run: Annotate, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Ledger.log

    def appearing(ledger: Ledger, rows: Iterable[WrittenFile], export: int = 0) -> None:
        some = list(rows)
        log(ledger, some, export)
        if any(row.key == "out/img2.xml" for row in some):
            put(out / "img2.xml")

    monkeypatch.setattr(Ledger, "log", appearing)
    report = run(formats=("voc",))
    assert (report.occupied, report.exit_code) == (1, 1) and (out / "img2.xml").read_text() == MINE
    assert sum(name.endswith(".xml") for name in tree(out)) == 5


def test_hand_made_files_of_formats_that_are_not_written_stay_when_formats_change(run: Annotate, out: Path) -> None:
    run(formats=("voc",))
    put(out / "img1.xml")
    report = run(formats=("yolo",), overwrite=True)
    assert report.kept == 1 and (out / "img1.xml").read_text() == MINE
    assert not (out / "img2.xml").exists(), "our own are gone"


def test_overwrite_is_allowed_once_and_also_after_a_kill(
    run: Annotate, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(out / "img1.xml")
    killed = FakeDetector()

    def dies(_images: Any) -> Any:
        raise SinkError("killed")

    monkeypatch.setattr(killed, "detect_batch", dies)
    install(monkeypatch, [killed])
    with pytest.raises(SinkError, match="killed"):
        run(formats=("voc",), overwrite=True)
    install(monkeypatch, [FakeDetector()])
    assert run(resume=True).replaced == 1
    put(out / "img1.xml")
    assert run(resume=True).kept == 1


def test_a_refused_overwrite_changes_nothing(run: Annotate, out: Path, fake: FakeDetector) -> None:
    run(formats=("voc",))
    put(out / "img1.xml")
    before = tree(out)
    with pytest.raises(UsageError):
        run(formats=("voc",), overwrite=True, model=ModelChoice(name="no-such"))
    assert tree(out) == before
    assert run(resume=True).detected == 0 and (out / "img1.xml").read_text() == MINE


def test_read_only_files_are_no_exception(run: Annotate, out: Path) -> None:
    put(out / "img1.xml").chmod(0o444)
    with pytest.raises(UsageError, match=r"img1\.xml"):
        run(formats=("voc",))


def test_a_run_that_is_refused_makes_no_folders_on_the_way(run: Annotate, tmp_path: Path) -> None:
    put(tmp_path / "drawn" / "img1.png")
    with pytest.raises(UsageError):
        run(out=tmp_path / "a" / "b" / "out", draw=tmp_path / "drawn")
    assert not (tmp_path / "a").exists()


def test_pipes_and_devices_in_a_files_place_are_left_alone(run: Annotate, out: Path) -> None:
    out.mkdir()
    os.mkfifo(out / "img1.xml")
    with pytest.raises(UsageError, match=r"img1\.xml"):
        run(formats=("voc",))
    with pytest.raises(UsageError, match=r"img1.xml is a folder or a pipe"):
        run(formats=("voc",), overwrite=True)
    assert (out / "img1.xml").is_fifo()


def test_a_folder_of_many_images_is_checked_in_little_memory(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from cvdetect.jobs.annotate.manifest.manifest import Manifest;"
        "from cvdetect.jobs.annotate.inputs import ListedImage; from cvdetect.jobs.annotate.job import AnnotateJob;"
        "from cvdetect.storage import LocalFolder; from cvdetect.jobs.annotate.checks import check_outputs;"
        "from cvdetect.jobs.annotate.ownership import NamedFiles\n"
        f"out = Path({str(tmp_path)!r})\n"
        "with Manifest(out / 'm.sqlite') as manifest:\n"
        "    manifest.list_anew(ListedImage(f'{i // 100}/{i}.jpg', 1, 1) for i in range(20000))\n"
        "    job = AnnotateJob(images='x', out=out, formats=('jsonl',), review=True)\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    assert not check_outputs(job, LocalFolder(out), manifest, True, NamedFiles())\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 15_000  # KiB
