"""``cvdetect image`` as its user meets it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Cli
from tests.display import screen

Json = dict[str, object]


@pytest.fixture
def detect(cli: Cli, xl: list[str]) -> Callable[..., list[Json]]:
    """Runs the small model with ``--json -`` → the records."""

    def call(*args: object) -> list[Json]:
        done = cli("image", *args, *xl, "--no-save", "--json", "-")
        assert done.code == 0, done
        return [json.loads(line) for line in done.out.splitlines()]

    return call


def labels(record: Json) -> list[str]:
    return [d["label"] for d in record["detections"]]  # type: ignore[attr-defined, index]


@pytest.mark.usefixtures("yolov3_tiny")
def test_the_default_model_finds_the_dog_the_car_and_the_bicycle(cli: Cli, samples: Path) -> None:
    done = cli("image", samples / "dog.jpg")
    assert done.code == 0
    for label in ("dog", "car", "bicycle"):
        assert label in done.out
    picture = cv2.imread("dog_detected.jpg")
    assert picture.shape == cv2.imread(str(samples / "dog.jpg")).shape
    assert np.abs(picture.astype(int) - cv2.imread(str(samples / "dog.jpg"))).max() > 60, "boxes are drawn"


def test_json_has_the_keys_of_the_contract_and_nothing_else_is_on_standard_output(detect, samples: Path) -> None:
    (record,) = detect(samples / "dog.jpg", "--conf", 0.5)
    assert list(record) == ["schema", "source", "width", "height", "model", "ran", "detections"]
    assert (record["schema"], record["width"], record["height"]) == (1, 768, 576)
    assert record["source"] == str(samples / "dog.jpg")
    assert record["model"] == "yolo-fastest-1.1-xl"
    assert set(record["ran"]) == {"runtime", "backend", "target", "device", "precision"}
    assert list(record["detections"][0]) == ["class_id", "label", "category_id", "score", "box"]
    scores = [d["score"] for d in record["detections"]]
    assert scores == sorted(scores, reverse=True)
    assert not Path("dog_detected.jpg").exists()


def test_several_images_and_patterns_go_into_a_folder_in_natural_order(cli: Cli, xl: list[str], samples: Path) -> None:
    for n in (10, 2, 1):
        shutil.copy(samples / "eagle.jpg", f"img{n}.jpg")
    done = cli("image", "img*.jpg", *xl, "-o", "out/deep", "--json", "found.jsonl")
    assert done.code == 0
    sources = [json.loads(line)["source"] for line in Path("found.jsonl").read_text().splitlines()]
    assert sources == ["img1.jpg", "img2.jpg", "img10.jpg"]
    assert {p.name for p in Path("out/deep").iterdir()} == {f"img{n}_detected.jpg" for n in (1, 2, 10)}


def test_inputs_of_the_same_name_keep_apart_by_their_folder(cli: Cli, xl: list[str], samples: Path) -> None:
    for folder in "ab":
        Path(folder).mkdir()
        shutil.copy(samples / "eagle.jpg", f"{folder}/x.jpg")
    assert cli("image", "a/x.jpg", "b/x.jpg", *xl).code == 0
    assert {p.name for p in Path().glob("*.jpg")} == {"a_x_detected.jpg", "b_x_detected.jpg"}


def test_out_names_the_file_of_a_single_image(cli: Cli, xl: list[str], samples: Path) -> None:
    assert cli("image", samples / "dog.jpg", *xl, "-o", "sub/found.png").code == 0
    assert cv2.imread("sub/found.png").shape == (576, 768, 3)
    assert not list(Path("sub").glob(".*")), "no temporary file stays"


@pytest.mark.parametrize("kind", ["grey", "alpha", "sixteen-bit", "bmp", "webp", "unicode"])
def test_images_of_every_kind_give_the_same_objects(kind: str, detect, samples: Path) -> None:
    picture = cv2.imread(str(samples / "eagle.jpg"))
    name = {"bmp": "x.bmp", "webp": "x.webp", "unicode": "Bild äöü 鹰.png"}.get(kind, "x.png")
    if kind == "grey":
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    elif kind == "alpha":
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    elif kind == "sixteen-bit":
        picture = picture.astype(np.uint16) * 257
    Path(name).write_bytes(cv2.imencode(Path(name).suffix, picture)[1].tobytes())
    (record,) = detect(name, "--conf", 0.5)
    assert labels(record) == ["bird"]


def exif_rotated(jpeg: bytes, orientation: int) -> bytes:
    """`jpeg` with an EXIF block that says how to turn it."""
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + b"\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_exif_rotation_is_applied_boxes_are_those_of_the_upright_image(detect, samples: Path) -> None:
    lying = cv2.rotate(cv2.imread(str(samples / "dog.jpg")), cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = cv2.imencode(".jpg", lying, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    Path("turned.jpg").write_bytes(exif_rotated(jpeg, 6))
    turned, upright = detect("turned.jpg", samples / "dog.jpg", "--conf", 0.5)
    assert (turned["width"], turned["height"]) == (768, 576)
    assert labels(turned) == labels(upright)
    for one, other in zip(turned["detections"], upright["detections"], strict=True):
        assert one["box"] == pytest.approx(other["box"], abs=6)


def test_thresholds_by_class_and_a_class_filter(detect, samples: Path) -> None:
    (record,) = detect(samples / "dog.jpg", "--conf", "0.25,dog=0.97,car=0.5")
    assert labels(record) == ["bicycle", "car", "truck"]
    (record,) = detect(samples / "dog.jpg", "--classes", "Dog, 1")
    assert labels(record) == ["dog", "bicycle"]


def test_max_det_keeps_the_best_and_multi_label_and_agnostic_nms_act(detect, samples: Path) -> None:
    (record,) = detect(samples / "dog.jpg", "--conf", 0.1, "--max-det", 2)
    assert labels(record) == ["dog", "bicycle"]
    single, multi, agnostic = (
        detect(samples / "dog.jpg", "--conf", 0.01, *more)[0] for more in ([], ["--multi-label"], ["--agnostic-nms"])
    )
    assert len(multi["detections"]) > len(single["detections"]) > len(agnostic["detections"])


def test_blurred_classes_are_pixelated_in_the_image_and_in_crops(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", *xl, "--blur", "dog", "--crops", "crops", "-o", "x.png", "--hide-scores")
    assert done.code == 0
    picture, original = cv2.imread("x.png"), cv2.imread(str(samples / "dog.jpg"))
    inside = (slice(220, 500), slice(150, 350))
    assert (
        len(np.unique(picture[inside].reshape(-1, 3), axis=0))
        < 400
        < len(np.unique(original[inside].reshape(-1, 3), axis=0))
    )
    np.testing.assert_array_equal(picture[:100, 400:440], original[:100, 400:440])
    crop = cv2.imread("crops/dog/dog_1.jpg")
    assert crop.shape[:2] == pytest.approx((347, 272), abs=2)
    assert {p.parent.name for p in Path("crops").rglob("*.jpg")} == {"dog", "bicycle", "car"}


def test_the_network_size_can_be_changed_without_touching_the_cfg(detect, samples: Path) -> None:
    (record,) = detect(samples / "dog.jpg", "--size", "416x320", "--conf", 0.5)
    assert {"dog", "bicycle", "car"} <= set(labels(record))


def test_options_come_from_the_environment_too(detect, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVDETECT_IMAGE_CONF", "0.95")
    monkeypatch.setenv("CVDETECT_MODEL", "yolov3")  # files that are typed win over it
    (record,) = detect(samples / "dog.jpg")
    assert labels(record) == ["dog"]


def test_a_companion_file_of_the_same_stem_is_found_and_reported(cli: Cli, shared: Path, samples: Path) -> None:
    cfg = shared / "data/models/yolo-fastest-1.1-xl.cfg"
    done = cli("image", samples / "dog.jpg", "--cfg", cfg, "--no-save")
    assert done.code == 0
    assert "yolo-fastest-1.1-xl.weights (--weights was not given)" in done.err


def test_a_label_file_and_a_label_map_name_the_classes(cli: Cli, shared: Path, samples: Path) -> None:
    graph = shared / "data/reference/pedestrian_ssdlite.pb"
    Path("one.names").write_text("walker\n")
    Path("map.pbtxt").write_text('item {\n  id: 1\n  name: "x"\n  display_name: "stroller"\n}\n')
    for names, label in (("one.names", "walker"), ("map.pbtxt", "stroller")):
        done = cli("image", samples / "person.jpg", "--graph", graph, "--names", names, "--no-save")
        assert done.code == 0, done
        assert label in done.out


def test_voc_models_have_voc_labels_without_a_category_id(cli: Cli, shared: Path, samples: Path) -> None:
    cfg = shared / "data/models/mobilenetv2-yolov3-nano-voc.cfg"
    done = cli("image", samples / "dog.jpg", "--cfg", cfg, "--no-save", "--json", "-")
    found = json.loads(done.out)["detections"]
    assert ("dog", 11) in {(d["label"], d["class_id"]) for d in found}
    assert all("category_id" not in d for d in found)


def test_quiet_prints_nothing_but_results(cli: Cli, shared: Path, samples: Path) -> None:
    cfg = shared / "data/models/yolo-fastest-1.1-xl.cfg"
    done = cli("-q", "image", samples / "dog.jpg", "--cfg", cfg, "--no-save")
    assert (done.code, done.err) == (0, "")
    assert "dog" in done.out


def test_verbose_prints_what_ran(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli("-v", "image", samples / "dog.jpg", *xl, "--no-save")
    assert "runs on opencv, backend opencv, target cpu, fp32" in done.err


def test_the_good_images_are_done_when_others_fail(cli: Cli, xl: list[str], samples: Path) -> None:
    Path("text.jpg").write_text("this is no picture")
    done = cli("image", "missing.jpg", samples / "eagle.jpg", "text.jpg", *xl)
    assert done.code == 1
    assert "bird" in done.out and Path("eagle_detected.jpg").exists()
    assert "missing.jpg: no such file" in done.err and "text.jpg: is" in done.err
    assert not Path("text_detected.jpg").exists()


def test_show_opens_a_window_for_each_image_and_q_ends(xl: list[str], samples: Path) -> None:
    with screen() as display:
        pictures = [str(samples / "dog.jpg"), str(samples / "eagle.jpg")]
        command = [sys.executable, "-m", "cvdetect", "image", *pictures, *xl, "--no-save", "--show"]
        process = subprocess.Popen(
            command, env=display.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        display.wait_for_window("cvdetect")
        display.press("Return")
        time.sleep(0.5)
        assert process.poll() is None, "the second picture waits for a key"
        display.press("q")
        out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "dog" in out and "bird" in out
