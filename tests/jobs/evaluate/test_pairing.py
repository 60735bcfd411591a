"""Ground truth finds its image files, classes are matched by name, and what has no counterpart is reported."""

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
from cvdetect.jobs.evaluate.pairing import ImageFolder, map_classes, pair_images
from cvdetect.jobs.evaluate.predict import ArraySink, from_results
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
def test_an_image_is_found_by_path_stem_or_file_name(folder: Path, name: str, path: str | None) -> None:
    assert ImageFolder(folder).find(name) == (folder / path if path else None)


def test_a_name_that_fits_two_images_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"image c fits both .*c\.JPG and .*c\.jpg"):
        ImageFolder(folder).find("c")


def test_a_folder_that_does_not_exist_or_holds_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        ImageFolder(tmp_path)
    with pytest.raises(SourceNotFound, match="no such folder"):
        ImageFolder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        ImageFolder(tmp_path / "file")


def test_what_has_no_counterpart_is_reported_on_both_sides(folder: Path) -> None:
    told = Told()
    images = [make_image("a"), make_image("gone"), make_image("b/c")]
    assert pair_images(images, ImageFolder(folder), told) == {0: folder / "a.jpg", 2: folder / "b/c.JPG"}
    assert told.warnings[0] == "1 of 3 images of the ground truth has no file and is left out: gone"
    assert told.warnings[1].startswith("2 image files have no ground truth, left out: ")


def test_two_images_of_the_ground_truth_cannot_share_a_file(folder: Path) -> None:
    with pytest.raises(SourceError, match="two images of the ground truth fit it, a and x/a"):
        pair_images([make_image("a"), make_image("x/a")], ImageFolder(folder), NullProgress())


def test_a_ground_truth_without_a_single_image_file_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="no image of the ground truth is in images"):
        pair_images([make_image("z")], ImageFolder(folder), NullProgress())


def test_classes_are_matched_by_either_spelling_and_the_exact_one_first() -> None:
    model = LabelSet.from_names(["sofa", "TV Monitor", "dog", "unicorn", "tv"])
    mapping = map_classes(model, ["tv", "couch", "dog", "giraffe", "tvmonitor"])
    assert mapping.label_of == {0: 1, 1: 0, 2: 2, 4: 0}
    assert mapping.only_model == ("unicorn",)
    assert mapping.only_truth == (3, 4)


def test_the_models_own_class_numbers_are_kept() -> None:
    model = LabelSet({17: "cat", 18: "dog"}, {}, offset=1)
    assert map_classes(model, ["dog", "cat"]).label_of == {16: 1, 17: 0}


def test_classes_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(SourceError, match=r"the model has class_0, the ground truth has cat.*names"):
        map_classes(LabelSet.from_names(["class_0"]), ["cat"])


def array_sink(**wh: tuple[int, int]) -> ArraySink:
    truth = make_truth(*(make_image(name, wh=size) for name, size in wh.items()))
    model = LabelSet.from_names(["cat", "unicorn", "dog"])
    return ArraySink(truth.images, list(range(len(wh))), map_classes(model, truth.labels), model)


def test_detections_get_the_ground_truths_numbers_and_unknown_classes_are_counted() -> None:
    sink, told = array_sink(a=(40, 30), b=(40, 30)), Told()
    image = np.zeros((30, 40, 3), np.uint8)
    sink.write(Frame(image, "b", 1), make_detections([[0, 0, 5, 5], [1, 1, 2, 2]], [2, 1], [0.5, 0.25]))
    sink.write(Frame(image, "a", 0), make_detections([]))
    found = sink.take()
    assert (found.image.tolist(), found.label.tolist(), found.score.tolist()) == ([1], [1], [0.5])
    sink.report(told)
    assert told.notes == ["1 detection of classes that the ground truth lacks left out: unicorn 1"]
    assert sink.done == [1, 0] and not told.warnings


def test_an_image_of_another_size_than_in_the_ground_truth_is_reported() -> None:
    sink, told = array_sink(a=(30, 40)), Told()
    sink.write(Frame(np.zeros((30, 40, 3), np.uint8), "a.jpg", 0), make_detections([]))
    sink.report(told)
    assert "a.jpg is 40x30, 30x40 in the ground truth" in told.warnings[0]


def test_no_image_is_kept() -> None:
    sink = array_sink(a=(40, 30))
    image = np.zeros((30, 40, 3), np.uint8)
    alive = weakref.ref(image)
    sink.write(Frame(image, "a", 0), make_detections([[0, 0, 5, 5]]))
    del image
    gc.collect()
    assert alive() is None
    assert len(sink.take()) == 1


def results(images: list[int], categories: list[int]) -> Results:
    n = len(images)
    return Results(np.array(images, np.int64), np.array(categories, np.int64), np.zeros((n, 4)), np.ones(n))


def test_results_of_unknown_images_and_categories_are_reported_and_left_out() -> None:
    told = Told()
    found = from_results(results([1, 1, 7], [2, 9, 1]), make_truth(make_image("a")), "r.json", told)
    assert (found.image.tolist(), found.label.tolist()) == ([0], [1])
    assert told.warnings == [
        "r.json: 1 of 3 detections: the ground truth lacks their image_id (7); they are left out",
        "r.json: 1 of 3 detections: the ground truth lacks their category_id (9); they are left out",
    ]


@pytest.mark.parametrize(("images", "categories", "what"), [([7], [1], "image_id"), ([1], [9], "category_id")])
def test_results_none_of_which_fits_are_refused(images: list[int], categories: list[int], what: str) -> None:
    with pytest.raises(SourceError, match=f"{what}.*another data set"):
        from_results(results(images, categories), make_truth(make_image("a")), "r.json", NullProgress())


def test_every_kind_of_image_that_annotate_takes_is_an_image_here(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"x{suffix}").write_bytes(b"x")
    assert {path.suffix for path in ImageFolder(tmp_path).paths} == IMAGE_SUFFIXES
