"""No file that a run reads is written over or deleted, by whatever way it is reached, with ``--overwrite`` either."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from tests.conftest import Told
from tests.jobs.annotate.conftest import Annotate, FakeDetector, make_images, tree
from tests.jobs.annotate.tiny_model import tiny_model

FOLDERS = {"yolo": "images", "yolo-darknet": "obj_train_data", "voc": "JPEGImages"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["draw", *FOLDERS])
def test_a_folder_that_leads_back_to_the_images_is_refused(
    run: Annotate, photos: Path, tmp_path: Path, fake: FakeDetector, kind: str, overwrite: bool
) -> None:
    drawn, out = tmp_path / "drawn", tmp_path / "out"
    folder = drawn if kind == "draw" else out / FOLDERS[kind]
    folder.mkdir(parents=True)
    (folder / "sub").symlink_to(photos / "sub")
    before = tree(tmp_path)
    options: dict[str, Any] = {"draw": drawn} if kind == "draw" else {"formats": (kind,), "copy_images": True}
    with pytest.raises(UsageError, match=r"/x\.png: is the input .*photos/sub/deep/x\.png itself") as error:
        run(**options, overwrite=overwrite)
    assert ("draw" if kind == "draw" else "another out") in str(error.value)
    assert not fake.seen and tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["draw", *FOLDERS])
def test_images_that_are_links_into_the_folder_are_not_written_over(
    run: Annotate, photos: Path, tmp_path: Path, kind: str
) -> None:
    drawn, out = tmp_path / "drawn", tmp_path / "out"
    folder = drawn if kind == "draw" else out / FOLDERS[kind]
    folder.mkdir(parents=True)
    shutil.move(photos / "img1.png", folder / "img1.png")
    (photos / "img1.png").symlink_to(folder / "img1.png")
    before = tree(tmp_path)
    options: dict[str, Any] = {"draw": drawn} if kind == "draw" else {"formats": (kind,), "copy_images": True}
    with pytest.raises(UsageError, match=r"is the input .*img1\.png itself"):
        run(**options, overwrite=True)
    assert tree(tmp_path) == before


def test_class_names_and_lists_that_are_read_are_not_written_over(fake: FakeDetector, photos: Path) -> None:
    out = photos.parent / "out"
    out.mkdir()
    names, listed = out / "classes.txt", out / "train.txt"
    names.write_text("\n".join(f"class {i}" for i in range(80)))
    choice = replace(tiny_model(photos.parent), names=names)
    listed.write_text(f"{photos / 'img1.png'}\n")
    before = tree(out)
    for job in (
        AnnotateJob(images=str(photos), out=out, formats=("yolo",), model=choice, overwrite=True),
        AnnotateJob(images=f"@{listed}", out=out, formats=("yolo-darknet",), root=photos, overwrite=True),
    ):
        with pytest.raises(UsageError, match="is the input itself"):
            annotate(job)
    assert tree(out) == before


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("link", [False, True])
def test_a_copy_that_has_become_all_there_is_of_an_image_stays(
    run: Annotate, photos: Path, tmp_path: Path, name: str, link: bool
) -> None:
    out = tmp_path / "out"
    run(formats=(name,), copy_images=not link, link_images=link)
    before = tree(out)
    copy, image = out / FOLDERS[name] / "img1.png", photos / "img1.png"
    data = image.read_bytes()
    image.unlink()
    image.symlink_to(copy)
    assert run(resume=True).exit_code == 0 and tree(out) == before
    report = run(formats=("csv",), overwrite=True)
    assert report.exit_code == 0 and image.read_bytes() == data
    assert sorted(tree(out)) == sorted(["detections.csv", f"{FOLDERS[name]}/img1.png"])


def test_a_hard_link_of_an_image_may_be_replaced_as_the_image_stays(
    run: Annotate, photos: Path, tmp_path: Path
) -> None:
    before = tree(photos)
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "img1.png").hardlink_to(photos / "img1.png")
    assert run(draw=drawn, overwrite=True).replaced == 1
    assert tree(photos) == before and (drawn / "img1.png").read_bytes() != before["img1.png"]


def test_a_replaced_file_keeps_its_mode(run: Annotate, photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"formats": ("coco", "voc"), "draw": tmp_path / "drawn"}
    run(**options)
    kept = [tmp_path / name for name in ("out/coco/instances.json", "out/voc/img1.xml", "drawn/img1.png")]
    for path in kept:
        path.chmod(0o640)
    make_images(photos, ["img2.png", "img1.png"])  # other images by these names
    before = [path.read_bytes() for path in kept]
    run(resume=True)
    assert all(path.read_bytes() != data for path, data in zip(kept, before, strict=True))
    for path in kept[1:]:
        path.write_text("a person's own")
    run(**options, overwrite=True)
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o640] * 3


def test_a_link_does_not_change_the_mode_of_the_image(run: Annotate, photos: Path, tmp_path: Path) -> None:
    placed = tmp_path / "out" / "images" / "img1.png"
    placed.parent.mkdir(parents=True)
    placed.write_text("a person's own")
    placed.chmod(0o604)
    (photos / "img1.png").chmod(0o640)
    run(formats=("yolo",), link_images=True, overwrite=True)
    assert placed.samefile(photos / "img1.png") and placed.stat().st_mode & 0o777 == 0o640


def written_below(where: Path) -> dict[str, Any]:
    return {"out": where / "set", "draw": where / "set" / "drawn", "crops": where / "crops", "review": True}


def test_images_in_a_folder_that_is_written_to_are_counted_without_the_runs_own(
    fake: FakeDetector, photos: Path, tmp_path: Path
) -> None:
    make_images(photos / "set", ["mine.png", "drawn/sub/mine.png"])
    (tmp_path / "link").symlink_to(photos)
    job = AnnotateJob(images=str(photos), **written_below(tmp_path / "link"), formats=("yolo",), copy_images=True)
    for again in (job, replace(job, resume=True)):
        reported = Told()
        assert annotate(again, reported).done == 5
        assert reported.warnings == [
            f"{photos / 'set'}: is not entered, as results are written there: 2 images ignored"
        ]


def test_images_of_an_earlier_run_are_no_images_of_the_next(run: Annotate, photos: Path) -> None:
    run(**written_below(photos))
    assert list(photos.rglob("*_1.jpg"))
    reported = Told()
    report = annotate(AnnotateJob(images=str(photos), out=photos / "set", overwrite=True), reported)
    assert (report.done, report.failed) == (5, 0) and not reported.warnings
    assert not list(photos.rglob("*_1.jpg"))


@pytest.mark.parametrize("kind", ["draw", "crops"])
@pytest.mark.parametrize(
    ("place", "more", "why"),
    [
        (".cvdetect/export", {}, "the manifest's own folder"),
        (".cvdetect", {}, "the manifest's own folder"),
        ("images", {"formats": ("yolo",), "copy_images": True}, "only outside of"),
        ("images/x", {"formats": ("yolo",), "link_images": True}, "only outside of"),
        ("", {"formats": ("voc",), "copy_images": True}, "only outside of"),
    ],
)
def test_images_do_not_go_where_the_run_keeps_or_puts_something_else(
    run: Annotate, tmp_path: Path, kind: str, place: str, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        run(**more, **{kind: tmp_path / "out" / place})
    assert not (tmp_path / "out").exists()
