"""What the manifest promises: nothing lost, nothing twice, natural order, one run at a time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.manifest.database import DamagedManifest
from cvdetect.jobs.annotate.manifest.manifest import Counts, Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile, pack, unpack
from tests.conftest import make_detections


@given(arrays(np.float32, (5, 5), elements=st.floats(0, 1, width=32)), arrays(np.int64, 5))
def test_detections_come_back_bit_for_bit(numbers: np.ndarray, classes: np.ndarray) -> None:
    boxes = np.concatenate([numbers[:, :2], numbers[:, :2] + numbers[:, 2:4]], axis=1)
    data = pack(Detections(boxes, classes, numbers[:, 4]))
    assert data is not None
    found = unpack(data)
    assert np.array_equal(found.xyxy, boxes)
    assert np.array_equal(found.class_id, classes)
    assert np.array_equal(found.score, numbers[:, 4])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m" / "manifest.sqlite"


def listed(*names: str, size: int = 1, mtime: int = 1) -> list[ListedImage]:
    return [ListedImage(name, size, mtime) for name in names]


def done(name: str, n: int = 1) -> Outcome:
    return Outcome(name, (40, 30), make_detections([[0, 0, 1, 1]] * n))


def test_images_wait_in_natural_order_until_they_are_recorded(path: Path) -> None:
    with Manifest(path) as manifest:
        assert manifest.list_anew(listed("b/img10.jpg", "b/img9.jpg", "a.jpg"))
        assert list(manifest.waiting()) == ["a.jpg", "b/img9.jpg", "b/img10.jpg"]
        manifest.record(done("b/img9.jpg", 2))
        manifest.record(Outcome("a.jpg", reason="is empty"))
    with Manifest(path) as manifest:
        assert manifest.counts() == Counts(waiting=1, done=1, failed=1)
        (record,) = manifest
        assert (record.name, record.wh, len(record.found)) == ("b/img9.jpg", (40, 30), 2)
        assert list(manifest.failures()) == [("a.jpg", "is empty")]


def test_listing_again_keeps_what_is_unchanged_and_redoes_what_changed_or_failed(path: Path) -> None:
    with Manifest(path) as manifest:
        manifest.list_anew(listed("same", "larger", "newer", "failed", "gone"))
        for name in ("same", "larger", "newer", "gone"):
            manifest.record(done(name))
        manifest.record(Outcome("failed", reason="is empty"))
        manifest.list_anew([*listed("same", "failed", "added"), *listed("larger", size=2), *listed("newer", mtime=2)])
        assert list(manifest.waiting()) == ["added", "failed", "larger", "newer"]
        assert [name for name, _ in manifest.gone()] == ["gone"]
        manifest.forget("gone")
        assert list(manifest.names()) == ["same"]


def test_a_walk_that_finds_nothing_or_breaks_off_changes_nothing(path: Path) -> None:
    def breaks() -> object:
        yield ListedImage("new", 1, 1)
        raise SinkError("broken off")

    with Manifest(path) as manifest:
        manifest.list_anew(listed("a"))
        manifest.record(done("a"))
        assert not manifest.list_anew([])
        with pytest.raises(SinkError, match="broken off"):
            manifest.list_anew(breaks())  # type: ignore[arg-type]
        assert not list(manifest.gone())
        assert manifest.counts() == Counts(done=1)


def test_names_of_any_kind_come_back(path: Path) -> None:
    names = sorted(["a\nb.jpg", "\"'.jpg", "\udcff.jpg", "é/ß.jpg", "\x01"])
    with Manifest(path) as manifest:
        manifest.list_anew(listed(*names))
        assert sorted(manifest.waiting()) == names
        assert all(manifest.holds(name) for name in names)
        assert not manifest.holds("other")


def row(path: str, digest: str = "d") -> WrittenFile:
    return WrittenFile(f"out/{path}", digest, "", 1, 1)


def test_the_files_of_earlier_exports_are_known_until_they_are_disowned(path: Path) -> None:
    with Manifest(path) as manifest:
        manifest.log([row("a"), row("b"), row("\udcff")], manifest.next_export())
        manifest.log([row("c")], number := manifest.next_export())
        manifest.keep(["out/b"], number)
        assert sorted(manifest.stale(number)) == ["out/a", "out/\udcff"]
        manifest.log([row("c")], number := manifest.next_export())
        assert sorted(manifest.stale(number)) == ["out/a", "out/b", "out/\udcff"], "a killed export has deleted nothing"
        manifest.disown(["out/a", "out/b", "out/\udcff"])
        assert not list(manifest.stale(number))


def test_until_an_export_ends_a_file_may_be_what_it_was_or_what_it_is_to_be(path: Path) -> None:
    with Manifest(path) as manifest:
        manifest.log([row("a", "old"), WrittenFile("draw/a", "x")], manifest.next_export())
        manifest.log([row("a", "new")], number := manifest.next_export())
        assert {known.digest for known in manifest.known(["out/a", "out/b"])["out/a"]} == {"old", "new"}
        manifest.end_export(number)
        assert manifest.known(["out/a", "draw/a"]) == {
            "out/a": [row("a", "new")],
            "draw/a": [WrittenFile("draw/a", "x")],
        }


def test_two_runs_cannot_work_on_one_manifest(path: Path) -> None:
    code = (
        "from pathlib import Path; from cvdetect.jobs.annotate.manifest.manifest import Manifest; "
        f"Manifest(Path({str(path)!r}))"
    )
    with Manifest(path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another cvdetect annotate is running here" in other.stderr


def test_a_file_that_is_no_manifest_is_reported(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(DamagedManifest, match="overwrite"):
        Manifest(path)


def test_a_manifest_of_another_version_is_reported(path: Path) -> None:
    path.parent.mkdir()
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(DamagedManifest, match="another version"):
        Manifest(path)


def test_a_full_disk_is_reported_and_what_was_recorded_stays(path: Path) -> None:
    with Manifest(path) as manifest:
        manifest.list_anew(listed(*(f"{i}" for i in range(50))))
        manifest.all("PRAGMA max_page_count = 20")
        with pytest.raises(SinkError, match=r"cannot be used: database or disk is full"):
            for name in list(manifest.waiting()):
                manifest.record(done(name, 300))
        recorded = manifest.counts().done
    assert 0 < recorded < 50
    with Manifest(path) as manifest:
        assert manifest.counts() == Counts(waiting=50 - recorded, done=recorded)
        manifest.record(done("49", 300))


def test_going_through_many_images_takes_no_more_memory_than_through_few(path: Path) -> None:
    ten = make_detections([[0, 0, 1, 1]] * 10)
    with Manifest(path) as manifest:
        manifest.list_anew(ListedImage(f"{i}.jpg", 1, 1) for i in range(20_000))
        with manifest.transaction() as base:  # as if all were done
            base.execute("UPDATE images SET status = 1, width = 4, height = 3, found = ?", (pack(ten),))
        tracemalloc.start()
        count = sum(1 for _ in manifest)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_000_000
