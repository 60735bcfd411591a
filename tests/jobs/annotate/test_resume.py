"""What a resumed run takes from the manifest, and what it refuses: every option that decides about outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvdetect.core.errors import UsageError
from cvdetect.core.options import Conf
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.resume import _Option, _options, options_on_resume, stored_options
from tests.conftest import Cli
from tests.jobs.annotate.conftest import Annotate, FakeDetector, tree

# Two values of each option that is no switch: of the first run, and of one that contradicts.
VALUES: dict[str, tuple[Any, Any]] = {
    "--format": (("voc", "yolo"), ("voc",)),
    "--root": (Path("/a"), Path("/b")),
    "--draw": (Path("/a"), "s3://b"),
    "--crops": ("s3://a", Path("/b")),
    "--blur": (("person",), ("dog",)),
    "--batch": (2, 3),
    "--max-pixels": (1000, 2000),
    "--model": ("yolov4-tiny", "yolov4"),
    "--decoder": ("yolox", "detr"),
    "--scale": (0.5, 0.25),
    "--mean": ((1.0, 2.0, 3.0), (1.0, 1.0, 1.0)),
    "--std": ((1.0, 2.0, 3.0), (1.0, 1.0, 1.0)),
    "--rgb": (True, False),
    "--pad-value": (3.0, 4.0),
    "--size": ((320, 320), (416, 416)),
    "--resize": ("letterbox", "stretch"),
    "--conf": (Conf(0.3, {"dog": 0.5}), 0.3),
    "--nms": (0.3, 0.5),
    "--max-det": (7, 8),
    "--classes": (("dog", "person"), ("dog",)),
    "--tile": ("auto", "2x2"),
    "--backend": ("cpu", "cuda"),
    "--precision": ("fp16", "fp32"),
    "--line-width": (2, 3),
    "--font-scale": (0.5, 0.7),
}
FILES = "cfg weights graph config onnx prototxt caffemodel tflite names models".split()
MAIN_FILES = "cfg graph onnx prototxt tflite".split()
ADDED_LATER = {"--review"}
OPTIONS = {option.name: option for option in _options()}
PLAIN = [name for name in OPTIONS if name.removeprefix("--") not in FILES]
START = AnnotateJob(images="photos", out="out")


def values(name: str) -> tuple[Any, Any]:
    """A switch's values are its two positions."""
    default = OPTIONS[name].default
    return VALUES.get(name, (not default, default))


def with_value(job: AnnotateJob, option: _Option, value: Any) -> AnnotateJob:
    if not option.group:
        return replace(job, **{option.field: value})
    return replace(job, **{option.group: replace(getattr(job, option.group), **{option.field: value})})


def argument_of(key: str) -> str:
    """What a message calls the option that the manifest has as `key`."""
    other = {"--format": "formats", "--models": "registry"}
    return other.get(key) or key.removeprefix("--").replace("-", "_")


def recorded(job: AnnotateJob) -> dict[str, Any]:
    return dict(json.loads(json.dumps(stored_options(job, job.model.name or "the default"))))


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not_given_is_taken_from_the_manifest(name: str) -> None:
    first = with_value(START, OPTIONS[name], values(name)[0])
    settled = options_on_resume(START, recorded(first))
    assert recorded(settled) == recorded(first)
    again = options_on_resume(first, recorded(first))
    assert recorded(again) == recorded(first), "given again, it does not contradict"


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in ADDED_LATER])
def test_what_is_given_and_contradicts_is_refused_by_name_with_both_values(name: str) -> None:
    first, other = (with_value(START, OPTIONS[name], value) for value in values(name))
    with pytest.raises(UsageError) as error:
        options_on_resume(replace(other, given=frozenset({argument_of(name)})), recorded(first))
    reported = str(error.value)
    assert (
        f"({argument_of(name)}: " in reported
        and ", now " in reported
        and "overwrite" in reported
        and "another out" in reported
    )
    assert reported.count(", now ") == 1


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in ADDED_LATER])
def test_a_value_that_the_first_run_did_not_have_is_refused_too(name: str) -> None:
    other = with_value(START, OPTIONS[name], values(name)[0])
    with pytest.raises(UsageError, match=f"{argument_of(name)}: "):
        options_on_resume(other, recorded(START))


@pytest.mark.parametrize("name", FILES)
def test_a_models_files_are_taken_from_the_manifest_and_may_lie_elsewhere_now(name: str, tmp_path: Path) -> None:
    option = OPTIONS[f"--{name}"]
    first = with_value(START, option, tmp_path / "a")
    assert getattr(options_on_resume(START, recorded(first)).model, option.field) == tmp_path / "a"
    moved = with_value(START, option, tmp_path / "b")
    assert getattr(options_on_resume(moved, recorded(first)).model, option.field) == tmp_path / "b", (
        "its content is compared"
    )


@pytest.mark.parametrize("name", MAIN_FILES)
def test_another_kind_of_model_is_refused(name: str, tmp_path: Path) -> None:
    given = with_value(START, OPTIONS[f"--{name}"], tmp_path / "a")
    with pytest.raises(UsageError, match=f"{name}: not given, now "):
        options_on_resume(given, recorded(START))
    with pytest.raises(UsageError, match="model: not given, now yolov3-tiny"):
        options_on_resume(with_value(START, OPTIONS["--model"], "yolov3-tiny"), recorded(given))


def test_the_default_model_is_recorded_by_its_name() -> None:
    assert options_on_resume(START, stored_options(START, "yolov3-tiny")).model.name == "yolov3-tiny"


def test_the_order_of_names_does_not_contradict() -> None:
    first = replace(START, formats=("voc", "coco"))
    assert options_on_resume(replace(START, formats=("coco", "voc")), recorded(first)).formats == ("coco", "voc")


def test_paths_and_addresses_are_compared_as_absolute_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = replace(START, draw=Path("drawn"), crops="s3://b/crops/")
    given = replace(START, draw=tmp_path / "drawn", crops="s3://b/crops")
    settled = options_on_resume(given, recorded(first))
    assert (settled.draw, settled.crops) == (given.draw, given.crops)
    with pytest.raises(UsageError, match="draw"):
        options_on_resume(replace(given, draw=tmp_path / "elsewhere" / "drawn"), recorded(first))


def test_resume_keeps_the_first_runs_formats_and_files(run: Annotate, tmp_path: Path, fake: FakeDetector) -> None:
    run(formats=("voc", "yolo"), yolo_conf=True, review=True, draw=tmp_path / "drawn", recursive=False)
    before = tree(tmp_path / "out")
    assert run(resume=True).done == 3
    assert tree(tmp_path / "out") == before and fake.seen == 3


def test_a_contradicting_format_is_refused_and_how_to_add_one_is_reported(run: Annotate, tmp_path: Path) -> None:
    run(formats=("voc",))
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"formats: voc, now yolo.*\n.*further formats.*another out.*overwrite"):
        run(formats=("yolo",), resume=True)
    assert tree(tmp_path) == before


def test_the_command_knows_what_was_typed_even_where_it_is_the_default(
    cli: Cli, samples: Path, xl: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["annotate", samples / "dog.jpg", "--out", "out"]
    first = ["--format", "yolo", "--max-det", 5, "--conf", 0.3, "--yolo-conf", "--draw", "drawn", "--size", 224]
    assert cli(*words, *xl, *first).code == 0
    before = tree(Path())
    assert cli(*words, "--resume").code == 0
    assert cli(*words, "--resume", *xl, *first).code == 0
    for more, reported in (
        (["--max-det", 300], "--max-det: 5, now 300"),
        (["--format", "coco"], "--format: yolo, now coco"),
        (["--recursive"], None),
        (["--no-recursive"], "--recursive: True, now False"),
        (["--batch", 1, "--backend", "auto"], None),
        (["--model", "yolov3-tiny"], "--model: not given, now yolov3-tiny"),
    ):
        done = cli(*words, "--resume", *more)
        assert done.code == (2 if reported else 0) and (reported or "") in done.err, done
    for name, value, contradiction in (("MAX_DET", "300", "--max-det: 5, now 300"), ("FORMAT", "csv", "now csv")):
        with monkeypatch.context() as patch:
            patch.setenv(f"CVDETECT_ANNOTATE_{name}", value)
            done = cli(*words, "--resume")
        assert done.code == 2 and contradiction in done.err, "the environment counts as given"
    assert tree(Path()) == before
