"""What can be told before any work: options that do not go together, folders that lie inside each other."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, islice

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ImageRecord
from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, UsageError
from cvdetect.core.options import check_least
from cvdetect.core.outputs import claimed_by
from cvdetect.jobs.annotate.images import thumbnail_path
from cvdetect.jobs.annotate.job import About, AnnotateJob
from cvdetect.jobs.annotate.local import read_picture
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.own import FileTally, OwnFiles
from cvdetect.jobs.annotate.placing import check_images
from cvdetect.jobs.annotate.ray.work import picture_outputs
from cvdetect.jobs.annotate.walk import Inputs, Wanted, images_below
from cvdetect.storage import Folder, LocalFolder

__all__ = ["check_folder", "check_job", "identities", "restore_pictures", "unentered"]


ENGINES = ("local", "ray")


def check_job(job: AnnotateJob, inputs: Inputs) -> None:
    """Raise UsageError for what cannot be meant, SinkError where a store does not take what is to be written."""
    if job.resume and job.overwrite:
        raise UsageError(f"{arg('resume')} and {arg('overwrite')} contradict each other: give one")
    for name in job.formats:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FORMATS)}"
            raise UsageError(f"{arg('formats')} {name}: no such format; {hint}")
    if not job.formats:
        raise UsageError(f"{arg('formats')}: give one or more of {', '.join(FORMATS)}")
    for option, value in (("workers", job.workers), ("batch", job.batch), ("max_pixels", job.max_pixels)):
        if value is not None:
            check_least(value, 1, option)
    _check_engine(job)
    check_images(job, inputs.root)
    _check_folders(job, inputs)


def _check_engine(job: AnnotateJob) -> None:
    if job.engine not in ENGINES:
        raise UsageError(f"{arg('engine')} {job.engine}: there are {' and '.join(ENGINES)}")
    if job.engine != "ray" and job.ray_address is not None:
        raise UsageError(f"{arg('ray_address')} {job.ray_address} goes with {arg('engine', 'ray')}")
    if job.engine == "ray" and job.run.device_id is not None:
        raise UsageError(
            f"{arg('device_id')} {job.run.device_id} goes with {arg('engine', 'local')}: Ray gives each worker its GPU"
        )


def _check_folders(job: AnnotateJob, inputs: Inputs) -> None:
    """No picture that is written may take the place of one that is read, or of another kind's."""
    for kind, folder in job.folders().items():
        if inputs.root.within(folder):
            raise UsageError(f"{arg(kind)} {folder}: holds the input folder {inputs.root}; give another one")
        check_folder(kind, folder)
        _check_unclaimed(kind, folder, job.out_folder)
        if folder.within(job.out_folder.folder(".cvdetect")):
            raise UsageError(f"{arg(kind)} {folder}: lies in the manifest's own folder; give another one")
    for (kind, folder), (other, same) in combinations(job.folders().items(), 2):
        if folder.within(same) and same.within(folder):
            raise UsageError(f"{arg(kind)} and {arg(other)} are the same folder {folder}: give two")
    for folder in (job.out_folder, *job.folders().values()):
        if folder.remote:  # before anything is listed, fetched or loaded
            folder.prepare()


def check_folder(kind: str, folder: Folder) -> None:
    """Raise UsageError where a file lies in the place of a folder that is to be written into."""
    if not folder.remote and folder.kind() == "file":
        raise UsageError(f"{folder}: is a file; {arg(kind)} takes a folder")


def _check_unclaimed(kind: str, folder: Folder, out: Folder) -> None:
    """Nothing is written into the OUT of another run: its manifest answers for every file there."""
    owner = claimed_by(folder.path) if isinstance(folder, LocalFolder) else None
    if owner is not None and not (isinstance(out, LocalFolder) and out.path.resolve() == owner):
        raise UsageError(
            f"{arg(kind)} {folder}: lies in {owner}, which holds the results of another run; choose another"
        )


def identities(folders: Iterable[Folder]) -> frozenset[Hashable]:
    """The identities of those of the folders that are there."""
    return frozenset(found for folder in folders if (found := _identity(folder)))


def _identity(folder: Folder) -> Hashable:
    try:
        return folder.identity()
    except SourceError:
        return None


# Images in folders that the walk does not enter because runs write there: those that no run has made itself.

_TOGETHER = 500  # images looked up together
_Written = Sequence[tuple[str, Folder]]


def unentered(
    inputs: Inputs, names: Iterable[str], written: Iterable[tuple[str, Folder]], manifest: Manifest
) -> Iterator[tuple[str, int]]:
    """Each of the folders `names` below the root that has such images, as it is shown, and their number.

    Args:
        written: kind and folder of what this run and earlier ones write.
    """
    real = [(kind, _real(folder)) for kind, folder in written]
    for name in names:
        number = _count(inputs, name, real, manifest)
        if number:
            yield inputs.root.shown(name), number


def _count(inputs: Inputs, name: str, written: _Written, manifest: Manifest) -> int:
    """How many images of the folder `name` would have been taken, and are not the runs' own."""
    folder, number, wanted = _real(inputs.root.folder(name.rstrip("/"))), 0, inputs.wanted or Wanted()
    depth = None if wanted.depth is None else wanted.depth - name.count("/")
    found = (path for path in images_below(folder, depth) if wanted.takes(name + path))
    while some := list(islice(found, _TOGETHER)):
        keys = [{*_keys(folder.shown(path), written)} for path in some]
        known = manifest.known({key for of_one in keys for key in of_one}).keys()
        number += sum(not of_one & known for of_one in keys)
    return number


def _keys(place: str, written: _Written) -> Iterator[str]:
    """What runs call a file, as far as it lies in their folders."""
    for kind, folder in written:
        name = folder.relative(place)
        if name is not None:
            yield f"{kind}/{name}"


def _real(folder: Folder) -> Folder:
    """The folder by its path without links."""
    return LocalFolder(folder.path.resolve()) if isinstance(folder, LocalFolder) else folder


# Pictures that images which are done lack: somebody has deleted them, or the review page is wanted later.


def restore_pictures(job: AnnotateJob, root: Folder, manifest: Manifest, about: About, files: FileTally) -> None:
    """Make them again from what was found; an image that is gone meanwhile goes without.

    Raises:
        SinkError: the folder or disk does not take it.
        SourceError: it cannot be found out what is there.
    """
    folders = job.folders()
    own = OwnFiles(manifest, folders, once=True)
    with picture_outputs(job, about.labels, folders, manifest, manifest.holds) as pictures:
        for record in _lacking(job, manifest, own):
            with suppress(SourceError):
                frame = read_picture(root, record.name, job.max_pixels).frame(record.name)
                outcome = pictures.write(frame, record.found)
                files.take(own, outcome)
                if outcome.reason is None:
                    manifest.add_files(record.name, outcome.files)
                else:
                    manifest.record(outcome)


def _lacking(job: AnnotateJob, manifest: Manifest, own: OwnFiles) -> Iterator[ImageRecord]:
    """The images that a picture is missing of."""
    records = iter(manifest)
    while some := list(islice(records, _TOGETHER)):
        files = {record.name: _files(job, manifest, record.name) for record in some}
        missing = {look.key for look in own.look(key for keys in files.values() for key in keys) if not look.found.kind}
        yield from (record for record in some if missing.intersection(files[record.name]))


def _files(job: AnnotateJob, manifest: Manifest, name: str) -> list[str]:
    return manifest.files_of(name) + ([f"review/{thumbnail_path(name)}"] if job.review else [])
