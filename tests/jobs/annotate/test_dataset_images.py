"""Links to the images, or copies of them, make OUT a whole data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cvdetect.annotations.formats import read_truth
from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
from cvdetect.jobs.annotate.run import annotate
from tests.jobs.annotate.conftest import FakeDetector, make_images, tree

NAMES = ["a.png", "a.jpg", "sub/a.png", "sub two/b.c.png"]
PLACED = {"a.png.png": "a.png", "a.jpg.jpg": "a.jpg", "sub/a.png": "sub/a.png", "sub two/b.c.png": "sub two/b.c.png"}
FOLDERS = {"yolo": "images", "yolo-darknet": "obj_train_data", "voc": "JPEGImages"}
EVERY = tuple(FOLDERS)


@pytest.fixture
def photos(tmp_path: Path, fake: FakeDetector) -> Path:
    return make_images(tmp_path / "photos", NAMES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(photos: Path, out: Path | str, /, **options: Any) -> AnnotateReport:
    return annotate(AnnotateJob(**{"images": str(photos), "out": out, "formats": ("yolo",), **options}))


@pytest.mark.parametrize("option", ["link_images", "copy_images"])
def test_every_image_lies_where_readers_look_for_it_from_its_label_file(photos: Path, out: Path, option: str) -> None:
    assert run(photos, out, formats=EVERY, **{option: True}).exit_code == 0
    for name, folder in FOLDERS.items():
        for placed, original in PLACED.items():
            image = out / name / folder / placed
            assert image.read_bytes() == (photos / original).read_bytes()
            assert image.samefile(photos / original) == (option == "link_images")
            labels = {"yolo": "labels", "voc": "Annotations"}.get(name, folder)
            assert (out / name / labels / placed).with_suffix(".xml" if name == "voc" else ".txt").is_file()
    assert yaml.safe_load((out / "yolo/data.yaml").read_text())["train"] == "images"


@pytest.mark.parametrize("name", EVERY)
def test_a_whole_data_set_is_ground_truth(photos: Path, out: Path, name: str) -> None:
    run(photos, out, formats=(name,), copy_images=True)
    truth = read_truth(out, lambda _: (30, 20))
    assert {image.name for image in truth.images} == {"a.png", "a.jpg", "sub/a", "sub two/b.c"}
    assert sum(len(image.xyxy) for image in truth.images) > 3


def test_links_are_symbolic_and_relative_where_the_disk_takes_no_hard_ones(
    photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert run(photos, out, link_images=True).exit_code == 0
    link = out / "images/sub/a.png"
    assert link.readlink() == Path("../../../photos/sub/a.png")
    assert link.read_bytes() == (photos / "sub/a.png").read_bytes()


@pytest.mark.parametrize("option", ["link_images", "copy_images"])
def test_resume_keeps_what_is_there_renews_what_changed_and_drops_what_is_gone(
    photos: Path, out: Path, option: str
) -> None:
    run(photos, out, **{option: True})
    kept = (out / "images/sub/a.png").stat()
    (photos / "a.jpg").unlink()
    make_images(photos / "new", ["x.png"])
    (photos / "new/x.png").replace(photos / "sub two/b.c.png")
    assert run(photos, out, resume=True, **{option: True}).exit_code == 0
    assert (out / "images/sub/a.png").stat().st_ino == kept.st_ino
    images = {name: data for name, data in tree(out).items() if name.startswith("images/")}
    assert images == {f"images/{name}": (photos / name).read_bytes() for name in NAMES if name != "a.jpg"}
    assert run(photos, out, overwrite=True).exit_code == 0
    assert not (out / "images").exists()
    assert (photos / "sub/a.png").exists()


def test_copies_take_the_place_of_links_and_the_reverse(photos: Path, out: Path) -> None:
    own, original = out / "images/sub/a.png", photos / "sub/a.png"
    for option, is_link in (("link_images", True), ("copy_images", False), ("link_images", True)):
        assert run(photos, out, **{option: True}, overwrite=out.exists()).exit_code == 0
        assert own.samefile(original) == is_link
        assert own.read_bytes() == original.read_bytes()


def test_an_image_that_is_gone_meanwhile_is_part_of_the_work_not_done(
    photos: Path, out: Path, fake: FakeDetector
) -> None:
    detect = fake.detect_batch

    def vanish(images: list[np.ndarray]) -> Any:
        (photos / "a.jpg").unlink(missing_ok=True)
        return detect(images)

    fake.detect_batch = vanish  # type: ignore[method-assign, assignment]
    report = run(photos, out, copy_images=True)
    assert (report.exit_code, report.failed) == (1, 1)
    assert "a.jpg" in (out / "failures.jsonl").read_text()
    assert (out / "images/sub/a.png").exists()


def test_images_that_lie_in_the_data_set_already_stay_as_they_are(tmp_path: Path, fake: FakeDetector) -> None:
    images = make_images(tmp_path / "set/images", ["a.png", "sub/b.png"])
    before = tree(images)
    for options in ({}, {"overwrite": True, "link_images": True}, {"overwrite": True, "copy_images": True}):
        assert run(images, tmp_path / "set", **options).exit_code == 0
        assert yaml.safe_load((tmp_path / "set/data.yaml").read_text())["train"] == "images"
        assert tree(images) == before


def test_a_link_to_the_folder_of_images_is_elsewhere_as_labels_are_looked_for_beyond_it(
    photos: Path, out: Path
) -> None:
    out.mkdir()
    (out / "images").symlink_to(photos)
    run(photos, out)
    assert "train" not in yaml.safe_load((out / "data.yaml").read_text())


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({"link_images": True, "copy_images": True}, "contradict"),
        (
            {"link_images": True, "formats": ("coco", "cvat")},
            "link_images: goes with formats voc, yolo, yolo-darknet",
        ),
        ({"copy_images": True, "blur": ("person",)}, "without blur"),
        ({"link_images": True, "out": "memory://bucket/x"}, "no links in a store"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    photos: Path, out: Path, fake: FakeDetector, options: dict[str, Any], reported: str
) -> None:
    with pytest.raises(UsageError, match=reported):
        run(photos, out, **options)
    assert not fake.seen and not out.exists()


@pytest.mark.parametrize("where", [".", "sub"])
def test_images_are_not_put_among_those_that_are_read(photos: Path, where: str) -> None:
    before = tree(photos)
    with pytest.raises(UsageError, match="would lie among the images"):
        run(photos / "sub" if where == "sub" else photos, photos / where, copy_images=True)
    assert tree(photos) == before


def test_copies_go_to_a_store(photos: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    assert run(photos, "memory://placed", copy_images=True).exit_code == 0
    system = fsspec.filesystem("memory")
    assert system.cat_file("/placed/images/sub/a.png") == (photos / "sub/a.png").read_bytes()
