"""``cvdetect bench`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli

STAGES = ["load", "preprocess", "forward", "decode", "suppress", "end_to_end"]
QUICK = ["--rounds", "1", "--passes", "1"]


def test_json_holds_every_configuration_with_the_promised_keys(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli(
        "bench", *xl, "--size", "320", "--size", "320x224", "--batch", "2", "--rounds", "3",
        "--passes", "2", "--threads", "1", "--image", samples / "dog.jpg", "--json", "-",
    )  # fmt: skip
    assert done.code == 0, done
    results = json.loads(done.out)
    assert [(one["size"], one["batch"]) for one in results] == [("320x320", 2), ("320x224", 2)]
    for one in results:
        assert (one["model"], one["runtime"], one["precision"]) == ("yolo-fastest-1.1-xl", "opencv", "fp32")
        for stage in [*STAGES, "warm_up"]:
            assert list(one[stage]) == ["median_ms", "p95_ms"]
            assert 0 < one[stage]["median_ms"] <= one[stage]["p95_ms"]
        assert one["end_to_end"]["median_ms"] > one["forward"]["median_ms"]
        assert one["fps"] == pytest.approx(one["batch"] / one["end_to_end"]["median_ms"] * 1e3, rel=1e-3)
        assert one["peak_share"] == pytest.approx(one["gflops"] / one["machine_gflops"], rel=1e-2)
        assert (one["threads"], one["rounds"], one["passes"]) == (1, 3, 6)
    # 0.725 GFLOP an image of 320x320 by Darknet's own count, in proportion to the area, and twice in a batch of 2.
    operations = [one["gflops"] * one["forward"]["median_ms"] / 1e3 for one in results]
    assert operations == pytest.approx([1.45, 1.015], rel=0.02)
    assert "timing 2 configurations: 3 rounds" in done.err


def test_the_table_shows_the_times_and_markdown_has_a_line_a_configuration(cli: Cli, xl: list[str]) -> None:
    table = cli("bench", *xl, *QUICK)
    assert table.code == 0, table
    for word in ("yolo-fastest-1.1-xl", "320x320", "warm-up", "end to end", "fps", "GFLOP/s", "of the peak", "memory"):
        assert word in table.out
    marked = cli("bench", *xl, *QUICK, "--markdown", "--json", "figures.json")
    lines = marked.out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("| yolo-fastest-1.1-xl | 320x320 | opencv | cpu | fp32 | 1 |")
    assert len(json.loads(Path("figures.json").read_text())) == 1
    assert "synthetic image" in marked.err


def test_what_is_not_known_is_null_and_the_reason_is_reported(cli: Cli, shared: Path) -> None:
    done = cli("bench", "--onnx", shared / "data/models/yolox_nano.onnx", *QUICK, "--json", "-")
    assert done.code == 0, done
    (one,) = json.loads(done.out)
    assert one["gflops"] is None and one["peak_share"] is None
    assert "counted for Darknet models only" in done.err


def test_a_named_model_and_one_without_a_name_are_compared(cli: Cli, xl: list[str], tmp_path: Path) -> None:
    yaml = tmp_path / "more.yaml"
    yaml.write_text(f"models:\n  mine:\n    family: yolo\n    cfg: {xl[1]}\n    weights: {xl[3]}\n    labels: coco80\n")
    done = cli("--models", yaml, "bench", "-m", "mine", *xl, *QUICK, "--json", "-")
    assert done.code == 0, done
    assert [one["model"] for one in json.loads(done.out)] == ["mine", "yolo-fastest-1.1-xl"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-m", "yolov3-tiny", "-m", "yolov3-tny"], 2, "did you mean 'yolov3-tiny'"),
        (["-m", "yolov3-tiny", "--weights", "a.weights"], 2, "--weights goes with --cfg"),
        (["-m", "yolov3-tiny", "--scale", "1"], 2, "--scale goes with"),
        (["--cfg", "a.cfg", "--graph", "b.pb"], 2, "--cfg and --graph name two models"),
        (["--cfg", "a.cfg", "--weights", "a.weights"], 3, "a.cfg: no such file"),
        (["--size", "416", "--size", "big"], 2, "--size big"),
        (["--batch", "0"], 2, "--batch"),
        (["--rounds", "0"], 2, "--rounds"),
        (["--threads", "0"], 2, "--threads 0"),
        (["--backend", "cpu", "--backend", "cdua"], 2, "did you mean cuda"),
        (["--backend", "cpu", "--backend", "timvx"], 3, "--backend timvx --precision fp32 cannot run here"),
        (["--device-id", "1"], 2, "--device-id 1 goes with --backend cuda, not auto"),
        (["--backend", "cpu", "--device-id", "0"], 2, "--device-id 0 goes with --backend cuda, not cpu"),
        (["--backend", "cuda", "--device-id", "-1"], 2, "--device-id -1: devices are counted from 0"),
        (["--backend", "cpu", "--backend", "cuda", "--device-id", "99"], 3, "--backend cuda"),  # for cuda alone
        (["--json", "-", "--markdown"], 2, "--json - and --markdown"),
        (["--json", "."], 2, "is a folder"),
        (["--image", "nosuch.jpg"], 4, "nosuch.jpg: no such file"),
        (["--image", "letter.jpg"], 4, "letter.jpg: is "),
    ],
)
def test_bad_input_is_refused_before_anything_is_timed(args: list[str], code: int, words: str, cli: Cli) -> None:
    Path("letter.jpg").write_text("Dear reader, this is no image.\n" * 9)
    done = cli("--offline", "bench", *args)
    assert done.code == code, done
    assert words in done.err and done.out == "" and "timing" not in done.err
    assert [path.name for path in Path().iterdir()] == ["letter.jpg"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--size", "320", "--size", "333"], "size 333x333 does not fit"),
        (["--classes", "drog"], "did you mean 'dog'"),
        (["--conf", "2"], "--conf 2"),
    ],
)
def test_what_the_model_cannot_do_is_refused_before_anything_is_timed(
    args: list[str], words: str, cli: Cli, xl: list[str]
) -> None:
    done = cli("bench", *xl, *args)
    assert done.code == 2, done
    assert words in done.err and done.out == "" and "timing" not in done.err
