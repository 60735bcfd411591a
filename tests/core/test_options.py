from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdetect.core.errors import UsageError
from cvdetect.core.options import Conf, DetectOptions, LoadKeywords, ModelChoice, RunOptions, options_of


def given(**keywords: Any) -> tuple[ModelChoice, DetectOptions, RunOptions]:
    return options_of("load", ModelChoice(), DetectOptions(), RunOptions(), keywords)


def test_the_typed_keywords_are_the_fields_of_the_three() -> None:
    names = [field.name for owner in (ModelChoice, DetectOptions, RunOptions) for field in fields(owner)]
    assert sorted(LoadKeywords.__annotations__) == sorted(names)


@pytest.mark.parametrize(
    ("model", "choice"),
    [
        (None, ModelChoice()),
        ("yolov3-tiny", ModelChoice(name="yolov3-tiny")),
        ("yolo-fastest-1.1-xl", ModelChoice(name="yolo-fastest-1.1-xl")),
        ("best.onnx", ModelChoice(onnx=Path("best.onnx"))),
        ("BEST.ONNX", ModelChoice(onnx=Path("BEST.ONNX"))),
        (Path("yolov4.cfg"), ModelChoice(cfg=Path("yolov4.cfg"))),
        ("own.weights", ModelChoice(weights=Path("own.weights"))),
        ("frozen.pb", ModelChoice(graph=Path("frozen.pb"))),
        ("net.prototxt", ModelChoice(prototxt=Path("net.prototxt"))),
        ("ssd.tflite", ModelChoice(tflite=Path("ssd.tflite"))),
        ("runs/best.pt", ModelChoice(onnx=Path("runs/best.pt"))),
        (ModelChoice(name="a"), ModelChoice(name="a")),
    ],
)
def test_names_and_paths_are_distinguished(model: Any, choice: ModelChoice) -> None:
    assert ModelChoice.of(model) == choice


def test_a_file_of_another_suffix_is_a_path_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ModelChoice.of("best.pt") == ModelChoice(name="best.pt")
    Path("best.pt").write_bytes(b"x")
    assert ModelChoice.of("best.pt") == ModelChoice(onnx=Path("best.pt"))


def test_keywords_go_to_the_options_that_they_are_fields_of() -> None:
    choice, detect, run = given(names="my.names", size=320, conf={"dog": 0.4}, classes="dog", threads=2)
    assert choice == ModelChoice(names=Path("my.names"), size=(320, 320))
    assert detect == DetectOptions(conf=Conf(None, {"dog": 0.4}), classes=("dog",))
    assert run == RunOptions(threads=2)
    assert given(classes=["dog", 7])[1].classes == ("dog", "7")


def test_keywords_go_before_the_options_that_are_given() -> None:
    both = options_of("load", ModelChoice(name="a"), DetectOptions(nms=0.3, conf=0.2), RunOptions(), {"conf": 0.7})
    assert both == (ModelChoice(name="a"), DetectOptions(nms=0.3, conf=0.7), RunOptions())


def test_an_unknown_keyword_is_a_type_error_with_the_nearest_one() -> None:
    with pytest.raises(
        TypeError, match=r"^load\(\) got an unexpected keyword argument 'config_'; did you mean 'config'"
    ):
        given(config_="x")
    with pytest.raises(TypeError, match=r"keyword argument 'xyzzy'$"):
        given(xyzzy=1)


def test_a_value_out_of_range_is_named_by_its_keyword() -> None:
    with pytest.raises(UsageError, match=r"^conf 3: it must lie between 0 and 1$"):
        given(conf=3)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"std": (0.0, 1.0, 1.0)}, "std 0,1,1: must be above 0: pixels are divided by it"),
        ({"std": (1.0, float("nan"), 1.0)}, "std 1,nan,1: must be above 0: pixels are divided by it"),
        ({"mean": (1.0, float("inf"), 2.0)}, "mean 1,inf,2: must be finite"),
        ({"scale": 0.0}, "scale 0: must be above 0"),
        ({"pad_value": 256.0}, "pad_value 256: must lie between 0 and 255"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        ModelChoice(**keywords)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"conf": "0.3"}, "conf '0.3': expected a number, a mapping"),
        ({"conf": {"dog": "x"}}, "conf 'x': expected a number"),
        ({"conf": (0.3,)}, "conf (0.3,): expected a number"),
        ({"nms": True}, "nms True: expected a number"),
        ({"max_det": 3.5}, "max_det 3.5: expected a whole number"),
        ({"max_det": None}, "max_det None: expected a whole number"),
        ({"classes": 1.5}, "classes 1.5: expected names or numbers of classes"),
        ({"tile": (3, 2)}, "tile (3, 2): expected a str"),
        ({"size": "320x256"}, "size '320x256': expected a whole number, or two"),
        ({"size": (320,)}, "size (320,): expected a whole number, or two"),
        ({"mean": (1, 2)}, "mean (1, 2): expected three numbers"),
        ({"std": 0}, "std 0: expected three numbers"),
        ({"resize": "leterbox"}, "resize 'leterbox': expected stretch, letterbox, tensorflow"),
        ({"rgb": "yes"}, "rgb 'yes': expected True or False"),
        ({"names": ["a", "b"]}, "names ['a', 'b']: expected a path"),
        ({"threads": 1.5}, "threads 1.5: expected a whole number"),
        ({"backend": None}, "backend None: expected a str"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_by_its_keyword(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        given(**keywords)


def test_numpys_numbers_and_arrays_are_taken() -> None:
    choice, detect, run = given(
        size=np.int64(320), mean=np.array([1.0, 2.0, 3.0]), conf=np.float32(0.5), classes=np.array([0, 2]),
        agnostic_nms=np.bool_(True), threads=np.int32(2),
    )  # fmt: skip
    assert choice == ModelChoice(size=(320, 320), mean=(1.0, 2.0, 3.0))
    assert detect == DetectOptions(conf=0.5, classes=("0", "2"), agnostic_nms=True) and run.threads == 2


def test_the_options_themselves_take_what_the_keywords_take() -> None:
    detect = DetectOptions(conf={3: 0.4}, classes="dog")  # type: ignore[arg-type]
    assert detect == DetectOptions(conf=Conf(None, {"3": 0.4}), classes=("dog",))
    assert Conf(0.5, {3: 0.4}).per_class == {"3": 0.4}  # type: ignore[dict-item]
    assert ModelChoice(cfg="my.cfg") == ModelChoice(cfg=Path("my.cfg"))  # type: ignore[arg-type]
    assert ModelChoice(size=320, std=[1, 2, 3]) == ModelChoice(size=(320, 320), std=(1, 2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["", 3, b"x.onnx", ["x.onnx"]])
def test_what_names_no_model_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a name of models\.yaml, the path of a model file, or None"):
        ModelChoice.of(model)


def test_the_options_of_another_kind_are_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"f\(\) expects detect to be DetectOptions, got RunOptions"):
        options_of("f", ModelChoice(), RunOptions(), RunOptions(), {})  # type: ignore[arg-type]
