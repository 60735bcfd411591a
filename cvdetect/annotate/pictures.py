"""Pictures that a run writes beside its annotations: annotated copies, crops, and the review page's thumbnails.

Each has a folder of its own, in which the inputs' tree is mirrored so that no two images share a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from cvdetect.annotations.naming import place
from cvdetect.detections import Detections
from cvdetect.errors import SinkError
from cvdetect.files import check_writable
from cvdetect.frame import Frame
from cvdetect.labels import LabelSet
from cvdetect.sinks.draw import crop
from cvdetect.sinks.pictures import shrink, write_picture
from cvdetect.sinks.render import Renderer

__all__ = ["PictureOutputs", "copy_name", "remove_files", "scratch_of", "thumbnail_path"]

# What OpenCV writes in colour; copies of other pictures are PNGs.
_WRITABLE = frozenset(".bmp .dib .jpe .jpeg .jpg .png .ppm .tif .tiff .webp".split())
_THUMBNAIL = 480  # pixels along the longer side
_THUMBNAIL_QUALITY = 80


def scratch_of(folder: Path) -> Path:
    """Where pictures lie until they are whole: what a killed run leaves there is swept away by the next."""
    return folder / ".cvdetect-unfinished"


def thumbnail_path(name: str) -> str:
    """An image's thumbnail, relative to the review page's folder."""
    return f"thumbs/{name}.jpg"


def copy_name(name: str, taken: Callable[[str], bool]) -> str:
    """An image's annotated copy, relative to the folder of copies: a name that OpenCV writes and no input has."""
    if Path(name).suffix.lower() in _WRITABLE:
        return name
    name += ".png"
    while taken(name):
        name += ".png"
    return name


class PictureOutputs:
    """Writes an image's pictures. A context manager that leaves no unfinished ones.

    Args:
        folders: "draw", "crops" and "review" → the folder of each that is wanted.
        taken: whether a relative path is that of an input, so that a copy of another name must not have it.
        blurs: whether `renderer` pixelates anything.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        labels: LabelSet,
        renderer: Renderer,
        taken: Callable[[str], bool],
        blurs: bool = False,
    ) -> None:
        self._folders = folders
        self._labels = labels
        self._renderer = renderer
        self._taken = taken
        self._blurs = blurs
        self._makers = {"draw": self._draw, "crops": self._crops, "review": self._thumbnail}

    def __enter__(self) -> PictureOutputs:
        self._sweep()
        for folder in self._folders.values():
            check_writable(scratch_of(folder) / "x")
        return self

    def __exit__(self, *_: object) -> None:
        self._sweep()

    def _sweep(self) -> None:
        for folder in self._folders.values():
            shutil.rmtree(scratch_of(folder), ignore_errors=True)

    def write(self, frame: Frame, found: Detections) -> tuple[str, ...]:
        """Write the pictures of one image → what was written, as ``<kind>/<relative path>``.

        Raises:
            SinkError: the folder or disk does not take it.
        """
        return tuple(f"{kind}/{path}" for kind in self._folders for path in self._makers[kind](frame, found))

    def _draw(self, frame: Frame, found: Detections) -> Iterator[str]:
        path = copy_name(frame.name, self._taken)
        folder = self._folders["draw"]
        write_picture(place(folder, path), self._renderer.drawn(frame, found), scratch_of(folder))
        yield path

    def _crops(self, frame: Frame, found: Detections) -> Iterator[str]:
        folder = self._folders["crops"]
        picture = self._renderer.clean(frame, found)
        for number, (box, class_id) in enumerate(zip(found.xyxy, found.class_id, strict=True), start=1):
            label = self._labels.label(int(class_id)).replace("/", "_").lstrip(".") or f"class_{class_id}"
            path = f"{label}/{frame.name}_{number}.jpg"
            write_picture(place(folder, path), crop(picture, box), scratch_of(folder))
            yield path

    def _thumbnail(self, frame: Frame, found: Detections) -> Iterator[str]:
        folder = self._folders["review"]
        picture = self._renderer.clean(frame, found) if self._blurs else frame.image
        path = thumbnail_path(frame.name)
        write_picture(place(folder, path), shrink(picture, _THUMBNAIL), scratch_of(folder), _THUMBNAIL_QUALITY)
        yield path


def remove_files(files: Iterable[str], folders: Mapping[str, Path]) -> None:
    """Delete pictures that `PictureOutputs.write` has named, and the folders that are empty then.

    Raises:
        SinkError: one cannot be deleted.
    """
    for file in files:
        kind, _, relative = file.partition("/")
        if kind in folders:
            remove_file(place(folders[kind], relative), folders[kind])


def remove_file(path: Path, root: Path) -> None:
    """Delete a file, and its folders up to `root` as far as they are empty then.

    Raises:
        SinkError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"{path}: cannot be deleted: {error.strerror or error}") from error
    for folder in path.parents:
        if folder == root or not _removed(folder):
            break


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:  # not empty
        return False
    return True
