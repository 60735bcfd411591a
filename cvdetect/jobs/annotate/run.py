"""``cvdetect annotate`` as a library call: a folder of images in, annotation files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cvdetect.core.progress import LoggingProgress, Progress
from cvdetect.core.redact import redact_name
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import Summary
from cvdetect.jobs.annotate.checks import check_folder, check_job, identities, restore_pictures, unentered
from cvdetect.jobs.annotate.claims import check_outputs
from cvdetect.jobs.annotate.export import FAILURES, export
from cvdetect.jobs.annotate.job import About, AnnotateJob, Report
from cvdetect.jobs.annotate.local import Recorder, detect_waiting
from cvdetect.jobs.annotate.manifest import manifest_of, used
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Written
from cvdetect.jobs.annotate.own import FileTally, OwnFiles
from cvdetect.jobs.annotate.placing import export_folders
from cvdetect.jobs.annotate.ray.connection import check_cluster
from cvdetect.jobs.annotate.ray.work import WorkerConfig, picture_outputs
from cvdetect.jobs.annotate.settle import (
    MODEL_KEY,
    check_same,
    contents_of,
    decisions,
    model_digests,
    options_of,
    runtime_of,
    settle,
)
from cvdetect.jobs.annotate.walk import Inputs, WalkStats, find_inputs, list_pictures, nothing_found, passed_over
from cvdetect.sinks.render import blurred_classes
from cvdetect.storage import Folder, open_folder

__all__ = ["annotate"]

_Engine = tuple[Detector | WorkerConfig, Callable[[Recorder, Progress], Summary]]


def annotate(job: AnnotateJob, progress: Progress = LoggingProgress()) -> Report:
    """Do `job`. An image that fails is told, recorded and counted; the others are done.

    After an interruption (SIGINT, SIGTERM) the files are written for what is done so far.

    Raises:
        UsageError: options that cannot be met, an `out` in use, or a resume that does not match.
        ModelError: the model or backend cannot be had.
        SourceError: there are no images.
        SinkError: an output cannot be written; what is done so far stays recorded.
    """
    check_folder("out", job.out_folder)
    inputs = None if job.resume else _check(job)
    with manifest_of(job) as manifest:
        if inputs is None:
            job = settle(job, manifest.fact("job") or {})
            inputs = _check(job)
        return _annotate(job, inputs, manifest, progress)


def _check(job: AnnotateJob) -> Inputs:
    """What can be found out before anything is done."""
    inputs = find_inputs(job.images, job.root, job.recursive)
    check_job(job, inputs)
    if job.engine == "ray":
        check_cluster(job.ray_address)
    return inputs


def _annotate(job: AnnotateJob, inputs: Inputs, manifest: Manifest, progress: Progress) -> Report:
    options, files = options_of(job), FileTally()
    _admit(job, manifest, options, progress)
    tally = _list(job, inputs, manifest, progress)
    claims = check_outputs(job, inputs.root, manifest, not tally.unreadable, files.edited)
    if job.overwrite:
        manifest.make_all_wait()
    if not tally.unreadable:  # what is in a folder that cannot be entered is not known to be gone
        _drop_gone(manifest, _own_files(manifest, files), progress)
    about, summary = _detect(job, inputs, manifest, _Beginning(options, claims, files), progress)
    _export(job, inputs, manifest, about, files, progress)
    return _report(job, manifest, tally, summary, files)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a run that begins writes down: its options, and the user's files that it may replace."""

    options: Mapping[str, Any]
    claims: Sequence[Written]
    files: FileTally


@dataclass(frozen=True, slots=True)
class _Earlier:
    """Pictures of earlier runs; those that were edited since stay, and are counted."""

    own: OwnFiles
    files: FileTally

    def remove(self, keys: Iterable[str]) -> None:
        """Delete what is unchanged."""
        for key in self.own.remove(keys):
            self.files.edited.add(key, self.own.shown(key))


def _admit(job: AnnotateJob, manifest: Manifest, options: Mapping[str, Any], progress: Progress) -> None:
    """Refuse an `out` that is in use, and a resume with another model or other options."""
    before = manifest.fact("options")
    if before is None or job.overwrite:
        return
    if not job.resume:
        raise used(job)
    check_same(job.out_folder, before, options)
    known = manifest.fact("model_files")
    digests = model_digests(job, known, progress)
    check_same(job.out_folder, contents_of(known), contents_of(digests))
    manifest.remember(model_files=digests)


def _list(job: AnnotateJob, inputs: Inputs, manifest: Manifest, progress: Progress) -> WalkStats:
    """Look which images there are."""
    tally = WalkStats()
    progress.note(f"looking for images in {redact_name(inputs.text)}")
    # Pictures of an earlier run that go when this one begins are no images to be annotated.
    written = [("out", job.out_folder), *job.folders().items(), *_folders_before(manifest).items()]
    outputs = identities(folder for _, folder in written)
    if not manifest.list_anew(list_pictures(inputs, outputs, tally, identities(job.folders().values()))):
        raise nothing_found(inputs, tally)
    for reason in tally.unreadable:
        progress.error(reason)
    for name in tally.loops:
        progress.note(f"{inputs.root.shown(name)}: is not entered: it leads back to one of its own parents")
    if told := passed_over(tally):
        progress.note(told)
    for name, number in unentered(inputs, tally.outputs, written, manifest):
        images = "1 image" if number == 1 else f"{number} images"
        progress.warn(f"{name}: is not entered, as results are written there: {images} passed over")
    return tally


def _folders_before(manifest: Manifest) -> dict[str, Folder]:
    """Kind → folder of the pictures that earlier runs have written."""
    return {kind: open_folder(folder) for kind, folder in (manifest.fact("folders") or {}).items()}


def _own_files(manifest: Manifest, files: FileTally) -> _Earlier:
    return _Earlier(OwnFiles(manifest, _folders_before(manifest)), files)


def _drop_gone(manifest: Manifest, earlier: _Earlier, progress: Progress) -> None:
    dropped = 0
    for name, files in manifest.gone():
        earlier.remove(files)
        manifest.forget(name)
        dropped += 1
    if dropped:
        progress.note(f"{dropped} images are gone since the last run: their results are dropped")


def _detect(
    job: AnnotateJob, inputs: Inputs, manifest: Manifest, beginning: _Beginning, progress: Progress
) -> tuple[About, Summary]:
    """Detect in all that waits → what is to be said of the model, and how it went."""
    counts = manifest.counts()
    if not counts.waiting:
        progress.note(f"all {counts.done} images are done already")
        return About.from_json(manifest.fact("about")), Summary()
    if counts.done:
        progress.note(f"{counts.done} of {counts.total} images are done already")
    with _engine(job, inputs.root, manifest, progress) as (detector, detect_all):
        about = _begin(job, manifest, detector, beginning, progress)
        pictures = picture_outputs(job, about.labels, job.folders(), manifest, manifest.holds)
        recorder = Recorder(manifest, pictures, _folders_before(manifest), beginning.files)
        progress.begin("detecting", counts.waiting, "images")
        try:
            return about, detect_all(recorder, progress)
        finally:
            progress.end()


@contextmanager
def _engine(job: AnnotateJob, root: Folder, manifest: Manifest, progress: Progress) -> Iterator[_Engine]:
    """What is loaded, here or elsewhere, and what works with it."""
    if job.engine == "ray":
        from cvdetect.jobs.annotate.ray.engine import ray_engine

        with ray_engine(job, root, manifest, progress) as engine:
            yield engine.loaded, engine.detect_waiting
    else:
        most = manifest.counts().waiting
        detectors = load_detectors(job.model, job.detect, job.run, progress, most=most, workers=job.workers)
        yield detectors[0], partial(detect_waiting, root, job, detectors)


def _begin(
    job: AnnotateJob, manifest: Manifest, detector: Detector | WorkerConfig, beginning: _Beginning, progress: Progress
) -> About:
    """Write down what this run is, or check that it goes on as the first one began."""
    progress.detail(f"{detector.name} runs on {detector.ran}")
    about = About(detector.name, detector.ran.as_json(), detector.labels)
    blurred_classes(job.blur, about.labels)
    told = _folders_told(manifest, job.folders())
    # Where a put a picture, or a word with this process, would cost too much to record each before it is written.
    untold = job.out_folder.remote or job.engine == "ray"
    if job.resume and manifest.fact("options") is not None:
        about = _same_runtime(job, About.from_json(manifest.fact("about")), about, progress)
        manifest.remember(folders=told, untold=manifest.fact("untold") or untold)
        return about
    _own_files(manifest, beginning.files).remove(manifest.all_files())
    manifest.begin(
        beginning.claims,
        options=beginning.options,
        job=decisions(job, beginning.options[MODEL_KEY]),
        model_files=model_digests(job, {}, progress),
        about=about.as_json(),
        folders=told,
        untold=untold,
    )
    return about


def _folders_told(manifest: Manifest, folders: Mapping[str, Folder]) -> dict[str, str]:
    """Kind → folder of the pictures of this run and earlier ones, as they are remembered."""
    return {**(manifest.fact("folders") or {}), **{kind: folder.absolute() for kind, folder in folders.items()}}


def _same_runtime(job: AnnotateJob, before: About, now: About, progress: Progress) -> About:
    """What the first run said of itself; another device is told, another runtime refused."""
    check_same(job.out_folder, runtime_of(before.ran), runtime_of(now.ran))
    if before.ran != now.ran:
        progress.warn(f"begun on {before.ran['device']}, going on on {now.ran['device']}: the files name the first")
    return before


def _export(
    job: AnnotateJob, inputs: Inputs, manifest: Manifest, about: About, files: FileTally, progress: Progress
) -> None:
    """Write the files, and what was deleted of the pictures of images that were done before."""
    if job.folders():
        restore_pictures(job, inputs.root, manifest, about, files)
        manifest.remember(folders=_folders_told(manifest, job.folders()))
    images = "links to" if job.link_images else "copies of" if job.copy_images else ""
    besides = [f"{images} the images"] if images else []
    besides += ["the review page"] if job.review else []
    progress.note(f"writing {' and '.join([', '.join(job.formats), *besides])}")
    export(job, manifest, about, inputs.root, files)
    for name, reason in files.unfit.items():
        progress.error(f"{inputs.root.shown(name)}: {reason}")
    for told, left in (
        ("files were edited since an earlier run wrote them, and are kept", files.edited),
        ("files were put by somebody where this run's own were to be, and are kept", files.occupied),
        ("files that cvdetect did not make, or that were edited since, were replaced", files.replaced),
        ("files of an earlier run are what images lead to by now, and are kept", files.originals),
    ):
        if left:
            progress.warn(f"{len(left)} {told}: {left}")


def _report(job: AnnotateJob, manifest: Manifest, tally: WalkStats, summary: Summary, files: FileTally) -> Report:
    counts, unfit = manifest.counts(), len(files.unfit)
    out, folders = job.out_folder, job.folders()
    outputs = [out.folder(name) if name else out for name in export_folders(job).values()]
    outputs += [folder for kind, folder in folders.items() if kind != "review"]
    told = [f"{str(folder).rstrip('/')}/" for folder in outputs]
    if job.review:
        told.append(folders["review"].shown("index.html"))
    if counts.failed or unfit:
        told.append(out.shown(FAILURES))
    return Report(
        done=counts.done,
        detected=summary.done,
        failed=counts.failed + unfit,
        waiting=counts.waiting,
        unreadable=len(tally.unreadable),
        interrupted=summary.interrupted,
        kept=len(files.edited),
        replaced=len(files.replaced),
        occupied=len(files.occupied),
        outputs=tuple(told),
    )
