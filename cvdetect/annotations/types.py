"""What annotation files hold, whatever their format: the detections of an image, or its ground truth."""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import UnwritableName
from cvdetect.core.files import whole_file
from cvdetect.core.labels import LabelSet

__all__ = [
    "Classes",
    "ExportInfo",
    "GroundTruth",
    "ImagePlace",
    "ImageRecord",
    "Records",
    "Results",
    "TruthImage",
    "escape_xml",
    "fixed",
    "one_line",
    "output_stems",
    "placed_name",
    "spool",
]


# Where a data set's images lie: put into its own folder for them, in that folder from the beginning, or elsewhere
ImagePlace = Literal["placed", "there", "elsewhere"]


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
    """All annotated images in natural order of their names, one record at a time; may be gone through repeatedly."""

    def names(self) -> Iterator[str]:
        """The names alone."""

    def __iter__(self) -> Iterator[ImageRecord]:
        """One record after another."""


def _opened(path: Path, _image: str | None) -> AbstractContextManager[IO[str]]:
    return whole_file(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInfo:
    """What annotation files say of the run beside its detections. No dates: the same run gives the same bytes.

    Attributes:
        model: the model's name.
        ran: what ran the network, for JSON Lines.
        images: where the images are, for formats that have a folder for them (`IMAGE_FOLDERS`).
        yolo_conf: write the score as a sixth column of YOLO's label files.
        opens: opens each file to be written, by its path and the image that it belongs to (None: to all), as
            `whole_file` does: so what a writer would write can be asked of the writer itself.
        unfit: is told of an image whose own file has a name that the disk does not take, and the others' are written;
            None: that is an error.
    """

    model: str
    ran: Mapping[str, str] = field(default_factory=dict)
    images: ImagePlace = "elsewhere"
    yolo_conf: bool = False
    opens: Callable[[Path, str | None], AbstractContextManager[IO[str]]] = _opened
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
        name: file name as the truth gives it (for a folder of label files: the relative stem, without suffix).
        wh: width and height in pixels; None where the truth does not say.
        xyxy: float64 (N, 4), pixels, x1 ≤ x2, y1 ≤ y2, edges (a box over the whole image is 0, 0, width, height).
        label: index into `GroundTruth.labels` of each object, int64 (N,).
        crowd: bool (N,): COCO's iscrowd; may match many detections, counts for none.
        difficult: bool (N,): VOC's difficult; neither to be found nor wrong when found.
        area: float64 (N,): COCO's segment area where the truth has it, else the box's, in square pixels.
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
        labels: class names in the truth's own order and spelling.
        category_ids: COCO's id of each label, else index + 1.
        images: in the truth's own order (folders: natural order).
        notes: what a person must know of boxes that were repaired or left out (zero size, outside the image…).
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


# The numbers that annotation files give to classes.


class Classes:
    """Contiguous numbers and category ids of a label set's classes.

    Where the set has official category ids (COCO), its classes are those with such an id, in their order: 80 for the
    TensorFlow models too, whose own numbers have gaps. Else they are all that the set names. A class that is found and
    is none of these gets the next number when it is first met, so that nothing is lost; read `names` and `categories`
    after all detections.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        official = [c for c in labels.class_ids() if labels.category_id(c) is not None]
        self._index = {class_id: i for i, class_id in enumerate(official or labels.class_ids())}
        # Where a class without an official id must get one, it comes after all official ones.
        self._beyond = max(labels.category_ids.values()) + 1 - len(official) if official else 1

    def index(self, class_id: int) -> int:
        """The class's number from 0, its line in `names`."""
        return self._index.setdefault(class_id, len(self._index))

    def category_id(self, class_id: int) -> int:
        """The data set's own id where it has one, else the number from 1."""
        index = self.index(class_id)
        official = self._labels.category_id(class_id)
        return self._beyond + index if official is None else official

    def names(self) -> list[str]:
        """The label of each class, by its number."""
        return [self._labels.label(class_id) for class_id in self._index]

    def categories(self) -> list[tuple[int, str]]:
        """(category id, label) of each class, by its number."""
        return [(self.category_id(class_id), self._labels.label(class_id)) for class_id in list(self._index)]


# Which file belongs to which image, and how text survives in formats that cannot hold all of it.

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_REFERENCES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


def output_stems(names: Iterable[str]) -> dict[str, str]:
    """Each image name → its output's relative path without suffix: "x/a.jpg" → "x/a".

    Where several images would get the same (a.jpg and a.png), all of them keep their suffix: "a.jpg", "a.png". Names
    that differ in case alone count as the same, because some file systems do not tell them apart.
    """
    stems = {name: posixpath.splitext(name)[0] for name in names}
    while True:
        taken = Counter(stem.casefold() for stem in stems.values())
        clashing = [name for name, stem in stems.items() if taken[stem.casefold()] > 1 and stem != name]
        if not clashing:
            return stems
        stems.update((name, name) for name in clashing)


def placed_name(name: str, stem: str) -> str:
    """The path of an image in a data set that holds its images too: its output's stem and its own suffix.

    Readers look for the label file by putting another suffix in place of the image's. Where stems clash, a label file
    is "a.jpg.txt", so that its image must be "a.jpg.jpg".
    """
    return stem + posixpath.splitext(name)[1]


def one_line(text: str) -> str:
    """Text for a file of one entry a line, with a space where it has a line break."""
    return " ".join(text.splitlines())


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, never with an exponent, never "-0.00"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def escape_xml(text: str) -> str:
    r"""Text for an XML element or attribute; line breaks and tabs survive in both.

    XML 1.0 cannot hold most control characters, nor names that are not UTF-8: they become ``\x01``, ``\udc80`` ….
    """
    held = _NOT_IN_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return held.translate(_XML_REFERENCES)


# A part of a file that is known only after parts that follow it.


@contextmanager
def spool(folder: Path) -> Iterator[IO[str]]:
    """A text file without a name, on the disk of `folder`: write it, rewind it, copy it; it is gone with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="", dir=folder) as stream:
        yield stream
