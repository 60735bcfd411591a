"""What annotation files hold, whatever their format: the detections of an image, or its ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import UnfitName
from cvdetect.core.files import whole_file

__all__ = ["Facts", "ImagePlace", "ImageRecord", "Records", "Results", "Truth", "TruthImage"]

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
class Facts:
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
    unfit: Callable[[str, UnfitName], None] | None = None

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
        except UnfitName as error:
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
        label: index into `Truth.labels` of each object, int64 (N,).
        crowd: bool (N,): COCO's iscrowd; may match many detections, counts for none.
        difficult: bool (N,): VOC's difficult; neither to be found nor wrong when found.
        area: float64 (N,): COCO's segment area where the truth has it, else the box's, in square pixels.
        image_id: COCO's own number, else the position in `Truth.images` + 1.
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
class Truth:
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
