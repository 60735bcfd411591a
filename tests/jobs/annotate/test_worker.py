"""What goes to workers, and what they make of it."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cvdetect.core.errors import SinkError, SourceError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.ray.worker import Assignment, ChunkContext, Worker, absolute, mark_outputs, taken_copy_names
from cvdetect.jobs.annotate.resume import result_options
from cvdetect.storage import LocalFolder, open_folder
from tests.jobs.annotate.conftest import make_images
from tests.jobs.annotate.tiny_model import tiny_model


def order_of(tmp_path: Path, **changes: object) -> Assignment:
    photos = make_images(tmp_path / "photos", ["a.png", "b.png", "c.png"])
    values = {"images": str(photos), "out": tmp_path / "out", "model": tiny_model(tmp_path / "model"), **changes}
    return Assignment(AnnotateJob(**values), LocalFolder(photos))  # type: ignore[arg-type]


def test_names_of_copies_that_belong_to_other_inputs_are_sent_along() -> None:
    inputs = {"a.gif", "a.gif.png", "a.gif.png.png", "b.jpg", "b.jpg.png", "c.gif"}
    assert taken_copy_names(sorted(inputs), inputs.__contains__) == {"a.gif.png", "a.gif.png.png"}
    assert taken_copy_names(["b.jpg"], inputs.__contains__) == frozenset()


def test_a_job_made_absolute_means_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_model(Path("model"))
    job = AnnotateJob(images="photos", out=Path("out"), draw=Path("drawn"), model=tiny_model(Path("model")))
    reported = result_options(job)
    made = absolute(job)
    monkeypatch.chdir("/")
    assert result_options(made) == reported
    assert made.model.weights == tmp_path / "model" / "tiny.weights" and made.crops is None
    assert absolute(AnnotateJob(images="-", out=Path("out"))).images == "-"


def test_addresses_are_absolute_already(monkeypatch: pytest.MonkeyPatch) -> None:
    job = AnnotateJob(images="s3://b/photos", out="s3://b/out", draw="s3://b/drawn", crops="gs://c", root="s3://b")
    assert absolute(job) == job


def test_a_worker_reads_and_writes_in_a_store(tmp_path: Path) -> None:
    here = order_of(tmp_path)
    photos, drawn = open_folder("memory://worker/photos"), open_folder("memory://worker/drawn")
    for name in ("a.png", "b.png"):
        photos.write(name, (tmp_path / "photos" / name).read_bytes())
    job = replace(here.job, draw="memory://worker/drawn")
    mark_outputs(job)
    worker = Worker(pickle.loads(pickle.dumps(Assignment(job, photos, "a.png"))))
    outcomes, _ = worker.do(["a.png", "gone.png", "b.png"], ChunkContext())
    assert [(o.name, [row.key for row in o.files]) for o in outcomes if o.found is not None] == [
        (n, [f"draw/{n}"]) for n in ("a.png", "b.png")
    ]
    assert [(o.name, o.reason) for o in outcomes if o.found is None] == [("gone.png", "no such file or folder")]
    assert drawn.kind("b.png") == "file"
    with pytest.raises(SourceError, match=r"sees another memory://worker/photos, without z\.png"):
        Worker(Assignment(job, photos, "z.png"))


def test_a_worker_gives_an_outcome_for_every_name(tmp_path: Path) -> None:
    worker = Worker(order_of(tmp_path))
    outcomes, seconds = worker.do(["a.png", "gone.png", "b.png"], ChunkContext())
    assert {outcome.name: outcome.reason for outcome in outcomes} == {
        "a.png": None, "b.png": None, "gone.png": "no such file",
    }  # fmt: skip
    assert seconds > 0
    assert {name.split()[0] for name in worker.loaded.digests} == {"cfg", "weights", "names"}


def test_what_loading_the_model_reports_is_kept_for_the_driver(tmp_path: Path) -> None:
    model = replace(tiny_model(tmp_path / "model"), weights=None, names=None)
    order = order_of(tmp_path, model=model)
    (tmp_path / "model" / "tiny.names").unlink()  # else they are taken
    reported = Worker(order).loaded.messages
    assert ("note", f"taking {tmp_path}/model/tiny.weights (weights was not given)") in reported
    assert any(kind == "warn" and "class_0" in message for kind, message in reported)


def test_a_worker_stops_at_the_first_failure_where_that_is_wished(tmp_path: Path) -> None:
    worker = Worker(order_of(tmp_path, fail_fast=True))
    outcomes, _ = worker.do(["a.png", "gone.png", "b.png"], ChunkContext())
    assert {outcome.name for outcome in outcomes} == {"a.png", "gone.png"}


def test_a_worker_writes_copies_only_into_the_folder_that_the_driver_sees(tmp_path: Path) -> None:
    order = order_of(tmp_path, draw=tmp_path / "drawn")
    with pytest.raises(SinkError, match="does not see the folder of draw"):
        Worker(order).do(["a.png"], ChunkContext())
    assert not (tmp_path / "drawn").exists()
    mark_outputs(order.job)
    outcomes, _ = Worker(order).do(["a.png"], ChunkContext())
    (row,) = outcomes[0].files
    data = (tmp_path / "drawn" / "a.png").read_bytes()
    assert (row.key, row.digest, row.size) == ("draw/a.png", hashlib.sha256(data).hexdigest(), len(data))
    assert row.stamp == (tmp_path / "drawn" / "a.png").stat().st_mtime_ns
    assert np.array_equal(cv2.imread(str(tmp_path / "drawn" / "a.png")).shape, (20, 30, 3))


def test_a_worker_that_sees_no_or_another_folder_of_images_reports_it(tmp_path: Path) -> None:
    job = order_of(tmp_path).job
    with pytest.raises(SourceError, match=r"does not see the folder of images .*nowhere: with engine='ray'"):
        Worker(Assignment(job, LocalFolder(tmp_path / "nowhere")))
    with pytest.raises(SourceError, match=r"sees another .*photos, without z\.png"):
        Worker(Assignment(job, LocalFolder(tmp_path / "photos"), "z.png"))
    (tmp_path / "photos" / "z.png").touch()
    Worker(Assignment(job, LocalFolder(tmp_path / "photos"), "z.png"))
