"""A real Ray cluster of two nodes on this machine, a real (tiny) network: the same files as one machine writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest

from cvdetect.annotations.formats import FORMATS
from cvdetect.core.errors import BackendError, SinkError, SourceError, UsageError
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.jobs.annotate import run as run_module
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.ray import engine as engine_module
from cvdetect.jobs.annotate.ray import pool as ray_pool
from cvdetect.jobs.annotate.ray.connection import check_cluster
from cvdetect.jobs.annotate.ray.engine import ray_engine
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import LocalFolder
from tests.conftest import ROOT, Told
from tests.jobs.annotate.conftest import Tree, tree
from tests.jobs.annotate.tiny_model import tiny_model
from tests.storage.s3 import KEYS, s3_server

pytest.importorskip("ray", reason="the package ray is not installed (pip install 'cvdetect[ray]')")

NAMES = [f"d{i % 3}/img{i}.{'png' if i % 7 == 0 else 'jpg'}" for i in range(70)]


class Nodes:
    """A head that only manages, and nodes of one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80_000_000, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        self.alive: list[Any] = []

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def ensure(self, count: int) -> None:
        """So many nodes are alive."""
        while len(self.alive) < count:
            self.alive.append(self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000))

    def kill_one(self) -> None:
        """kill -9 to all processes of a node at once."""
        self.cluster.remove_node(self.alive.pop(), allow_graceful=False)

    def kill_a_worker(self) -> None:
        """kill -9 to a process that is detecting."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.alive}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                detecting = parent in raylets and b"Actor" in (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if detecting:
                os.kill(int(folder.name), signal.SIGKILL)
                return
        raise AssertionError("no worker is there to kill")


# On the nodes, a process that opens a file of this name dies, as one would over an image that a decoder crashes on.
DEADLY = "deadly.jpg"
HOOK = f"""
import os, sys
sys.addaudithook(lambda what, given: what == "open" and str(given[0]).endswith("{DEADLY}") and os.kill(os.getpid(), 9))
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(HOOK)
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
    with pytest.MonkeyPatch.context() as patch, s3_server() as url:
        for key, value in {**quiet, **KEYS, "AWS_ENDPOINT_URL": url, "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(key, value)
        # The nodes find cvdetect where the tests do.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(hooks), str(ROOT)]), prepend=os.pathsep)
        made = Nodes()
        try:
            yield made
        finally:
            made.cluster.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and large images of noise, so that each takes its time."""
    folder = tmp_path_factory.mktemp("ray")
    chance = np.random.default_rng(3)
    for name in NAMES:
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = chance.integers(0, 255, (9, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(rough, (1200, 900), interpolation=cv2.INTER_CUBIC))
    Path(folder / "photos" / "empty.jpg").touch()
    Path(folder / "photos" / "anim.gif").write_bytes(_gif(folder))
    Path(os.fsdecode(os.fsencode(folder / "photos") + b"/\xff \n'.jpg")).write_bytes(
        (folder / "photos" / NAMES[1]).read_bytes()
    )
    tiny_model(folder / "model")
    return folder


def _gif(folder: Path) -> bytes:
    """A image whose copy is a PNG, which another image's copy would be too."""
    cv2.imwrite(str(folder / "photos" / "anim.gif.png"), np.full((40, 50, 3), 90, np.uint8))
    head = b"GIF89a\x02\x00\x02\x00\x80\x00\x00\xff\x00\x00\x00\xff\x00"
    return head + b",\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03D\x02\x05\x00;"


def job_of(folder: Path, out: Path, **changes: Any) -> AnnotateJob:
    plain = AnnotateJob(
        images=str(folder / "photos"), out=out / "out", formats=tuple(FORMATS), review=True, draw=out / "drawn",
        crops=out / "crops", blur=("cat",), model=tiny_model(folder / "model"), detect=DetectOptions(conf=0.6),
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Tree:
    """What one machine writes."""
    report = annotate(job_of(folder, folder / "local"))
    assert (report.done, report.failed) == (len(NAMES) + 3, 1)
    return tree(folder / "local")


@pytest.fixture
def job(folder: Path, tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> AnnotateJob:
    """All that can be written, by the cluster of two nodes, which is known to be there."""
    nodes.ensure(2)
    monkeypatch.setattr(run_module, "check_cluster", lambda _: None)
    return job_of(folder, tmp_path, engine="ray", ray_address=nodes.address)


class Interfering(Told):
    """Does something when so many images are done."""

    def __init__(self, after: int, what: Callable[[], None]) -> None:
        super().__init__()
        self._left = after
        self._what = what
        self.details: list[str] = []

    def advance(self, amount: int = 1) -> None:
        before, self._left = self._left, self._left - amount
        if before > 0 >= self._left:
            self._what()

    def detail(self, message: str) -> None:
        self.details.append(message)


def test_two_nodes_write_the_files_of_one_machine(job: AnnotateJob, tmp_path: Path, whole: Tree) -> None:
    check_cluster(job.ray_address)
    reported = Interfering(-1, lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    report = annotate(job, reported)
    assert (report.exit_code, report.failed) == (1, 1)
    assert tree(tmp_path) == whole
    ready = [line.partition(":")[0] for line in reported.details if line.endswith("a worker is ready")]
    assert len(set(ready)) == 2, "a worker on each node"
    assert reported.errors == [f"{job.images}/empty.jpg: is empty"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_images_and_results_in_a_store(
    job: AnnotateJob, folder: Path, whole: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    system.mkdir("bucket")
    system.put(str(folder / "photos" / "d1"), "bucket/photos/", recursive=True)
    report = annotate(
        replace(job, images="s3://bucket/photos", out="s3://bucket/out", draw="s3://bucket/drawn", crops=None)
    )
    alike = [name for name in NAMES if name.startswith("d1/")]
    assert (report.exit_code, report.done) == (0, len(alike))
    for name in alike:
        assert system.cat_file(f"bucket/drawn/{name}") == whole[f"drawn/{name}"]
        label = Path(name).with_suffix(".xml").as_posix()
        assert system.cat_file(f"bucket/out/voc/{label}") == whole[f"out/voc/{label}"]


def test_relative_paths_and_resume_after_the_local_engine(
    job: AnnotateJob, folder: Path, tmp_path: Path, whole: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    files = {"cfg": Path("model/tiny.cfg"), "weights": Path("model/tiny.weights"), "names": Path("model/tiny.names")}
    out = Path(os.path.relpath(tmp_path, folder))
    here = replace(
        job, images="photos", out=out / "out", draw=out / "drawn", crops=out / "crops", model=ModelChoice(**files)
    )
    local = Interfering(20, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert annotate(replace(here, engine="local", ray_address=None), local).exit_code == 130
    assert annotate(replace(here, resume=True)).exit_code == 1
    written = tree(tmp_path)
    assert written and {**whole, **written} == whole


def test_what_a_user_has_corrected_is_kept_by_workers_and_what_was_theirs_refused(
    job: AnnotateJob, folder: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "few"
    shutil.copytree(folder / "photos" / "d0", photos)
    here = replace(job, images=str(photos), formats=("voc",), crops=None)
    mine = tmp_path / "drawn" / "img3.jpg"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match=r"drawn/img3\.jpg is not this run's own"):
        annotate(here)
    mine.unlink()
    annotate(here)
    for name in ("img3.jpg", "img6.jpg"):
        shutil.copy(photos / "img9.jpg", photos / name)
    mine.write_text("mine")
    report = annotate(replace(here, resume=True))
    assert (report.detected, report.kept, report.exit_code) == (2, 1, 0) and mine.read_text() == "mine"
    assert (tmp_path / "drawn" / "img6.jpg").read_bytes() == (tmp_path / "drawn" / "img9.jpg").read_bytes()
    assert annotate(replace(here, overwrite=True)).replaced == 1 and mine.read_text("latin-1") != "mine"


def test_a_node_killed_midway_costs_nothing_but_time(
    job: AnnotateJob, nodes: Nodes, tmp_path: Path, whole: Tree
) -> None:
    reported = Interfering(5, nodes.kill_one)  # later, all that is left might be handed out already, and done
    report = annotate(job, reported)
    assert (report.done, report.failed) == (len(NAMES) + 3, 1)
    assert tree(tmp_path) == whole
    died = [line for line in reported.warnings if "a worker died" in line]
    assert len(died) == 1 and died[0].startswith("node ") and "go to others (workers left: 1)" in died[0]


def test_a_worker_killed_midway_is_started_again(job: AnnotateJob, nodes: Nodes, tmp_path: Path, whole: Tree) -> None:
    reported = Interfering(10, nodes.kill_a_worker)
    annotate(job, reported)
    assert tree(tmp_path) == whole
    assert len([line for line in reported.warnings if "a worker died: its process or node ended" in line]) == 1


def test_an_image_that_kills_every_worker_fails_alone(
    job: AnnotateJob, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "_CHECK_S", 0.1)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(8):
        shutil.copy(folder / "photos" / NAMES[i], photos / f"{i}{Path(NAMES[i]).suffix}")
    shutil.copy(folder / "photos" / NAMES[1], photos / DEADLY)
    reported = Interfering(-1, lambda: None)
    report = annotate(replace(job, images=str(photos), formats=("jsonl",), draw=None, crops=None), reported)
    assert (report.done, report.failed) == (8, 1)
    failure = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert failure == {"source": DEADLY, "error": "3 workers died while working on it"}
    assert len([line for line in reported.warnings if "a worker died" in line]) in (3, 4, 5)


def test_a_node_that_joins_later_gets_a_worker(
    job: AnnotateJob, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    while len(nodes.alive) > 1:
        nodes.kill_one()
    monkeypatch.setattr(ray_pool, "_CHECK_S", 0.1)
    reported = Interfering(-1, lambda: None)
    with Manifest(tmp_path / "m.sqlite") as manifest:
        manifest.list_anew(ListedImage(f"{i}.jpg", 1, 1) for i in range(99))
        with ray_engine(job, LocalFolder(Path(job.images)), manifest, reported) as engine:
            nodes.ensure(2)
            deadline = time.monotonic() + 30
            while len({line for line in reported.details if "is ready" in line}) < 2:
                engine.pool.events(0.5)
                assert time.monotonic() < deadline


def test_after_ctrl_c_the_files_hold_what_was_done_and_resume_does_the_rest(
    job: AnnotateJob, tmp_path: Path, whole: Tree
) -> None:
    report = annotate(job, Interfering(10, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert report.exit_code == 143 and 10 <= report.done < len(NAMES) and report.waiting
    lines = (tmp_path / "out" / "jsonl" / "detections.jsonl").read_text().splitlines()
    assert len(lines) == report.done
    assert annotate(replace(job, resume=True)).detected == len(NAMES) + 3 - report.done
    assert tree(tmp_path) == whole


def test_fail_fast_stops_at_a_failure(job: AnnotateJob, folder: Path) -> None:
    first = folder / "photos" / " first.jpg"
    first.write_bytes(b"")
    try:
        report = annotate(replace(job, fail_fast=True, formats=("jsonl",)))
    finally:
        first.unlink()
    assert report.exit_code == 1 and report.failed in (1, 2) and report.waiting > 30


def test_a_node_with_another_cvdetect_is_named(job: AnnotateJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "__version__", "9.9")
    with pytest.raises(ImportError, match=r"node .+ \(.{8}\): has cvdetect .+, this machine 9\.9: install the same"):
        annotate(job)
    assert not job.out.exists()


def test_a_node_that_does_not_see_the_images_is_named_and_no_image_fails(
    job: AnnotateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_sample", lambda *_: "not-there.jpg")
    with pytest.raises(
        SourceError, match=r"node .+: sees another .+, without not-there\.jpg: with engine='ray' it has"
    ):
        annotate(job)
    assert not job.out.exists()


def test_a_node_that_does_not_see_the_folder_of_copies_is_named(
    job: AnnotateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "mark_outputs", lambda _: None)
    with pytest.raises(SinkError, match=r"node .+: does not see the folder of draw"):
        annotate(job)


def test_where_no_worker_has_room_that_is_reported_after_a_while(
    job: AnnotateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_PATIENCE_S", 1.5)
    with pytest.raises(BackendError, match=r"no worker for 1\.5 s: \d nodes alive, with room for 0 workers of 64 CPU"):
        annotate(replace(job, run=RunOptions(threads=64)))


def test_cuda_without_a_gpu_in_the_cluster_is_reported(job: AnnotateJob) -> None:
    with pytest.raises(BackendError, match="no node of the Ray cluster reports a GPU"):
        annotate(replace(job, run=RunOptions(backend="cuda")))


def test_a_gpu_that_opencv_cannot_use_is_reported_and_cpus_work(
    job: AnnotateJob, nodes: Nodes, tmp_path: Path, whole: Tree
) -> None:
    from cvdetect.runtime.opencv import OpenCV

    if OpenCV.offered()["cuda"]:
        pytest.skip("this OpenCV can use CUDA")
    node = nodes.cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80_000_000)
    reported = Interfering(-1, lambda: None)
    try:
        annotate(job, reported)
        with pytest.raises(BackendError, match=r"node .+: backend='cuda' precision='fp32' cannot run here"):
            annotate(replace(job, out=tmp_path / "2", draw=None, crops=None, run=RunOptions(backend="cuda")))
    finally:
        nodes.cluster.remove_node(node)
    assert tree(tmp_path) == whole
    assert any(line.startswith("workers run on CPUs: backend='cuda'") for line in reported.details)


def test_when_all_nodes_are_gone_the_run_ends_and_resume_continues(
    job: AnnotateJob, nodes: Nodes, tmp_path: Path, whole: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ray_pool.RayPool] = []

    class Seen(ray_pool.RayPool):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            made.append(self)

    def kill_all() -> None:
        made[0]._patience = 2.0
        while nodes.alive:
            nodes.kill_one()

    monkeypatch.setattr(engine_module, "RayPool", Seen)
    begin = time.monotonic()
    with pytest.raises(BackendError, match="continue with resume"):
        annotate(job, Interfering(10, kill_all))
    assert time.monotonic() - begin < 30
    nodes.ensure(1)
    report = annotate(replace(job, resume=True))
    assert 0 < report.detected < len(NAMES)
    assert tree(tmp_path) == whole


def command(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cvdetect", "annotate", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=100, cwd=ROOT, env={**os.environ, **env},
    )  # fmt: skip


def test_without_an_address_ray_is_started_and_stopped_and_states_nothing(folder: Path, tmp_path: Path) -> None:
    model = [f"--{role}={folder / 'model' / f'tiny.{role}'}" for role in ("cfg", "weights", "names")]
    done = command(folder / "photos" / "d0", "--out", tmp_path, "--engine", "ray", *model, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    reported = done.stderr.splitlines()
    assert [line.partition(" ")[0] for line in reported] == ["looking", "writing", "24", "→"]
    assert len(json.loads((tmp_path / "instances.json").read_text())["images"]) == 24


def test_a_cluster_that_is_not_there_is_reported_at_once(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = command(folder / "photos", "--out", tmp_path / "out", "--engine", "ray", "--ray-address", address)
    assert done.returncode == 3
    assert done.stderr == f"error: --ray-address {address}: the Ray cluster cannot be reached: Connection refused\n"
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "out").exists()
