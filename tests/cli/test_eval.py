"""``cvdetect eval`` from end to end."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

KEYS = [
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100", "VOC_AP_11", "VOC_AP_all",
    "per_class", "ran",
]  # fmt: skip
DOG = [124.0, 219.0, 258.0, 299.0]  # x, y, width, height of the dog in samples/dog.jpg


def write_json(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def coco(path: Path, names: list[str], labels: list[str] | None = None, **annotation: Any) -> Path:
    """A ground truth in which every image has one dog, or what `annotation` holds."""
    labels = labels or ["dog", "car"]
    return write_json(path, {
        "images": [{"id": i, "file_name": name, "width": 768, "height": 576} for i, name in enumerate(names, 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(labels, 1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": DOG, "area": 9e4, "iscrowd": 0, **annotation}
            for i in range(1, len(names) + 1)
        ],
    })  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 1, "bbox": DOG, "score": 0.9, **changes}


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(samples / "dog.jpg", folder)
    return folder


def by_hand(shared: Path, results: Path) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(shared / "data/coco-mini/instances.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(v) for v in evaluation.stats]


def test_darknets_own_results_score_what_pycocotools_scores_by_hand(cli: Cli, shared: Path, tmp_path: Path) -> None:
    truth = shared / "data/coco-mini/instances.json"
    results = shared / "data/reference/darknet-yolov3-tiny-coco-mini.json"
    done = cli("eval", "--truth", truth, "--predictions", results, "--json", tmp_path / "out.json")
    assert done.code == 0, done
    got = json.loads((tmp_path / "out.json").read_text())
    assert list(got) == KEYS
    assert (round(got["AP"], 4), round(got["AP50"], 4)) == (0.1645, 0.3205)
    assert [got[key] for key in KEYS[:9]] == pytest.approx(by_hand(shared, results)[:9], abs=1e-6)
    for word in ("AP50", "0.3205", "VOC_AP_11", "pycocotools", "person", "background: not found"):
        assert word in done.out
    person = got["per_class"]["person"]
    assert person["objects"] == 117 == person["TP"] + person["FN"]  # the 5 crowds of the truth are no objects
    assert person["precision"] == pytest.approx(person["TP"] / (person["TP"] + person["FP"]))
    assert got["ran"]["at_is_best_f1"] is True and 0.1 < got["ran"]["at"] < 0.4
    assert got["per_class"]["teddy bear"]["AP"] is None


@pytest.mark.usefixtures("yolov3_tiny")
def test_yolov3_tiny_reaches_ap50_of_0345_on_coco_mini(cli: Cli, shared: Path) -> None:
    mini = shared / "data/coco-mini"
    done = cli("eval", "--images", mini / "images", "--truth", mini / "instances.json", "--json", "-")
    assert done.code == 0, done
    got = json.loads(done.out)  # nothing but JSON is on standard output
    assert got["AP50"] >= 0.345
    assert got["ran"]["model"] == "yolov3-tiny" and got["ran"]["runtime"] == "opencv"
    assert got["ran"]["images"]["evaluated"] == 79


def test_a_model_is_measured_and_plots_and_worst_images_are_written(
    cli: Cli, photos: Path, xl: list[str], tmp_path: Path
) -> None:
    from cvdetect.sources.images import read_image

    truth = coco(tmp_path / "t.json", ["dog.jpg"], category_id=2)  # the dog is labelled a car
    done = cli("eval", "--images", photos, "--truth", truth, *xl, "--at", 0.3, "--plots", "plots", "--worst", 3,
               "--blur", "dog", "--json", "o.json")  # fmt: skip
    assert done.code == 0, done
    assert "score ≥ 0.3 (as asked)" in done.out
    for name in ("precision_recall", "precision_recall_classes", "f1", "confusion"):
        assert min(read_image(f"plots/{name}.png").shape[:2]) > 250
    lines = Path("plots/confusion.csv").read_text().splitlines()
    assert lines[0] == '"is \\ detected as","dog","car","background"'
    assert lines[2] == '"car",1,0,0'
    assert [p.name for p in Path("worst").iterdir()] == ["01_dog.jpg"]
    assert read_image("worst/01_dog.jpg").shape == (576, 768, 3)
    assert "78 of the model's classes are not in the ground truth" in done.err
    assert json.loads(Path("o.json").read_text())["AP"] == pytest.approx(0, abs=1e-9)


def test_voc_and_yolo_truth_give_what_coco_truth_gives(cli: Cli, photos: Path, xl: list[str], tmp_path: Path) -> None:
    x, y, w, h = DOG
    voc, yolo = tmp_path / "voc", tmp_path / "yolo"
    voc.mkdir()
    corners = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
    objects = "".join(f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>" for name in ("dog", "car"))
    (voc / "dog.xml").write_text(f"<annotation><filename>dog.jpg</filename>{objects}</annotation>")
    yolo.mkdir()
    (yolo / "classes.txt").write_text("dog\ncar\n")
    shares = f"{(x + w / 2) / 768} {(y + h / 2) / 576} {w / 768} {h / 576}"
    (yolo / "dog.txt").write_text(f"0 {shares}\n1 {shares}\n")
    both = json.loads(coco(tmp_path / "t.json", ["dog.jpg"]).read_text())
    both["annotations"].append({**both["annotations"][0], "id": 2, "category_id": 2})
    figures = []
    for truth in (write_json(tmp_path / "t.json", both), voc, yolo):
        done = cli("eval", "--images", photos, "--truth", truth, *xl, "--json", "-")
        assert done.code == 0, done
        figures.append({k: v for k, v in json.loads(done.out).items() if k not in ("ran", "per_class")})
    assert figures[0]["AP50"] == pytest.approx(0.5, abs=0.01)  # the dog is found, no car is there
    for other in figures[1:]:
        assert {k: other[k] for k in KEYS[:3]} == pytest.approx({k: figures[0][k] for k in KEYS[:3]}, abs=1e-6)


def test_difficult_objects_of_voc_count_neither_way(cli: Cli, tmp_path: Path) -> None:
    x, y, w, h = DOG
    corners = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
    far = "<xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>40</ymax>"
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/dog.xml").write_text(
        f"<annotation><object><name>dog</name><bndbox>{corners}</bndbox></object>"
        f"<object><name>dog</name><difficult>1</difficult><bndbox>{far}</bndbox></object></annotation>"
    )
    results = write_json(tmp_path / "r.json", [row(), row(bbox=[0, 0, 40, 40], score=0.95)])
    done = cli("eval", "--truth", tmp_path / "voc", "--predictions", results, "--json", "-")
    got = json.loads(done.out)
    assert (got["AP"], got["VOC_AP_11"], got["VOC_AP_all"]) == pytest.approx((1, 1, 1))
    assert got["per_class"]["dog"]["objects"] == 1 and got["per_class"]["dog"]["FP"] == 0


def test_chosen_classes_are_measured_alone(cli: Cli, photos: Path, xl: list[str], tmp_path: Path) -> None:
    truth = coco(tmp_path / "t.json", ["dog.jpg"], labels=["dog", "car", "unicorn"])
    done = cli("eval", "--images", photos, "--truth", truth, *xl, "--classes", "dog", "--json", "-")
    got = json.loads(done.out)
    assert list(got["per_class"]) == ["dog"] and got["AP50"] == pytest.approx(1)
    assert "1 of the ground truth's 3 classes" in done.err


def test_a_threshold_on_results_leaves_detections_out(cli: Cli, tmp_path: Path) -> None:
    truth = coco(tmp_path / "t.json", ["a.jpg"])
    results = write_json(tmp_path / "r.json", [row(score=0.4)])
    for conf, ap in (("0.3", 1), ("0.5", 0), ("0.5,dog=0.3", 1)):
        done = cli("eval", "--truth", truth, "--predictions", results, "--conf", conf, "--json", "-")
        assert json.loads(done.out)["AP50"] == pytest.approx(ap)


def test_a_graph_that_has_its_own_nms_is_measured_without_multi_label(cli: Cli, shared: Path, tmp_path: Path) -> None:
    reference = shared / "data/reference"
    names = tmp_path / "names"
    names.write_text("person\n")
    graph = ["--graph", reference / "pedestrian_ssdlite.pb", "--names", names]
    mini = shared / "data/coco-mini"
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(mini / "images/000000000139.jpg", folder)
    done = cli("eval", "--images", folder, "--truth", mini / "instances.json", *graph, "--json", "-")
    assert done.code == 1, done  # 78 images of the truth are not in that folder
    got = json.loads(done.out)
    assert got["per_class"]["person"]["objects"] == 2 and got["ran"]["images"]["without_picture"] == 78
    asked = cli("eval", "--images", folder, "--truth", mini / "instances.json", *graph, "--multi-label")
    assert asked.code == 2 and "--multi-label cannot act" in asked.err


# ---- what does not fit is reported, and the score stays that of what fits ----


def test_truth_without_image_and_image_without_truth_are_reported_and_left_out(
    cli: Cli, photos: Path, samples: Path, xl: list[str], tmp_path: Path
) -> None:
    shutil.copy(samples / "person.jpg", photos)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    truth = coco(tmp_path / "t.json", ["dog.jpg", "gone.jpg", "broken.jpg"])
    done = cli("eval", "--images", photos, "--truth", truth, *xl, "--json", "-")
    assert done.code == 1, done
    for words in ("1 of 3 images of the ground truth has no file and is left out: gone.jpg",
                 "1 image file has no ground truth, left out",
                 "broken.jpg: is cut short", "1 of 2 images could not be read"):  # fmt: skip
        assert words in done.err
    got = json.loads(done.out)
    assert got["AP50"] == pytest.approx(1)
    assert got["ran"]["images"] == {
        "evaluated": 1, "without_picture": 1, "without_truth": 1, "unreadable": 1, "not_reached": 0,
    }  # fmt: skip


def test_a_class_that_the_model_lacks_counts_as_missed_and_is_reported(
    cli: Cli, photos: Path, xl: list[str], tmp_path: Path
) -> None:
    data = json.loads(coco(tmp_path / "t.json", ["dog.jpg"], labels=["dog", "unicorn"]).read_text())
    data["annotations"].append({**data["annotations"][0], "id": 2, "category_id": 2})
    done = cli("eval", "--images", photos, "--truth", write_json(tmp_path / "t.json", data), *xl, "--json", "-")
    assert json.loads(done.out)["AP50"] == pytest.approx(0.5)
    assert "does not have 1 of the ground truth's classes, whose 1 object counts as missed" in done.err
    assert "unicorn (1)" in done.err


def test_an_empty_list_of_results_scores_0_and_is_reported(cli: Cli, tmp_path: Path) -> None:
    truth = coco(tmp_path / "t.json", ["a.jpg"])
    done = cli("eval", "--truth", truth, "--predictions", write_json(tmp_path / "r.json", []), "--json", "-")
    assert done.code == 0 and json.loads(done.out)["AP"] == 0
    assert "holds no detections" in done.err


def test_a_box_without_area_is_reported_and_left_out(cli: Cli, tmp_path: Path) -> None:
    data = json.loads(coco(tmp_path / "t.json", ["a.jpg"]).read_text())
    data["annotations"].append({**data["annotations"][0], "id": 2, "bbox": [5, 5, 0, 9]})
    truth = write_json(tmp_path / "t.json", data)
    done = cli("eval", "--truth", truth, "--predictions", write_json(tmp_path / "r.json", [row()]), "--json", "-")
    assert done.code == 0 and json.loads(done.out)["AP"] == pytest.approx(1)
    assert "1 box of zero or negative size left out" in done.err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": NaN}]', "score is not a finite number"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, -5, 5], "score": 1}]', "negative size"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [0, 0], "score": 1}]', "bbox is not four"),
        ('[{"image_id": 9, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 1}]', "image_id (9)"),
        ('[{"image_id": 1, "category_id": 9, "bbox": [0, 0, 5, 5], "score": 1}]', "category_id (9)"),
        ("", "is not JSON"),
        ("{}", "is no list"),
    ],
)
def test_results_that_are_wrong_are_refused(cli: Cli, tmp_path: Path, rows: str, words: str) -> None:
    truth = coco(tmp_path / "t.json", ["a.jpg"])
    results = tmp_path / "r.json"
    results.write_text(rows)
    done = cli("eval", "--truth", truth, "--predictions", results)
    assert done.code == 4 and words in done.err and "r.json" in done.err, done


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": []}, "not among the images"),
        ({"images": [], "annotations": []}, "holds no images"),
        ({"annotations": []}, "holds no objects"),
        ({"categories": []}, "not among the categories"),
        ({"categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "car"}], "classes": "car"}, "nothing to measure"),
    ],
)
def test_a_truth_that_holds_nothing_to_measure_is_refused(
    cli: Cli, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    data = json.loads(coco(tmp_path / "t.json", ["a.jpg"]).read_text())
    only = ["--classes", change["classes"]] if "classes" in change else []
    truth = write_json(tmp_path / "t.json", {**data, **change})
    done = cli("eval", "--truth", truth, "--predictions", write_json(tmp_path / "r.json", [row()]), *only)
    assert done.code == 4 and words in done.err, done


def test_images_that_all_fail_end_with_exit_4(cli: Cli, tmp_path: Path, xl: list[str]) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.jpg").write_bytes(b"no image")
    done = cli("eval", "--images", tmp_path / "p", "--truth", coco(tmp_path / "t.json", ["a.jpg"]), *xl)
    assert done.code == 4 and "none of the images could be read" in done.err


def test_a_model_of_other_classes_is_refused(cli: Cli, photos: Path, xl: list[str], tmp_path: Path) -> None:
    truth = coco(tmp_path / "t.json", ["dog.jpg"], labels=["unicorn", "dragon"])
    done = cli("eval", "--images", photos, "--truth", truth, *xl)
    assert done.code == 4 and "model and ground truth have no class in common" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --images"),
        (["--predictions", "r.json", "--at", "2"], "--at 2"),
        (["--predictions", "r.json", "--worst", "2"], "give --images too"),
        (["--predictions", "r.json", "-m", "yolov3-tiny", "--nms", "0.3"], "act on a model"),
        (["--predictions", "r.json", "--max-det", "5"], "--max-det: acts on a model"),
        (["--images", ".", "--worst-dir", "x"], "--worst-dir goes with --worst"),
        (["--images", ".", "--blur", "dog"], "--blur goes with --worst"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(
    cli: Cli, tmp_path: Path, options: list[str], words: str
) -> None:
    done = cli("eval", "--truth", coco(tmp_path / "t.json", ["a.jpg"]), *options)
    assert done.code == 2 and words in done.err, done


def test_a_truth_that_is_not_there_and_one_that_is_not_given(cli: Cli) -> None:
    assert cli("eval", "--truth", "nowhere.json", "--predictions", "r.json").code == 4
    assert cli("eval", "--images", ".").code == 2


@pytest.mark.parametrize(("package", "extra"), [("pycocotools", "eval"), ("matplotlib", "plots")])
def test_a_missing_package_is_reported_before_any_work(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else there(name))
    done = cli("eval", "--truth", "nowhere.json", "--predictions", "nowhere.json", "--plots", "plots")
    assert done.code == 3 and f"cvdetect[{extra}]" in done.err, done


def test_outputs_that_cannot_be_written_are_reported_before_any_work(cli: Cli) -> None:
    Path("file").touch()
    for option in ("--plots", "--json"):
        done = cli("eval", "--truth", "nowhere.json", "--predictions", "n.json", option, "file/x")
        assert done.code == 4 and "cannot be written" in done.err, done
