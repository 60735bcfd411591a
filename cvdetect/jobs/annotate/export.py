"""From the manifest to annotation files.

All are written into a folder of their own, then moved to their places one by one: each is whole or not there, and
nothing in them depends on when or in which order the images were done. What a user has in such a place stays there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from html import escape
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import IO
from urllib.parse import quote

from cvdetect.annotations.formats import FORMATS
from cvdetect.annotations.types import ExportInfo, ImageRecord, Records
from cvdetect.core.errors import Occupied, UnwritableName
from cvdetect.core.files import whole_file
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line
from cvdetect.jobs.annotate.images import thumbnail_path, why_unfit
from cvdetect.jobs.annotate.job import About, AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Written
from cvdetect.jobs.annotate.own import FileTally, Look, Originals, OwnFiles, refusal, rows_of_files
from cvdetect.jobs.annotate.placing import export_folders, image_paths, image_place, stage_images
from cvdetect.sinks.draw import class_colour
from cvdetect.storage import Folder

__all__ = ["FAILURES", "export", "write_files", "write_review"]


FAILURES = "failures.jsonl"
_PAGE = "review/index.html"
_TOGETHER = 2000  # files that are looked at, logged and moved together


def export(job: AnnotateJob, manifest: Manifest, about: About, root: Folder, files: FileTally) -> None:
    """Write every format, the review page, and the list of failures, and put the images to them where that is wanted;
    delete what earlier exports had besides.

    Args:
        root: the folder of the images.
        files: takes how it went.

    Raises:
        UsageError: a file for all images has been edited or made by somebody meanwhile; nothing is written.
        SinkError: the folder or disk does not take it.
    """
    staging = manifest.path.parent / "export"  # where OUT is local, on its disk
    shutil.rmtree(staging, ignore_errors=True)
    try:
        shared = _write(job, manifest, about, root, staging, files.unfit)
        _PutDown(manifest, staging, job.out_folder, Originals(job, root, manifest), files).run(shared)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(
    job: AnnotateJob, manifest: Manifest, about: About, root: Folder, staging: Path, unfit: dict[str, str]
) -> set[str]:
    """Write into `staging` → the files that belong to all images."""
    shared: set[str] = set()

    def opens(path: Path, image: str | None) -> AbstractContextManager[IO[str]]:
        if image is None:
            shared.add(_below(staging, path))
        return whole_file(path)

    def told(image: str, error: UnwritableName) -> None:
        unfit.setdefault(image, f"its label file cannot be written: {why_unfit(error)}")

    facts = ExportInfo(model=about.model, ran=about.ran, yolo_conf=bool(job.yolo_conf), opens=opens, unfit=told)
    for name, folder in export_folders(job).items():
        placed = replace(facts, images=image_place(job, name, root))
        FORMATS[name].write(staging / folder, manifest, about.labels, placed)
    unfit |= stage_images(job, root, manifest.names(), staging)
    if job.review:
        shared.add(_PAGE)
        write_review(staging / _PAGE, manifest, about)
    if unfit or manifest.counts().failed:
        shared.add(FAILURES)
        _write_failures(staging / FAILURES, manifest.failures(), unfit)
    return shared


def write_files(
    job: AnnotateJob,
    root: Folder,
    records: Records,
    labels: LabelSet,
    folder: Path,
    take: Callable[[str, str | None], None],
) -> None:
    """Call `take` with each file that `_write` may write, relative to OUT, and the image it belongs to (None: to all).

    Args:
        root: the folder of the images.
        folder: an empty one, for what writers spool.
    """
    with Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere:

        def opens(path: Path, image: str | None) -> AbstractContextManager[IO[str]]:
            take(_below(folder, path), image)
            return nullcontext(nowhere)

        facts = ExportInfo(model="", yolo_conf=bool(job.yolo_conf), opens=opens)
        for name, sub in export_folders(job).items():
            FORMATS[name].write(folder / sub, records, labels, replace(facts, images=image_place(job, name, root)))
    if job.review:
        take(_PAGE, None)
    take(FAILURES, None)
    for image, path in image_paths(job, root, records.names()):
        take(path, image)


def _below(folder: Path, path: Path) -> str:
    """As `relative_to`, in half the time: this is asked for each image and format."""
    return path.as_posix().removeprefix(f"{folder.as_posix()}/")


def _write_failures(path: Path, failures: Iterable[tuple[str, str]], unfit: Mapping[str, str]) -> None:
    with whole_file(path) as stream:
        for some in (failures, unfit.items()):
            stream.writelines(as_line({"source": name, "error": reason}) + "\n" for name, reason in some)


class _PutDown:
    """Moves the files of `staging` into `out`; each has its row in the manifest before it has its place."""

    def __init__(self, manifest: Manifest, staging: Path, out: Folder, originals: Originals, files: FileTally) -> None:
        self._manifest = manifest
        self._staging = staging
        self._out = out
        self._originals = originals
        self._own = OwnFiles(manifest, {"out": out}, once=True)
        self._tally = files
        self._number = manifest.next_export()
        self._alike: list[Written] = []  # what lies there already, though no row was true of it

    def run(self, shared: set[str]) -> None:
        """Move all, delete what is stale, and try once more what that was in the way of.

        Raises:
            UsageError: a user's file lies in the place of one of the `shared`; nothing has been moved.
            UnwritableName: a folder of the user's own, or a file, has a file's name; all others are in their places.
        """
        self._check(shared)
        unfit: dict[str, UnwritableName] = {}
        names = _files(self._staging)
        while some := list(islice(names, _TOGETHER)):
            unfit |= self._move(some)
        for key in self._own.remove(self._stale()):
            self._tally.edited.add(key, self._own.shown(key))
            self._manifest.keep([key], self._number)
        unfit = self._move(list(unfit)) if unfit else unfit  # where the stale ones were in the way
        if unfit:
            raise next(iter(unfit.values()))
        self._manifest.end_export(self._number)

    def _stale(self) -> Iterator[str]:
        """What earlier exports have besides; a copy that is all that is left of an image has become the user's."""
        for key in self._manifest.stale(self._number):
            if self._originals.at(self._out, key.partition("/")[2]) is None:
                yield key
            else:
                self._manifest.disown([key])
                self._tally.originals.add(key, self._own.shown(key))

    def _check(self, shared: set[str]) -> None:
        looks = [look for look in self._own.look(f"out/{path}" for path in sorted(shared)) if not look.free]
        if looks:
            raise refusal(self._out, [(self._own.shown(look.key), look) for look in looks])

    def _move(self, names: list[str]) -> dict[str, UnwritableName]:
        """Move the files that may be moved → those whose names are not taken."""
        looks = {look.key.partition("/")[2]: look for look in self._own.look(f"out/{name}" for name in names)}
        rows = rows_of_files(self._staging, names, self._out.remote)
        moving = {name: look for name, look in looks.items() if self._may_move(look, rows[name])}
        self._manifest.keep((look.key for name, look in looks.items() if name not in moving), self._number)
        self._manifest.log([*self._alike, *(rows[name] for name in moving)], self._number)
        self._alike.clear()
        unfit = self._out.move_in(self._staging, {name: look.found for name, look in moving.items()})
        for name, look in moving.items():
            if isinstance(unfit.get(name), Occupied):
                self._tally.occupied.add(look.key, self._own.shown(look.key))
            elif name not in unfit and look.own is not None and not look.own.digest:
                self._tally.replaced.add(look.key, self._own.shown(look.key))
        return {name: error for name, error in unfit.items() if not isinstance(error, Occupied)}

    def _may_move(self, look: Look, row: Written) -> bool:
        """Whether the new file gets its place; it does not where it is there already, or a user's."""
        if look.free:
            return look.own is None or look.own.digest != row.digest
        if look.found.kind in ("folder", "blocked"):
            return True  # which will say why not
        shown = self._own.shown(look.key)
        if look.found.size == row.size and self._out.digest(look.key.partition("/")[2]) == row.digest:
            self._alike.append(replace(row, stamp=look.found.stamp))
            self._tally.edited.discard(look.key, shown)
        else:
            (self._tally.edited if look.edited else self._tally.occupied).add(look.key, shown)
        return False


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path relative to it, with forward slashes."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)


# The review page: one HTML file to look through what was found, with thumbnails beside it; no server, no network.
#
# The data lie in the page as JSON, an image a line, and the page's own script shows 60 images at a time, so that it
# opens with a hundred thousand images too.


def write_review(path: Path, records: Records, about: About) -> None:
    """Write the page of all `records`; their thumbnails lie where `thumbnail_path` says, relative to the page.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    template = (files("cvdetect.jobs.annotate") / "page.html").read_text(encoding="utf-8")
    before, after = template.replace("{{model}}", escape(about.model)).split("{{data}}")
    for part in ("page.css", "page.js"):
        text = (files("cvdetect.jobs.annotate") / part).read_text(encoding="utf-8")
        before, after = before.replace(f"{{{{{part}}}}}", text), after.replace(f"{{{{{part}}}}}", text)
    with whole_file(path) as stream:
        stream.write(before)
        stream.writelines(_data(records, about))
        stream.write(after)


def _data(records: Records, about: About) -> Iterator[str]:
    """``images``: a list of name, thumbnail, width, height, and class, score, x1, y1, x2, y2 of all detections in one
    list; ``classes``: label and colour of each, numbered as they come.
    """
    classes: dict[int, int] = {}
    yield '{"images":['
    for number, record in enumerate(records):
        yield (",\n" if number else "\n") + _json(_image(record, classes))
    yield '\n],"classes":' + _json([[about.labels.label(class_id), _css(class_id)] for class_id in classes]) + "}"


def _image(record: ImageRecord, classes: dict[int, int]) -> list[object]:
    found = record.found
    flat: list[float] = []
    for box, class_id, score in zip(found.xyxy, found.class_id, found.score, strict=True):
        number = classes.setdefault(int(class_id), len(classes))
        flat += [number, round(float(score), 4), *(round(float(v), 1) for v in box)]
    shown = record.name.encode("utf-8", "backslashreplace").decode("utf-8")  # a name may be no UTF-8
    return [shown, quote(thumbnail_path(record.name), errors="surrogateescape"), *record.wh, flat]


def _json(value: object) -> str:
    """JSON without ``<``, so that nothing in a name can end the script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _css(class_id: int) -> str:
    blue, green, red = class_colour(class_id)
    return f"#{red:02x}{green:02x}{blue:02x}"
