"""Names that a file system does not take for what is written beside an image: that image fails, the rest is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
from cvdetect.jobs.annotate.run import annotate
from tests.jobs.annotate.conftest import Annotate, FakeDetector, install, make_images, tree

LONG = "x" * 249 + ".png"  # 253 bytes: itself a name, but .jpg or _1.jpg behind it is too much
LONG_GIF = "y" * 249 + ".gif"
TOO_LONG = "File name too long"


def failures(out: Path) -> dict[str, str]:
    text = (out / "failures.jsonl").read_text()
    return {line["source"]: line["error"] for line in map(json.loads, text.splitlines())}


@pytest.fixture
def long_names(photos: Path) -> Path:
    return make_images(photos, [LONG, LONG_GIF])


def run_of(tmp_path: Path, photos: Path, **changes: Any) -> AnnotateReport:
    return annotate(AnnotateJob(**{"images": str(photos), "out": tmp_path / "out", **changes}))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("kind", "reported", "unfit"),
    [
        ("draw", "annotated copy", [LONG_GIF]),
        ("crops", "crop", [LONG, LONG_GIF]),
        ("review", "thumbnail", [LONG, LONG_GIF]),
    ],
)
def test_an_image_whose_images_name_is_too_long_fails_and_the_rest_is_done(
    tmp_path: Path, long_names: Path, kind: str, reported: str, unfit: list[str]
) -> None:
    wanted = {kind: True if kind == "review" else tmp_path / kind}
    report = run_of(tmp_path, long_names, formats=("jsonl",), **wanted)
    assert (report.exit_code, report.done, report.failed) == (1, 7 - len(unfit), len(unfit))
    assert failures(tmp_path / "out") == dict.fromkeys(unfit, f"its {reported} cannot be written: {TOO_LONG}")
    again = run_of(tmp_path, long_names, formats=("jsonl",), **wanted, resume=True)
    assert (again.exit_code, again.detected, again.failed) == (1, len(unfit), len(unfit)), "tried again"


@pytest.mark.usefixtures("fake")
def test_no_image_of_an_image_stays_when_one_of_them_fails(tmp_path: Path, long_names: Path) -> None:
    run_of(tmp_path, long_names, draw=tmp_path / "drawn", crops=tmp_path / "crops")
    assert LONG not in tree(tmp_path / "drawn") and len(tree(tmp_path / "drawn")) == 5


@pytest.mark.usefixtures("fake")
def test_thumbnails_that_are_made_later_fail_alike(tmp_path: Path, long_names: Path) -> None:
    assert run_of(tmp_path, long_names).exit_code == 0
    assert run_of(tmp_path, long_names, resume=True, review=True).failed == 2
    later = tree(tmp_path / "out")
    run_of(tmp_path, long_names, out=tmp_path / "o2", review=True)
    assert later == tree(tmp_path / "o2")


def test_fail_fast_stops_there_too(tmp_path: Path, long_names: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_images(long_names, [f"z{i:02d}.png" for i in range(40)])
    install(monkeypatch, [FakeDetector(0.01)])
    report = run_of(tmp_path, long_names, crops=tmp_path / "crops", fail_fast=True)
    assert (report.exit_code, report.failed) == (1, 2), "the second was on its way"
    assert report.waiting > 20


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("first", ["a.gif", "z.gif"])
def test_a_folder_named_like_a_image_that_is_written_fails_one_image(tmp_path: Path, first: str) -> None:
    photos = make_images(tmp_path / "photos", [first, f"{first}.png/b.png", "c.png"])
    report = run_of(tmp_path, photos, draw=tmp_path / "drawn")
    assert (report.exit_code, report.done, report.failed) == (1, 2, 1)
    ((_, reason),) = failures(tmp_path / "out").items()
    assert reason.startswith("its annotated copy cannot be written: ") and str(tmp_path) not in reason
    assert len(tree(tmp_path / "drawn")) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_users_folder_in_a_copys_place_or_file_in_its_folders_ends_the_run_before_any_work(
    run: Annotate, fake: FakeDetector, tmp_path: Path, overwrite: bool
) -> None:
    (tmp_path / "drawn" / "img1.png" / "mine").mkdir(parents=True)
    (tmp_path / "drawn" / "sub").write_text("mine")
    with pytest.raises(UsageError, match=r"drawn/img1.png, .*drawn/sub/img3.jpg are folders or pipes, lie"):
        run(draw=tmp_path / "drawn", overwrite=overwrite)
    assert (tmp_path / "drawn" / "img1.png" / "mine").is_dir() and (tmp_path / "drawn" / "sub").read_text() == "mine"
    assert not fake.seen and not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", ["voc", "yolo"])
def test_label_files_that_cannot_be_have_a_row_among_the_failures_and_the_others_are_written(
    tmp_path: Path, name: str
) -> None:
    # v.xml/w.jpg → v.xml/w.xml, so v.jpg → v.xml cannot be; likewise v.txt for YOLO. x…x.x.png → x…x.x.xml is too long.
    suffix = {"voc": ".xml", "yolo": ".txt"}[name]
    long = "x" * 252 + ".sr"  # 255 bytes, 256 with another suffix
    photos = make_images(tmp_path / "photos", ["a.png", "v.jpg", f"v{suffix}/w.jpg"])
    (photos / long).write_bytes((photos / "a.png").read_bytes())
    report = run_of(tmp_path, photos, formats=(name, "jsonl"))
    assert (report.exit_code, report.done, report.failed) == (1, 4, 2)
    reported = failures(tmp_path / "out")
    assert reported[long] == f"its label file cannot be written: {TOO_LONG}"
    assert len(reported) == 2 and set(reported) < {long, "v.jpg", f"v{suffix}/w.jpg"}
    labels = [file for file in tree(tmp_path / "out") if file.startswith(name) and file.endswith(suffix)]
    assert len([file for file in labels if "classes" not in file]) == 2
    assert len((tmp_path / "out" / "jsonl" / "detections.jsonl").read_text().splitlines()) == 4
    before = tree(tmp_path / "out")
    assert run_of(tmp_path, photos, formats=(name, "jsonl"), resume=True).exit_code == 1
    assert tree(tmp_path / "out") == before


def test_a_file_of_an_earlier_export_that_is_in_the_way_of_a_folder_goes(
    run: Annotate, photos: Path, tmp_path: Path
) -> None:
    run(formats=("voc",))
    (photos / "img1.png").unlink()
    make_images(photos, ["img1.xml/b.png"])
    assert run(formats=("voc",), resume=True).exit_code == 0
    assert "img1.xml/b.xml" in tree(tmp_path / "out")


@pytest.mark.parametrize(("formats", "name"), [(("voc",), "img1.xml"), (("coco",), "instances.json")])
def test_a_users_own_folder_in_a_files_place_ends_the_run_before_any_work(
    run: Annotate, fake: FakeDetector, tmp_path: Path, formats: tuple[str, ...], name: str
) -> None:
    (tmp_path / "out" / name / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match=rf"out/{name} is a folder"):
        run(formats=formats)
    assert not tree(tmp_path / "out") and not fake.seen
    (tmp_path / "out" / name / "mine").rmdir()
    (tmp_path / "out" / name).rmdir()
    assert run(formats=formats, resume=True).exit_code == 0
