"""Where a model's class names come from, and what becomes of them in a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.labels import BUILT_IN
from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.inference.detector import Detector
from tests.conftest import Cli, Told

COCO = list(BUILT_IN["coco80"](0).names.values())
OTHER_SPELLING = {"motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv"}


def darknet(folder: Path, classes: int, stem: str = "own", weights: tuple[str, ...] = ("own.weights",)) -> Path:
    """A Darknet network of one layer that finds things of all classes; the path of its cfg."""
    filters = 3 * (5 + classes)
    cfg = folder / f"{stem}.cfg"
    cfg.write_text(
        f"[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters={filters}\nsize=1\nstride=32\npad=1\n"
        f"activation=linear\n[yolo]\nmask=0,1,2\nanchors=20,30, 40,20, 60,50\nclasses={classes}\nnum=3\n"
    )
    numbers = np.random.default_rng(1).normal(0, 2, filters * 4).astype("<f4")
    for name in weights:
        (folder / name).write_bytes(np.array([0, 2, 0, 0, 0], "<i4").tobytes() + numbers.tobytes())
    return cfg


def load(choice: ModelChoice, told: Told | None = None, **options: object) -> Detector:
    return Detector.load(choice, DetectOptions(conf=0.01, **options), progress=told or Told())  # type: ignore[arg-type]


IMAGE = np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8)


# --- what lies beside the model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["own.weights", "own_best.weights"], "own.weights"),
        (["own_best.weights", "own_last.weights", "own_final.weights"], "own_best.weights"),
        (["own_final.weights", "own_last.weights", "own_9000.weights"], "own_last.weights"),
        (["own_final.weights", "own_9000.weights"], "own_final.weights"),
        (["own_9000.weights", "own_10000.weights", "own_x.weights", "owner_99999.weights"], "own_10000.weights"),
        (["own.WEIGHTS"], "own.WEIGHTS"),
    ],
)
def test_weights_beside_a_cfg_are_taken_in_a_fixed_order_and_reported(
    there: list[str], taken: str, tmp_path: Path
) -> None:
    told = Told()
    load(ModelChoice(cfg=darknet(tmp_path, 3, weights=tuple(there))), told)
    (note,) = [line for line in told.notes if "weights was not given" in line]
    assert note.startswith(f"taking {tmp_path / taken} (")


def test_weights_of_another_model_beside_the_cfg_are_not_taken(tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 3, weights=("other.weights", "own_tiny.weights"))
    with pytest.raises(ModelFileError, match=r"own.weights is not beside it\): give weights"):
        load(ModelChoice(cfg=cfg))


@pytest.mark.parametrize("stem", ["own", "own_best", "own_2000"])
def test_weights_alone_find_their_cfg(stem: str, tmp_path: Path) -> None:
    darknet(tmp_path, 3, weights=(f"{stem}.weights",))
    told = Told()
    assert load(ModelChoice(weights=tmp_path / f"{stem}.weights"), told).name == "own"
    assert f"taking {tmp_path / 'own.cfg'} (cfg was not given)" in told.notes


def test_weights_without_a_cfg_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights goes with cfg, and no cfg is beside"):
        load(ModelChoice(weights=tmp_path / "x.weights"))


@pytest.mark.parametrize("classes", [20, 80, 3])
def test_names_beside_a_cfg_are_taken_and_no_other_data_sets(classes: int, tmp_path: Path) -> None:
    cfg = darknet(tmp_path, classes)
    (tmp_path / "own.names").write_text("".join(f"fruit{i}\n" for i in range(classes)))
    told = Told()
    labels = load(ModelChoice(cfg=cfg), told).labels
    assert [labels.label(i) for i in range(classes)] == [f"fruit{i}" for i in range(classes)]
    assert not labels.category_ids
    assert told.notes.count(f"taking {tmp_path / 'own.names'} (names was not given)") == 1
    assert not told.warnings


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["own.NAMES", "own.txt"], "own.NAMES"),
        (["own.NAMES", "own.names"], "own.names"),
        (["own.TXT", "own_best.names"], "own.TXT"),
        (["own_best.TXT", "owner.names", "own.jpg"], "own_best.TXT"),
    ],
)
def test_names_beside_may_have_suffixes_in_capitals_and_their_folder_is_listed_once_a_stem(
    there: list[str], taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = darknet(tmp_path, 1, weights=("own_best.weights",))
    for name in there:
        (tmp_path / name).write_text(f"{name}\n")
    listed: list[Path] = []
    for function in (os.scandir, os.listdir):
        monkeypatch.setattr(
            os, function.__name__, lambda folder, function=function: listed.append(Path(folder)) or function(folder)
        )
    labels = load(ModelChoice(cfg=cfg, weights=tmp_path / "own_best.weights")).labels
    assert labels.label(0) == taken
    assert listed.count(tmp_path) <= 2


def test_names_that_were_given_go_before_those_beside(tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 1)
    (tmp_path / "own.names").write_text("beside\n")
    (tmp_path / "x.names").write_text("given\n")
    assert load(ModelChoice(cfg=cfg, names=tmp_path / "x.names")).labels.label(0) == "given"


def test_a_data_file_beside_a_cfg_leads_to_its_names(tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 2)
    (tmp_path / "own.data").write_text("classes = 2\ntrain = t.txt\nnames = data/obj.names\n")
    (tmp_path / "obj.names").write_text("apple\npear\n")
    told = Told()
    assert load(ModelChoice(cfg=cfg), told).labels.names == {0: "apple", 1: "pear"}
    assert any("obj.names, the names of" in note for note in told.notes)


def test_names_beside_that_do_not_fit_are_an_error_but_a_text_may_be_anything(tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 3)
    (tmp_path / "own.txt").write_text("What this model is for,\nand who made it.\n")
    told = Told()
    assert load(ModelChoice(cfg=cfg), told).labels.label(0) == "class_0"
    assert any("own.txt" in warning and "passing it over" in warning for warning in told.warnings)
    (tmp_path / "own.txt").write_text("a\nb\nc\n")
    assert load(ModelChoice(cfg=cfg)).labels.label(0) == "a"
    (tmp_path / "own.names").write_text("a\nb\n")
    with pytest.raises(ModelFileError, match="has 2 names, but the model has 3 classes"):
        load(ModelChoice(cfg=cfg))


def test_names_beside_a_model_of_models_yaml_are_taken(tmp_path: Path, cli: Cli, samples: Path) -> None:
    darknet(tmp_path, 20)
    (tmp_path / "own.names").write_text("".join(f"fruit{i}\n" for i in range(20)))
    (tmp_path / "m.yaml").write_text("models: {mine: {family: yolo, cfg: own.cfg, weights: own.weights}}")
    done = cli(
        "--models", tmp_path / "m.yaml", "image", samples / "dog.jpg", "-m", "mine", "--conf", "0.01", "--no-save"
    )
    assert done.code == 0 and "fruit" in done.out and "own.names (--names was not given)" in done.err


# --- without any names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "whose", "first"), [(80, "COCO's", "person"), (20, "VOC's", "aeroplane")])
def test_a_data_sets_names_are_never_taken_in_silence(classes: int, whose: str, first: str, tmp_path: Path) -> None:
    told = Told()
    assert load(ModelChoice(cfg=darknet(tmp_path, classes)), told).labels.label(0) == first
    assert f"own: no label file, taking its {classes} classes for {whose}; names sets others" in told.notes


@pytest.mark.parametrize(
    ("classes", "words"),
    [(1, "its 1 class, naming it class_0;"), (2, "class_0, class_1;"), (3, "class_0, …, class_2;")],
)
def test_other_models_are_warned_of_with_the_labels_that_they_get(classes: int, words: str, tmp_path: Path) -> None:
    told = Told()
    labels = load(ModelChoice(cfg=darknet(tmp_path, classes)), told).labels
    (warning,) = told.warnings
    assert words in warning and labels.label(classes - 1) == f"class_{classes - 1}"


# --- what is in the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [COCO, [OTHER_SPELLING.get(name, name) for name in COCO]], ids=["darknet", "coco"])
def test_cocos_names_keep_cocos_category_ids(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.names").write_text("\n".join(names))
    labels = load(ModelChoice(cfg=darknet(tmp_path, 80), names=tmp_path / "x.names")).labels
    assert [labels.category_id(i) for i in (0, 16, 79)] == [1, 18, 90]
    (tmp_path / "x.names").write_text("\n".join(["person", "dog", *names[2:]]))
    assert not load(ModelChoice(cfg=darknet(tmp_path, 80), names=tmp_path / "x.names")).labels.category_ids


def test_cocos_names_may_be_numbered_by_their_category_ids_for_a_model_of_80_classes(tmp_path: Path) -> None:
    ids = BUILT_IN["coco91"](0).category_ids.values()
    (tmp_path / "x.names").write_text("".join(f"{i} {name}\n" for i, name in zip(ids, COCO, strict=True)))
    labels = load(ModelChoice(cfg=darknet(tmp_path, 80), names=tmp_path / "x.names")).labels
    assert [(labels.label(i), labels.category_id(i)) for i in (0, 16, 79)] == [
        ("person", 1), ("dog", 18), ("toothbrush", 90)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["80 names", "91 names", "with placeholders", "label map"])
def test_cocos_names_find_their_places_in_a_model_of_90_classes(kind: str, tmp_path: Path) -> None:
    by_id = {number: BUILT_IN["coco91"](0).names[number] for number in BUILT_IN["coco91"](0).category_ids.values()}
    texts = {
        "80 names": "\n".join(COCO),
        "91 names": "\n".join(BUILT_IN["coco91"](0).names.values()),
        "with placeholders": "\n".join(by_id.get(i, "???") for i in range(91)),
        "label map": "".join(f"item {{ id: {i} name: '{name}' }}\n" for i, name in by_id.items()),
    }
    (tmp_path / "x.names").write_text(texts[kind])
    labels = load(ModelChoice(cfg=darknet(tmp_path, 90), names=tmp_path / "x.names")).labels
    dog = labels.find_all("dog")[0]
    assert (dog, labels.category_id(dog), labels.category_id(labels.find_all("toothbrush")[0])) == (17, 18, 90)


def test_two_classes_of_one_name_are_both_chosen_and_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.names").write_text("cat\ncat\ndog\n")
    choice = ModelChoice(cfg=darknet(tmp_path, 3), names=tmp_path / "x.names")
    assert set(load(choice, classes=("cat",), multi_label=True).detect(IMAGE).class_id) == {0, 1}
    assert load(choice).labels.find_each(["cat", "dog", "1"]) == [0, 1, 2]
    conf = Detector.load(choice, DetectOptions(conf=Conf(0.01, {"cat": 1.0}), multi_label=True))
    assert set(conf.detect(IMAGE).class_id) == {2}


def test_a_name_spelled_exactly_so_goes_before_other_spellings() -> None:
    labels = BUILT_IN["coco80"](0).from_names(["tv", "TV", "tvmonitor", "Tv"])
    assert labels.find_all("TV") == [1]
    assert labels.find_all("t-v") == [0, 1, 2, 3]


def test_dont_show_is_honoured_and_reported_once(tmp_path: Path) -> None:
    (tmp_path / "x.names").write_text("dont_show cat\ndog\ndont_show egg\n")
    choice = ModelChoice(cfg=darknet(tmp_path, 3), names=tmp_path / "x.names")
    told = Told()
    assert set(load(choice, told, multi_label=True).detect(IMAGE).class_id) == {1}
    assert [note for note in told.notes if "not reporting" in note] == [
        "own: not reporting dont_show cat, dont_show egg (Darknet's dont_show; classes shows what it names)"
    ]
    assert set(load(choice, multi_label=True, classes=("dont_show cat",)).detect(IMAGE).class_id) == {0}


def test_dont_show_reaches_the_json_of_a_run(tmp_path: Path, cli: Cli, samples: Path) -> None:
    (tmp_path / "own.names").write_text("dont_show cat\ndog\ndont_show egg\n")
    options = ["--cfg", darknet(tmp_path, 3), "--conf", "0.01", "--no-save", "--json", "-", "--multi-label"]
    done = cli("image", samples / "dog.jpg", *options)
    assert {d["label"] for d in json.loads(done.out)["detections"]} == {"dog"}


@pytest.mark.parametrize(("codec", "kind"), [("latin-1", "warnings"), ("utf-16", "notes")])
def test_an_encoding_that_is_not_utf_8_is_reported(codec: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "x.names").write_bytes("Fußgänger\n".encode(codec))
    told = Told()
    labels = load(ModelChoice(cfg=darknet(tmp_path, 1), names=tmp_path / "x.names"), told).labels
    assert labels.label(0) == "Fußgänger"
    assert any("x.names: is not UTF-8, read as" in line and "(Fußgänger)" in line for line in getattr(told, kind))


# --- a .data file, wherever it is given -------------------------------------------------------------------------------


def test_a_data_file_serves_for_names_and_its_count_is_checked(tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 2)
    (tmp_path / "a.names").write_text("apple\npear\n")
    (tmp_path / "obj.data").write_text("classes = 3\nvalid = t.txt\nnames = a.names\n")
    told = Told()
    assert load(ModelChoice(cfg=cfg, names=tmp_path / "obj.data"), told).labels.label(1) == "pear"
    assert any("states classes = 3, but" in w and "has 2 names" in w for w in told.warnings)


def test_a_data_file_as_text_graph_is_sent_to_names(cli: Cli, samples: Path) -> None:
    Path("a.pb").write_bytes(b"\n\x0a")
    Path("obj.data").write_text("classes = 2\nvalid = t.txt\nnames = a.names\n")
    done = cli("image", samples / "dog.jpg", "--graph", "a.pb", "--config", "obj.data", "--no-save")
    assert done.code == 3 and "is a Darknet .data file" in done.err and "give it as --names" in done.err


@pytest.mark.parametrize("option", ["--cfg", "--graph", "--onnx", "--tflite", "--prototxt", "--model", "-w"])
@pytest.mark.parametrize("name", ["obj.data", "data.yaml"])
def test_a_file_of_names_in_a_models_place_is_sent_to_names(
    option: str, name: str, cli: Cli, samples: Path, tmp_path: Path
) -> None:
    Path("obj.data").write_text("classes = 2\nvalid = t.txt\nnames = a.names\n")
    Path("data.yaml").write_text("train: images\nnc: 1\nnames: [cat]\n")
    given = ["--cfg", darknet(tmp_path, 3), "--weights", name] if option == "-w" else [option, name]
    done = cli("image", samples / "dog.jpg", *given, "--no-save")
    if (option, name) == ("--model", "data.yaml"):
        assert done.code == 2
        return
    assert done.code == (2 if option == "--model" else 3), done
    assert "--names" in done.err and len(done.err.strip().splitlines()) == 1


def test_a_cfg_in_the_place_of_names_is_sent_to_cfg(cli: Cli, samples: Path, tmp_path: Path) -> None:
    cfg = darknet(tmp_path, 3)
    done = cli("image", samples / "dog.jpg", "--cfg", cfg, "--names", cfg, "--no-save")
    assert done.code == 3 and "is a Darknet cfg, expected a label file: give it as --cfg" in done.err
