"""What is printed: every table at every width, names and numbers whole, nothing of a label obeyed by the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from cvdetect.cli.console import ConsoleProgress, print_table
from cvdetect.cli.doctor import print_report
from cvdetect.cli.image import print_result
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.doctor import DoctorReport, Finding
from cvdetect.jobs.image import ImageResult
from tests.conftest import make_detections

WIDTHS = [40, 60, 80, 120, 200]


def printed(width: int, *table: object, encoding: str = "utf-8", **more: object) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        patch.setenv("COLUMNS", str(width))
        print_table(*table, **more)
    return stream.buffer.getvalue().decode(encoding)


def cells(text: str) -> list[str]:
    return [cell.strip() for line in text.splitlines() for cell in re.split(r"[│┃|]", line)]


def check(text: str, width: int, whole: list[str]) -> None:
    """Lines fit; each of `whole` stands in a line by itself or in a cell; nothing is cut off."""
    assert max(map(cell_len, text.splitlines())) <= width, text
    assert "…" not in text
    words = {word for cell in cells(text) for word in (cell, cell.partition(": ")[2])}
    assert not [one for one in whole if one not in words], text


@pytest.mark.parametrize("width", WIDTHS)
def test_many_numbers_go_into_several_tables_with_the_names_again(width: int) -> None:
    heads = ["objects", "AP", "AP50", "VOC 11", "VOC all", "precision", "recall", "F1", "TP", "FP", "FN"]
    rows = [[name, *(f"{i}{n}.{i:03d}" for i in range(1, 12))] for n, name in enumerate(["dog", "dining table"])]
    text = printed(width, ["class", *(f">{h}" for h in heads)], rows)
    check(text, width, ["dog", "dining table", *heads, *(cell for row in rows for cell in row)])
    assert text.count("dining table") == text.count("class") >= 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_confusion_matrix_of_long_names(width: int) -> None:
    names = ["traffic light", "fire hydrant", "stop sign", "parking meter", "background"]
    rows = [[name, *(str(1000 * i + j) for j in range(5))] for i, name in enumerate(names)]
    text = printed(width, ["is \\ detected as", *(f">{n}" for n in names)], rows, "mistaken, score ≥ 0.5")
    check(text, width, [*names, *(cell for row in rows for cell in row)])


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_models_of_the_zoo(width: int) -> None:
    from cvdetect.cli.models import overview
    from cvdetect.jobs.models import ListModelsJob, list_models

    headers, rows = overview(list_models(ListModelsJob()))
    text = printed(width, headers, rows)
    check(text, width, [*(row[0] for row in rows), *(row[3] for row in rows)])
    assert ("not shown at this width: family" in text) == (width < 100)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_details_of_a_model_keep_its_digests_whole(width: int) -> None:
    digest = "4349b56496c065b353d40d786a28ad6e7758780db8124a22342458f780f4ff00"
    text = printed(width, ["key", "value"], [["name", "yolov3-tiny"], ["cfg", f"1,914 bytes, sha256 {digest}"]])
    check(text, width, ["name", "cfg"])
    assert (digest in text) == (width >= 64)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_diagnosis(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    findings = (
        Finding("OpenCV", "built with Dispatched code generation", "SSE4_1 SSE4_2 AVX FP16 AVX2"),
        Finding("OpenCV", "version", "4.14.0 at /a/rather/long/path/to/the/packages/of/this/environment/cv2"),
        Finding("models", "ssd-mobilenet-v1-coco", "wrong digest", False),
    )
    print_report(DoctorReport(findings))
    assert (DoctorReport(findings).exit_code, DoctorReport(findings[:2]).exit_code) == (3, 0)
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= width
    assert "4.14.0" in out and "wrong digest" in out


@pytest.mark.parametrize("width", [60, 80])
def test_times_of_many_configurations(width: int) -> None:
    names = ["yolov3-tiny", "ssd-mobilenet-v1-coco-2017-06", "yolo-fastest-1.1-xl", "a", "b"]
    rows = [["forward", *[f"{n}.25 / {n}99.5" for n in range(5)]], ["fps", *["12.5"] * 5]]
    check(printed(width, ["times: median / p95, ms", *(f">{n}" for n in names)], rows), width, [*names, *rows[0]])


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "gbk"])
def test_labels_of_any_script_never_break_a_table_nor_reach_the_terminal_raw(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [
        "狗",
        "كلب",
        "🐕‍🦺",
        "in\u200bvisible",
        "\x1b[2Jgone",
        "\x9b31m",
        ":dog:",
        "[bold]x[/]",
        "tail\\",
        "\ud800",
    ]
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "80")
    name = "\x1b]0;x\x07\u202egpj.jpg"
    labels = LabelSet.from_names(names)
    boxes = [[10 * i, 0, 10 * i + 5, 5] for i in range(len(names))]
    frame = Frame(np.zeros((10, 200, 3), np.uint8), name)
    for found in make_detections(boxes, list(range(len(names)))), make_detections([]):
        print_result(ImageResult(frame, replace(found, labels=labels), tmp_path / "[red]→.jpg"))
    out = stream.buffer.getvalue().decode(encoding)
    assert not set(out) & set("\x1b\x9b\x07\u200b\u200d\u202e")
    assert "\\x1b[2Jgone" in out and ":dog:" in out and "[bold]x[/]" in out and "[red]" in out and "tail\\" in out
    rows = [line for line in out.splitlines() if "0.90" in line]
    assert len(rows) == len(names) and len({cell_len(row) for row in rows}) == 1


def test_errors_warnings_and_notes_are_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress()
    progress.warn("the \x1b[31mlid\n is open")
    progress.error("a:dog:.jpg: [b]cannot be read")
    progress.note("→ out.jpg")
    err = capsys.readouterr().err
    assert err == "warning: the \\x1b[31mlid\n is open\nerror: a:dog:.jpg: [b]cannot be read\n→ out.jpg\n"
