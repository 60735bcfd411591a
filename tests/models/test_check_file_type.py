"""Model files in each other's place are told by what they are, with the place they belong to."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError
from cvdetect.models.check_file_type import check_format
from tests.conftest import Cli

FILES = {
    "cfg": "models/yolo-fastest-1.1.cfg",
    "weights": "models/yolo-fastest-1.1.weights",
    "onnx": "models/yolox_nano.onnx",
    "graph": "models/opencv_face_detector_uint8.pb",
    "config": "models/opencv_face_detector.pbtxt",
}
TEXTS = {
    "prototxt": b'# a comment\n\nname: "MobileNet-SSD"\ninput: "data"\ninput_shape { dim: 1 }\n',
    "caffemodel": b"\n\rMobileNet-SSD\xa2\x06\x10\n\x04data",
    "tflite": b"\x1c\0\0\0TFL3" + bytes(40),
}
TORCH7 = b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0nn.Sequential"


@pytest.mark.parametrize("role", FILES)
def test_real_files_are_known_in_their_own_place_and_in_every_other(role: str, shared: Path) -> None:
    path = shared / "data" / FILES[role]
    check_format(role, path)
    for other in {*FILES, *TEXTS} - {role}:
        with pytest.raises(ModelFileError, match=f"expected .*: give it as {role}$"):
            check_format(other, path)


@pytest.mark.parametrize("role", TEXTS)
def test_formats_are_known_by_their_first_bytes(role: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(TEXTS[role])
    check_format(role, path)
    with pytest.raises(ModelFileError, match=f"models.yaml has to name it as {role}$"):
        check_format("weights", path, from_options=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TORCH7, "Torch7"),
        (b"PK\3\4" + bytes(26) + b"net/data.pkl", "PyTorch"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "Keras"),
    ],
)
def test_formats_that_nothing_here_reads_are_reported_whatever_their_name(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for role in ("onnx", "weights", "caffemodel", "graph"):
        with pytest.raises(ModelFileError, match=words):
            check_format(role, path)


@given(st.text(st.characters(codec="utf-8", exclude_characters="[{:"), max_size=300))
def test_text_of_no_format_is_left_to_its_reader(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "names")
        path.write_text(text, encoding="utf-8")
        for role in ("cfg", "config", "prototxt"):
            check_format(role, path)


def test_long_comments_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "m.cfg"
    path.write_bytes(b"   # comment\n" * 400 + b"x")
    start = time.perf_counter()
    check_format("prototxt", path)
    assert time.perf_counter() - start < 0.5


def test_a_missing_file_is_left_to_its_reader(tmp_path: Path) -> None:
    check_format("cfg", tmp_path / "none.cfg")


@pytest.fixture
def parts(shared: Path) -> dict[str, Path]:
    return {role: shared / "data" / name for role, name in FILES.items()}


@pytest.mark.parametrize(
    ("options", "belongs"),
    [
        (("--cfg", "weights", "--weights", "cfg"), "--weights"),
        (("--cfg", "cfg", "--weights", "graph"), "--graph"),
        (("--cfg", "cfg", "--weights", "onnx"), "--onnx"),
        (("--cfg", "onnx"), "--onnx"),
        (("--graph", "onnx"), "--onnx"),
        (("--graph", "weights"), "--weights"),
        (("--graph", "config", "--config", "graph"), "--config"),
        (("--onnx", "graph"), "--graph"),
        (("--onnx", "cfg"), "--cfg"),
        (("--tflite", "onnx"), "--onnx"),
        (("--prototxt", "cfg", "--caffemodel", "weights"), "--cfg"),
    ],
    ids=" ".join,
)
def test_the_command_line_names_the_right_option(
    options: tuple[str, ...], belongs: str, parts: dict[str, Path], cli: Cli, samples: Path
) -> None:
    given_options = [parts.get(word, word) for word in options]
    done = cli("image", samples / "dog.jpg", "--no-save", *given_options)
    assert (done.code, done.out) == (3, "")
    assert f"give it as {belongs}" in done.err and len(done.err.strip().splitlines()) == 1


def test_the_text_graph_of_another_model_is_reported_in_one_sentence(
    parts: dict[str, Path], shared: Path, samples: Path
) -> None:
    graph = shared / "data/reference/pedestrian_ssdlite.pb"
    options = ["--no-save", "--graph", graph, "--config", parts["config"]]
    command = [sys.executable, "-m", "cvdetect", "image", samples / "dog.jpg", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # a process: OpenCV's own lines count
    assert done.returncode == 3
    assert "opencv_face_detector.pbtxt: is the text graph of another model" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("decoder", ["nanodet", "yolo_v5"])
def test_a_decoder_that_fits_but_is_hardly_meant_is_reported_with_the_likelier(
    decoder: str, parts: dict[str, Path], cli: Cli, samples: Path
) -> None:
    done = cli("image", samples / "dog.jpg", "--no-save", "--onnx", parts["onnx"], "--decoder", decoder)
    assert f"with decoder {decoder}, but they look like yolox with 80 classes" in done.err


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("labels: voc20", "up to 19, but the model's 80 classes are numbered 0 to 79: look at labels (perhaps coco80)"),
        ("labels: [a, b, c]", "up to 2, but the model's 80 classes"),
        (
            "labels: coco80, class_id_offset: 1",
            "up to 78, but the model's 80 classes are numbered 0 to 79: look at labels and",
        ),
        ("labels: coco91", "up to 91, but the model's 80 classes"),
    ],
)
def test_labels_of_models_yaml_that_are_not_the_models_are_refused(
    row: str, words: str, parts: dict[str, Path], cli: Cli, samples: Path
) -> None:
    files = f"cfg: {parts['cfg']}, weights: {parts['weights']}"
    Path("m.yaml").write_text(f"models: {{x: {{family: yolo, {files}, {row}}}}}")
    done = cli("--models", "m.yaml", "image", samples / "dog.jpg", "--no-save", "-m", "x")
    assert done.code == 3 and words in done.err, done


def test_labels_of_models_yaml_that_fit_are_taken(parts: dict[str, Path], cli: Cli, samples: Path) -> None:
    files = f"cfg: {parts['cfg']}, weights: {parts['weights']}"
    Path("m.yaml").write_text(f"models: {{x: {{family: yolo, {files}, labels: coco80}}}}")
    done = cli("--models", "m.yaml", "image", samples / "dog.jpg", "--no-save", "-m", "x")
    assert done.code == 0 and "car" in done.out


@pytest.mark.parametrize("option", ["--cfg", "--prototxt"])
def test_a_foreign_file_is_named_before_its_companion_is_missed(option: str, cli: Cli, samples: Path) -> None:
    shutil.copy(samples / "dog.jpg", "dog.jpg")
    done = cli("-q", "image", "dog.jpg", option, "dog.jpg")
    assert done.code == 3 and done.err == "error: dog.jpg: is a JPEG image, expected a text file\n"
