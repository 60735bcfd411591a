"""Folders annotated with a model that needs no weights: resume, refuse, redo, drop, clean up."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.annotations.formats import FORMATS
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError, SourceError, UsageError
from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.sinks.draw import DrawStyle
from tests.jobs.annotate.conftest import Annotate, FakeDetector, install, make_images, touch_later, tree

PICTURES = {"draw": "drawn", "crops": "crops"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def sources(out: Path) -> list[str]:
    return [json.loads(line)["source"] for line in (out / "detections.jsonl").read_text().splitlines()]


def with_images(tmp_path: Path) -> dict[str, Any]:
    return {kind: tmp_path / name for kind, name in PICTURES.items()}


def test_every_image_has_its_record_in_natural_order_by_its_path_in_the_folder(run: Annotate, out: Path) -> None:
    report = run(formats=("jsonl",))
    assert (report.exit_code, report.done, report.detected) == (0, 5, 5)
    assert sources(out) == ["img1.png", "img2.png", "img10.png", "sub/deep/x.png", "sub/img3.jpg"]


def test_one_format_lies_in_out_itself_and_several_in_folders_of_their_names(run: Annotate, out: Path) -> None:
    run(formats=("csv",))
    assert set(tree(out)) == {"detections.csv"}
    run(formats=("csv", "coco"), overwrite=True)
    assert set(tree(out)) == {"csv/detections.csv", "coco/instances.json", "coco/results.json"}
    run(formats=("voc",), overwrite=True)
    lists = {"labelmap.txt", "ImageSets/Main/default.txt"}
    assert set(tree(out)) == {"img1.xml", "img2.xml", "img10.xml", "sub/img3.xml", "sub/deep/x.xml"} | lists


def test_a_used_out_is_refused_without_resume_or_overwrite(run: Annotate, out: Path) -> None:
    run()
    before = tree(out)
    with pytest.raises(UsageError, match="give resume=True to continue, overwrite=True to start again"):
        run()
    with pytest.raises(UsageError, match="contradict"):
        run(resume=True, overwrite=True)
    assert tree(out) == before


def test_resume_does_nothing_twice(run: Annotate, fake: FakeDetector, out: Path) -> None:
    run()
    before = tree(out)
    report = run(resume=True)
    assert (report.done, report.detected, fake.seen) == (5, 0, 5)
    assert tree(out) == before


def test_resume_redoes_what_changed_does_what_is_new_and_drops_what_is_gone(
    run: Annotate, fake: FakeDetector, photos: Path, tmp_path: Path
) -> None:
    extra = {"formats": ("voc", "coco"), "review": True, **with_images(tmp_path)}
    run(**extra)
    make_images(photos, ["img1.png", "new.png"])
    touch_later(photos / "img1.png")
    cv2.imwrite(str(photos / "img2.png"), np.full((9, 9, 3), 200, np.uint8))  # has no objects
    (photos / "sub" / "deep" / "x.png").unlink()
    report = run(**extra, resume=True)
    assert (report.done, report.detected, fake.seen) == (5, 3, 8)
    undisturbed = tmp_path / "undisturbed"
    run(**{**extra, **with_images(undisturbed)}, out=undisturbed / "out")
    for folder in ("out", *PICTURES.values()):
        assert tree(tmp_path / folder) == tree(undisturbed / folder), folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"detect": DetectOptions(conf=0.3)}, "conf: not given, now 0.3"),
        ({"detect": DetectOptions(classes=("dog",))}, "classes: not given, now dog"),
        ({"detect": DetectOptions(max_det=5)}, "max_det: 300, now 5"),
        ({"model": ModelChoice(size=(320, 320))}, "size: not given, now 320,320"),
        ({"model": ModelChoice(resize="letterbox")}, "resize: not given, now letterbox"),
        ({"model": ModelChoice(name="yolov4-tiny")}, "model: yolov3-tiny, now yolov4-tiny"),
        ({"recursive": False}, "recursive: True, now False"),
        ({"batch": 2}, "batch: 1, now 2"),
        ({"draw": Path("drawn")}, "draw: not given, now "),
        ({"blur": ("person",)}, "blur: not given, now person"),
    ],
)
def test_resume_with_other_options_is_refused_and_they_are_named(
    run: Annotate, out: Path, changes: dict[str, Any], named: str
) -> None:
    run()
    before = tree(out)
    with pytest.raises(UsageError) as error:
        run(**changes, resume=True)
    assert named in str(error.value) and "overwrite" in str(error.value)
    assert tree(out) == before


def test_resume_with_the_same_options_is_not_refused(run: Annotate, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "detect": DetectOptions(conf=Conf(0.3, {"dog": 0.5}), classes=("dog", "person")),
        "model": ModelChoice(size=(320, 320)), "style": DrawStyle(line_width=2), "blur": ("person",),
        **with_images(tmp_path),
    }  # fmt: skip
    run(**options)
    assert run(**options, resume=True).exit_code == 0


def test_resume_with_other_weights_of_the_same_name_is_refused(run: Annotate, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("cvdetect.jobs.annotate.run.model_digests", lambda *_: {"weights fake": (1, 2, "f" * 64)})
    with pytest.raises(UsageError, match=r"the model's weights fake: sha256 000000000000…, now sha256 ffffffffffff…"):
        run(resume=True)


def test_resume_with_another_runtime_is_refused_when_there_is_work_left(
    run: Annotate, photos: Path, fake: FakeDetector
) -> None:
    run()
    make_images(photos, ["more.png"])
    fake.ran = type(fake.ran)("fake", "fake", "gpu", "none", "fp32")
    with pytest.raises(UsageError, match="target: cpu, now gpu"):
        run(resume=True)


def test_resume_where_nothing_was_begun_begins(run: Annotate) -> None:
    assert run(resume=True).done == 5


def test_overwrite_with_other_options_leaves_nothing_of_the_earlier_run(
    run: Annotate, out: Path, tmp_path: Path
) -> None:
    run(formats=("voc", "coco"), review=True, **with_images(tmp_path))
    (out / "mine.txt").write_text("a person's own file")
    assert run(formats=("jsonl",), detect=DetectOptions(conf=0.1), overwrite=True).detected == 5
    assert set(tree(out)) == {"detections.jsonl", "mine.txt"}
    assert not tree(tmp_path / "drawn") and not tree(tmp_path / "crops")


def test_overwrite_with_a_mistake_in_it_deletes_nothing(run: Annotate, out: Path) -> None:
    run()
    before = tree(out)
    with pytest.raises(UsageError):
        run(overwrite=True, model=ModelChoice(name="no-such-model"))
    with pytest.raises(UsageError):
        run(overwrite=True, blur=("no such class",))
    assert tree(out) == before


def test_a_damaged_manifest_is_reported_and_overwrite_starts_again(run: Annotate, out: Path) -> None:
    run()
    (out / ".cvdetect" / "manifest.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(SinkError, match="overwrite"):
        run(resume=True)
    assert run(overwrite=True).done == 5


def test_images_that_fail_are_listed_with_their_reason_and_do_not_stop_the_others(
    run: Annotate, out: Path, photos: Path
) -> None:
    (photos / "empty.jpg").touch()
    (photos / "cut.png").write_bytes((photos / "img1.png").read_bytes()[:60])
    (photos / "te\nxt.jpg").write_text("hello")
    os.mkfifo(photos / "pipe.jpg")
    report = run()
    assert (report.exit_code, report.done, report.failed) == (1, 5, 4)
    lines = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {line["source"]: line["error"] for line in lines} == {
        "cut.png": "is cut short or damaged: it cannot be decoded",
        "empty.jpg": "is empty",
        "pipe.jpg": "is not a regular file",
        "te\nxt.jpg": "is plain text, not an image",
    }


def test_failed_images_are_tried_again_and_the_list_goes_when_none_is_left(
    run: Annotate, out: Path, photos: Path
) -> None:
    (photos / "empty.jpg").touch()
    assert run().exit_code == 1
    assert run(resume=True).exit_code == 1, "still failing"
    make_images(photos, ["empty.jpg"])
    assert run(resume=True).exit_code == 0
    assert "failures.jsonl" not in tree(out)


def test_where_all_images_fail_nothing_could_be_read(fake: FakeDetector, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").touch()
    assert annotate(AnnotateJob(images=str(tmp_path / "p"), out=tmp_path / "out")).exit_code == 4


def test_fail_fast_stops_at_the_first_failure_and_resume_continues(run: Annotate, out: Path, photos: Path) -> None:
    make_images(photos, [f"z{i}.png" for i in range(40)])
    (photos / "img1.png").write_bytes(b"")
    report = run(fail_fast=True, formats=("jsonl",))
    assert (report.exit_code, report.failed) == (1, 1)
    assert report.waiting > 30
    make_images(photos, ["img1.png"])
    assert run(resume=True, formats=("jsonl",)).exit_code == 0
    assert len(sources(out)) == 45


def test_no_images_is_an_error_that_leaves_no_trace(run: Annotate, tmp_path: Path, out: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="no images: looked for"):
        run(images=str(tmp_path / "none"))
    assert not out.exists()


def test_a_folder_that_became_empty_drops_nothing(run: Annotate, out: Path, photos: Path, tmp_path: Path) -> None:
    run()
    before = tree(out)
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()  # an unmounted disk
    with pytest.raises(SourceError, match="no images"):
        run(resume=True)
    assert tree(out) == before


def test_a_model_that_cannot_be_had_leaves_no_trace(run: Annotate, out: Path) -> None:
    with pytest.raises(UsageError):
        run(blur=("no such class",))
    assert not out.exists()


def test_names_that_no_format_is_made_for_go_through_all_of_them(
    fake: FakeDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ['it\'s "a"\n<b>&.png', "\udcff\udcfe.png", "sub dir/%41#?.png", "-.png", "ü/日本.png", " .png"]
    photos = make_images(tmp_path / "photos", names)
    options: dict[str, Any] = {"images": str(photos), "formats": tuple(FORMATS), "review": True}
    report = annotate(AnnotateJob(**options, out=tmp_path / "out", **with_images(tmp_path)))
    assert (report.exit_code, report.done, fake.seen) == (0, len(names), len(names))
    assert len(tree(tmp_path / "drawn")) == len(names)
    before = tree(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    Path("list").write_bytes(b"\0".join(os.fsencode(f"photos/{name}") for name in reversed(names)))
    annotate(AnnotateJob(**{**options, "images": "@list"}, root=Path("photos"), out=Path("listed")))
    assert tree(tmp_path / "listed") == before


def test_a_folder_that_cannot_be_entered_is_part_of_the_work_not_done_and_drops_nothing(
    run: Annotate, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = tree(out)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if path == photos / "sub" / "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        report = run(resume=True)
    assert (report.exit_code, report.unreadable, report.done) == (1, 1, 5)
    assert tree(out) == before


def test_copies_and_crops_mirror_the_tree_and_never_share_a_file(run: Annotate, photos: Path, tmp_path: Path) -> None:
    make_images(photos, ["same.png", "same.jpg", "anim.gif", "anim.gif.png"])
    run(**with_images(tmp_path))
    names = {p.relative_to(photos).as_posix() for p in photos.rglob("*") if p.is_file()} - {"anim.gif"}
    assert set(tree(tmp_path / "drawn")) == names | {"anim.gif.png.png"}
    crops = tree(tmp_path / "crops")
    assert len(crops) == len(json.loads((tmp_path / "out" / "results.json").read_text())) > 5


def test_blur_acts_on_every_image_that_is_written(fake: FakeDetector, tmp_path: Path) -> None:
    photos = tmp_path / "p"
    photos.mkdir()
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(photos / "a.png"), noise)
    fake._detect = lambda _image: Detections(np.array([[0, 0, 64, 64]]), np.array([0]), np.array([0.9]))  # type: ignore[method-assign]
    for blur, flat in (((), False), (("person",), True)):
        folder = tmp_path / str(flat)
        annotate(AnnotateJob(
            images=str(photos), out=folder / "out", review=True, draw=folder / "drawn", crops=folder / "crops",
            blur=blur,
        ))  # fmt: skip
        for path in (
            folder / "drawn/a.png",
            folder / "crops/person/a.png_1.jpg",
            folder / "out/review/thumbs/a.png.jpg",
        ):
            inner = cv2.imread(str(path))[30:34, 34:38].astype(int)
            assert (np.ptp(inner, axis=(0, 1)).max() < 40) == flat, path


@pytest.mark.parametrize("where", ["photos", "."])
@pytest.mark.parametrize("kind", ["draw", "crops"])
def test_images_are_never_written_over_the_inputs(run: Annotate, tmp_path: Path, kind: str, where: str) -> None:
    with pytest.raises(UsageError, match="holds the input folder"):
        run(**{kind: tmp_path / where})


def test_copies_and_crops_need_folders_of_their_own(run: Annotate, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the same folder"):
        run(draw=tmp_path / "x", crops=tmp_path / "x")


@pytest.mark.parametrize("where", [".", "labels"])
def test_out_may_be_the_input_folder_or_inside_it(run: Annotate, photos: Path, where: str) -> None:
    inside = {"out": photos / where, "formats": ("yolo",), "review": True, "draw": photos / where / "drawn"}
    assert run(**inside).done == 5
    assert run(**inside, resume=True).done == 5, "what was written is not taken for input"


def test_review_later_makes_the_thumbnails_that_are_missing(run: Annotate, out: Path, fake: FakeDetector) -> None:
    run()
    run(resume=True, review=True)
    assert fake.seen == 5
    later = tree(out)
    assert len([name for name in later if name.startswith("review/thumbs/")]) == 5
    run(overwrite=True, review=True)
    assert tree(out) == later


def test_the_number_of_workers_and_the_batch_do_not_change_the_files(
    run: Annotate, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(photos, [f"n{i}.png" for i in range(30)])
    trees = []
    for workers, batch in ((1, 1), (3, 1), (2, 4)):
        install(monkeypatch, [FakeDetector(0.001 * (i % 2)) for i in range(workers)])
        run(out=tmp_path / f"o{workers}{batch}", formats=("coco", "voc", "jsonl"), batch=batch)
        trees.append(tree(tmp_path / f"o{workers}{batch}"))
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal_the_files_hold_what_was_done_and_resume_does_the_rest(
    run: Annotate, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int
) -> None:
    make_images(photos, [f"n{i}.png" for i in range(60)])
    slow = FakeDetector(0.01)
    install(monkeypatch, [slow])

    def send() -> None:
        while slow.seen < 5:
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    report = run(formats=("jsonl",))
    sender.join()
    assert report.exit_code == code
    assert len(sources(out)) == report.done < 65
    assert report.waiting == 65 - report.done
    run(formats=("jsonl",), resume=True)
    assert slow.seen == 65, "none is done twice"
    run(formats=("jsonl",), out=tmp_path / "undisturbed")
    assert tree(out) == tree(tmp_path / "undisturbed")


def test_a_disk_that_fills_while_a_copy_is_written_is_reported_and_resume_continues(
    run: Annotate, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "img10" in path.name:
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(SinkError, match="No space left"):
            run(**with_images(tmp_path))
    assert run(**with_images(tmp_path), resume=True).done == 5
    run(out=tmp_path / "o2", draw=tmp_path / "d2", crops=tmp_path / "c2")
    assert tree(out) == tree(tmp_path / "o2") and tree(tmp_path / "drawn") == tree(tmp_path / "d2")


def test_an_out_that_is_a_file_or_below_one_is_reported(run: Annotate, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UsageError if out.name == "file" else SinkError, match="file"):
            run(out=out)


def test_a_run_that_is_asked_to_stop_writes_what_is_done_and_resume_does_the_others(
    fake: FakeDetector, photos: Path, tmp_path: Path, out: Path
) -> None:
    controls = Controls()

    class StopsAtTheFirst(NullProgress):
        def advance(self, amount: int = 1) -> None:
            controls.stop()

    job = AnnotateJob(images=str(make_images(tmp_path / "many", [f"{i}.png" for i in range(60)])), out=out)
    fake.seconds = 0.01
    report = annotate(job, StopsAtTheFirst(), controls)
    assert 0 < report.done < 60 and report.waiting == 60 - report.done
    assert len(json.loads((out / "instances.json").read_text())["images"]) == report.done
    report = annotate(replace(job, resume=True))
    assert (report.done, report.waiting, report.exit_code) == (60, 0, 0)
