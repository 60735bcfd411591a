"""``cvdetect annotate`` as a library call: a folder of images in, annotation files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from cvdetect.annotate.about import About
from cvdetect.annotate.checks import check_job, output_identities, picture_identities
from cvdetect.annotate.cluster.connection import check_cluster
from cvdetect.annotate.cluster.work import Loaded, picture_outputs
from cvdetect.annotate.export import FAILURES, export, export_folders
from cvdetect.annotate.identity import check_same, contents_of, model_digests, options_of, runtime_of
from cvdetect.annotate.inputs import Inputs, find_inputs
from cvdetect.annotate.job import AnnotateJob, Report
from cvdetect.annotate.local import Recorder, detect_waiting, read_picture
from cvdetect.annotate.manifest.images import Manifest
from cvdetect.annotate.manifest.workplace import manifest_of, used
from cvdetect.annotate.pictures import remove_files, thumbnail_path
from cvdetect.annotate.walk import Tally, list_pictures, nothing_found, passed_over
from cvdetect.detector import Detector, load_detectors
from cvdetect.errors import SourceError
from cvdetect.events import Progress, Silent
from cvdetect.pipeline import Summary
from cvdetect.redact import redact_name
from cvdetect.sinks.render import blurred_classes
from cvdetect.storage import Folder, open_folder

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
    with manifest_of(job) as manifest:
        _admit(job, manifest, options, progress)
        tally = _list(job, inputs, manifest, progress)
        about, summary = _detect(job, inputs, manifest, options, progress)
        unfit = _export(job, inputs, manifest, about, progress)
        return _report(job, manifest, tally, summary, len(unfit))


def _admit(job: AnnotateJob, manifest: Manifest, options: Mapping[str, Any], progress: Progress) -> None:
    """Refuse an `out` that is in use, and a resume with another model or other options."""
    before = manifest.fact("options")
    if before is None:
        return
    if job.overwrite:
        manifest.make_all_wait()
    elif not job.resume:
        raise used(job)
    else:
        check_same(job.out_folder, before, options)
        known = manifest.fact("model_files")
        digests = model_digests(job, known, progress)
        check_same(job.out_folder, contents_of(known), contents_of(digests))
        manifest.remember(model_files=digests)


def _list(job: AnnotateJob, inputs: Inputs, manifest: Manifest, progress: Progress) -> Tally:
    """Look which images there are; those that are gone are dropped."""
    tally = Tally()
    progress.note(f"looking for images in {redact_name(inputs.text)}")
    if not manifest.list_anew(list_pictures(inputs, output_identities(job), tally, picture_identities(job))):
        raise nothing_found(inputs, tally)
    for reason in tally.unreadable:
        progress.error(reason)
    for name in tally.loops:
        progress.note(f"{inputs.root.shown(name)}: is not entered: it leads back to one of its own parents")
    if tally.ignored:
        progress.note(passed_over(tally))
    if not tally.unreadable:  # what is in a folder that cannot be entered is not known to be gone
        _drop_gone(manifest, _folders_before(manifest), progress)
    return tally


def _folders_before(manifest: Manifest) -> dict[str, Folder]:
    """Kind → folder of the pictures that earlier runs have written."""
    return {kind: open_folder(folder) for kind, folder in (manifest.fact("folders") or {}).items()}


def _drop_gone(manifest: Manifest, folders: Mapping[str, Folder], progress: Progress) -> None:
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
def _engine(job: AnnotateJob, root: Folder, manifest: Manifest, progress: Progress) -> Iterator[_Engine]:
    """What is loaded, here or elsewhere, and what works with it."""
    if job.engine == "ray":
        from cvdetect.annotate.cluster.engine import ray_engine

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
    told = _folders_told(manifest, job.folders())
    if job.resume and manifest.fact("options") is not None:
        about = _same_runtime(job, About.from_json(manifest.fact("about")), about, progress)
        manifest.remember(folders=told)
        return about
    remove_files(manifest.all_files(), _folders_before(manifest))
    digests = model_digests(job, {}, progress)
    manifest.begin(options=options, model_files=digests, about=about.as_json(), folders=told)
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


def _export(job: AnnotateJob, inputs: Inputs, manifest: Manifest, about: About, progress: Progress) -> dict[str, str]:
    """Write the files → name of an image whose own file could not be written, and why."""
    if job.review:
        _add_thumbnails(job, inputs, manifest, about)
    progress.note(f"writing {', '.join(job.formats)}{' and the review page' if job.review else ''}")
    unfit = export(job, manifest, about, redact_name(str(inputs.root)))
    for name, reason in unfit.items():
        progress.error(f"{inputs.root.shown(name)}: {reason}")
    return unfit


def _add_thumbnails(job: AnnotateJob, inputs: Inputs, manifest: Manifest, about: About) -> None:
    """Make the thumbnails that are not there, where an earlier run was without --review."""
    folder = job.folders()["review"]
    manifest.remember(folders=_folders_told(manifest, {"review": folder}))
    with picture_outputs(job, about.labels, {"review": folder}, manifest.holds) as pictures:
        for record in manifest:
            if _has_thumbnail(manifest, folder, record.name):
                continue
            with suppress(SourceError):  # gone meanwhile: the page shows the boxes alone
                frame = read_picture(inputs.root, record.name, job.max_pixels).frame(record.name)
                outcome = pictures.write(frame, record.found)
                if outcome.reason is None:
                    manifest.add_files(record.name, outcome.files)
                else:
                    manifest.record(outcome)


def _has_thumbnail(manifest: Manifest, folder: Folder, name: str) -> bool:
    """A disk is asked, as somebody may have tidied up; a store is not, as that would cost as much as to write it."""
    path = thumbnail_path(name)
    if folder.remote:
        return f"review/{path}" in manifest.files_of(name)
    return folder.kind(path) == "file"


def _report(job: AnnotateJob, manifest: Manifest, tally: Tally, summary: Summary, unfit: int) -> Report:
    counts = manifest.counts()
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
        outputs=tuple(told),
    )
