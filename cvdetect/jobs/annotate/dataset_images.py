"""Links to the images or copies of them beside their labels, so that OUT is a whole data set."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from cvdetect.annotations.formats import FORMATS, list_formats
from cvdetect.annotations.types import ImagePlace
from cvdetect.annotations.writing import output_stems, placed_name
from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, UnwritableName, UsageError
from cvdetect.core.files import not_written, safe_join
from cvdetect.jobs.annotate.image_outputs import why_unwritable
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.storage import Folder, LocalFolder

__all__ = ["check_images", "export_folders", "image_paths", "image_place", "stage_images"]


def export_folders(job: AnnotateJob) -> dict[str, str]:
    """Each format → the folder of its files, relative to `out`."""
    return {name: "" if len(job.formats) == 1 else name for name in job.formats}


def check_images(job: AnnotateJob, root: Folder) -> None:
    """Raise UsageError where the images of `root` cannot be linked or copied as `job` wants it."""
    if not (job.link_images or job.copy_images):
        return
    option = arg("link_images" if job.link_images else "copy_images")
    if job.link_images and job.copy_images:
        raise UsageError(f"{arg('link_images')} and {arg('copy_images')} contradict each other: give one")
    if not _image_folders(job):
        raise UsageError(f"{option}: goes with {arg('formats')} {list_formats(with_images=True)}")
    if job.blur:
        raise UsageError(
            f"{option}: would put in the images without {arg('blur')}; {arg('draw')} writes blurred copies"
        )
    out = job.out_folder
    for name, folder in _image_folders(job):
        if image_place(job, name, root) == "placed" and (root.within(out.folder(folder)) or _same(root, out)):
            raise UsageError(
                f"{option}: {out.folder(folder)} would lie among the images of {root}: give another {arg('out')}"
            )
        for kind, other in job.folders().items():
            if other.within(out.folder(folder)) or out.folder(folder).within(other):
                raise UsageError(f"{arg(kind)} {other}: goes with {option} only outside of {out.folder(folder)}")
    if job.link_images and not (isinstance(root, LocalFolder) and isinstance(job.out_folder, LocalFolder)):
        raise UsageError(f"{arg('link_images')}: there are no links in a store; give {arg('copy_images', True)}")


def _same(one: Folder, other: Folder) -> bool:
    return one.within(other) and other.within(one)


def image_place(job: AnnotateJob, format_name: str, root: Folder) -> ImagePlace:
    """Where the images are, for a format's data set."""
    folder = dict(_image_folders(job)).get(format_name)
    if folder is None:
        return "elsewhere"
    out = job.out_folder
    # Readers find labels by the path of images after links are followed, so a link to the images counts as elsewhere.
    if isinstance(root, LocalFolder) and isinstance(out, LocalFolder) and _lies_at(root.path, out.path, folder):
        return "there"
    return "placed" if job.link_images or job.copy_images else "elsewhere"


def _lies_at(images: Path, out: Path, folder: str) -> bool:
    return images.resolve() == out.resolve() / folder


def image_paths(job: AnnotateJob, root: Folder, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name of each image, and its path in `out`, for every format whose data set is to hold it."""
    wanted = [folder for name, folder in _image_folders(job) if image_place(job, name, root) == "placed"]
    stems = output_stems(names) if wanted else {}
    for folder in wanted:
        yield from ((name, f"{folder}/{placed_name(name, stem)}") for name, stem in stems.items())


def stage_images(job: AnnotateJob, root: Folder, names: Iterable[str], staging: Path) -> dict[str, str]:
    """Link or copy every image into `staging`, from where `export` moves it to the same path in `out`.

    Links are hard ones where the disk takes them: datumaro refuses symbolic ones that lead out of the data set, and
    archives and containers lose their targets.

    Returns:
        Name of an image → why it is not there; all others are.

    Raises:
        SinkError: the disk does not take it.
    """
    missing: dict[str, str] = {}
    for name, path in image_paths(job, root, names):
        staged = safe_join(staging, path)
        try:
            staged.parent.mkdir(parents=True, exist_ok=True)
            _stage(job, root, name, path, staged)
        except SourceError as error:
            missing[name] = f"cannot be put into the data set: {str(error).removeprefix(f'{root.shown(name)}: ')}"
        except OSError as error:
            failure = not_written(staged, error)
            if not isinstance(failure, UnwritableName):
                raise failure from error
            missing[name] = f"cannot be put into the data set: {why_unwritable(failure)}"
    return missing


def _stage(job: AnnotateJob, root: Folder, name: str, path: str, staged: Path) -> None:
    out = job.out_folder
    if not isinstance(root, LocalFolder):
        staged.write_bytes(root.read(name))
        return
    source = root.path / name
    try:
        source = source.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(out, LocalFolder):
        staged.symlink_to(source)  # it is followed when the file is sent
    else:
        _stage_on_disk(source, staged, out.path / path, job.link_images)


def _stage_on_disk(source: Path, staged: Path, target: Path, link: bool) -> None:
    """Stage one image. An earlier copy that is still true stays; where a copy is to become a link, or the reverse, it
    is deleted first.

    Where the image itself has become a link to its earlier copy, that copy is all there is of it, and stays.
    """
    if source == target.parent.resolve() / target.name:
        _link(source, staged, target)
        return
    if _is_copy(target, source):
        if not link:
            staged.hardlink_to(target)
            return
        target.unlink()
    elif not link and _is_hard_link(target, source):
        target.unlink()
    if link:
        _link(source, staged, target)
    else:
        _copy(source, staged)


def _is_hard_link(target: Path, source: Path) -> bool:
    return target.exists() and target.samefile(source) and not target.is_symlink()


def _link(source: Path, staged: Path, target: Path) -> None:
    try:
        staged.hardlink_to(source)
    except OSError:  # another disk, or a file that another user owns
        staged.symlink_to(os.path.relpath(source, target.parent.resolve()))


def _is_copy(target: Path, source: Path) -> bool:
    """Whether a file is an earlier copy of `source`, and not a link to it."""
    try:
        own, status = target.lstat(), source.stat()
    except OSError:
        return False
    same = (own.st_size, own.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    return same and stat.S_ISREG(own.st_mode) and (own.st_dev, own.st_ino) != (status.st_dev, status.st_ino)


def _copy(source: Path, staged: Path) -> None:
    """Copy content and modification time, by which `_is_copy` recognises it."""
    try:
        stream = source.open("rb")
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from error
    with stream, staged.open("wb") as copied:
        shutil.copyfileobj(stream, copied, 1 << 20)
    status = source.stat()
    os.utime(staged, ns=(status.st_atime_ns, status.st_mtime_ns))


def _image_folders(job: AnnotateJob) -> list[tuple[str, str]]:
    """Each format that has a folder for images, and that folder relative to `out`."""
    own = ((name, folder, FORMATS[name].images) for name, folder in export_folders(job).items())
    return [(name, posixpath.join(folder, images)) for name, folder, images in own if images is not None]
