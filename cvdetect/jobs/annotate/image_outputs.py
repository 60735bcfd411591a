"""Images that a run writes beside its annotations: annotated copies, crops, and the review page's thumbnails.

Each kind has a folder of its own, which mirrors the tree of the inputs, so that no two images share a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cvdetect.core.detections import Detections
from cvdetect.core.errors import Occupied, UnwritableName
from cvdetect.core.frame import Frame, Image, Kept
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile
from cvdetect.jobs.annotate.ownership import FileRows, InspectedFile, OwnFiles, row_of
from cvdetect.jobs.annotate.review import thumbnail_path
from cvdetect.sinks.draw import crop
from cvdetect.sinks.images import JPEG_SUFFIXES, encode_image, folder_name, shrink
from cvdetect.sinks.render import Renderer, blurred_classes
from cvdetect.storage import ABSENT, Folder

__all__ = ["EncodedImage", "ImageOutputs", "copy_name", "why_unwritable"]

# What OpenCV writes in colour; copies of other images are PNGs.
_WRITABLE = frozenset((*JPEG_SUFFIXES, *".bmp .dib .png .ppm .tif .tiff .webp".split()))
_NOUNS = {"draw": "annotated copy", "crops": "crop", "review": "thumbnail"}
_QUALITY = 95
_THUMBNAIL = 480  # pixels along the longer side
_THUMBNAIL_QUALITY = 80


def copy_name(name: str, taken: Callable[[str], bool]) -> str:
    """An image's annotated copy, relative to the folder of copies: a name that OpenCV can write and no input has."""
    if PurePosixPath(name).suffix.lower() in _WRITABLE:
        return name
    name += ".png"
    while taken(name):
        name += ".png"
    return name


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file that is to be written: its kind, its path in that kind's folder, its bytes."""

    kind: str
    path: str
    data: bytes


class ImageOutputs:
    """Writes an image's annotated copy, crops and thumbnail. A context manager that leaves no unfinished files.

    Args:
        folders: "draw", "crops" and "review" → the folder of each that is wanted.
        rows: what is known of files in these folders.
        taken: whether an input has a relative path, so that the copy of another input must not have it.
    """

    def __init__(
        self,
        folders: Mapping[str, Folder],
        labels: LabelSet,
        renderer: Renderer,
        rows: FileRows,
        taken: Callable[[str], bool],
    ) -> None:
        self.folders = folders
        self._rows = rows
        self._own = OwnFiles(rows, folders)
        self._labels = labels
        self._renderer = renderer
        self._taken = taken
        self._makers = {"draw": self._draw, "crops": self._crops, "review": self._thumbnail}

    @classmethod
    def for_job(cls, job: AnnotateJob, labels: LabelSet, rows: FileRows, taken: Callable[[str], bool]) -> ImageOutputs:
        """Those that `job` wants.

        Raises:
            UsageError: a class to pixelate is not among the labels.
        """
        renderer = Renderer(labels, job.style, blurred_classes(job.blur, labels))
        return cls(job.folders(), labels, renderer, rows, taken)

    def __enter__(self) -> ImageOutputs:
        for folder in self.folders.values():
            folder.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self.folders.values():
            folder.sweep()

    def write(self, frame: Frame, found: Detections) -> Outcome:
        """Write the files of one image → what is to be recorded of it. A name that its folder does not take fails the
        image.

        Raises:
            SinkError: the folder or disk does not take it.
        """
        return self.put(Outcome(frame.name, frame.wh, found), self.encode(frame, found))

    def encode(self, frame: Frame, found: Detections) -> list[EncodedImage]:
        """The files of one image, ready to be written. For one thread at a time."""
        return [
            EncodedImage(kind, path, encode_image(PurePosixPath(path), image, quality, _kept(kind, frame)))
            for kind in self.folders
            for path, image, quality in self._makers[kind](frame, found)
        ]

    def put(self, outcome: Outcome, images: Iterable[EncodedImage]) -> Outcome:
        """The second half of `write`, for any number of threads. Where a name cannot be written, no new file of the
        image stays. A file that a user edited is kept.

        Raises:
            SinkError: the folder or disk does not take it.
        """
        if not self.folders:
            return outcome
        encoded = {f"{image.kind}/{image.path}": image for image in images}
        rows = {key: row_of(key, image.data, self.folders[image.kind].remote) for key, image in encoded.items()}
        inspected = {file.key: file for file in self._own.inspect(self._rows.known(encoded))}
        kept = tuple(key for key, file in inspected.items() if file.edited)
        self._rows.log_images(outcome.name, [row for key, row in rows.items() if key not in kept])
        written: list[WrittenFile] = []
        for key, image in encoded.items():
            if key in kept:
                continue
            try:
                written.append(self._write(image, rows[key], inspected.get(key)))
            except UnwritableName as error:
                deque(self._own.remove([row.key for row in written]), 0)
                return Outcome(
                    outcome.name, reason=f"its {_NOUNS[image.kind]} cannot be written: {why_unwritable(error)}"
                )
        replaced = tuple(key for key, file in inspected.items() if file.claimed)
        return replace(outcome, files=tuple(written), kept=kept, replaced=replaced)

    def _write(self, image: EncodedImage, row: WrittenFile, file: InspectedFile | None) -> WrittenFile:
        """Write a file unless it is there already → its row with its stamp.

        A run that is killed may leave files that no row names (`FileRows.log_images`): those are known by content.
        """
        folder = self.folders[image.kind]
        if file is not None and file.own is not None and file.own.digest == row.digest:
            return file.own
        try:
            state = folder.write(image.path, image.data, file.found if file else ABSENT)
        except Occupied:
            (found,) = folder.find([image.path])
            if found.kind != "file" or found.size != row.size or folder.digest(image.path) != row.digest:
                raise
            return replace(row, stamp=found.stamp)
        return replace(row, stamp=state.stamp)

    def _draw(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        yield copy_name(frame.name, self._taken), self._renderer.drawn(frame, found), _QUALITY

    def _crops(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        image = self._renderer.clean(frame, found)
        for number, (box, class_id) in enumerate(zip(found.xyxy, found.class_id, strict=True), start=1):
            label = folder_name(self._labels.label(int(class_id)), int(class_id))
            yield f"{label}/{frame.name}_{number}.jpg", crop(image, box), _QUALITY

    def _thumbnail(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        image = shrink(self._renderer.clean(frame, found), _THUMBNAIL)
        yield thumbnail_path(frame.name), image, _THUMBNAIL_QUALITY


def _kept(kind: str, frame: Frame) -> Kept:
    """A copy keeps all metadata that is harmless; a crop and a thumbnail keep the colour profile."""
    return frame.kept if kind == "draw" else Kept(frame.kept.icc)


def why_unwritable(error: UnwritableName) -> str:
    """The reason alone, without the path."""
    return str(error).rpartition(": cannot be written: ")[2]
