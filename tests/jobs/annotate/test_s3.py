"""A real S3 protocol, spoken by s3fs with a server on this machine: kills, resume, errors."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cvdetect.core.errors import SinkError, SourceError, SourceNotFound
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import remote
from tests.conftest import ROOT
from tests.jobs.annotate.conftest import FakeDetector, Tree, make_images, tree
from tests.jobs.annotate.killed import job
from tests.storage.s3 import KEYS, s3_server

NAMES = [f"d{i % 4}/img{i}.{'jpg' if i % 3 else 'png'}" for i in range(60)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def store(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket, and an environment that leads to it."""
    for key, value in (KEYS | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    if not system.exists("bucket"):
        system.mkdir("bucket")
    yield system
    for path in system.find("bucket"):
        system.rm_file(path)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def put(system: Any, photos: Path, folder: str) -> None:
    for path in photos.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{folder}/{path.relative_to(photos).as_posix()}", path.read_bytes())


def stored(system: Any, folder: str) -> Tree:
    found = {path.removeprefix(f"{folder}/"): system.cat_file(path) for path in system.find(folder)}
    return {name: data for name, data in found.items() if ".cvdetect/" not in name}


def test_kills_and_a_resume_in_s3_give_the_tree_of_an_undisturbed_run_on_disk(
    fake: FakeDetector, store: Any, tmp_path: Path
) -> None:
    photos = make_images(tmp_path / "photos", NAMES)
    (photos / "broken.jpg").write_bytes(b"")
    annotate(job(photos, tmp_path / "undisturbed"))
    whole = tree(tmp_path / "undisturbed")
    put(store, photos, "bucket/photos")
    chance = random.Random(4)
    recorded = []
    for images in (12, 12, 1):
        when = [f"{chance.uniform(0, 0.2):.3f}", str(images)]
        words = [sys.executable, "-m", "tests.jobs.annotate.killed", "s3://bucket/photos", "s3://bucket/killed", *when]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, done
        recorded.append(_recorded(store))
    assert 10 <= recorded[0] < recorded[1], "in the midst of it, and each went on where the last one stopped"
    annotate(job("s3://bucket/photos", "s3://bucket/killed"))
    assert fake.seen < 2 * len(NAMES), "what is in the log is not done again"
    assert stored(store, "bucket/killed") == whole


def _recorded(store: Any) -> int:
    """How many images the log of the killed run has."""
    parts = store.find("bucket/killed/out/.cvdetect/parts")
    return sum(store.cat_file(part).count(b'"do":"record"') for part in parts)


@pytest.mark.usefixtures("fake")
def test_a_changed_object_is_redone_and_one_that_is_gone_is_dropped(store: Any, photos: Path, tmp_path: Path) -> None:
    put(store, photos, "bucket/photos")
    here: dict[str, Any] = {"images": "s3://bucket/photos", "out": "s3://bucket/out", "formats": ("voc", "jsonl")}
    assert annotate(AnnotateJob(**here)).detected == 5
    assert annotate(AnnotateJob(**here, resume=True)).detected == 0
    same = store.cat_file("bucket/photos/img1.png")
    store.pipe_file("bucket/photos/img1.png", same)  # a new time, but the same content
    assert annotate(AnnotateJob(**here, resume=True)).detected == 0
    store.pipe_file("bucket/photos/img1.png", (photos / "img2.png").read_bytes())
    (photos / "img1.png").write_bytes((photos / "img2.png").read_bytes())
    store.rm_file("bucket/photos/img10.png")
    (photos / "img10.png").unlink()
    report = annotate(AnnotateJob(**here, resume=True))
    assert (report.detected, report.done) == (1, 4)
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", formats=("voc", "jsonl")))
    assert stored(store, "bucket/out") == tree(tmp_path / "out")


@pytest.mark.usefixtures("fake")
def test_an_empty_object_of_the_folders_own_name_is_no_image(store: Any, photos: Path) -> None:
    put(store, photos, "bucket/photos")
    store.pipe_file("bucket/photos/sub/", b"")
    store.pipe_file("bucket/photos/", b"")
    report = annotate(AnnotateJob(images="s3://bucket/photos/", out="s3://bucket/out"))
    assert (report.exit_code, report.done) == (0, 5)
    assert report.outputs == ("s3://bucket/out/",)


@pytest.mark.usefixtures("fake")
def test_a_name_that_the_store_does_not_take_fails_its_image_alone(store: Any, photos: Path) -> None:
    make_images(photos, ["\udcff.png"])
    report = annotate(AnnotateJob(images=str(photos), out="s3://bucket/out", draw="s3://bucket/drawn"))
    assert (report.exit_code, report.done, report.failed) == (1, 5, 1)
    assert json.loads(store.cat_file("bucket/out/failures.jsonl")) == {
        "source": "\udcff.png", "error": "its annotated copy cannot be written: the name is not UTF-8",
    }  # fmt: skip


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("changes", "kind", "reported"),
    [
        ({"images": "s3://no-such-bucket/photos"}, SourceNotFound, "s3://no-such-bucket/photos: no such"),
        ({"images": "s3://bucket/nowhere"}, SourceNotFound, "s3://bucket/nowhere: no such folder, image or pattern"),
        ({"out": "s3://no-such-bucket/out"}, SinkError, "cannot be written: no such bucket"),
        ({"draw": "s3://no-such-bucket/out"}, SinkError, "cannot be written: no such bucket"),
    ],
)
def test_a_bucket_or_folder_that_is_not_there_is_reported_before_anything_is_done(
    store: Any, photos: Path, changes: dict[str, Any], kind: type[Exception], reported: str
) -> None:
    put(store, photos, "bucket/photos")
    before = store.find("bucket")
    with pytest.raises(kind, match=reported):
        annotate(AnnotateJob(**{"images": "s3://bucket/photos", "out": "s3://bucket/out", **changes}))
    assert store.find("bucket") == before


@pytest.mark.parametrize(("where", "kind"), [("images", SourceError), ("out", SinkError)])
def test_a_store_that_cannot_be_reached_is_reported_within_seconds(
    fake: FakeDetector, photos: Path, monkeypatch: pytest.MonkeyPatch, where: str, kind: type[Exception]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    begin = time.monotonic()
    places = {"images": str(photos), "out": "s3://bucket/out", **({where: "s3://bucket/x"})}
    with pytest.raises(kind, match=r"s3://bucket/\S+: cannot be .*: the store cannot be reached \(.*127.0.0.1:9"):
        annotate(AnnotateJob(**places))
    assert time.monotonic() - begin < 20


def test_a_store_that_never_answers_is_reported_too(
    fake: FakeDetector, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_SEND_S", 1.0)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        with pytest.raises(SinkError, match=r"the store cannot be reached \(no answer in time\)"):
            annotate(AnnotateJob(images=str(photos), out="s3://bucket/out"))
    assert time.monotonic() - begin < 20


def test_absent_credentials_are_reported(fake: FakeDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(SourceError, match=r"s3://bucket/photos: cannot be read: no credentials were found .*cloud.md"):
        annotate(AnnotateJob(images="s3://bucket/photos", out="s3://bucket/out"))


def test_the_command_ends_with_a_sentence_and_its_exit_code(store: Any, xl: list[str], samples: Path) -> None:
    store.pipe_file("bucket/photos/dog.jpg", (samples / "dog.jpg").read_bytes())
    words = [sys.executable, "-m", "cvdetect", "annotate", "s3://bucket/photos", *xl, "--out"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*words, "s3://bucket/out"], capture_output=True, text=True, env=env, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done
    assert done.stderr.splitlines()[-2:] == ["1 image annotated", "→ s3://bucket/out/"]
    assert json.loads(store.cat_file("bucket/out/instances.json"))["images"][0]["file_name"] == "dog.jpg"
    done = subprocess.run([*words, "s3://no-such-bucket/out"], capture_output=True, text=True, env=env, check=False,
                          timeout=60)  # fmt: skip
    assert done.returncode == 4 and len(done.stderr.splitlines()) == 1
