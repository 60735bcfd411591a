"""``cvdetect annotate`` as a library call: a folder of images in, annotation files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.redact import redact_name
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.inference.pipeline import Summary
from cvdetect.jobs.annotate.checks import check_folder, check_job, check_outputs, identities, images_not_entered
from cvdetect.jobs.annotate.dataset_images import export_folders
from cvdetect.jobs.annotate.export import FAILURES, export, restore_images
from cvdetect.jobs.annotate.image_outputs import ImageOutputs
from cvdetect.jobs.annotate.inputs import (
    Inputs,
    WalkStats,
    describe_ignored,
    find_inputs,
    list_images,
    no_images_error,
)
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport, ModelInfo
from cvdetect.jobs.annotate.local import Recorder, detect_waiting
from cvdetect.jobs.annotate.manifest import in_use_error, open_manifest
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import WrittenFile
from cvdetect.jobs.annotate.ownership import FileStats, NamedFiles, OwnFiles
from cvdetect.jobs.annotate.ray.connection import check_cluster
from cvdetect.jobs.annotate.ray.worker import WorkerConfig
from cvdetect.jobs.annotate.resume import (
    MODEL_KEY,
    check_same,
    model_digests,
    options_on_resume,
    result_options,
    runtime_options,
    shown_digests,
    stored_options,
)
from cvdetect.sinks.render import blurred_classes
from cvdetect.storage import Folder, open_folder

__all__ = ["annotate"]

_Engine = tuple[Detector | WorkerConfig, Callable[[Recorder, Progress, Controls], Summary]]


def annotate(
    job: AnnotateJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> AnnotateReport:
    """Detect in images and write annotation files. An image that fails is reported, recorded and counted; the others
    are done.

    After an interruption (SIGINT, SIGTERM, `Controls.stop`) the files are written for what is done so far.

    Raises:
        UsageError: options that do not go together, an `out` in use, or a resume that does not match.
        ModelError: the model or backend is not available.
        SourceError: there are no images.
        SinkError: an output cannot be written; what is done so far stays recorded.
    """
    check_folder("out", job.out_folder)
    inputs = None if job.resume else _check(job)
    with open_manifest(job) as manifest:
        if inputs is None:
            job = options_on_resume(job, manifest.fact("job") or {})
            inputs = _check(job)
        run = _Run(job, inputs, manifest, progress, controls or Controls())
        run.check_resumable()
        walk = run.list_images()
        claims = run.check_outputs(walk)
        run.forget_missing(walk)
        model, summary = run.detect(claims)
        run.export(model)
        return run.report(walk, summary)


def _check(job: AnnotateJob) -> Inputs:
    """All that can be checked before any work."""
    inputs = find_inputs(job.images, job.root, job.recursive)
    check_job(job, inputs)
    if job.engine == "ray":
        check_cluster(job.ray_address)
    return inputs


@dataclass(frozen=True)
class _Run:
    """The steps of a run, in the order of its methods."""

    job: AnnotateJob
    inputs: Inputs
    manifest: Manifest
    progress: Progress
    controls: Controls
    stats: FileStats = field(default_factory=FileStats)

    @cached_property
    def _options(self) -> Mapping[str, Any]:
        return result_options(self.job)

    def check_resumable(self) -> None:
        """Refuse an `out` that is in use, and a resume with another model or other options."""
        job, before, now = self.job, self.manifest.fact("options"), self._options
        if before is None or job.overwrite:
            return
        if not job.resume:
            raise in_use_error(job)
        check_same(job.out_folder, before, now)
        known = self.manifest.fact("model_files")
        digests = model_digests(job, known, self.progress)
        check_same(job.out_folder, shown_digests(known), shown_digests(digests))
        self.manifest.remember(model_files=digests)

    def list_images(self) -> WalkStats:
        """Record which images there are."""
        job, inputs, walk = self.job, self.inputs, WalkStats()
        self.progress.note(f"looking for images in {redact_name(inputs.text)}")
        # Files of an earlier run that are deleted when this one begins are not images to annotate.
        written = [("out", job.out_folder), *job.folders().items(), *self._earlier_folders().items()]
        outputs = identities(folder for _, folder in written)
        if not self.manifest.list_anew(list_images(inputs, outputs, walk, identities(job.folders().values()))):
            raise no_images_error(inputs, walk)
        self._report_walk(walk, written)
        return walk

    def _report_walk(self, walk: WalkStats, written: Sequence[tuple[str, Folder]]) -> None:
        for reason in walk.unreadable:
            self.progress.error(reason)
        for name in walk.loops:
            self.progress.note(f"{self.inputs.root.shown(name)}: is not entered: it leads back to one of its parents")
        if ignored := describe_ignored(walk):
            self.progress.note(ignored)
        for name, number in images_not_entered(self.inputs, walk.outputs, written, self.manifest):
            images = counted(number, "image")
            self.progress.warn(f"{name}: is not entered, as results are written there: {images} ignored")

    def check_outputs(self, walk: WalkStats) -> list[WrittenFile]:
        """Refuse to replace a user's files → those that `overwrite` lets the run replace."""
        claims = check_outputs(self.job, self.inputs.root, self.manifest, not walk.unreadable, self.stats.edited)
        if self.job.overwrite:
            self.manifest.make_all_wait()
        return claims

    def forget_missing(self, walk: WalkStats) -> None:
        """Delete the results of images that are gone. An image in a folder that cannot be read may not be gone."""
        if walk.unreadable:
            return
        number, own = 0, self._earlier_files()
        for name, files in self.manifest.gone():
            self._remove(own, files)
            self.manifest.forget(name)
            number += 1
        if number:
            were = "was" if number == 1 else "were"
            self.progress.note(f"{counted(number, 'image')} {were} deleted since the last run, and so are the results")

    def detect(self, claims: Sequence[WrittenFile]) -> tuple[ModelInfo, Summary]:
        """Detect in all images that wait → the model, and how it went."""
        manifest, progress, counts = self.manifest, self.progress, self.manifest.counts()
        if not counts.waiting:
            progress.note(f"all {counted(counts.done, 'image')} done already")
            return ModelInfo.from_json(manifest.fact("about")), Summary()
        if counts.done:
            progress.note(f"{counts.done} of {counted(counts.total, 'image')} done already")
        with self._engine() as (detector, detect_all):
            model = self._begin(detector, claims)
            outputs = ImageOutputs.for_job(self.job, model.labels, manifest, manifest.holds)
            recorder = Recorder(manifest, outputs, self._earlier_folders(), self.stats)
            progress.begin("detecting", counts.waiting, "images")
            try:
                return model, detect_all(recorder, progress, self.controls)
            finally:
                progress.end()

    @contextmanager
    def _engine(self) -> Iterator[_Engine]:
        """The loaded model, here or on a cluster, and what detects with it."""
        job, root = self.job, self.inputs.root
        if job.engine == "ray":
            from cvdetect.jobs.annotate.ray.engine import ray_engine

            with ray_engine(job, root, self.manifest, self.progress) as engine:
                yield engine.loaded, engine.detect_waiting
        else:
            most = self.manifest.counts().waiting
            detectors = load_detectors(job.model, job.detect, job.run, self.progress, most=most, workers=job.workers)
            yield detectors[0], partial(detect_waiting, root, job, detectors)

    def _begin(self, detector: Detector | WorkerConfig, claims: Sequence[WrittenFile]) -> ModelInfo:
        """Record what this run is, or check that it continues as the first one began."""
        job, manifest = self.job, self.manifest
        self.progress.detail(f"{detector.name} runs on {detector.ran}")
        model = ModelInfo(detector.name, detector.ran.as_json(), detector.labels)
        blurred_classes(job.blur, model.labels)
        folders = self._all_folders()
        # Where a request to a store, or to this process, for each file before it is written would cost too much.
        untold = job.out_folder.remote or job.engine == "ray"
        if job.resume and manifest.fact("options") is not None:
            model = self._check_runtime(ModelInfo.from_json(manifest.fact("about")), model)
            manifest.remember(folders=folders, untold=manifest.fact("untold") or untold)
            return model
        self._remove(self._earlier_files(), manifest.all_files())
        manifest.begin(
            claims,
            options=self._options,
            job=stored_options(job, self._options[MODEL_KEY]),
            model_files=model_digests(job, {}, self.progress),
            about=model.as_json(),
            folders=folders,
            untold=untold,
        )
        return model

    def _check_runtime(self, before: ModelInfo, now: ModelInfo) -> ModelInfo:
        """What the first run recorded. Another device is reported, another runtime refused."""
        check_same(self.job.out_folder, runtime_options(before.ran), runtime_options(now.ran))
        if before.ran != now.ran:
            devices = f"begun on {before.ran['device']}, continued on {now.ran['device']}"
            self.progress.warn(f"{devices}: the files name the first")
        return before

    def _earlier_folders(self) -> dict[str, Folder]:
        """Kind → folder of the images that earlier runs wrote."""
        return {kind: open_folder(folder) for kind, folder in (self.manifest.fact("folders") or {}).items()}

    def _all_folders(self) -> dict[str, str]:
        """Kind → folder of the images that this run and earlier ones write, as it is recorded."""
        own = {kind: folder.absolute() for kind, folder in self.job.folders().items()}
        return {**(self.manifest.fact("folders") or {}), **own}

    def _earlier_files(self) -> OwnFiles:
        return OwnFiles(self.manifest, self._earlier_folders())

    def _remove(self, own: OwnFiles, keys: Iterable[str]) -> None:
        """Delete files that earlier runs wrote; those that were edited since are kept, and counted."""
        for key in own.remove(keys):
            self.stats.edited.add(key, own.shown(key))

    def export(self, model: ModelInfo) -> None:
        """Write the annotation files, and restore images beside them that were deleted."""
        job, root = self.job, self.inputs.root
        if job.folders():
            restore_images(job, root, self.manifest, model, self.stats)
            self.manifest.remember(folders=self._all_folders())
        images = "links to" if job.link_images else "copies of" if job.copy_images else ""
        parts = [", ".join(job.formats), *([f"{images} the images"] if images else [])]
        self.progress.note(f"writing {' and '.join([*parts, *(['the review page'] if job.review else [])])}")
        export(job, self.manifest, model, root, self.stats)
        self._report_files()

    def _report_files(self) -> None:
        stats, progress = self.stats, self.progress
        for name, reason in stats.unwritable.items():
            progress.error(f"{self.inputs.root.shown(name)}: {reason}")
        _warn(progress, stats.edited, "edited since an earlier run wrote {them}, and {are} kept")
        _warn(progress, stats.occupied, "put where this run's own {were} to be written, and {are} kept")
        _warn(progress, stats.replaced, "replaced that cvdetect did not make, or that {were} edited since")
        _warn(progress, stats.inputs, "kept though an earlier run wrote {them}, as images now lead to {them}")

    def report(self, walk: WalkStats, summary: Summary) -> AnnotateReport:
        """How the run went."""
        counts, unwritable = self.manifest.counts(), len(self.stats.unwritable)
        return AnnotateReport(
            done=counts.done,
            detected=summary.done,
            failed=counts.failed + unwritable,
            waiting=counts.waiting,
            unreadable=len(walk.unreadable),
            interrupted=summary.interrupted,
            kept=len(self.stats.edited),
            replaced=len(self.stats.replaced),
            occupied=len(self.stats.occupied),
            outputs=tuple(self._outputs(any_failed=bool(counts.failed or unwritable))),
        )

    def _outputs(self, any_failed: bool) -> Iterator[str]:
        """The folders and files that were written, for a person to open."""
        out, folders = self.job.out_folder, self.job.folders()
        written = [out.folder(name) if name else out for name in export_folders(self.job).values()]
        written += [folder for kind, folder in folders.items() if kind != "review"]
        yield from (f"{str(folder).rstrip('/')}/" for folder in written)
        if self.job.review:
            yield folders["review"].shown("index.html")
        if any_failed:
            yield out.shown(FAILURES)


def _warn(progress: Progress, files: NamedFiles, what: str) -> None:
    """Warn of files, if there are any; `what` follows "1 file was" or "2 files were"."""
    if files:
        one = len(files) == 1
        words = {"them": "it", "are": "is", "were": "was"} if one else {"them": "them", "are": "are", "were": "were"}
        progress.warn(f"{counted(len(files), 'file')} {words['were']} {what.format(**words)}: {files}")
