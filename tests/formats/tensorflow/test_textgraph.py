from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Field, Message, parse, write
from cvdetect.formats.tensorflow.textgraph import TextGraph, read_graph, read_label_map, with_thresholds

GRAPHS = {
    "face": "models/opencv_face_detector.pbtxt",
    "pedestrian": "reference/pedestrian_ssdlite.pbtxt",
    "faster": "reference/faster_rcnn_tiny.pbtxt",
    "mask": "reference/mask_rcnn_tiny.pbtxt",
}
NODE = 'node { name: "d" op: "DetectionOutput" attr { key: "num_classes" value { i: 2 } } }'


def message(**fields: Any) -> Message:
    return Message(tuple(Field(name, value) for name, value in fields.items()))


def attributes(text: str, node: str) -> dict[str, Message]:
    (found,) = (n for n in parse(text, "x").messages("node") if n.string("name") == node)
    return {a.string("key"): next(a.messages("value")) for a in found.messages("attr")}


@pytest.fixture
def graph(shared: Path) -> Callable[[str], str]:
    return lambda name: (shared / "data" / GRAPHS[name]).read_text()


# --- the text format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Message()),
        ("# nothing\n", Message()),
        ("a: 1", message(a="1")),
        ("a:-1.5e-3 b : - 2", message(a="-1.5e-3", b="-2")),
        ("a: 1f b: .5 c: 2. d: 0x1F e: -inf", message(a="1f", b=".5", c="2.", d="0x1F", e="-inf")),
        ("a: true, b: DT_FLOAT; c: nan", message(a="true", b="DT_FLOAT", c="nan")),
        ("m { a: 1 }", message(m=message(a="1"))),
        ("m: { a: 1 }", message(m=message(a="1"))),
        ("m < a: 1 >", message(m=message(a="1"))),
        ("m {}", message(m=Message())),
        ("a: [1, 2]", Message((Field("a", "1"), Field("a", "2")))),
        ("a: []", Message()),
        ("m [{a: 1}, <b: 2>]", Message((Field("m", message(a="1")), Field("m", message(b="2"))))),
        ("s: 'it' \"em\"", message(s=b"item")),
        ('s: "}" t: "#"', message(s=b"}", t=b"#")),
        (r's: "\n\t\\\"\'\101\x41\0"', message(s=b"\n\t\\\"'AA\0")),
        (r's: "\377\u00e4\U0001F600"', message(s=b"\xff" + "ä😀".encode())),
        ('s: "ä"', message(s="ä".encode())),
        ("[a.b/c]: 1", Message((Field("[a.b/c]", "1"),))),
        ("\ufeffa: 1 # end", message(a="1")),
    ],
)
def test_the_text_format_is_understood(text: str, expected: Message) -> None:
    assert parse(text, "g.pbtxt") == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a", "g.pbtxt:1: expected ':' or '{' after a, not the end of the file"),
        ("a: 1\n\nb 2", "g.pbtxt:3: expected ':' or '{' after b, not '2'"),
        ("a:", "g.pbtxt:1: expected a value, not the end of the file"),
        ("m {\na: 1\n", "g.pbtxt:3: expected a field name, not the end of the file"),
        ("}", "g.pbtxt:1: expected a field name, not '}'"),
        ("m { a: 1 >", "expected a field name, not '>'"),
        ('s: "open\n"', "g.pbtxt:1: '\"open\\n\"' is not valid here"),
        ("a: [1 2]", "expected ',' or ']', not '2'"),
        ("[a: 1", "expected ']', not ':'"),
        (r's: "\q"', r"unknown escape \q in a string"),
        (r's: "\UFFFFFFFF"', "unknown escape"),
        ("a: -x", None),
        ("a: -'x'", "expected a number"),
        ("a: @", "g.pbtxt:1: '@' is not valid here"),
        ("m {" * 200, "more than 100 messages inside each other"),
        ("<!doctype html>", "g.pbtxt: not a text graph or label map but an HTML page"),
        ("version https://git-lfs.github.com/spec/v1\nsize 77\n", "a Git LFS pointer (the real file has 77 bytes)"),
        ("\n\x0c\x0ba\x12", "a binary file"),
    ],
)
def test_broken_text_is_reported_with_file_and_line(text: str, error: str | None) -> None:
    if error is None:
        assert parse(text, "g.pbtxt") == message(a="-x")
        return
    with pytest.raises(ModelFileError) as caught:
        parse(text, "g.pbtxt")
    assert error in str(caught.value)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
WORDS = st.one_of(
    NAMES, st.integers().map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr), st.just("-inf")
)
MESSAGES = st.recursive(
    st.just(Message()),
    lambda inner: st.lists(st.builds(Field, NAMES, st.one_of(WORDS, st.binary(max_size=12), inner)), max_size=5).map(
        lambda fields: Message(tuple(fields))
    ),
    max_leaves=20,
)


@given(MESSAGES)
def test_what_is_written_is_read_back_the_same(written: Message) -> None:
    assert parse(write(written), "g.pbtxt") == written


PIECES = st.one_of(
    st.sampled_from(list('{}<>:[],;-1#"\\')),
    st.sampled_from(["node", "item", "id", "name", "attr", "value", "'a'", "'", "0x", "1e"]),
    st.sampled_from(["\n", "é", "\0", "op: 'DetectionOutput'", "key: 'num_classes'", "i: 2", "input: 'd'", NODE]),
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=25).map(" ".join)))
def test_any_text_is_read_or_a_model_file_error_that_names_the_file(text: str) -> None:
    for read in (read_graph, read_label_map, lambda t, n: with_thresholds(t, n, 0.5, 0.4, True)):
        try:
            found: Any = read(text, "g.pbtxt")
        except ModelFileError as error:
            assert str(error).startswith("g.pbtxt")
        else:
            assert isinstance(found, TextGraph | dict | str)


@pytest.mark.parametrize("name", GRAPHS)
def test_real_graphs_survive_parsing_and_writing(graph: Callable[[str], str], name: str) -> None:
    tree = parse(graph(name), name)
    assert len(list(tree.messages("node"))) > 50
    assert parse(write(tree), name) == tree


# --- facts ------------------------------------------------------------------------------------------------------------


def test_a_graph_has_its_input_classes_and_thresholds(graph: Callable[[str], str]) -> None:
    facts = read_graph(graph("pedestrian"), "p.pbtxt")
    assert facts == TextGraph(
        name="p.pbtxt",
        placeholder="image_tensor",
        input_shape=(-1, 300, 300, 3),
        has_detection_output=True,
        num_classes=2,
        background_label_id=0,
        confidence_threshold=1e-8,
        nms_threshold=0.6,
        top_k=100,
        keep_top_k=100,
        clip=False,
        has_masks=False,
        detections="detection_out",
    )
    assert (facts.input_wh, facts.classes) == ((300, 300), 1)


@pytest.mark.parametrize(
    ("name", "thresholds", "classes", "masks"),
    [
        ("face", (0.00999999977648, 0.449999988079), 1, False),
        ("faster", (None, 0.6), 90, False),
        ("mask", (0.3, 0.6), 90, True),
    ],
)
def test_the_facts_are_those_of_the_last_detection_output(
    graph: Callable[[str], str], name: str, thresholds: tuple[float | None, float], classes: int, masks: bool
) -> None:
    facts = read_graph(graph(name), name)
    assert (facts.confidence_threshold, facts.nms_threshold) == thresholds
    assert (facts.classes, facts.has_masks, facts.input_wh) == (classes, masks, None)


def test_width_comes_before_height() -> None:
    shape = "attr { key: 'shape' value { shape { dim {size: 1} dim {size: 20} dim {size: 30} dim {size: 3} } } }"
    facts = read_graph(f"node {{ name: 'x' op: 'Placeholder' {shape} }}", "g.pbtxt")
    assert (facts.input_wh, facts.has_detection_output, facts.classes) == ((30, 20), False, 0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("item { id: 1 name: 'person' }", "a label map, not a text graph; pass it as names and make the text graph"),
        ("", "g.pbtxt: has no nodes"),
        ("versions { producer: 24 }", "g.pbtxt: has no nodes"),
        ("node { op: 'DetectionOutput' name: 'd' }", "node d does not state num_classes"),
        (NODE.replace("i: 2", "i: many"), "num_classes of node d is many, not a number"),
        ("<html>", "an HTML page"),
    ],
)
def test_what_is_not_a_text_graph_is_refused(text: str, error: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_graph(text, "g.pbtxt")
    assert error in str(caught.value)


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_thresholds_are_replaced_where_present_and_added_where_absent(graph: Callable[[str], str]) -> None:
    before = graph("faster")
    after = with_thresholds(before, "f", 0.25, 0.7, clip=False)
    values = attributes(after, "detection_out_final")
    assert (values["confidence_threshold"].word("f"), values["nms_threshold"].word("f")) == ("0.25", "0.7")
    assert values["clip"].word("b") == "false"
    assert len(after.split("confidence_threshold")) == len(before.split("confidence_threshold")) + 1


def test_the_proposals_of_a_two_stage_detector_keep_their_thresholds(graph: Callable[[str], str]) -> None:
    before = graph("mask")
    after = with_thresholds(before, "m", 0.9, 0.1, clip=False)
    assert attributes(after, "detection_out") == attributes(before, "detection_out")
    assert attributes(after, "detection_out_final") != attributes(before, "detection_out_final")


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_else_changes_and_a_second_time_changes_nothing(graph: Callable[[str], str], name: str) -> None:
    before = graph(name)
    after = with_thresholds(before, name, 0.3, 0.5)
    assert with_thresholds(after, name, 0.3, 0.5) == after
    assert parse(with_thresholds(before, name, None, None), name) == parse(before, name)
    last = {"detection_out_final", "detection_out"} if name in ("face", "pedestrian") else {"detection_out_final"}
    pairs = zip(parse(before, name).messages("node"), parse(after, name).messages("node"), strict=True)
    assert {a.string("name") for a, b in pairs if a != b} <= last


def test_a_graph_without_detection_output_takes_no_thresholds() -> None:
    with pytest.raises(ModelFileError, match="no DetectionOutput node"):
        with_thresholds("node { name: 'x' op: 'Placeholder' }", "g.pbtxt", 0.3, None)


def scores(shared: Path, name: str, text: str, outputs: str = "") -> Any:
    """The scores that OpenCV gives for person.jpg with this text graph, best first."""
    cv2 = pytest.importorskip("cv2")
    folder = shared / "data"
    file = folder / GRAPHS[name].replace("detector.pbtxt", "detector_uint8.pb").replace(".pbtxt", ".pb")
    net = cv2.dnn.readNetFromTensorflow(np.fromfile(file, np.uint8), np.frombuffer(text.encode(), np.uint8))
    image = cv2.imdecode(np.fromfile(folder / "pictures" / "person.jpg", np.uint8), cv2.IMREAD_COLOR)
    if name == "face":
        net.setInput(cv2.dnn.blobFromImage(image, 1.0, (300, 300), (104, 177, 123)))
    else:
        net.setInput(cv2.dnn.blobFromImage(image, 1.0, (300, 300), swapRB=True))
    found = (net.forward(outputs) if outputs else net.forward())[0, 0, :, 2]
    return np.sort(found[found > 0])[::-1]


@pytest.mark.parametrize(
    ("name", "high", "low"), [("face", 0.08, 0.05), ("pedestrian", 0.5, 0.001), ("faster", 0.4, 0.05)]
)
def test_opencv_reads_what_is_written_and_conf_is_a_floor(shared: Path, name: str, high: float, low: float) -> None:
    text = (shared / "data" / GRAPHS[name]).read_text()
    few, many = (scores(shared, name, with_thresholds(text, name, conf, None)) for conf in (high, low))
    assert 0 < len(few) < len(many)
    assert few.min() > high > many.min() > low


def test_conf_is_a_floor_for_mask_rcnn_below_its_own_threshold_too(shared: Path) -> None:
    text = (shared / "data" / GRAPHS["mask"]).read_text()
    own = scores(shared, "mask", text, "detection_out_final")
    lower = scores(shared, "mask", with_thresholds(text, "m", 0.05, None), "detection_out_final")
    assert own.min() > 0.3 > lower.min() > 0.05


def test_opencv_drops_a_score_equal_to_the_threshold(shared: Path) -> None:
    text = (shared / "data" / GRAPHS["face"]).read_text()
    border = scores(shared, "face", text)[10]
    below = float(np.nextafter(border, np.float32(0)))
    assert scores(shared, "face", with_thresholds(text, "f", float(border), None)).min() > border
    assert scores(shared, "face", with_thresholds(text, "f", below, None)).min() == border


def test_the_suppression_threshold_written_is_the_one_used(shared: Path) -> None:
    text = (shared / "data" / GRAPHS["pedestrian"]).read_text()
    strict, loose = (scores(shared, "pedestrian", with_thresholds(text, "p", 0.01, nms)) for nms in (0.1, 0.9))
    assert len(strict) < len(loose)


# --- label maps -------------------------------------------------------------------------------------------------------


def test_a_label_map_gives_display_names_else_names() -> None:
    text = "item { id: 1 name: '/m/01g317' display_name: 'person' }\nitem: { name: 'Fahrrad ä', id: 2 }"
    assert read_label_map(text, "l.pbtxt") == {1: "person", 2: "Fahrrad ä"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "l.pbtxt: holds no label"),
        ("item { id: 1 }", "l.pbtxt:1: an item needs a number as id, and a name"),
        ("\nitem { name: 'x' }", "l.pbtxt:2: an item needs a number as id"),
        ("item { id: one name: 'x' }", "an item needs a number as id"),
        ("item { id: 1 name: 'x' }\nitem { id: 1 name: 'y' }", "l.pbtxt:2: id 1 is there twice"),
        (NODE, "l.pbtxt:1: node has no place in a label map"),
        ("item: 3", "has no place in a label map"),
    ],
)
def test_what_is_not_a_label_map_is_refused(text: str, error: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_label_map(text, "l.pbtxt")
    assert error in str(caught.value)


@pytest.mark.parametrize(("name", "one_image"), [("face", True), ("pedestrian", False)])
def test_a_bias_without_weights_before_it_is_seen(graph: Callable[[str], str], name: str, one_image: bool) -> None:
    assert read_graph(graph(name), name).one_image is one_image
