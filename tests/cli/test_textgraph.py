"""``cvdetect textgraph``, and detectors that are given a graph alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvdetect.formats.tensorflow.textgraph import read_graph
from tests.conftest import Cli, Outcome
from tests.formats.tensorflow.test_make_textgraph import CONFIG, IDS, REAL, Real, configured, matched, ssd, total
from tests.formats.tensorflow.tf_graphs import wire


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "small.pb"
    path.write_bytes(ssd().writer.bytes())
    return path


@pytest.fixture
def reference(shared: Path) -> Path:
    return shared / "data" / "reference"


def assert_fails(outcome: Outcome, code: int, *words: str) -> None:
    assert outcome.code == code
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) <= 2
    for word in words:
        assert word in outcome.err


def test_the_text_graph_is_written_and_what_was_found_is_reported(cli: Cli, graph: Path, tmp_path: Path) -> None:
    outcome = cli("textgraph", graph, "-o", tmp_path / "made.pbtxt")
    assert outcome.code == 0
    assert outcome.out == f"SSD → {tmp_path / 'made.pbtxt'}\n"
    assert "input size: 64 48 (the graph)" in outcome.err
    assert read_graph((tmp_path / "made.pbtxt").read_text(), "made").classes == 3


def test_without_o_it_goes_into_the_current_folder(cli: Cli, graph: Path) -> None:
    outcome = cli("-q", "textgraph", graph)
    assert (outcome.code, outcome.out, outcome.err) == (0, "SSD → small.pbtxt\n", "")
    assert Path("small.pbtxt").is_file()


def test_a_pipeline_config_is_checked_against_the_graph(cli: Cli, tmp_path: Path) -> None:
    graph, config = tmp_path / "g.pb", tmp_path / "pipeline.config"
    graph.write_bytes(configured(postprocessor=True).writer.bytes())
    config.write_text(CONFIG)
    outcome = cli("textgraph", graph, "--pipeline", config)
    assert outcome.code == 0
    assert "number of classes: 3 (the graph, pipeline.config)" in outcome.err
    config.write_text(CONFIG.replace("num_classes: 3", "num_classes: 7"))
    assert_fails(cli("textgraph", graph, "--pipeline", config), 3, "the graph has 3 classes", "pipeline.config has 7")


def test_what_the_graph_does_not_state_is_asked_for_and_taken(cli: Cli, tmp_path: Path) -> None:
    graph, config = tmp_path / "g.pb", tmp_path / "pipeline.config"
    graph.write_bytes(configured(postprocessor=False).writer.bytes())
    config.write_text(
        "model { ssd { num_classes: 3 post_processing { batch_non_max_suppression { } score_converter: SIGMOID } } }"
    )
    given = ["textgraph", graph, "--pipeline", config]
    assert_fails(cli(*given), 3, "--anchor-scales and --aspect-ratios")
    given += ["--anchor-scales", "0.25,0.5", "--aspect-ratios", "1,2,0.5"]
    assert_fails(cli(*given), 3, "--box-scales")
    given += ["--box-scales", "10,10,5,5"]
    assert cli(*given).code == 0
    assert_fails(cli(*given, "--num-classes", 9), 3, "pipeline.config has 3 classes, but --num-classes is 9")
    assert_fails(cli(*given, "--input-size", "64x64"), 3, "--input-size is 64x64")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--anchor-scales", "a"], "--anchor-scales a: expected numbers above 0"),
        (["--aspect-ratios", "1,-2"], "--aspect-ratios 1,-2: expected numbers above 0"),
        (["--box-scales", "10,10"], "--box-scales 10,10: expected four numbers"),
        (["--input-size", "0"], "--input-size 0: expected one number"),
        (["--num-classes", "0"], "--num-classes"),
        (["--iou-threshold", "2"], "--iou-threshold"),
        (["--score-converter", "TANH"], "--score-converter"),
        (["-o", "."], "is a folder"),
    ],
)
def test_a_wrong_option_is_wrong_usage(cli: Cli, graph: Path, arguments: list[str], words: str) -> None:
    outcome = cli("textgraph", graph, *arguments)
    assert outcome.code == 2
    assert words in outcome.err


def test_the_graph_is_never_written_over(cli: Cli, graph: Path) -> None:
    before = graph.read_bytes()
    assert_fails(cli("textgraph", graph, "-o", graph), 2, "is the input itself")
    assert graph.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<html><body>404</body></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "a Git LFS pointer"),
        (wire(1, 1) + wire(2, wire(2, b"graph")), "a TensorFlow SavedModel"),
        (wire(1, wire(1, b"w") + wire(2, b"VariableV2")), "is not frozen: w is a variable"),
        (wire(1, wire(1, b"c") + wire(2, b"StatefulPartitionedCall")), "a TensorFlow 2 graph"),
        (wire(1, wire(1, b"x") + wire(2, b"Placeholder")), "no box and class predictors"),
        (wire(1, wire(1, b"v1")) + wire(2, b""), "not a checkpoint"),
    ],
)
def test_a_file_without_a_frozen_detection_graph_is_refused(
    cli: Cli, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.pb"
    path.write_bytes(content)
    assert_fails(cli("textgraph", path, "-o", "made.pbtxt"), 3, str(path), words)
    assert not Path("made.pbtxt").exists()


def test_a_file_that_does_not_exist_is_reported(cli: Cli, graph: Path) -> None:
    assert_fails(cli("textgraph", "absent.pb"), 3, "absent.pb")
    assert_fails(cli("textgraph", graph, "--pipeline", "absent.config"), 3, "absent.config")


# ---- detectors that make their text graph themselves ----


def image_of(folder: Path) -> Path:
    """A small image, by way of the one format that needs no library."""
    path = folder / "noise.ppm"
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    path.write_bytes(b"P6 80 60 255\n" + pixels.tobytes())
    return path


def test_a_graph_alone_is_enough_to_detect(cli: Cli, graph: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree\n")
    outcome = cli(
        "image", image_of(tmp_path), "--graph", graph, "--names", names, "--conf", "0.5", "--no-save", "--json", "-"
    )
    assert outcome.code == 0
    found = json.loads(outcome.out)["detections"]
    assert found
    assert {d["label"] for d in found} <= {"one", "two", "three"}
    assert "no text graph was given, made one of the SSD in small.pb" in outcome.err


def test_the_text_graph_beside_a_graph_is_taken(cli: Cli, graph: Path, tmp_path: Path) -> None:
    assert cli("textgraph", graph, "-o", graph.with_suffix(".pbtxt")).code == 0
    outcome = cli("image", image_of(tmp_path), "--graph", graph, "--no-save")
    assert outcome.code == 0
    assert f"taking {graph.with_suffix('.pbtxt')}" in outcome.err


def test_a_size_that_the_graph_cannot_take_is_wrong_usage(cli: Cli, graph: Path, tmp_path: Path) -> None:
    outcome = cli("image", image_of(tmp_path), "--graph", graph, "--no-save", "--size", "96")
    assert_fails(outcome, 2, "--size 96x96 cannot act on small: its graph takes images of 64x48 only")


def test_a_graph_of_another_kind_needs_its_text_graph(cli: Cli, reference: Path, tmp_path: Path) -> None:
    face = tmp_path / "face.pb"  # a copy, without the text graph that lies beside it
    face.write_bytes((reference.parent / "models" / "opencv_face_detector_uint8.pb").read_bytes())
    outcome = cli("image", image_of(tmp_path), "--graph", face, "--no-save")
    assert_fails(outcome, 3, "no box and class predictors", "--config")


def test_a_two_stage_graph_is_fed_by_its_own_rule(cli: Cli, reference: Path, samples: Path, tmp_path: Path) -> None:
    graph = tmp_path / "faster.pb"
    graph.write_bytes((reference / "faster_rcnn_tiny.pb").read_bytes())
    outcome = cli("image", samples / "dog.jpg", "--graph", graph, "--no-save", "--json", "-", "--conf", "0.1")
    assert outcome.code == 0
    detections = json.loads(outcome.out)["detections"]
    assert detections
    assert all(0 <= d["box"][0] <= d["box"][2] <= 768 and 0 <= d["box"][1] <= d["box"][3] <= 576 for d in detections)


def test_the_pedestrian_detector_works_by_its_name(cli: Cli, samples: Path) -> None:
    from cvdetect.core.errors import FetchError
    from cvdetect.core.progress import NullProgress
    from cvdetect.models.registry import load_models
    from cvdetect.models.store import Store

    try:
        Store().ensure(load_models().get("pedestrian-ssdlite"), NullProgress())
    except FetchError as error:
        pytest.skip(f"the weights of pedestrian-ssdlite cannot be had here: {error}")
    outcome = cli("image", samples / "person.jpg", "-m", "pedestrian-ssdlite", "--no-save", "--json", "-")
    assert outcome.code == 0
    (found,) = json.loads(outcome.out)["detections"]
    assert (found["label"], found["class_id"]) == ("person", 1)
    assert found["score"] > 0.95
    np.testing.assert_allclose(found["box"], [183, 100, 275, 383], atol=2)


@pytest.mark.parametrize("with_reference", [True, False], ids=["reference text graph", "made by itself"])
@pytest.mark.parametrize(("name", "truth", "wh", "conf", "offset", "share"), REAL[:3], ids=IDS[:3])
def test_a_detector_finds_what_tensorflow_finds(
    shared: Path,
    tmp_path: Path,
    name: str,
    truth: str,
    wh: tuple[int, int],
    conf: float,
    offset: int,
    share: float,
    with_reference: bool,
) -> None:
    from cvdetect.cli.parsing import parse_conf
    from cvdetect.core.options import DetectOptions, ModelChoice
    from cvdetect.inference.detector import Detector

    real = Real(shared, name, truth, wh, conf, offset)
    graph = tmp_path / "alone.pb"
    graph.write_bytes(real.graph)
    config = real.folder / f"{name}.pbtxt" if with_reference else None
    choice = ModelChoice(graph=graph, config=config, size=wh)
    detector = Detector.load(choice, DetectOptions(conf=parse_conf(str(conf))))
    found = {}
    for image_name in real.truth:
        image = real.image(image_name)
        sides = np.array([image.shape[1], image.shape[0]] * 2)
        rows = detector.detect(image)
        found[image_name] = [
            (int(c), float(s), (b / sides).clip(0, 1))
            for b, c, s in zip(rows.xyxy, rows.class_id, rows.score, strict=True)
        ]
    tensorflow = real.tensorflow()
    assert matched(tensorflow, found, least_iou=0.99, score=1e-3) >= share * total(tensorflow)
    assert total(found) <= total(tensorflow) + 1
