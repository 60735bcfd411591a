"""Pictures find their truth, classes find their names, and what does not is told."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from cvdetect.annotations.types import Results
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.core.progress import NullProgress
from cvdetect.jobs.evaluate.arrays import PictureFolder, pair_pictures
from cvdetect.jobs.evaluate.predict import Collector, from_results, pair_labels
from cvdetect.sources.kinds import IMAGE_SUFFIXES
from tests.conftest import Told, make_detections
from tests.jobs.evaluate.scenes import make_image, make_truth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b/c.JPG", "b/d.v2.png", "e/c.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "a.jpg"), ("a", "a.jpg"), ("a.png", "a.jpg"), ("somewhere/a.jpg", "a.jpg"), ("b/c.JPG", "b/c.JPG"),
        ("b/c", "b/c.JPG"), ("b\\c", "b/c.JPG"), ("e/c", "e/c.jpg"), ("b/d.v2", "b/d.v2.png"), ("d.v2", "b/d.v2.png"),
        ("z", None), ("notes.txt", None), ("d", None),
    ],
)  # fmt: skip
def test_a_picture_is_found_by_path_stem_or_file_name(folder: Path, name: str, path: str | None) -> None:
    assert PictureFolder(folder).find(name) == (folder / path if path else None)


def test_a_name_that_fits_two_pictures_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="which is meant"):
        PictureFolder(folder).find("c")


def test_a_folder_that_is_none_or_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        PictureFolder(tmp_path)
    with pytest.raises(SourceNotFound, match="no such folder"):
        PictureFolder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        PictureFolder(tmp_path / "file")


def test_what_has_no_counterpart_is_told_on_both_sides(folder: Path) -> None:
    told = Told()
    images = [make_image("a"), make_image("gone"), make_image("b/c")]
    assert pair_pictures(images, PictureFolder(folder), told) == {0: folder / "a.jpg", 2: folder / "b/c.JPG"}
    assert told.warnings[0] == "1 of 3 images of the truth have no picture and are left out: gone"
    assert told.warnings[1].startswith("2 pictures have no truth and are left out: ")


def test_two_images_of_the_truth_cannot_share_a_picture(folder: Path) -> None:
    with pytest.raises(SourceError, match="two images of the truth fit it, a and x/a"):
        pair_pictures([make_image("a"), make_image("x/a")], PictureFolder(folder), NullProgress())


def test_a_truth_without_a_single_picture_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="no image of the truth has a picture"):
        pair_pictures([make_image("z")], PictureFolder(folder), NullProgress())


def test_classes_are_paired_by_either_spelling_and_the_exact_one_first() -> None:
    model = LabelSet.from_names(["sofa", "TV Monitor", "dog", "unicorn", "tv"])
    pairing = pair_labels(model, ["tv", "couch", "dog", "giraffe", "tvmonitor"])
    assert pairing.label_of == {0: 1, 1: 0, 2: 2, 4: 0}
    assert pairing.only_model == ("unicorn",)
    assert pairing.only_truth == (3, 4)


def test_the_models_own_class_numbers_are_kept() -> None:
    model = LabelSet({17: "cat", 18: "dog"}, {}, offset=1)
    assert pair_labels(model, ["dog", "cat"]).label_of == {16: 1, 17: 0}


def test_classes_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(SourceError, match=r"the model has class_0, the truth has cat.*--names"):
        pair_labels(LabelSet.from_names(["class_0"]), ["cat"])


def collector(**wh: tuple[int, int]) -> Collector:
    truth = make_truth(*(make_image(name, wh=size) for name, size in wh.items()))
    model = LabelSet.from_names(["cat", "unicorn", "dog"])
    return Collector(truth.images, list(range(len(wh))), pair_labels(model, truth.labels), model)


def test_detections_are_collected_by_the_truths_numbers_and_strangers_are_counted() -> None:
    sink, told = collector(a=(40, 30), b=(40, 30)), Told()
    image = np.zeros((30, 40, 3), np.uint8)
    sink.write(Frame(image, "b", 1), make_detections([[0, 0, 5, 5], [1, 1, 2, 2]], [2, 1], [0.5, 0.25]))
    sink.write(Frame(image, "a", 0), make_detections([]))
    found = sink.found()
    assert (found.image.tolist(), found.label.tolist(), found.score.tolist()) == ([1], [1], [0.5])
    sink.tell(told)
    assert told.notes == ["1 detections of classes that the truth lacks are left out: unicorn 1"]
    assert sink.done == [1, 0] and not told.warnings


def test_a_picture_of_another_size_than_the_truth_says_is_told() -> None:
    sink, told = collector(a=(30, 40)), Told()
    sink.write(Frame(np.zeros((30, 40, 3), np.uint8), "a.jpg", 0), make_detections([]))
    sink.tell(told)
    assert "a.jpg is 40x30, the truth says 30x40" in told.warnings[0]


def test_no_picture_is_kept() -> None:
    sink = collector(a=(40, 30))
    image = np.zeros((30, 40, 3), np.uint8)
    alive = weakref.ref(image)
    sink.write(Frame(image, "a", 0), make_detections([[0, 0, 5, 5]]))
    del image
    gc.collect()
    assert alive() is None
    assert len(sink.found()) == 1


def results(images: list[int], categories: list[int]) -> Results:
    n = len(images)
    return Results(np.array(images, np.int64), np.array(categories, np.int64), np.zeros((n, 4)), np.ones(n))


def test_results_of_unknown_images_and_categories_are_told_and_left_out() -> None:
    told = Told()
    found = from_results(results([1, 1, 7], [2, 9, 1]), make_truth(make_image("a")), "r.json", told)
    assert (found.image.tolist(), found.label.tolist()) == ([0], [1])
    assert told.warnings == [
        "r.json: 1 of 3 detections: the truth does not have their image_id (7); they are left out",
        "r.json: 1 of 3 detections: the truth does not have their category_id (9); they are left out",
    ]


@pytest.mark.parametrize(("images", "categories", "what"), [([7], [1], "image_id"), ([1], [9], "category_id")])
def test_results_none_of_which_fits_are_refused(images: list[int], categories: list[int], what: str) -> None:
    with pytest.raises(SourceError, match=f"{what}.*another data set"):
        from_results(results(images, categories), make_truth(make_image("a")), "r.json", NullProgress())


def test_every_kind_of_picture_that_annotate_takes_is_a_picture_here(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"x{suffix}").write_bytes(b"x")
    assert {path.suffix for path in PictureFolder(tmp_path).paths} == IMAGE_SUFFIXES
