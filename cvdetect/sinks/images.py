"""Image files: annotated copies, crops, and how an image is encoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError, UsageError
from cvdetect.core.files import check_writable, write_whole
from cvdetect.core.frame import NOTHING_KEPT, Frame, Image, Kept
from cvdetect.core.outputs import detected_name
from cvdetect.core.tags import with_tags
from cvdetect.sinks import PlainSink
from cvdetect.sinks.draw import crop
from cvdetect.sinks.render import Renderer

__all__ = [
    "JPEG_SUFFIXES",
    "Crops",
    "ImageFiles",
    "check_suffix",
    "encode_image",
    "folder_name",
    "output_names",
    "shrink",
    "write_image",
]

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif")
_WITH_METADATA = (".jpg", ".png", ".webp", ".avif")  # by OpenCV


def write_image(path: Path, image: Image, kept: Kept = NOTHING_KEPT) -> None:
    """Encode `image` as the suffix of `path` says, with the metadata in `kept`, and write it completely or not at all.

    Raises:
        SinkError: it cannot be encoded or written.
    """
    write_whole(path, encode_image(path, image, kept=kept))


def encode_image(path: PurePath, image: Image, jpeg_quality: int = 95, kept: Kept = NOTHING_KEPT) -> bytes:
    """The bytes of an image file of the format that the suffix of `path` names.

    JPEG, PNG, WebP, AVIF and TIFF hold `kept`; in others it is lost.

    Raises:
        SinkError: it cannot be encoded.
    """
    suffix = _format(path.suffix)
    quality = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix == ".jpg" else []
    try:
        done, data = _encoded(suffix, image, quality, kept)
    except cv2.error as error:
        raise SinkError(f"{path}: cannot be encoded: {' '.join(str(error.err or error).split())}") from error
    if not done:
        raise SinkError(f"{path}: OpenCV cannot write an image of {image.shape[1]}x{image.shape[0]} as {path.suffix}")
    written = data.tobytes()
    return with_tags(written, kept.icc, kept.exif) if suffix in (".tif", ".tiff") else written


def _encoded(suffix: str, image: Image, quality: list[int], kept: Kept) -> tuple[bool, NDArray[np.uint8]]:
    """Like ``cv2.imencode``; a profile that the format's library refuses is left out."""
    blocks = {cv2.IMAGE_METADATA_ICCP: kept.icc, cv2.IMAGE_METADATA_EXIF: kept.exif}
    given = {kind: np.frombuffer(block, np.uint8) for kind, block in blocks.items() if block}
    if given and suffix in _WITH_METADATA:
        with suppress(cv2.error):
            done, data = cv2.imencodeWithMetadata(suffix, image, list(given), list(given.values()), quality)
            if done:
                return done, data
    done, data = cv2.imencode(suffix, image, quality)
    return done, data


def _format(suffix: str) -> str:
    """The suffix by which OpenCV knows the format; it lacks some of JPEG's."""
    return ".jpg" if suffix.lower() in JPEG_SUFFIXES else suffix.lower()


def shrink(image: Image, longest: int) -> Image:
    """`image` reduced until its longer side has at most `longest` pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def check_suffix(path: Path) -> None:
    """Raise UsageError unless images of this suffix can be written."""
    if not path.suffix or not _can_write(path.suffix):
        raise UsageError(f"{path}: no image format is called {path.suffix!r}; use .jpg, .png, .webp, .bmp or .tiff")


def _can_write(suffix: str) -> bool:
    try:
        return bool(cv2.haveImageWriter(f"x{_format(suffix)}"))
    except cv2.error:  # a format that is switched off in this build (OpenEXR)
        return False


def output_names(inputs: Sequence[str], folder: Path) -> dict[str, Path]:
    """Each input → ``folder/<stem>_detected<suffix>``.

    Names that would clash get their folder's name in front (``a_x_detected.jpg``, ``b_x_detected.jpg``); where that
    clashes too, the names of all folders above; and where inputs differ by suffix alone, the suffix.
    """
    paths = {name: Path(name) for name in dict.fromkeys(inputs)}
    names = {name: _name(path, path.stem) for name, path in paths.items()}
    for widen in (_with_folder, _with_all_folders, _with_suffix):
        counts = Counter(n.casefold() for n in names.values())
        names = {i: _name(paths[i], widen(paths[i])) if counts[n.casefold()] > 1 else n for i, n in names.items()}
    return {name: folder / found for name, found in names.items()}


def _with_folder(path: Path) -> str:
    return f"{path.absolute().parent.name}_{path.stem}"


def _with_all_folders(path: Path) -> str:
    return "_".join([*path.absolute().parts[1:-1], path.stem])


def _with_suffix(path: Path) -> str:
    return _with_all_folders(path) + path.suffix


def _name(path: Path, stem: str) -> str:
    suffix = path.suffix if path.suffix and _can_write(path.suffix) else ".png"
    return detected_name(stem, suffix)


class ImageFiles(PlainSink):
    """Writes an annotated copy of each frame to the path that `paths` gives its name."""

    def __init__(self, paths: Mapping[str, Path], renderer: Renderer) -> None:
        self._paths = paths
        self._renderer = renderer

    def write(self, frame: Frame, found: Detections) -> None:
        """Draw and write one image."""
        write_image(self._paths[frame.name], self._renderer.drawn(frame, found), frame.kept)


class Crops(PlainSink):
    """Writes a cut-out of each detection: ``<folder>/<label>/<stem>_<number>.jpg``, numbered best first.

    Args:
        names: each input → a path whose stem begins the names of its crops.
        check: called before each is written; raises for a path that must not be.
    """

    def __init__(
        self, folder: Path, names: Mapping[str, Path], renderer: Renderer, check: Callable[[Path], None]
    ) -> None:
        self._folder = folder
        self._stems = {name: path.stem.removesuffix("_detected") for name, path in names.items()}
        self._renderer = renderer
        self._check = check

    def __enter__(self) -> Crops:
        check_writable(self._folder / "x.jpg")
        return self

    def write(self, frame: Frame, found: Detections) -> None:
        """Cut out and write the objects of one frame."""
        clean, profile = self._renderer.clean(frame, found), Kept(frame.kept.icc)
        for number, (box, class_id) in enumerate(zip(found.xyxy, found.class_id, strict=True), start=1):
            folder = self._folder / folder_name(found.label(int(class_id)), int(class_id))
            path = folder / f"{self._stems[frame.name]}_{number}.jpg"
            self._check(path)
            write_image(path, crop(clean, box), profile)


def folder_name(label: str, class_id: int) -> str:
    """A label as the name of one folder: without slashes and NUL bytes, and neither hidden nor leading out (``..``)."""
    return re.sub(r"[/\\\0]", "_", label).lstrip(".") or f"class_{class_id}"
