"""A user's files in an object store: as on a disk, they are never replaced or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cvdetect.core.errors import SinkError, UsageError
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
from cvdetect.jobs.annotate.manifest import LoggedManifest
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage.remote import RemoteFolder
from tests.jobs.annotate.conftest import Annotate, FakeDetector
from tests.storage.s3 import KEYS, s3_server

MINE = b"a person's own work"
EVERYTHING = {"formats": ("voc", "coco"), "review": True}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["memory", "s3"])
def base(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty folder."""
    if request.param == "memory":
        yield "memory://own"
        fsspec.filesystem("memory").store.clear()
        return
    more = {"AWS_ENDPOINT_URL": request.getfixturevalue("server"), "NO_PROXY": "127.0.0.1"}
    for key, value in (KEYS | more).items():
        monkeypatch.setenv(key, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.mkdir("own")
    yield "s3://own"
    system.rm("own", recursive=True)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


class Files:
    """What lies in the store."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._system = fsspec.filesystem(base.partition(":")[0], use_listings_cache=False)

    def put(self, name: str) -> None:
        self._system.pipe_file(f"{self._base}/{name}", MINE)

    def read(self, name: str) -> bytes:
        return bytes(self._system.cat_file(f"{self._base}/{name}"))

    def remove(self, name: str) -> None:
        self._system.rm_file(f"{self._base}/{name}")

    def all(self) -> dict[str, bytes]:
        self._system.invalidate_cache()
        found = [str(path) for path in self._system.find(self._base)]
        return {p.partition("own/")[2]: bytes(self._system.cat_file(p)) for p in found if "/.cvdetect/" not in p}


@pytest.fixture
def files(base: str) -> Files:
    return Files(base)


@pytest.fixture
def run(fake: FakeDetector, photos: Path, base: str) -> Annotate:
    def call(**changes: Any) -> AnnotateReport:
        return annotate(AnnotateJob(**{"images": str(photos), "out": f"{base}/out", **changes}))

    return call


def pictures(base: str) -> dict[str, str]:
    return {"draw": f"{base}/drawn", "crops": f"{base}/crops"}


PLACES = ["out/coco/results.json", "out/voc/sub/img3.xml", "out/review/thumbs/img1.png.jpg", "drawn/img2.png",
          "crops/dog/img1.png_1.jpg"]  # fmt: skip


# S3 speaks for the rest where every place has been tried once
@pytest.mark.parametrize(
    ("base", "name"), [*(("memory", name) for name in PLACES), ("s3", PLACES[1]), ("s3", PLACES[3])], indirect=["base"]
)
def test_a_users_file_ends_the_run_before_any_work_and_overwrite_replaces_it(
    run: Annotate, files: Files, base: str, fake: FakeDetector, name: str
) -> None:
    files.put(name)
    files.put("out/mine.txt")
    for resume in (False, True):
        with pytest.raises(UsageError, match=f"{base}/{name} is not this run's own"):
            run(**EVERYTHING, **pictures(base), resume=resume)
    assert files.all() == {name: MINE, "out/mine.txt": MINE} and not fake.seen
    report = run(**EVERYTHING, **pictures(base), overwrite=True)
    assert report.replaced == (files.read(name) != MINE) == (not name.startswith("crops"))
    assert files.read("out/mine.txt") == MINE
    assert run(resume=True).kept == 0


@pytest.mark.parametrize(
    ("base", "name"), [*(("memory", name) for name in PLACES[1:4]), ("s3", PLACES[1])], indirect=["base"]
)
def test_an_images_corrected_file_is_kept_and_reported_and_a_deleted_one_written_again(
    run: Annotate, files: Files, base: str, photos: Path, name: str
) -> None:
    run(**EVERYTHING, **pictures(base))
    before = files.all()
    files.put(name)
    for other in ("out/voc/img10.xml", "drawn/img10.png", "out/review/index.html"):
        files.remove(other)
    assert run(resume=True).kept == 1
    assert files.all() == {**before, name: MINE}
    for image in ("img1.png", "img2.png", "sub/img3.jpg"):
        (photos / image).unlink()
    assert run(resume=True).kept == 1 and files.read(name) == MINE


def test_an_edited_file_for_all_images_ends_the_resume(run: Annotate, files: Files) -> None:
    run()
    files.put("out/instances.json")
    before = files.all()
    with pytest.raises(UsageError, match=r"instances\.json was edited"):
        run(resume=True)
    assert files.all() == before


def test_a_file_that_appears_during_the_run_is_kept(
    run: Annotate, files: Files, base: str, fake: FakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = fake.detect_batch

    def appearing(images: Any) -> Any:
        for name in ("drawn/img1.png", "out/img2.xml"):
            files.put(name)
        return detect(images)

    monkeypatch.setattr(fake, "detect_batch", appearing)
    report = run(formats=("voc",), draw=f"{base}/drawn")
    assert (report.exit_code, report.failed, report.occupied) == (1, 1, 1)
    assert files.read("drawn/img1.png") == files.read("out/img2.xml") == MINE


def test_images_that_a_killed_run_has_left_are_known_by_their_content(
    run: Annotate, files: Files, base: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(draw=f"{base}/o2")
    with monkeypatch.context() as patched:  # a kill before the log's next part
        patched.setattr(LoggedManifest, "record_all", lambda *_: _raise(SinkError("killed")))
        with pytest.raises(SinkError, match="killed"):
            run(out=f"{base}/again", draw=f"{base}/drawn")
    left = [name for name in files.all() if name.startswith("drawn/")]
    assert left
    (photos / "img1.png").write_bytes((photos / "img2.png").read_bytes())
    report = run(out=f"{base}/again", draw=f"{base}/drawn", resume=True)
    assert (report.failed, report.done) == ((1, 4) if "drawn/img1.png" in left else (0, 5))
    assert files.read("drawn/img2.png") == files.read("o2/img2.png")


def _raise(error: Exception) -> None:
    raise error


def test_s3_is_asked_for_listings_alone_where_nothing_changed(
    run: Annotate, base: str, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    run(formats=("voc", "yolo"), **pictures(base))
    fetched: list[str] = []
    digest = RemoteFolder.digest

    def counted(folder: RemoteFolder, name: str) -> str:
        fetched.append(name)
        return digest(folder, name)

    monkeypatch.setattr(RemoteFolder, "digest", counted)
    for attempt in range(2):
        before = files.all()
        assert run(resume=True).detected == 0
        read_once = base.startswith("memory") and attempt == 0  # which states no digests, but times
        assert bool(fetched) == read_once and files.all() == before
        fetched.clear()


def test_an_overwrite_of_an_earlier_versions_parts(
    run: Annotate, files: Files, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("cvdetect.jobs.annotate.manifest._VERSION", 1)
        run(formats=("voc",))
    with pytest.raises(SinkError, match=r"another version.*another out.*overwrite"):
        run(resume=True)
    labels_and_lists = 5 + 2  # an .xml an image, labelmap.txt and ImageSets
    assert run(formats=("voc",), overwrite=True).replaced == labels_and_lists
