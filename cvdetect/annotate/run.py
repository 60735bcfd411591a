"""``cvdetect annotate`` as a library call: a folder of images in, annotation files out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cvdetect.annotate.about import About
from cvdetect.annotate.checks import check_job, output_identities
from cvdetect.annotate.cluster import check_cluster
from cvdetect.annotate.database import DamagedManifest
from cvdetect.annotate.export import FAILURES, export, export_folders
from cvdetect.annotate.identity import check_same, model_digests, options_of
from cvdetect.annotate.inputs import Inputs, find_inputs
from cvdetect.annotate.job import AnnotateJob, Report
from cvdetect.annotate.local import Recorder, detect_waiting, read_picture
from cvdetect.annotate.manifest import Manifest
from cvdetect.annotate.pictures import remove_files, thumbnail_path
from cvdetect.annotate.walk import Tally, list_pictures, nothing_found
from cvdetect.annotate.work import Loaded, picture_outputs
from cvdetect.detector import Detector, load_detectors
from cvdetect.errors import SourceError, UsageError
from cvdetect.events import Progress, Silent
from cvdetect.frame import Frame
from cvdetect.pipeline import Summary
from cvdetect.sinks.render import blurred_classes

__all__ = ["annotate"]

_Engine = tuple[Detector | Loaded, Callable[[Recorder, Progress], Summary]]


def annotate(job: AnnotateJob, progress: Progress = Silent()) -> Report:  # noqa: B008 - stateless
    """Do `job`. An image that fails is told, recorded and counted; the others are done.

    After an interruption (SIGINT, SIGTERM) the files are written for what is done so far.

    Raises:
        UsageError: options that cannot be met, an `out` in use, or a resume that does not match.
        ModelError: the model or backend cannot be had.
        SourceError: there are no images.
        SinkError: an output cannot be written; what is done so far stays recorded.
    """
    inputs = find_inputs(job.images, job.root, job.recursive)
    check_job(job, inputs)
    if job.engine == "ray":
        check_cluster(job.ray_address)
    options = options_of(job)
    with _manifest_of(job) as manifest:
        _admit(job, manifest, options, progress)
        tally = _list(job, inputs, manifest, progress)
        about, summary = _detect(job, inputs, manifest, options, progress)
        _export(job, inputs, manifest, about, progress)
        return _report(job, manifest, tally, summary)


@contextmanager
def _manifest_of(job: AnnotateJob) -> Iterator[Manifest]:
    """The manifest, open and locked; if nothing was begun in it, no trace of it stays."""
    path = job.own_folder / "manifest.sqlite"
    try:
        manifest = Manifest(path)
    except DamagedManifest:
        if not job.overwrite:
            raise
        shutil.rmtree(job.own_folder)
        manifest = Manifest(path)
    begun = True
    try:
        with manifest:
            try:
                yield manifest
            finally:
                begun = manifest.fact("options") is not None
    finally:
        if not begun:
            shutil.rmtree(job.own_folder, ignore_errors=True)
            with suppress(OSError):
                job.out.rmdir()


def _admit(job: AnnotateJob, manifest: Manifest, options: Mapping[str, Any], progress: Progress) -> None:
    """Refuse an `out` that is in use, and a resume with another model or other options."""
    before = manifest.fact("options")
    if before is None:
        return
    if job.overwrite:
        manifest.make_all_wait()
    elif not job.resume:
        raise UsageError(
            f"{job.out}: holds an earlier run's results: give --resume to go on, --overwrite to start again"
        )
    else:
        check_same(job.out, before, options)
        known = manifest.fact("model_files")
        digests = model_digests(job, known, progress)
        check_same(job.out, _contents(known), _contents(digests))
        manifest.remember(model_files=digests)


def _contents(digests: Mapping[str, Any]) -> dict[str, str]:
    return {f"the model's {file}": f"sha256 {digest[2][:12]}…" for file, digest in digests.items()}


def _list(job: AnnotateJob, inputs: Inputs, manifest: Manifest, progress: Progress) -> Tally:
    """Look which images there are; those that are gone are dropped."""
    tally = Tally()
    progress.note(f"looking for images in {inputs.text}")
    if not manifest.list_anew(list_pictures(inputs, output_identities(job), tally)):
        raise nothing_found(inputs, tally)
    for reason in tally.unreadable:
        progress.warn(reason)
    for name in tally.loops:
        progress.note(f"{inputs.root / name}: is not entered: it leads back to one of its own parents")
    if tally.ignored:
        progress.detail(f"{tally.ignored.total()} files are no pictures")
    if not tally.unreadable:  # what is in a folder that cannot be entered is not known to be gone
        _drop_gone(manifest, _folders_before(manifest), progress)
    return tally


def _folders_before(manifest: Manifest) -> dict[str, Path]:
    """Kind → folder of the pictures that earlier runs have written."""
    return {kind: Path(folder) for kind, folder in (manifest.fact("folders") or {}).items()}


def _drop_gone(manifest: Manifest, folders: Mapping[str, Path], progress: Progress) -> None:
    dropped = 0
    for name, files in manifest.gone():
        remove_files(files, folders)
        manifest.forget(name)
        dropped += 1
    if dropped:
        progress.note(f"{dropped} images are gone since the last run: their results are dropped")


def _detect(
    job: AnnotateJob, inputs: Inputs, manifest: Manifest, options: Mapping[str, Any], progress: Progress
) -> tuple[About, Summary]:
    """Detect in all that waits → what is to be said of the model, and how it went."""
    counts = manifest.counts()
    if not counts.waiting:
        progress.note(f"all {counts.done} images are done already")
        return About.from_json(manifest.fact("about")), Summary()
    if counts.done:
        progress.note(f"{counts.done} of {counts.total} images are done already")
    with _engine(job, inputs.root, manifest, progress) as (detector, detect_all):
        about = _begin(job, manifest, detector, options, progress)
        pictures = picture_outputs(job, about.labels, job.folders(), manifest.holds)
        recorder = Recorder(manifest, pictures, _folders_before(manifest))
        progress.begin("detecting", counts.waiting, "images")
        try:
            return about, detect_all(recorder, progress)
        finally:
            progress.end()


@contextmanager
def _engine(job: AnnotateJob, root: Path, manifest: Manifest, progress: Progress) -> Iterator[_Engine]:
    """What is loaded, here or elsewhere, and what works with it."""
    if job.engine == "ray":
        from cvdetect.annotate.ray_engine import ray_engine

        with ray_engine(job, root, manifest, progress) as engine:
            yield engine.loaded, engine.detect_waiting
    else:
        most = manifest.counts().waiting
        detectors = load_detectors(job.model, job.detect, job.run, progress, most=most, workers=job.workers)
        yield detectors[0], partial(detect_waiting, root, job, detectors)


def _begin(
    job: AnnotateJob, manifest: Manifest, detector: Detector | Loaded, options: Mapping[str, Any], progress: Progress
) -> About:
    """Write down what this run is, or check that it goes on as the first one began."""
    progress.detail(f"{detector.name} runs on {detector.ran}")
    about = About(detector.name, detector.ran.as_json(), detector.labels)
    blurred_classes(job.blur, about.labels)
    folders = _folders_before(manifest) | {kind: folder.absolute() for kind, folder in job.folders().items()}
    told = {kind: str(folder) for kind, folder in folders.items()}
    if job.resume and manifest.fact("options") is not None:
        about = _same_runtime(job, About.from_json(manifest.fact("about")), about, progress)
        manifest.remember(folders=told)
        return about
    remove_files(manifest.all_files(), _folders_before(manifest))
    manifest.forget_files()
    digests = model_digests(job, {}, progress)
    manifest.remember(options=options, model_files=digests, about=about.as_json(), folders=told)
    return about


def _same_runtime(job: AnnotateJob, before: About, now: About, progress: Progress) -> About:
    """What the first run said of itself; another device is told, another runtime refused."""
    decisive = ("runtime", "backend", "target", "precision")
    check_same(job.out, {k: before.ran[k] for k in decisive}, {k: now.ran[k] for k in decisive})
    if before.ran != now.ran:
        progress.warn(f"begun on {before.ran['device']}, going on on {now.ran['device']}: the files name the first")
    return before


def _export(job: AnnotateJob, inputs: Inputs, manifest: Manifest, about: About, progress: Progress) -> None:
    if job.review:
        _add_thumbnails(job, inputs, manifest, about)
    progress.note(f"writing {', '.join(job.formats)}{' and the review page' if job.review else ''}")
    export(job, manifest, about, str(inputs.root))


def _add_thumbnails(job: AnnotateJob, inputs: Inputs, manifest: Manifest, about: About) -> None:
    """Make the thumbnails that are not there, where an earlier run was without --review."""
    folder = {"review": job.folders()["review"]}
    manifest.remember(folders={**(manifest.fact("folders") or {}), "review": str(folder["review"].absolute())})
    with picture_outputs(job, about.labels, folder, manifest.holds) as pictures:
        for record in manifest:
            if (folder["review"] / thumbnail_path(record.name)).is_file():
                continue
            with suppress(SourceError):  # gone meanwhile: the page shows the boxes alone
                frame = Frame(read_picture(inputs.root / record.name, job.max_pixels), record.name)
                manifest.add_files(record.name, pictures.write(frame, record.found))


def _report(job: AnnotateJob, manifest: Manifest, tally: Tally, summary: Summary) -> Report:
    counts = manifest.counts()
    outputs = [*export_folders(job).values(), *(f for kind, f in job.folders().items() if kind != "review")]
    if job.review:
        outputs.append(job.folders()["review"] / "index.html")
    if counts.failed:
        outputs.append(job.out / FAILURES)
    return Report(
        done=counts.done,
        detected=summary.done,
        failed=counts.failed,
        waiting=counts.waiting,
        unreadable=len(tally.unreadable),
        interrupted=summary.interrupted,
        outputs=tuple(outputs),
    )
