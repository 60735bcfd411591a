"""What annotation files hold whatever their format, and what a format is: a writer and, where that serves, a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol

from cvdetect.core.errors import UnwritableName
from cvdetect.core.files import whole_file
from cvdetect.core.labels import LabelSet

if TYPE_CHECKING:  # help lists the formats: NumPy would make it twice as slow
    import numpy as np
    from numpy.typing import NDArray

    from cvdetect.core.detections import Detections

__all__ = [
    "AnnotationFormat",
    "ExportInfo",
    "GroundTruth",
    "GroundTruthReader",
    "ImagePlace",
    "ImageRecord",
    "Match",
    "Records",
    "Results",
    "SizeOf",
    "TruthImage",
]


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """The detections of one image.

    Attributes:
        name: path of the image relative to the annotated folder, with forward slashes.
        wh: the upright image's width and height in pixels.
        found: detections in its pixels, best first.
    """

    name: str
    wh: tuple[int, int]
    found: Detections


class Records(Protocol):
    """All annotated images in natural order of their names, one record at a time; can be iterated repeatedly."""

    def names(self) -> Iterator[str]:
        """The names alone."""

    def __iter__(self) -> Iterator[ImageRecord]:
        """One record after another."""


# Where a data set's images lie: put into its own folder for them, in that folder from the beginning, or elsewhere
ImagePlace = Literal["placed", "there", "elsewhere"]


def _open_whole(path: Path, _image: str | None) -> AbstractContextManager[IO[str]]:
    return whole_file(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInfo:
    """What annotation files state of the run beside its detections. No dates: the same run gives the same bytes.

    Attributes:
        model: the model's name.
        ran: what ran the network, for JSON Lines.
        images: where the images are, for formats that have a folder for them (`AnnotationFormat.images`).
        yolo_conf: write the score as a sixth column of YOLO's label files.
        opens: opens each file to be written, given its path and the image it belongs to (None: to all), as `whole_file`
            does. A dry run replaces it to learn which files a writer would write.
        unfit: called with an image whose own file has a name that the disk does not take; the other images' files are
            written. None: that is an error.
    """

    model: str
    ran: Mapping[str, str] = field(default_factory=dict)
    images: ImagePlace = "elsewhere"
    yolo_conf: bool = False
    opens: Callable[[Path, str | None], AbstractContextManager[IO[str]]] = _open_whole
    unfit: Callable[[str, UnwritableName], None] | None = None

    def file(self, path: Path) -> AbstractContextManager[IO[str]]:
        """A file that belongs to all images, to be written as from `whole_file`."""
        return self.opens(path, None)

    @contextmanager
    def file_of(self, image: str, path: Path) -> Iterator[IO[str]]:
        """The file that belongs to one image."""
        begun = False
        try:
            with self.opens(path, image) as stream:
                begun = True
                yield stream
        except UnwritableName as error:
            if self.unfit is None:
                raise
            self.unfit(image, error)
            if not begun:
                yield StringIO()


@dataclass(frozen=True, slots=True, eq=False)
class TruthImage:
    """The ground truth of one image.

    Attributes:
        name: file name as the ground truth gives it (for a folder of label files: the relative stem, without suffix).
        wh: width and height in pixels; None where the ground truth does not state them.
        xyxy: float64 (N, 4), pixels, x1 ≤ x2, y1 ≤ y2, edges (a box over the whole image is 0, 0, width, height).
        label: index into `GroundTruth.labels` of each object, int64 (N,).
        crowd: bool (N,): COCO's iscrowd; may match many detections, counts for none.
        difficult: bool (N,): VOC's difficult; a detection of it is neither right nor wrong.
        area: float64 (N,): COCO's segment area where the ground truth has it, else the box's, in square pixels.
        image_id: COCO's own number, else the position in `GroundTruth.images` + 1.
    """

    name: str
    wh: tuple[int, int] | None
    xyxy: NDArray[np.float64]
    label: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    area: NDArray[np.float64]
    image_id: int


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Ground truth of a set of images.

    Attributes:
        labels: class names in the ground truth's own order and spelling.
        category_ids: COCO's id of each label, else index + 1.
        images: in the ground truth's own order (folders: natural order).
        notes: sentences about boxes that were repaired or left out (zero size, outside the image…).
    """

    labels: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[TruthImage, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Detections as a COCO results file lists them, in its order.

    Attributes:
        image_id: int64 (N,).
        category_id: int64 (N,).
        xyxy: float64 (N, 4), pixels, x1 ≤ x2, y1 ≤ y2.
        score: float64 (N,).
    """

    image_id: NDArray[np.int64]
    category_id: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    score: NDArray[np.float64]


# (the format's folder, records, labels, info): every file is whole or not there; the same records give the same bytes
Writer = Callable[[Path, Records, LabelSet, ExportInfo], None]
# The relative stem of a label file → width and height of its image in pixels
SizeOf = Callable[[str], tuple[int, int]]


class Match(IntEnum):
    """How surely a path holds ground truth of a format."""

    NONE = 0
    POSSIBLE = 1
    LIKELY = 2
    CERTAIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthReader:
    """Reads ground truth of one format.

    Attributes:
        reads: what it takes, for help and messages: "a folder of VOC XML files".
        match: how surely a path, which is there, holds it. The format that is surest reads it.
        files: every file that `read` reads, so that no output replaces one.
        read: takes the path, and a function for the sizes of images where the caller has the images.
    """

    reads: str
    match: Callable[[Path], Match]
    files: Callable[[Path], Iterable[Path]]
    read: Callable[[Path, SizeOf | None], GroundTruth]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationFormat:
    """An annotation format. Each is defined in the file of its writer, and is a line of the table in `formats`.

    Attributes:
        name: its name in ``--format``, and of its folder where several formats are written.
        write: writes all of its files; each is opened through `ExportInfo.file` or `ExportInfo.file_of`.
        help: what else it is known as, where its name is not enough.
        images: the folder for images in a data set that holds them, relative to the format's own; images lie in it as
            `placed_name` says. None: the format has none.
        reader: reads its ground truth; None: it is written only.
    """

    name: str
    write: Writer
    help: str = ""
    images: str | None = None
    reader: GroundTruthReader | None = None
