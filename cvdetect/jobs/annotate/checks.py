"""What can be told before any work: options that do not go together, folders that lie inside each other."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable
from itertools import combinations

from cvdetect.annotations.formats import WRITERS
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.outputs import claimed_by
from cvdetect.jobs.annotate.inputs import Inputs
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.placing import check_images
from cvdetect.storage import Folder, LocalFolder

__all__ = ["check_folder", "check_job", "identities"]

ENGINES = ("local", "ray")


def check_job(job: AnnotateJob, inputs: Inputs) -> None:
    """Raise UsageError for what cannot be meant, SinkError where a store does not take what is to be written."""
    if job.resume and job.overwrite:
        raise UsageError("--resume and --overwrite contradict each other: give one")
    for name in job.formats:
        if name not in WRITERS:
            near = difflib.get_close_matches(name, WRITERS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(WRITERS)}"
            raise UsageError(f"--format {name}: no such format; {hint}")
    if not job.formats:
        raise UsageError(f"--format: give one or more of {', '.join(WRITERS)}")
    for option, value in (("--workers", job.workers), ("--batch", job.batch), ("--max-pixels", job.max_pixels)):
        if value is not None and value < 1:
            raise UsageError(f"{option} {value}: at least 1 is needed")
    _check_engine(job)
    check_images(job, inputs.root)
    _check_folders(job, inputs)


def _check_engine(job: AnnotateJob) -> None:
    if job.engine not in ENGINES:
        raise UsageError(f"--engine {job.engine}: there are {' and '.join(ENGINES)}")
    if job.engine != "ray" and job.ray_address is not None:
        raise UsageError(f"--ray-address {job.ray_address} goes with --engine ray")
    if job.engine == "ray" and job.run.device_id is not None:
        raise UsageError(f"--device-id {job.run.device_id} goes with --engine local: Ray gives each worker its GPU")


def _check_folders(job: AnnotateJob, inputs: Inputs) -> None:
    """No picture that is written may take the place of one that is read, or of another kind's."""
    for kind, folder in job.folders().items():
        if inputs.root.within(folder):
            raise UsageError(f"--{kind} {folder}: holds the input folder {inputs.root}; give another one")
        check_folder(kind, folder)
        _check_unclaimed(kind, folder, job.out_folder)
        if folder.within(job.out_folder.folder(".cvdetect")):
            raise UsageError(f"--{kind} {folder}: lies in the manifest's own folder; give another one")
    for (kind, folder), (other, same) in combinations(job.folders().items(), 2):
        if folder.within(same) and same.within(folder):
            raise UsageError(f"--{kind} and --{other} are the same folder {folder}: give two")
    for folder in (job.out_folder, *job.folders().values()):
        if folder.remote:  # before anything is listed, fetched or loaded
            folder.prepare()


def check_folder(kind: str, folder: Folder) -> None:
    """Raise UsageError where a file lies in the place of a folder that is to be written into."""
    if not folder.remote and folder.kind() == "file":
        raise UsageError(f"{folder}: is a file; --{kind} takes a folder")


def _check_unclaimed(kind: str, folder: Folder, out: Folder) -> None:
    """Nothing is written into the OUT of another run: its manifest answers for every file there."""
    owner = claimed_by(folder.path) if isinstance(folder, LocalFolder) else None
    if owner is not None and not (isinstance(out, LocalFolder) and out.path.resolve() == owner):
        raise UsageError(f"--{kind} {folder}: lies in {owner}, which holds the results of another run; choose another")


def identities(folders: Iterable[Folder]) -> frozenset[Hashable]:
    """The identities of those of the folders that are there."""
    return frozenset(found for folder in folders if (found := _identity(folder)))


def _identity(folder: Folder) -> Hashable:
    try:
        return folder.identity()
    except SourceError:
        return None
