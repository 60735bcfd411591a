"""Every example runs: on samples/ and a tiny model that is made here, without a network."""

from __future__ import annotations

import ast
import json
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.annotate.tiny_model import tiny_model

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SAMPLES = ROOT / "samples"
STREET = SAMPLES / "street.mp4"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("model")).cfg)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example as a script → what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *args: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("dog.jpg", "person.jpg"):
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    return folder


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """The first frames of the sample video, as images."""
    import cv2

    import cvdetect

    with cvdetect.open_source(STREET, end=0.5) as source:
        for frame in source:
            cv2.imwrite(str(tmp_path / f"frame{frame.index:03d}.png"), frame.image)
    return tmp_path / "frame%03d.png"


@pytest.fixture(autouse=True)
def same_loggers() -> Iterator[None]:
    """Examples may set handlers."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def examples() -> list[str]:
    return sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_every_example_has_a_test_and_stands_in_the_readme() -> None:
    tested = {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run" and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    assert tested == set(examples())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in examples() if f"examples/{name}.py" not in readme] == []


@pytest.mark.parametrize("name", examples())
def test_an_example_is_short_and_shows_how_it_is_run(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert 15 <= len(text.splitlines()) <= 40
    assert f"python examples/{name}.py" in (ast.get_docstring(ast.parse(text)) or "")


def test_detect_image(run: Run, model: str) -> None:
    out = run("detect_image", SAMPLES / "dog.jpg", model)
    assert "objects by tiny on " in out and "dog 0." in out


def test_detect_image_with_the_default_model(run: Run, yolov3_tiny: None) -> None:
    out = run("detect_image", SAMPLES / "dog.jpg")
    assert "dog 0.83 at 124,219 to 382,518" in out and "by yolov3-tiny" in out


def test_own_model(run: Run, model: str, tmp_path: Path) -> None:
    (tmp_path / "my.names").write_text("apple\npear\nplum\n")
    out = run("own_model", model, "my.names", SAMPLES / "dog.jpg")
    assert "classes: apple, pear, plum" in out and "score above 0.6" in out
    with pytest.raises(SystemExit, match=r"the model cannot be loaded: no.onnx: no such file"):
        run("own_model", "no.onnx", "my.names", SAMPLES / "dog.jpg")


def test_folder_to_json(run: Run, model: str, photos: Path) -> None:
    (photos / "damaged.jpg").write_bytes(b"x")
    assert "2 images done, 1 failed" in run("folder_to_json", photos, "found.jsonl", model)
    first, second = (json.loads(line) for line in Path("found.jsonl").read_text().splitlines())
    assert (first["source"], second["source"]) == (str(photos / "dog.jpg"), str(photos / "person.jpg"))


def test_track_video(run: Run, model: str, short: Path) -> None:
    pytest.importorskip("scipy")
    frames = len(list(short.parent.glob("frame*.png")))
    assert run("track_video", short, "out.avi", model) == f"{frames} frames written to out.avi\n"
    assert Path("out.avi").stat().st_size > 10_000


def test_live_stream(run: Run, model: str) -> None:
    out = run("live_stream", STREET, model, 5)
    assert out.count(" s: ") == 5 and "frames a second" in out


def test_draw_boxes(run: Run, model: str) -> None:
    import cvdetect

    assert "drawn into out.png" in run("draw_boxes", SAMPLES / "dog.jpg", "out.png", model)
    assert cvdetect.read_image("out.png").shape == (576, 768, 3)


def test_count_objects(run: Run, model: str, short: Path) -> None:
    pytest.importorskip("scipy")
    counts = dict(line.split(": ") for line in run("count_objects", short, model).splitlines())
    assert counts and set(counts) <= {"cat", "dog", "bird"}


def test_to_pandas(run: Run, model: str, photos: Path) -> None:
    pytest.importorskip("pandas")
    assert "count" in run("to_pandas", "found.csv", model, photos / "dog.jpg", photos / "person.jpg")
    assert Path("found.csv").read_text().startswith("photo,label,class_id,score,x1,y1,x2,y2\n")


def test_to_supervision(run: Run, model: str) -> None:
    pytest.importorskip("supervision")
    assert run("to_supervision", SAMPLES / "dog.jpg", model).startswith("in the left half: ")


def test_evaluate_model(run: Run, model: str, photos: Path) -> None:
    pytest.importorskip("pycocotools")
    truth = {
        "images": [{"id": 1, "file_name": "dog.jpg", "width": 768, "height": 576}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [124, 219, 258, 299], "area": 77142,
                         "iscrowd": 0}],
        "categories": [{"id": 1, "name": "dog"}],
    }  # fmt: skip
    Path("truth.json").write_text(json.dumps(truth))
    out = run("evaluate_model", photos, "truth.json", model)
    assert out.startswith("AP 0.") and "dog: 1 objects, " in out


def test_annotate_folder(run: Run, model: str, photos: Path) -> None:
    out = run("annotate_folder", photos, "labels", model)
    assert out.startswith("2 images annotated, 0 failed\n")
    assert Path("labels/coco/instances.json").is_file() and Path("labels/yolo/labels/dog.txt").is_file()
    assert run("annotate_folder", photos, "labels", model).startswith("2 images annotated")


def python_of(text: str) -> str:
    """The Python blocks of a Markdown text, one after another."""
    return "\n".join(part.partition("```")[0] for part in text.split("```python\n")[1:])


def test_the_lines_of_the_librarys_page_run_in_their_order(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = python_of((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    for name, sample in (("photo.jpg", SAMPLES / "dog.jpg"), ("clip.mp4", STREET)):
        Path(name).write_bytes(sample.read_bytes())
    for suffix in (".cfg", ".weights"):
        Path(f"best{suffix}").write_bytes(Path(model).with_suffix(suffix).read_bytes())
    Path("my.names").write_text("cat\ndog\nbird\n")
    exec(code.replace("best.onnx", "best.cfg"), {})
    assert "nms 2: it must lie between 0 and 1" in capsys.readouterr().out
    assert Path("out.avi").is_file() and Path("found.jsonl").read_text().count("\n") == 1


def test_the_readmes_lines_run(
    yolov3_tiny: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.chdir(ROOT)
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Python\n")[2].partition("\n## ")[0]
    assert section.count("```python") == 2
    exec(python_of(section).replace("every=2", "every=5, end=1"), {})
    out = capsys.readouterr().out
    assert "dog 0.8" in out and "\n0.0 [(" in out
