"""``cvdetect.jobs.bench``: what is timed, what is refused, and what the figures are."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.cli.parsing import parse_size
from cvdetect.core.errors import BackendError, ModelError, UsageError
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.core.spec import InputSpec
from cvdetect.families import FAMILIES, DecodeOptions
from cvdetect.inference.detector import Detector
from cvdetect.jobs import bench as job
from cvdetect.jobs.bench import BenchJob, BenchReport, DeduplicatingProgress, bench, machine
from cvdetect.jobs.bench.machine import ONE_BLAS_THREAD, peak_memory_mb, product_gflops, run_in_subprocess
from cvdetect.jobs.bench.report import HEADERS, Timing, make_result
from cvdetect.jobs.bench.trial import (
    STAGES,
    Configuration,
    Planned,
    Trial,
    bench_image,
    check_early,
    plan,
    run_trial,
    timed_pass,
)
from cvdetect.models.load import Model
from cvdetect.runtime import choose, cuda
from cvdetect.runtime.cuda import Build, Device, Driver
from tests.conftest import FakeNetwork

RUNTIME = choose(RunOptions(backend="cpu"))
CPU = RUNTIME.ran
PROMISED = ["model", "size", "runtime", "backend", "precision", "batch", "load", "preprocess", "forward", "decode",
            "suppress", "end_to_end", "fps", "gflops", "peak_memory_mb"]  # fmt: skip


class CpuNetwork(FakeNetwork):
    """A fake for a batch of images."""

    def forward(self, blob: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.repeat(rows[None], len(blob), axis=0) for name, rows in self.outputs.items()}


def detector(tile: str | None = None, network: type[FakeNetwork] = CpuNetwork, **changes: Any) -> Detector:
    """A detector of 64x64 that always sees one object twice."""
    rows = np.array([[0.5, 0.5, 0.2, 0.4, 0.9, 0.9], [0.51, 0.5, 0.2, 0.4, 0.9, 0.8]], np.float32)  # (2, 5 + 1)
    model = Model(
        name="fake", runtime=RUNTIME, network=network({"yolo": rows}), input=InputSpec(), input_wh=(64, 64),
        family=FAMILIES["yolo"], options=DecodeOptions(),
        labels=LabelSet.from_names(["thing"]), nms=0.4, agnostic_nms=False, max_det=10,
    )  # fmt: skip
    return Detector(replace(model, **changes), tile)


def configuration(batch: int = 1, **run: Any) -> Configuration:
    return Configuration(ModelChoice(), DetectOptions(), RunOptions(**run), batch)


def planned(name: str = "fake", batch: int = 1, flop: int | None = 2_000_000_000, **run: Any) -> Planned:
    return Planned(configuration(batch, **run), name, (416, 320), "cpu", CPU, flop, "" if flop else "unknown")


def trial(load: float = 0.5, passes: int = 2, scale: float = 1.0, memory: float | None = 100.0) -> Trial:
    one = {"preprocess": 0.001, "forward": 0.01, "decode": 0.002, "suppress": 0.003, "end_to_end": 0.02}
    return Trial(load, 9.0, tuple({k: v * scale for k, v in one.items()} for _ in range(passes)), CPU, memory)


IMAGE = np.zeros((48, 96, 3), np.uint8)


def test_every_stage_is_watched_in_the_order_of_a_frame_and_the_result_is_the_same() -> None:
    seen: list[str] = []
    watched = detector().detect_batch([IMAGE, IMAGE], seen.append)
    assert seen == ["preprocess", "forward", "decode", "suppress", "place"]
    plain = detector().detect_batch([IMAGE, IMAGE])
    assert [len(d) for d in watched] == [1, 1]
    np.testing.assert_array_equal([d.xyxy for d in watched], [d.xyxy for d in plain])


def test_the_passes_of_tiles_are_watched_too() -> None:
    seen: list[str] = []
    detector("3x3").detect_batch([IMAGE], seen.append)
    assert seen.count("forward") == 2, "the whole image and nine tiles, in two groups"
    assert seen[-3:] == ["place", "join", "suppress"]


@pytest.mark.parametrize("tile", [None, "2x1"])
def test_a_pass_gives_every_stage_and_they_fit_into_the_whole(tile: str | None) -> None:
    seconds = timed_pass(detector(tile), [IMAGE])
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())
    assert sum(value for stage, value in seconds.items() if stage != "end_to_end") <= seconds["end_to_end"]


def test_the_warm_up_is_in_none_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Counting(CpuNetwork):
        def forward(self, blob: np.ndarray) -> dict[str, np.ndarray]:
            calls.append(len(blob))
            return super().forward(blob)

    monkeypatch.setattr(Detector, "load", lambda *_: detector(network=Counting))
    taken = run_trial(configuration(batch=3), None, passes=4)
    assert calls == [3] * 5 and len(taken.passes) == 4
    assert taken.ran == CPU


def test_the_synthetic_image_is_always_the_same() -> None:
    first = bench_image(None)
    assert first.shape == (720, 1280, 3) and first.dtype == np.uint8
    assert first.std() > 30, "it is not plain"
    np.testing.assert_array_equal(first, bench_image(None))


def test_median_and_95th_percentile_are_milliseconds() -> None:
    timing = Timing.of([i / 1000 for i in range(1, 102)])
    assert (timing.median_ms, timing.p95_ms) == (pytest.approx(51.0), pytest.approx(96.0))
    assert Timing.of([0.25]).as_json() == {"median_ms": 250.0, "p95_ms": 250.0}


def test_figures_follow_from_the_times() -> None:
    result = make_result(planned(batch=4), [trial(0.5), trial(1.5, scale=3, memory=300.0)], [300.0, 400.0], threads=2)
    assert result.stages["load"] == Timing(pytest.approx(1000.0), pytest.approx(1450.0))
    assert result.stages["forward"].median_ms == pytest.approx(20.0)  # of 10, 10, 30, 30
    assert result.fps == pytest.approx(4 / 0.040)
    assert result.gflops == pytest.approx(2 / 0.020)
    assert result.peak_share == pytest.approx(100 / 400), "the peak is the most that was reached"
    assert result.peak_memory_mb == 300.0
    assert (result.rounds, result.passes) == (2, 4)
    assert result.warm_up.median_ms == pytest.approx(9000.0)
    assert all(timing.p95_ms < 9000 for timing in result.stages.values())


def test_json_has_the_promised_keys_first_and_null_for_what_is_not_known() -> None:
    results = [
        make_result(planned(), [trial()], [100.0], 2),
        make_result(planned(flop=None), [trial(memory=None)], (), 2),
    ]
    known, unknown = json.loads(BenchReport(tuple(results)).to_json())
    assert list(known)[: len(PROMISED)] == PROMISED
    assert (known["size"], known["backend"], known["precision"]) == ("416x320", "cpu", "fp32")
    assert known["forward"] == {"median_ms": 10.0, "p95_ms": 10.0}
    assert known["gflops"] == 200.0 and known["peak_share"] == 2.0
    assert [unknown[key] for key in ("gflops", "peak_memory_mb", "machine_gflops", "peak_share")] == [None] * 4


def test_markdown_has_a_line_a_configuration_and_escapes_bars() -> None:
    result = make_result(planned("a|b", flop=None), [trial(memory=None)], (), 2)
    lines = BenchReport((result, result)).to_markdown().splitlines()
    assert len(lines) == 4
    assert all(line.replace("\\|", "").count("|") == len(HEADERS) + 1 for line in lines)
    assert "a\\|b" in lines[2] and "| 10.0 / 10.0 |" in lines[2]
    assert result.cells()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize("wrong", [{"batches": (0,)}, {"batches": ()}, {"rounds": 0}, {"passes": 0}])
def test_a_number_below_1_is_a_usage_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        BenchJob(**wrong)


def test_every_combination_is_a_configuration() -> None:
    runs = (RunOptions(backend="cpu"), RunOptions(backend="auto"))
    sizes = (ModelChoice(size=(320, 320)), ModelChoice(size=(416, 416)), ModelChoice(size=(608, 608)))
    every = BenchJob(models=sizes, runs=runs, batches=(1, 4)).configurations
    assert len(every) == 12 == len({(c.model, c.run, c.batch) for c in every})


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Benchmarks a, b and c without running anything; the names of trials in the order in which they ran."""
    order: list[str] = []

    def fake_run(function: Callable[..., object], *args: Any, env: object = None) -> object:
        order.append("product" if function is product_gflops else args[0].model.name)
        return 100.0 if function is product_gflops else trial()

    def fake_plan(one: Configuration, *_: object) -> Planned:
        return replace(planned(str(one.model.name)), configuration=one)

    monkeypatch.setattr(job, "check_early", lambda _: None)
    monkeypatch.setattr(job, "plan", fake_plan)
    monkeypatch.setattr(job, "run_in_subprocess", fake_run)
    return order


THREE = tuple(ModelChoice(name=name) for name in "abc")


def test_configurations_take_turns_in_an_order_that_is_reversed_every_round(taken: list[str]) -> None:
    results = bench(BenchJob(models=THREE, rounds=3)).results
    assert taken == ["product", *"abc", "product", *"cba", "product", *"abc"]
    assert [one.planned.model for one in results] == ["a", "b", "c"]
    assert {one.rounds for one in results} == {3}


def test_a_stop_ends_the_trials_and_leaves_out_what_has_none(taken: list[str]) -> None:
    controls = Controls()

    class StopAfterTwo(NullProgress):
        def advance(self, _amount: int = 1) -> None:
            if len(taken) == 3:  # a product and two trials
                controls.stop()

    report = bench(BenchJob(models=THREE, rounds=3), StopAfterTwo(), controls)
    assert taken == ["product", *"ab"]
    assert [one.planned.model for one in report.results] == ["a", "b"]


def test_json_is_written_whole_and_is_checked_before_anything_is_timed(taken: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        bench(BenchJob(models=THREE, json=tmp_path))
    assert taken == []
    bench(BenchJob(models=THREE, json=tmp_path / "figures.json", rounds=1))
    assert [one["model"] for one in json.loads((tmp_path / "figures.json").read_text())] == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_trial_that_ran_elsewhere_is_refused(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(trial(), ran=replace(CPU, backend="cuda", target="cuda"))
    monkeypatch.setattr(
        job, "run_in_subprocess", lambda function, *_, **__: 1.0 if function is product_gflops else elsewhere
    )
    with pytest.raises(BackendError, match=r"asked for opencv, backend opencv.*, but it ran on opencv, backend cuda"):
        bench(BenchJob(models=THREE))


def test_the_device_asked_for_is_checked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Device(0, "Quadro M4000", (5, 2), 1)
    monkeypatch.setattr(cuda, "driver", lambda: Driver((13, 0), (old, Device(1, "NVIDIA H200", (9, 0), 1))))
    monkeypatch.setattr(cuda, "build", lambda: Build("13.0", "9.13", ((9, 0),)))
    real = cv2.dnn.getAvailableTargets
    offered = [cv2.dnn.DNN_TARGET_CUDA]
    monkeypatch.setattr(cv2.dnn, "getAvailableTargets", lambda b: offered if b == cv2.dnn.DNN_BACKEND_CUDA else real(b))
    monkeypatch.setattr(Detector, "load", lambda _, __, run, *___: detector(runtime=choose(run)))
    asked = configuration(backend="cuda", device_id=1)
    check_early([asked])
    assert plan(asked, IMAGE, NullProgress()).ran.device == "NVIDIA H200 (CUDA device 1)"
    with pytest.raises(BackendError, match="cannot run on Quadro M4000"):
        check_early([configuration(backend="cuda", device_id=0)])


def test_a_batch_for_a_network_that_takes_one_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "load", lambda *_: detector(one_by_one=True))
    with pytest.raises(UsageError, match="batch 2: fake takes one image at a time"):
        plan(configuration(batch=2), IMAGE, NullProgress())


def test_all_names_and_backends_are_checked_before_any_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "load", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(UsageError, match="yolov3-tny"):
        bench(BenchJob(models=(ModelChoice(name="yolov3-tiny"), ModelChoice(name="yolov3-tny"))))
    with pytest.raises(UsageError, match="cpuu"):
        check_early([configuration(), configuration(backend="cpuu")])


def test_a_line_is_reported_once() -> None:
    class Told(NullProgress):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def note(self, message: str) -> None:
            self.lines.append(message)

    told = Told()
    once = DeduplicatingProgress(told)
    for message in ("a", "b", "a"):
        once.note(message)
    assert told.lines == ["a", "b"]


def test_a_fresh_process_returns_a_result_or_an_error() -> None:
    assert run_in_subprocess(parse_size, "608x416") == (608, 416)
    with pytest.raises(UsageError, match="--size abc"):
        run_in_subprocess(parse_size, "abc")


def test_a_fresh_process_has_the_environment_it_is_given_and_its_prints_do_no_harm() -> None:
    assert run_in_subprocess(os.getenv, "CVDETECT_TEST", env={"CVDETECT_TEST": "7"}) == "7"
    assert run_in_subprocess(print, "a library says hello") is None


@pytest.mark.parametrize(
    ("function", "argument", "words"),
    [
        (os._exit, 5, "failed: it printed nothing"),
        (int, "seven", "invalid literal for int"),
        pytest.param(
            signal.raise_signal, signal.SIGTERM, "killed by signal 15",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no signals"),
        ),
    ],
)  # fmt: skip
def test_a_process_that_dies_is_reported_in_one_sentence(
    function: Callable[..., object], argument: object, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        run_in_subprocess(function, argument)


def test_a_fresh_process_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong pickle')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine.sys, "path", [p for p in sys.path if p])
    assert run_in_subprocess(parse_size, "32") == (32, 32)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_peak_memory_grows_and_is_the_processs_own() -> None:
    before = peak_memory_mb()
    ballast = np.ones(60_000_000, np.uint8)
    after = peak_memory_mb()
    assert before is not None and after is not None
    assert after >= before and after >= ballast.nbytes / 1e6
    inside = run_in_subprocess(peak_memory_mb)
    assert inside is not None and 5 < inside < after, "a child does not inherit its parent's peak"


def test_a_matrix_product_reaches_something_on_every_thread() -> None:
    assert run_in_subprocess(product_gflops, 2, env=ONE_BLAS_THREAD) > 0.1
