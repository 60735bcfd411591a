from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdetect import Detector, ModelChoice, SourceError, SourceNotFound, UsageError, draw, read_image
from cvdetect.core.frame import Image
from cvdetect.core.progress import NullProgress
from tests.conftest import Told
from tests.jobs.annotate.tiny_model import tiny_model


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> ModelChoice:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def detector(choice: ModelChoice) -> Detector:
    return Detector.load(choice, conf=0.5)


@pytest.fixture(scope="module")
def photo() -> Path:
    return Path(__file__).parents[2] / "samples" / "dog.jpg"


@pytest.fixture(scope="module")
def image(photo: Path) -> Image:
    return read_image(photo)


def same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-3)
    assert one.class_id.tolist() == other.class_id.tolist() and len(one)


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize("file", ["cfg", "weights"])
def test_a_models_file_is_enough_and_its_companions_are_found(
    file: str, as_path: Any, choice: ModelChoice, image: Image, detector: Detector
) -> None:
    told = Told()
    loaded = Detector.load(as_path(getattr(choice, file)), progress=told, conf=0.5)
    assert (loaded.name, loaded.labels.names) == ("tiny", {0: "cat", 1: "dog", 2: "bird"})
    same(loaded.detect(image), detector.detect(image))
    assert any("(names was not given)" in note for note in told.notes)


def test_keywords_act(choice: ModelChoice, image: Image, tmp_path: Path) -> None:
    (tmp_path / "my.names").write_text("a\nb\nc\n")
    loaded = Detector.load(choice.cfg, names=str(tmp_path / "my.names"), conf=0.6, max_det=3, classes=["b"])
    found = loaded.detect(image)
    assert 0 < len(found) <= 3 and found.score.min() >= 0.6
    assert {d.label for d in found} == {"b"}


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"Detector.load\(\) got an unexpected keyword argument 'clases'; did you mean"):
        Detector.load(clases="dog")  # type: ignore[call-arg]


def test_every_form_of_an_image_gives_the_same(detector: Detector, photo: Path, image: Image) -> None:
    expected = detector.detect(image)
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    for given in (photo, str(photo), opaque):
        same(detector.detect(given), expected)
    same(detector.detect(image[:, :, ::-1], color="rgb"), expected)
    grey = image.mean(axis=2).astype(np.uint8)
    same(detector.detect(grey), detector.detect(np.dstack([grey] * 3)))


def test_a_pil_image_gives_the_same_as_its_array(detector: Detector, image: Image) -> None:
    pil = pytest.importorskip("PIL.Image")
    same(detector.detect(pil.fromarray(image[:, :, ::-1])), detector.detect(image))


def test_several_images_of_any_form_go_at_once(detector: Detector, photo: Path, image: Image) -> None:
    for found in detector.detect_batch([photo, image]):
        same(found, detector.detect(image))


def test_detections_carry_labels_and_the_size_of_their_image(detector: Detector, image: Image) -> None:
    found = detector.detect(image)
    assert found.image_wh == (768, 576) and found.labels is detector.labels
    assert {d.label for d in found} <= {"cat", "dog", "bird"}
    tiled = Detector(detector.model, tile="2x2").detect(image)
    assert tiled.image_wh == (768, 576) and tiled.labels is detector.labels


def test_what_is_no_image_is_an_error_of_one_sentence(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected an image, .* got float64 \(4, 4, 3\)"):
        detector.detect(np.zeros((4, 4, 3)))
    with pytest.raises(SourceNotFound, match="no such file"):
        detector.detect(tmp_path / "nothing.jpg")
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(SourceError):
        detector.detect(tmp_path / "x.jpg")


def test_drawing_takes_the_labels_from_the_detections(detector: Detector, image: Image) -> None:
    found = detector.detect(image)
    drawn = draw(image, found)
    np.testing.assert_array_equal(drawn, draw(image, found, detector.labels.label))
    np.testing.assert_array_equal(drawn, draw(image[:, :, ::-1], found, color="rgb"))
    assert drawn.shape == image.shape and (drawn != image).any()


def test_loading_reports_to_the_logger_where_nothing_else_is_given(
    choice: ModelChoice, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "cvdetect"):
        Detector.load(choice.cfg)
    assert any("tiny.weights (weights was not given)" in line for line in caplog.messages)
    caplog.clear()
    Detector.load(choice.cfg, progress=NullProgress())
    assert not caplog.messages


def test_a_graph_that_opencv_runs_on_one_image_only_takes_batches_and_tiles(shared: Path, image: Image) -> None:
    folder = shared / "data" / "models"
    choice = ModelChoice(
        graph=folder / "opencv_face_detector_uint8.pb", config=folder / "opencv_face_detector.pbtxt", size=(300, 300)
    )
    detector = Detector.load(choice, conf=0.05)
    batch = detector.detect_batch([image, image[:300]])
    for one, other in zip(batch, [image, image[:300]], strict=True):
        np.testing.assert_array_equal(one.xyxy, detector.detect(other).xyxy)
    assert len(Detector.load(choice, conf=0.05, tile="2x1").detect(image))


def test_no_images_give_no_detections(detector: Detector) -> None:
    assert detector.detect_batch([]) == []


def test_one_path_is_not_several_images(detector: Detector, photo: Path) -> None:
    with pytest.raises(UsageError, match=r"expected several images, got one path: detect\(\) takes one"):
        detector.detect_batch(str(photo))


def test_a_detector_shows_what_it_is(detector: Detector) -> None:
    assert repr(detector) == f"<Detector tiny, {len(detector.labels)} classes, on {detector.ran}>"
