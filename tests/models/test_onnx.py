"""ONNX files, from the command line to boxes: any decoder, metadata, and files that cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.detections import Detections
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.labels import BUILT_IN
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.formats.onnx import OnnxModel, read_onnx
from cvdetect.inference.detector import Detector
from cvdetect.inference.preprocess import transform_of
from tests.conftest import Cli, Told
from tests.families.test_onnx_decoders import KNOWN, WH, WRITERS, assert_same
from tests.models.onnx_models import constant_model, onnx

RAW = {"yolox", "nanodet"}
NAMES = ["ant", "bee", "cat", "dog", "elk", "fox"]
PICTURE = np.zeros((500, 300, 3), np.uint8)


def metadata(names: list[str]) -> dict[str, str]:
    return {"names": str(dict(enumerate(names))), "task": "detect", "stride": "32"}


def model_for(decoder: str, folder: Path, found: Detections = KNOWN) -> Path:
    classes = 5 if decoder in ("retinanet", "fcos") else 6  # class 0 is their background
    outputs = WRITERS[decoder]([found])
    return constant_model(folder / f"{decoder}.onnx", outputs, raw=decoder in RAW, metadata=metadata(NAMES[:classes]))


@pytest.mark.parametrize("decoder", sorted(set(WRITERS) - {"yolo_v7"}))
@pytest.mark.smoke
def test_a_model_of_every_decoder_is_recognised_and_its_boxes_come_back(decoder: str, tmp_path: Path) -> None:
    heard = Told()
    detector = Detector.load(ModelChoice(onnx=model_for(decoder, tmp_path)), DetectOptions(conf=0.25), progress=heard)
    assert heard.notes[0].startswith(f"{decoder}: taking decoder {decoder} for outputs")
    assert detector.model.input_wh == WH
    assert not heard.warnings
    place = transform_of((300, 500), WH, detector.model.input)
    assert_same(detector.detect(PICTURE), place.to_source(KNOWN))
    names = [detector.labels.label(c) for c in (3, 1)]
    assert names == (["cat", "ant"] if decoder in ("retinanet", "fcos") else ["dog", "bee"])


@pytest.mark.parametrize("decoder", ["yolo_v8", "yolox", "end2end"])
def test_a_batch_of_two_equals_two_of_one_though_the_file_is_for_one_image(decoder: str, tmp_path: Path) -> None:
    detector = Detector.load(ModelChoice(onnx=model_for(decoder, tmp_path)), DetectOptions(conf=0.25))
    other = np.full((90, 160, 3), 200, np.uint8)
    both = detector.detect_batch([PICTURE, other])
    assert len(both) == 2
    for got, image in zip(both, (PICTURE, other), strict=True):
        assert_same(got, detector.detect(image), atol=1e-4)


def test_an_old_yolo_v5_with_its_raw_heads_beside_its_boxes_is_read_by_its_boxes(tmp_path: Path) -> None:
    heads = {f"head{s}": np.full((1, 3, WH[1] // s, WH[0] // s, 11), 9, np.float32) for s in (8, 16, 32)}
    file = constant_model(tmp_path / "old.onnx", WRITERS["yolo_v5"]([KNOWN]) | heads, raw=False)
    detector = Detector.load(ModelChoice(onnx=file), DetectOptions(conf=0.25))
    assert detector.model.family.name == "yolo_v5"
    assert_same(detector.detect(PICTURE), transform_of((300, 500), WH, detector.model.input).to_source(KNOWN))


def test_a_real_fixed_batch_model_takes_two_images(shared: Path) -> None:
    detector = Detector.load(ModelChoice(onnx=shared / "data/models/yolox_nano.onnx"), DetectOptions(conf=0.5))
    dog, horses = (read(shared / f"data/pictures/{name}.jpg") for name in ("dog", "horses"))
    both = detector.detect_batch([dog, horses])
    assert [len(b) for b in both] == [len(detector.detect(dog)), len(detector.detect(horses))]
    assert {detector.labels.label(int(c)) for c in both[0].class_id} == {"dog", "bicycle", "car"}
    assert detector.labels.category_id(16) == 18


def read(path: Path) -> np.ndarray:
    from cvdetect.sources.images import read_image

    return read_image(path)


def test_the_command_line_reads_an_onnx_model_and_overrides_its_preprocessing(
    tmp_path: Path, cli: Cli, samples: Path
) -> None:
    file = model_for("yolo_v8", tmp_path)
    done = cli("image", samples / "dog.jpg", "--onnx", file, "--json", "-", "--no-save", "--scale", "1/255")
    assert done.code == 0
    assert "taking decoder yolo_v8" in done.err
    found = json.loads(done.out)
    assert found["model"] == "yolo_v8"
    assert [d["label"] for d in found["detections"]] == ["dog", "bee"]
    changed = ModelChoice(
        onnx=file, scale=0.5, mean=(1, 2, 3), std=(4, 5, 6), rgb=False, pad_value=7, resize="stretch", decoder="yolo_v8"
    )
    stated = Detector.load(changed).model.input
    assert (stated.scale, stated.mean, stated.std, stated.swap_rb, stated.pad_value, stated.resize) == (
        0.5, (1, 2, 3), (4, 5, 6), False, 7, "stretch",
    )  # fmt: skip
    usual = Detector.load(ModelChoice(onnx=file)).model.input
    assert (usual.scale, usual.swap_rb, usual.resize, usual.pad_value) == (1 / 255, True, "letterbox", 114)


def test_a_row_of_models_yaml_is_preprocessed_as_the_row_states(tmp_path: Path) -> None:
    model_for("yolox", tmp_path)
    yaml = tmp_path / "models.yaml"
    yaml.write_text(
        "models:\n  mine: {family: yolox, onnx: yolox.onnx, input: {pad_value: 9}}\n"
        "  wrong: {family: yolo_v8, onnx: yolox.onnx}\n  few: {family: yolox, onnx: yolox.onnx, labels: [a, b]}\n"
    )
    stated = Detector.load(ModelChoice(name="mine", registry=yaml)).model.input
    assert (stated.scale, stated.swap_rb, stated.resize, stated.pad_value, stated.pad_align) == (
        1,
        False,
        "letterbox",
        9,
        "top_left",
    )
    with pytest.raises(Exception, match=r"wrong: outputs output 1x2457x11 do not fit decoder yolo_v8: .* yolox"):
        Detector.load(ModelChoice(name="wrong", registry=yaml))


# ---- metadata ----


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'a', 1: 'b'}", ("a", "b")), ("{'0': 'a', '1': 'b'}", ("a", "b")), ("['a', 'b']", ("a", "b")),
        ("{1: 'a', 2: 'b'}", ()), ("__import__('os')", ()), ("a, b", ()), ("", ()), ("{[]: 1}", ()), ("7", ()),
        ("(" * 5000, ()),
    ],
)  # fmt: skip
def test_class_names_are_read_as_a_literal_and_never_run(text: str, names: tuple[str, ...]) -> None:
    assert OnnxModel(inputs={}, outputs={}, metadata={"names": text}).class_names == names


@pytest.mark.parametrize(
    ("text", "wh"), [("[288, 416]", (416, 288)), ("640", (640, 640)), ("x", None), ("[0, 1]", None)]
)
def test_the_input_size_in_the_metadata_is_height_and_width(text: str, wh: tuple[int, int] | None) -> None:
    assert OnnxModel(inputs={}, outputs={}, metadata={"imgsz": text}).image_wh == wh


def test_cocos_names_in_the_metadata_keep_cocos_category_ids(tmp_path: Path) -> None:
    coco = list(BUILT_IN["coco80"](0).names.values())
    spelled = ["airplane" if name == "aeroplane" else name for name in coco]
    outputs = {"output0": np.zeros((1, 84, 2457), np.float32)}
    file = constant_model(tmp_path / "coco.onnx", outputs, metadata=metadata(spelled))
    labels = Detector.load(ModelChoice(onnx=file)).labels
    assert (labels.label(4), labels.category_id(4), labels.category_id(79)) == ("airplane", 5, 90)


def test_names_that_are_not_as_many_as_the_classes_are_an_error(tmp_path: Path, cli: Cli, samples: Path) -> None:
    outputs = {"output0": np.zeros((1, 10, 2457), np.float32)}
    file = constant_model(tmp_path / "m.onnx", outputs, metadata=metadata(["ant", "bee"]))
    done = cli("image", samples / "dog.jpg", "--onnx", file)
    assert done.code == 3
    assert "its metadata names 2 classes, but its output has 6" in done.err
    few = tmp_path / "few.names"
    few.write_text("ant\nbee\n")
    done = cli("image", samples / "dog.jpg", "--onnx", file, "--names", few)
    assert done.code == 3
    assert "has 2 names, but the model has 6 classes" in done.err
    few.write_text("\n".join(NAMES))
    assert cli("image", samples / "dog.jpg", "--onnx", file, "--names", few, "--no-save").code == 0


def test_a_model_that_states_neither_names_nor_classes_is_warned_of_and_takes_class_numbers(tmp_path: Path) -> None:
    file = constant_model(tmp_path / "e.onnx", WRITERS["end2end"]([KNOWN]), raw=False)
    heard = Told()
    only = DetectOptions(conf=0.25, classes=("1",))
    detector = Detector.load(ModelChoice(onnx=file), only, progress=heard)
    assert "does not state its classes" in heard.warnings[0]
    assert [detector.labels.label(int(c)) for c in detector.detect(PICTURE).class_id] == ["class_1"]


# ---- what cannot work ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (4, 3, 288, 416)}, "images is 4x3x288x416, expected 1x3xHEIGHTxWIDTH"),
        ({"shape": (1, 1, 288, 416)}, "expected 1x3xHEIGHTxWIDTH"),
        ({"shape": (1, 288, 416, 3)}, "expected 1x3xHEIGHTxWIDTH"),
        ({"metadata": {"task": "pose"}}, "is a model for the task 'pose'"),
        ({"outputs": {"a": np.zeros((1, 32, 160, 160))}}, "fit no decoder for an input of 416x288 (there are yolo_v5"),
    ],
)
def test_a_model_of_another_kind_is_reported(
    change: dict[str, object], message: str, tmp_path: Path, cli: Cli, samples: Path
) -> None:
    given = {"outputs": WRITERS["yolo_v8"]([KNOWN]), **change}
    file = constant_model(tmp_path / "m.onnx", **given)  # type: ignore[arg-type]
    done = cli("image", samples / "dog.jpg", "--onnx", file)
    assert done.code == 3
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--size", "320"], 2, "--size 320x320: the input of yolo_v8 is fixed at 416x288"),
        (["--decoder", "yolox"], 3, "1x10x2457 do not fit decoder yolox: they look like yolo_v8"),
        (["--decoder", "yolov8"], 2, "--decoder yolov8: no such decoder; there are auto, yolo_v5"),
        (["--cfg", "x.cfg"], 2, "--cfg and --onnx name two models"),
        (["--config", "x.pbtxt"], 2, "--config goes with --graph"),
        (["--scale", "1/0"], 2, "--scale 1/0: expected a number above 0 or a fraction, e.g. 1/255"),
        (["--scale", "much"], 2, "--scale much: expected"),
        (["--classes", "dgo"], 2, "did you mean 'dog'?"),
    ],
)
def test_options_that_do_not_fit_are_reported(
    options: list[str], code: int, message: str, tmp_path: Path, cli: Cli, samples: Path
) -> None:
    done = cli("image", samples / "dog.jpg", "--onnx", model_for("yolo_v8", tmp_path), *options)
    assert done.code == code
    assert message in done.err


def test_options_of_suppression_are_refused_where_there_is_nothing_to_suppress(tmp_path: Path) -> None:
    file = model_for("end2end", tmp_path)
    for options in (DetectOptions(nms=0.5), DetectOptions(multi_label=True), DetectOptions(agnostic_nms=True)):
        with pytest.raises(UsageError, match="cannot act on end2end"):
            Detector.load(ModelChoice(onnx=file), options)
    Detector.load(ModelChoice(onnx=model_for("detr", tmp_path)), DetectOptions(multi_label=True))


def test_an_open_input_size_is_asked_for_read_from_the_metadata_or_taken_with_a_warning(tmp_path: Path) -> None:
    outputs, shape = WRITERS["yolo_v8"]([KNOWN]), ("batch", 3, "height", "width")
    plain = constant_model(tmp_path / "plain.onnx", outputs, shape)
    assert Detector.load(ModelChoice(onnx=plain, size=(416, 288))).model.input_wh == WH
    message = constant_model(tmp_path / "said.onnx", outputs, shape, {"imgsz": "[288, 416]"})
    assert Detector.load(ModelChoice(onnx=message)).model.input_wh == WH
    heard = Told()
    with pytest.raises(Exception, match="an input of 640x640"):
        Detector.load(ModelChoice(onnx=plain), progress=heard)
    assert "taking 640x640; size sets another" in heard.warnings[0]


def test_output_shapes_that_the_file_leaves_open_are_found_by_running_it(tmp_path: Path) -> None:
    model = onnx.load(model_for("yolo_v8", tmp_path))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "anything"
    onnx.save(model, tmp_path / "open.onnx")
    assert len(Detector.load(ModelChoice(onnx=tmp_path / "open.onnx"), DetectOptions(conf=0.5)).detect(PICTURE)) == 2


def test_an_operator_that_opencv_does_not_have_is_named(tmp_path: Path, cli: Cli, samples: Path) -> None:
    model = onnx.load(model_for("yolo_v8", tmp_path))
    model.graph.node[0].op_type = "Unique"
    onnx.save(model, tmp_path / "odd.onnx")
    done = cli("image", samples / "dog.jpg", "--onnx", tmp_path / "odd.onnx")
    assert done.code == 3
    assert "cannot run its operator Unique: export the model" in done.err
    assert done.err.count("\n") == 1


def test_weights_in_another_file_are_reported_with_a_hint(tmp_path: Path, cli: Cli, samples: Path) -> None:
    model = onnx.load(model_for("yolo_v8", tmp_path))
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, location="split.data", size_threshold=0)
    done = cli("image", samples / "dog.jpg", "--onnx", tmp_path / "split.onnx")
    assert done.code == 3
    assert "keeps its weights in split.data, which OpenCV does not read: save it as one file" in done.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"", "is empty"),
        ("a.onnx", b"<!DOCTYPE html><html>", "is an HTML page"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\nsize 12\n", "is a Git LFS pointer"),
        ("a.onnx", b"[net]\nwidth=416\n", "is a Darknet cfg, expected an ONNX model: give it as --cfg"),
        ("a.onnx", b"width=416\n", "is plain text"),
        ("a.onnx", bytes(range(256)) * 9, "is not an ONNX model"),
        ("a.t7", b"\x04\x00\x00\x00", "is a Torch7 model, which is not supported"),
        ("a.net", b"\x04\x00\x00\x00", "is a Torch7 model"),
        ("a.pt", b"PK\x03\x04", "is a PyTorch checkpoint, which OpenCV cannot read: export it to ONNX"),
    ],
)
def test_a_file_that_is_no_onnx_model_is_named_as_what_it_is(
    name: str, content: bytes, message: str, tmp_path: Path, cli: Cli, samples: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    done = cli("image", samples / "dog.jpg", "--onnx", tmp_path / name)
    assert done.code == 3
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_real_model_cut_short_is_an_error(share: float, shared: Path, tmp_path: Path) -> None:
    whole = (shared / "data/models/yolox_nano.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError, match="damaged or cut short"):
        Detector.load(ModelChoice(onnx=tmp_path / "cut.onnx"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_model_file_error_and_nothing_else(tmp_path_factory, data) -> None:
    content = bytearray(_small(tmp_path_factory))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts = read_onnx(np.frombuffer(bytes(content), np.uint8), "m.onnx")
    except ModelFileError:
        return
    assert isinstance(facts.class_names, tuple)


def _small(factory: pytest.TempPathFactory) -> bytes:
    file = factory.getbasetemp() / "small.onnx"
    if not file.is_file():
        constant_model(file, {"output0": np.zeros((1, 6, 21))}, (1, 3, 32, 32), metadata(["a", "b"]))
    return file.read_bytes()


@pytest.mark.parametrize("suffix", [".names", ".txt"])
def test_names_beside_the_file_go_before_those_in_it(suffix: str, tmp_path: Path) -> None:
    file = model_for("yolo_v8", tmp_path)
    assert Detector.load(ModelChoice(onnx=file)).labels.label(0) == "ant"
    file.with_suffix(suffix).write_text("\n".join("uvwxyz"))
    told = Told()
    assert Detector.load(ModelChoice(onnx=file), progress=told).labels.label(0) == "u"
    assert any(f"yolo_v8{suffix} (names was not given)" in note for note in told.notes)
