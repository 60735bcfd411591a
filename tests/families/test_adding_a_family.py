"""A family that is registered is known everywhere: in models.yaml, by --decoder, by recognition, and when it runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.errors import RegistryError, UsageError
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.core.spec import InputSpec
from cvdetect.families import FAMILIES, DecodeOptions, Family, NetInput, Outputs
from cvdetect.families.base import HeadLayout, OutputSignature
from cvdetect.inference.detector import Detector
from cvdetect.models.registry import load_models
from tests.conftest import Cli
from tests.models.onnx_models import constant_model

PICTURE = np.zeros((288, 416, 3), np.uint8)
ROWS = np.array([[[10, 20, 110, 220, 0.9], [200, 30, 390, 60, 0.2]]], np.float32)  # x1, y1, x2, y2, score


def decode(outputs: Outputs, net_input: NetInput, options: DecodeOptions) -> list[Detections]:
    (rows,) = outputs.values()
    kept = [image[image[:, 4] >= options.thresholds.default] for image in rows]
    return [Detections(k[:, :4], np.zeros(len(k), np.int64), k[:, 4]) for k in kept]


def signature(model: OutputSignature) -> HeadLayout | None:
    return HeadLayout(1, 2) if "corners" in model.outputs else None


CORNERS = Family(
    name="corners",
    decode=decode,
    formats=("onnx",),
    signature=signature,
    preprocessing=InputSpec(scale=1 / 128, swap_rb=False, resize="stretch"),
    suppressed=True,
    multi_label=False,
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, CORNERS.name, CORNERS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return constant_model(tmp_path / "m.onnx", {"corners": ROWS})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("decoder", [None, "corners"])
def test_it_is_recognised_or_named_and_preprocessed_as_its_authors_do(decoder: str | None, file: Path) -> None:
    detector = Detector.load(ModelChoice(onnx=file, decoder=decoder))
    assert detector.detect(PICTURE).xyxy.tolist() == [[10, 20, 110, 220]]
    assert detector.model.input == InputSpec(scale=1 / 128, swap_rb=False, resize="stretch", wh=(416, 288))


@pytest.mark.usefixtures("registered")
def test_the_command_line_takes_it(file: Path, shared: Path, cli: Cli) -> None:
    picture = shared / "data/pictures/dog.jpg"
    done = cli("image", picture, "--onnx", file, "--decoder", "corners", "--json", "-", "--no-save")
    assert [round(d["score"], 2) for d in json.loads(done.out)["detections"]] == [0.9]


@pytest.mark.usefixtures("registered")
def test_models_yaml_takes_it_with_its_files_and_preprocessing(file: Path, tmp_path: Path) -> None:
    yaml = tmp_path / "models.yaml"
    yaml.write_text(f"models: {{mine: {{family: corners, onnx: {{path: {file.name}}}}}}}")
    spec = load_models(yaml).get("mine")
    assert (spec.family, spec.input) == ("corners", CORNERS.preprocessing)
    assert len(Detector.load(ModelChoice(name="mine", registry=yaml)).detect(PICTURE)) == 1
    yaml.write_text("models: {mine: {family: corners, tflite: {path: m.tflite}}}")
    with pytest.raises(RegistryError, match="key 'onnx' is missing: family corners needs it"):
        load_models(yaml)


@pytest.mark.usefixtures("registered")
def test_options_that_cannot_act_on_it_are_refused(file: Path) -> None:
    for detect in (DetectOptions(nms=0.5), DetectOptions(agnostic_nms=True), DetectOptions(multi_label=True)):
        with pytest.raises(UsageError, match="cannot act on m: models of family corners give final detections"):
            Detector.load(ModelChoice(onnx=file), detect)


def test_without_it_neither_the_option_nor_models_yaml_takes_the_name(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such decoder"):
        Detector.load(ModelChoice(onnx=file, decoder="corners"))
    yaml = tmp_path / "models.yaml"
    yaml.write_text("models: {mine: {family: corners, onnx: {path: m.onnx}}}")
    with pytest.raises(RegistryError, match="unknown value 'corners'"):
        load_models(yaml)
