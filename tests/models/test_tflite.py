"""TensorFlow Lite models: a small one written here as a FlatBuffer, and files that cannot work."""

from __future__ import annotations

import json
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.boxes import iou
from cvdetect.core.errors import ModelFileError
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.formats.tflite import TFLiteInput, cut_postprocess, read_tflite_inputs
from cvdetect.inference.detector import Detector
from cvdetect.sources.images import read_image
from tests.conftest import Cli, Told, make_detections
from tests.families.test_onnx_decoders import assert_same

SIZE, CLASSES = 64, 6  # 8 x 8, 4 x 4 and 2 x 2 cells
KNOWN = make_detections([[5, 10, 40, 30], [20, 20, 60, 64]], [1, 4], [0.9, 0.6])


class Table:
    """A FlatBuffer table: slot → (struct code, number), or bytes, text, a list of numbers, a Table, a list of them."""

    def __init__(self, **slots: object) -> None:
        self.slots = {int(name[1:]): value for name, value in slots.items()}

    def write(self, out: bytearray) -> int:
        """Append the table and all below it to `out` → where it begins. Children come after their parents."""
        top = max(self.slots, default=-1) + 1
        while len(out) % 8:
            out.append(0)
        layout = len(out)
        out += bytes(4 + 2 * top)
        while len(out) % 8 != 4:
            out.append(0)
        table, inside = len(out), 4 + 8 * len(self.slots)
        out += bytes(inside)
        struct.pack_into("<HH", out, layout, 4 + 2 * top, inside)
        struct.pack_into("<i", out, table, table - layout)
        for k, (slot, value) in enumerate(self.slots.items()):
            struct.pack_into("<H", out, layout + 4 + 2 * slot, 4 + 8 * k)
            at = table + 4 + 8 * k
            if isinstance(value, tuple):
                struct.pack_into("<" + value[0], out, at, value[1])
            else:
                start = write_value(out, value)
                struct.pack_into("<I", out, at, start - at)
        return table


def write_value(out: bytearray, value: object) -> int:
    if isinstance(value, Table):
        return value.write(out)
    while len(out) % 16 != 12:
        out.append(0)
    start = len(out)
    if isinstance(value, bytes | str):
        content = value.encode() if isinstance(value, str) else value
        out += struct.pack("<I", len(content)) + content + b"\0"
        return start
    assert isinstance(value, list)
    out += struct.pack("<I", len(value))
    holes = len(out)
    out += bytes(4 * len(value))
    for k, item in enumerate(value):
        at = holes + 4 * k
        number = item if isinstance(item, int) else item.write(out) - at
        struct.pack_into("<i", out, at, number)
    return start


def tensor(name: str, shape: list[int], buffer: int, kind: int = 0) -> Table:
    return Table(_0=shape, _1=("b", kind), _2=("I", buffer), _3=name)


def tiny_model(raw: np.ndarray, side: int = SIZE, kind: int = 0) -> bytes:
    """A model that takes a picture and gives `raw` (1, a, b): a mean, a convolution whose bias it is, a reshape."""
    n = raw.size
    buffers = [
        b"", np.zeros((n, 1, 1, 3), "<f4").tobytes(), raw.astype("<f4").tobytes(),
        np.array([1, 2], "<i4").tobytes(), np.array(raw.shape, "<i4").tobytes(),
    ]  # fmt: skip
    tensors = [
        tensor("image", [1, side, side, 3], 0, kind), tensor("weights", [n, 1, 1, 3], 1), tensor("bias", [n], 2),
        tensor("axes", [2], 3, 2), tensor("shape", [3], 4, 2), tensor("mean", [1, 1, 1, 3], 0),
        tensor("conv", [1, 1, 1, n], 0), tensor("found", list(raw.shape), 0),
    ]  # fmt: skip
    operators = [
        Table(_0=("I", 0), _1=[0, 3], _2=[5], _3=("B", 27), _4=Table(_0=("B", 1))),  # MEAN, keeping dimensions
        Table(_0=("I", 1), _1=[5, 1, 2], _2=[6], _3=("B", 1), _4=Table(**{f"_{k}": ("i", 1) for k in (1, 2, 4, 5)})),
        Table(_0=("I", 2), _1=[6, 4], _2=[7], _3=("B", 17), _4=Table(_0=list(raw.shape))),
    ]  # fmt: skip
    subgraph = Table(_0=tensors, _1=[0], _2=[7], _3=operators, _4="main")
    codes = [Table(_0=("b", code), _2=("i", 1), _3=("i", code)) for code in (40, 3, 22)]  # MEAN, CONV_2D, RESHAPE
    model = Table(_0=("I", 3), _1=codes, _2=[subgraph], _3="tiny", _4=[Table(_0=b) if b else Table() for b in buffers])
    out = bytearray(b"\0\0\0\0TFL3")
    struct.pack_into("<I", out, 0, model.write(out))
    return bytes(out)


def yolo_v8_in_shares() -> np.ndarray:
    """As Ultralytics exports it to TensorFlow Lite: boxes in shares of the input."""
    raw = np.zeros((1, 4 + CLASSES, 84), np.float32)
    for k in range(len(KNOWN)):
        x1, y1, x2, y2 = KNOWN.xyxy[k] / SIZE
        raw[0, :4, 40 * k] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        raw[0, 4 + KNOWN.class_id[k], 40 * k] = KNOWN.score[k]
    return raw


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.tflite").write_bytes(tiny_model(yolo_v8_in_shares()))
    return tmp_path / "tiny.tflite"


def test_its_input_is_read() -> None:
    content = np.frombuffer(tiny_model(yolo_v8_in_shares()), np.uint8)
    assert read_tflite_inputs(content, "x") == [TFLiteInput((1, SIZE, SIZE, 3), "float32")]


def test_a_tflite_model_is_recognised_and_boxes_in_shares_come_back_in_pixels(tiny: Path) -> None:
    detector = Detector.load(ModelChoice(tflite=tiny), DetectOptions(conf=0.25))
    assert detector.model.input_wh == (SIZE, SIZE)
    assert_same(detector.detect(np.zeros((SIZE, SIZE, 3), np.uint8)), KNOWN)
    both = detector.detect_batch([np.zeros((SIZE, SIZE, 3), np.uint8)] * 2)
    assert [len(found) for found in both] == [2, 2]


def test_the_command_line_takes_it(tiny: Path, cli: Cli, samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", "--tflite", tiny, "--json", "-", "--no-save", "--nms", 0.5)
    assert done.code == 0
    assert "taking decoder yolo_v8 for outputs found 1x10x84" in done.err
    assert [d["class_id"] for d in json.loads(done.out)["detections"]] == [1, 4]
    wrong = cli("image", samples / "dog.jpg", "--tflite", tiny, "--decoder", "yolox")
    assert wrong.code == 3
    assert "do not fit decoder yolox: they look like yolo_v8" in wrong.err
    assert cli("image", samples / "dog.jpg", "--tflite", tiny, "--size", 96).code == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "is an HTML page"),
        (b"\x08\x07\x12\x04abcd", "is an ONNX model, expected a TensorFlow Lite model: give it as --onnx"),
        (b"\xff\x07\x12\x04abcd", "is another file, expected a TensorFlow Lite model"),
        (tiny_model(yolo_v8_in_shares())[:300], "damaged TensorFlow Lite model, or one cut short"),
        (tiny_model(yolo_v8_in_shares(), kind=3), "takes uint8 pixels: only models with a float input"),
    ],
)
def test_a_file_that_cannot_work_is_reported(content: bytes, message: str, tiny: Path, cli: Cli, samples: Path) -> None:
    tiny.write_bytes(content)
    done = cli("image", samples / "dog.jpg", "--tflite", tiny)
    assert done.code == 3
    assert message in done.err
    assert done.err.count("\n") == 1


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_model_file_error_and_nothing_else(data) -> None:
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        inputs = read_tflite_inputs(np.frombuffer(bytes(content), np.uint8), "m.tflite")
    except ModelFileError:
        return
    assert all(isinstance(each, TFLiteInput) for each in inputs)


SMALL = tiny_model(np.zeros((1, 2, 3)))


# ---- models that end in TFLite_Detection_PostProcess ----

FOLDER = Path(
    __file__
).parent  # ssd.tflite.xz: the graph tests/formats/api_graphs/ssd, by the API's export_tflite_graph
TFLITES = json.loads((FOLDER / "ssd_tflite.json").read_text())  # what TensorFlow Lite 2.15.1 finds in samples/dog.jpg


@pytest.fixture(scope="module")
def ssd() -> bytes:
    return lzma.decompress((FOLDER / "ssd.tflite.xz").read_bytes())


@pytest.fixture
def ssd_file(ssd: bytes, tmp_path: Path) -> Path:
    (tmp_path / "ssd.tflite").write_bytes(ssd)
    return tmp_path / "ssd.tflite"


@pytest.mark.parametrize(
    ("suppression", "options"),
    [
        ("fast", DetectOptions(conf=0.05, max_det=50, agnostic_nms=True)),  # as the file asks for
        ("regular", DetectOptions(conf=0.05, max_det=50, multi_label=True)),
    ],
)
def test_what_tensorflow_lite_finds_is_found_and_nothing_else(
    suppression: str, options: DetectOptions, ssd_file: Path, samples: Path
) -> None:
    image = read_image(samples / "dog.jpg")
    height, width = image.shape[:2]
    detector = Detector.load(ModelChoice(tflite=ssd_file), options)
    assert (detector.model.nms, detector.model.input_wh) == (pytest.approx(0.6), (300, 300))
    found = detector.detect(image)
    rows = TFLITES[suppression]
    boxes = np.array([[x1, y1, x2, y2] for y1, x1, y2, x2, _, _ in rows]) * [width, height, width, height]
    expected = make_detections(boxes.clip(0, [width, height] * 2).tolist(), [r[5] for r in rows], [r[4] for r in rows])
    assert len(found) == len(expected) == 50
    same = (iou(expected.xyxy, found.xyxy) >= 0.99) & (expected.class_id[:, None] == found.class_id)
    same &= abs(expected.score[:, None] - found.score) <= 1e-3
    assert same.any(axis=0).all() and same.any(axis=1).all()


def test_it_takes_several_images_thresholds_and_names(ssd_file: Path, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\neel\n")
    choice = ModelChoice(tflite=ssd_file, names=tmp_path / "names.txt")
    heard = Told()
    detector = Detector.load(choice, DetectOptions(conf=0.5, nms=0.3, classes=("cat",)), progress=heard)
    assert heard.notes == ["ssd: ends in TFLite_Detection_PostProcess; taking its anchors and its IoU 0.6"]
    assert detector.model.nms == 0.3
    images = [read_image(samples / name) for name in ("dog.jpg", "eagle.jpg")]
    for both, image in zip(detector.detect_batch(images), images, strict=True):
        alone = detector.detect(image)
        assert_same(both, alone)
        assert len(alone) and set(alone.class_id) == {2} and alone.score.min() >= 0.5
    assert detector.labels.label(2) == "cat"


def test_its_decoder_is_known(ssd_file: Path, cli: Cli, samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", "--tflite", ssd_file, "--decoder", "yolo_v8")
    assert done.code == 3
    assert "ends in TFLite_Detection_PostProcess, so its decoder is known: leave --decoder out" in done.err


def test_the_settings_of_the_operator_are_read(ssd: bytes) -> None:
    post = cut_postprocess(np.frombuffer(ssd, np.uint8), "x")
    assert post is not None
    assert (post.scales, post.classes, post.iou) == ((10, 10, 5, 5), 5, pytest.approx(0.6))
    assert post.anchors.shape == (1917, 4) and len(post.boxes) == 6
    np.testing.assert_allclose(post.anchors[0], [0.5 / 19, 0.5 / 19, 0.1, 0.1], rtol=1e-6)
    assert cut_postprocess(np.frombuffer(tiny_model(yolo_v8_in_shares()), np.uint8), "x") is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_postprocess_is_a_model_file_error_and_nothing_else(ssd: bytes, data) -> None:
    content = bytearray(ssd)
    tail = data.draw(st.sampled_from([len(content), 6000]))  # tables and options stand at both ends
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(8, tail - 1))] = data.draw(st.integers(0, 255))
    try:
        cut_postprocess(np.frombuffer(bytes(content), np.uint8), "m.tflite")
    except ModelFileError:
        return
