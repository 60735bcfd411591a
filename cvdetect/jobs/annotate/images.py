"""Pictures that a run writes beside its annotations: annotated copies, crops, and the review page's thumbnails.

Each has a folder of its own, in which the inputs' tree is mirrored so that no two images share a file.
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
from cvdetect.jobs.annotate.manifest.outcome import Outcome, Written
from cvdetect.jobs.annotate.own import Look, OwnFiles, Rows, row_of
from cvdetect.sinks.draw import crop
from cvdetect.sinks.images import JPEG_SUFFIXES, encode_image, folder_name, shrink
from cvdetect.sinks.render import Renderer
from cvdetect.storage import ABSENT, Folder

__all__ = ["Made", "PictureOutputs", "copy_name", "thumbnail_path", "why_unfit"]

# What OpenCV writes in colour; copies of other pictures are PNGs.
_WRITABLE = frozenset((*JPEG_SUFFIXES, *".bmp .dib .png .ppm .tif .tiff .webp".split()))
_TOLD = {"draw": "annotated copy", "crops": "crop", "review": "thumbnail"}
_QUALITY = 95
_THUMBNAIL = 480  # pixels along the longer side
_THUMBNAIL_QUALITY = 80


def thumbnail_path(name: str) -> str:
    """An image's thumbnail, relative to the review page's folder."""
    return f"thumbs/{name}.jpg"


def copy_name(name: str, taken: Callable[[str], bool]) -> str:
    """An image's annotated copy, relative to the folder of copies: a name that OpenCV writes and no input has."""
    if PurePosixPath(name).suffix.lower() in _WRITABLE:
        return name
    name += ".png"
    while taken(name):
        name += ".png"
    return name


@dataclass(frozen=True, slots=True)
class Made:
    """A picture file that is to be written: its kind, its path in that kind's folder, its bytes."""

    kind: str
    path: str
    data: bytes


class PictureOutputs:
    """Writes an image's pictures. A context manager that leaves no unfinished ones.

    Args:
        folders: "draw", "crops" and "review" → the folder of each that is wanted.
        rows: what is known of pictures that lie in the folders.
        taken: whether a relative path is that of an input, so that a copy of another name must not have it.
        blurs: whether `renderer` pixelates anything.
    """

    def __init__(
        self,
        folders: Mapping[str, Folder],
        labels: LabelSet,
        renderer: Renderer,
        rows: Rows,
        taken: Callable[[str], bool],
        blurs: bool = False,
    ) -> None:
        self.folders = folders
        self._rows = rows
        self._own = OwnFiles(rows, folders)
        self._labels = labels
        self._renderer = renderer
        self._taken = taken
        self._blurs = blurs
        self._makers = {"draw": self._draw, "crops": self._crops, "review": self._thumbnail}

    def __enter__(self) -> PictureOutputs:
        for folder in self.folders.values():
            folder.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self.folders.values():
            folder.sweep()

    def write(self, frame: Frame, found: Detections) -> Outcome:
        """Write the pictures of one image → what is to be recorded of it; a name that its folder does not take fails
        the image.

        Raises:
            SinkError: the folder or disk does not take it.
        """
        return self.put(Outcome(frame.name, frame.wh, found), self.make(frame, found))

    def make(self, frame: Frame, found: Detections) -> list[Made]:
        """The pictures of one image, ready to be written. For one thread at a time."""
        return [
            Made(kind, path, encode_image(PurePosixPath(path), image, quality, _kept(kind, frame)))
            for kind in self.folders
            for path, image, quality in self._makers[kind](frame, found)
        ]

    def put(self, outcome: Outcome, pictures: Iterable[Made]) -> Outcome:
        """The second half of `write`, for any number of threads; where a name is unfit, no new picture of the image
        stays. One that a user has edited is kept.

        Raises:
            SinkError: the folder or disk does not take it.
        """
        if not self.folders:
            return outcome
        made = {f"{picture.kind}/{picture.path}": picture for picture in pictures}
        rows = {key: row_of(key, picture.data, self.folders[picture.kind].remote) for key, picture in made.items()}
        looks = {look.key: look for look in self._own.look(self._rows.known(made))}
        kept = tuple(key for key, look in looks.items() if look.edited)
        self._rows.log_pictures(outcome.name, [row for key, row in rows.items() if key not in kept])
        written: list[Written] = []
        for key, picture in made.items():
            if key in kept:
                continue
            try:
                written.append(self._place(picture, rows[key], looks.get(key)))
            except UnwritableName as error:
                deque(self._own.remove([row.key for row in written]), 0)
                return Outcome(outcome.name, reason=f"its {_TOLD[picture.kind]} cannot be written: {why_unfit(error)}")
        replaced = tuple(key for key, look in looks.items() if look.own is not None and not look.own.digest)
        return replace(outcome, files=tuple(written), kept=kept, replaced=replaced)

    def _place(self, picture: Made, row: Written, look: Look | None) -> Written:
        """Write a picture unless it is there already → its row with its stamp.

        A run that is killed may leave pictures that no row names (`Rows.log_pictures`): those are known by content.
        """
        folder = self.folders[picture.kind]
        if look is not None and look.own is not None and look.own.digest == row.digest:
            return look.own
        try:
            state = folder.write(picture.path, picture.data, look.found if look else ABSENT)
        except Occupied:
            (found,) = folder.find([picture.path])
            if found.kind != "file" or found.size != row.size or folder.digest(picture.path) != row.digest:
                raise
            return replace(row, stamp=found.stamp)
        return replace(row, stamp=state.stamp)

    def _draw(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        yield copy_name(frame.name, self._taken), self._renderer.drawn(frame, found), _QUALITY

    def _crops(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        picture = self._renderer.clean(frame, found)
        for number, (box, class_id) in enumerate(zip(found.xyxy, found.class_id, strict=True), start=1):
            label = folder_name(self._labels.label(int(class_id)), int(class_id))
            yield f"{label}/{frame.name}_{number}.jpg", crop(picture, box), _QUALITY

    def _thumbnail(self, frame: Frame, found: Detections) -> Iterator[tuple[str, Image, int]]:
        picture = self._renderer.clean(frame, found) if self._blurs else frame.image
        yield thumbnail_path(frame.name), shrink(picture, _THUMBNAIL), _THUMBNAIL_QUALITY


def _kept(kind: str, frame: Frame) -> Kept:
    """A copy keeps all that is harmless, a part of an image its colours, a thumbnail the same."""
    return frame.kept if kind == "draw" else Kept(frame.kept.icc)


def why_unfit(error: UnwritableName) -> str:
    """Why, without the place."""
    return str(error).rpartition(": cannot be written: ")[2]
