"""Detection on a Ray cluster: this process lists, records and exports; actors on the nodes read and detect.

Outcomes are recorded as they come, and files are written from the manifest in natural order, so they are byte for byte
those of a run on one machine. All actors must report the same model, options and runtime.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from cvdetect.core.arguments import arg, current_spelling
from cvdetect.core.errors import BackendError, SourceError
from cvdetect.core.options import RunOptions
from cvdetect.core.progress import Controls, Progress
from cvdetect.core.signals import stopping_on_signals
from cvdetect.inference.pipeline import Summary
from cvdetect.jobs.annotate.checks import image_of_crop, planned_images
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.local import Recorder
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.ray.chunks import dispatch
from cvdetect.jobs.annotate.ray.connection import connected
from cvdetect.jobs.annotate.ray.pool import Needs, RayPool
from cvdetect.jobs.annotate.ray.worker import (
    Assignment,
    ChunkContext,
    WorkerConfig,
    absolute,
    mark_outputs,
    taken_copy_names,
)
from cvdetect.jobs.annotate.resume import model_digests, result_options, runtime_options, shown_digests
from cvdetect.runtime import device_backends, runs_on_device
from cvdetect.storage import Folder, open_folder

__all__ = ["RayEngine", "ray_engine"]

_PATIENCE_S = 90.0  # without any worker, after which a run gives up
_PATIENCE_FOR_SOME_S = 600.0  # the same where a number of workers is given: a cluster that grows needs its time
_PROBE_S = 60.0
_IMAGES_WORTH_A_WORKER = 4  # starting one takes longer than detecting in a few images


@dataclass(frozen=True, slots=True)
class RayEngine:
    """A cluster with actors; `loaded` is what the first of them reported."""

    job: AnnotateJob
    root: Folder
    pool: RayPool
    loaded: WorkerConfig

    def detect_waiting(self, recorder: Recorder, progress: Progress, controls: Controls) -> Summary:
        """Detect in every image that is not done; each is recorded as soon as its outcome arrives.

        Raises:
            BackendError: there is no worker left, and none comes.
            SinkError: an output cannot be written, here or on a node.
        """
        summary, manifest = Summary(), recorder.manifest

        def take(outcomes: Sequence[Outcome]) -> None:
            recorder.record(*outcomes)
            progress.advance(len(outcomes))
            for outcome in outcomes:
                if outcome.found is None:
                    progress.error(f"{self.root.shown(outcome.name)}: {outcome.reason}")
                    if self.job.fail_fast:
                        controls.stop()

        # Exited from right to left: workers end before their unfinished files are swept away.
        with recorder, self.pool, stopping_on_signals(controls) as interrupted:
            mark_outputs(self.job)
            total = manifest.counts().waiting
            summary.done = dispatch(
                manifest.waiting(), total, self.pool, take, controls, progress, batch=self.job.batch
            )
        summary.interrupted = interrupted.exit_code
        return summary


@contextmanager
def ray_engine(job: AnnotateJob, root: Folder, manifest: Manifest, progress: Progress) -> Iterator[RayEngine]:
    """Connect to the cluster, or start one here, and wait for the first actor.

    Args:
        root: the folder that names are relative to.

    Raises:
        BackendError: the cluster cannot be reached, or gives no actor.
        CvdetectError: what stops an actor from loading the model or seeing the images; it names the node.
    """
    given = absolute(job)
    with connected(job.ray_address) as ray:
        needs, backend = _needs(ray, given, progress)
        own = replace(given, run=replace(given.run, backend=backend, threads=needs.cpus))
        assignment = Assignment(own, open_folder(root.absolute()), _sample(root, manifest), current_spelling())
        agreement = _Agreement(result_options(own), model_digests(own, {}, progress))
        pool = RayPool(
            ray,
            pickle.dumps(assignment),
            needs,
            agreement.join,
            _ContextOf(job, manifest),
            progress,
            wanted=job.workers,
            most=-(-manifest.counts().waiting // _IMAGES_WORTH_A_WORKER),
            patience=_PATIENCE_FOR_SOME_S if job.workers else _PATIENCE_S,
        )
        with pool:
            pool.wait_for_first()
            for kind, message in agreement.loaded.messages:
                getattr(progress, kind)(message)
            yield RayEngine(given, root, pool, agreement.loaded)


def _sample(root: Folder, manifest: Manifest) -> str | None:
    """One of the images that wait and really exist."""
    return next((name for name in islice(manifest.waiting(), 100) if _is_there(root, name)), None)


def _is_there(root: Folder, name: str) -> bool:
    try:
        return root.kind(name) is not None
    except SourceError:  # of this name alone, or reading it will report it
        return False


class _ContextOf:
    """A chunk's names → the rows of files that its images have, or that have the names of files to be written."""

    def __init__(self, job: AnnotateJob, manifest: Manifest) -> None:
        self._job = job
        self._manifest = manifest

    @cached_property
    def _claims(self) -> Mapping[str | None, Sequence[str]]:
        """Image → keys of crops that a user lets the run replace; read only after the run has begun."""
        claims: defaultdict[str | None, list[str]] = defaultdict(list)
        for row in self._manifest.claims():
            claims[image_of_crop(row.key)].append(row.key)
        return claims

    def __call__(self, names: Sequence[str]) -> ChunkContext:
        """As `RayPool` wants it."""
        job, manifest = self._job, self._manifest
        if not job.folders():
            return ChunkContext()
        keys = {key for name in names for key in (*manifest.files_of(name), *self._claims.get(name, ()))}
        keys |= {key for name in names for key in planned_images(job, name, manifest.holds)}
        rows = tuple(row for known in manifest.known(sorted(keys)).values() for row in known)
        return ChunkContext(frozenset() if job.draw is None else taken_copy_names(names, manifest.holds), rows)


class _Agreement:
    """What all actors must have in common, with this machine and with the first of them."""

    def __init__(self, options: Mapping[str, Any], digests: Mapping[str, Any]) -> None:
        self._here = {**options, **shown_digests(digests)}
        self._first: tuple[WorkerConfig, str] | None = None

    @property
    def loaded(self) -> WorkerConfig:
        """What the first actor reported."""
        assert self._first is not None
        return self._first[0]

    def join(self, loaded: WorkerConfig, where: str) -> None:
        """Compare what an actor on the node `where` reported.

        Raises:
            BackendError: it differs.
        """
        _check_same(where, {**loaded.options, **shown_digests(loaded.digests)}, "this machine", self._here)
        self._first = self._first or (loaded, where)
        first, there = self._first
        _check_same(where, runtime_options(loaded.ran.as_json()), there, runtime_options(first.ran.as_json()))


def _check_same(where: str, theirs: Mapping[str, Any], other: str, others: Mapping[str, Any]) -> None:
    differing = [key for key in sorted({*theirs, *others}) if theirs.get(key) != others.get(key)]
    if differing:
        listed = "; ".join(f"{key}: {theirs.get(key)}, on {other} {others.get(key)}" for key in differing)
        raise BackendError(f"{where}: would give other results than the other workers ({listed})")


def _needs(ray: Any, job: AnnotateJob, progress: Progress) -> tuple[Needs, str]:
    """What an actor occupies, and the backend that it runs on.

    Raises:
        BackendError: a GPU's backend is asked for, and no node has a GPU.
    """
    cpus, backend = job.run.threads or 1, job.run.backend
    has_gpu = any(node["Alive"] and node["Resources"].get("GPU", 0) >= 1 for node in ray.nodes())
    if runs_on_device(job.run):
        if not has_gpu:
            raise BackendError(f"{arg('backend', backend)}: no node of the Ray cluster reports a GPU")
        return Needs(cpus, 1), backend
    if backend != "auto":
        return Needs(cpus), backend
    gpu, *_ = [*device_backends(job.run), "cpu"]
    why_not = _why_not(ray, replace(job.run, backend=gpu)) if has_gpu else "no node has a GPU"
    if why_not is None:
        return Needs(cpus, 1), gpu
    progress.detail(f"workers run on CPUs: {why_not}")
    return Needs(cpus), "cpu"


def _why_not(ray: Any, run: RunOptions) -> str | None:
    """Check on one node with a GPU whether `run` can use it there → why not; None: it can."""
    asked = asdict(run)

    def check(asked: dict[str, Any]) -> str | None:  # sent by value: cvdetect may not be installed there
        try:
            from cvdetect.core import options
            from cvdetect.runtime import choose

            choose(options.RunOptions(**asked))
        except Exception as error:
            return str(error)
        return None

    call = ray.remote(check).options(num_cpus=1, num_gpus=1, max_retries=0).remote(asked)
    try:
        why_not: str | None = ray.get(call, timeout=_PROBE_S)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(call, force=True)
        return f"no GPU is free within {_PROBE_S:g} s"
    except ray.exceptions.RayError as error:
        return f"the node with a GPU does not answer ({type(error).__name__})"
    return why_not
