"""What belongs together: the ground truth's images and image files, its classes and the model's classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cvdetect.annotations.types import TruthImage
from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.labels import LabelSet, canonical
from cvdetect.core.printable import counted, natural_key
from cvdetect.core.progress import Progress
from cvdetect.sources.images import is_image_file, read_image_file

__all__ = ["ClassMapping", "ImageFolder", "examples", "map_classes", "pair_images"]


class ImageFolder:
    """All image files under a folder, found by the names that a ground truth gives them.

    A name is tried as a path relative to the folder, as such a path without suffix, as a bare file name in any
    sub-folder, and as a bare stem, in this order.

    Raises:
        SourceError: the folder does not exist, cannot be read, or holds no images.
    """

    def __init__(self, folder: Path, max_pixels: int = MAX_PIXELS) -> None:
        if not folder.exists():
            raise SourceNotFound(f"{folder}: no such folder")
        if not folder.is_dir():
            raise SourceError(f"{folder}: is a file; {arg('images')} takes the folder that the images are in")
        self._max_pixels = max_pixels
        found = [path for path in folder.rglob("*") if is_image_file(path) and path.is_file()]
        if not found:
            raise SourceError(f"{folder}: holds no images")
        self.paths = sorted(found, key=lambda path: natural_key(path.as_posix()))
        self._levels: list[dict[str, list[Path]]] = [defaultdict(list) for _ in range(4)]
        for path in self.paths:
            relative = path.relative_to(folder)
            keys = relative.as_posix(), relative.with_suffix("").as_posix(), path.name, path.stem
            for level, key in zip(self._levels, keys, strict=True):
                level[key].append(path)

    def find(self, name: str) -> Path | None:
        """The image file of that name, or None.

        Raises:
            SourceError: several files fit the name.
        """
        given = PurePosixPath(name.replace("\\", "/"))
        bare = given.with_suffix("")
        for level, keys in zip(
            self._levels, ((given,), (given, bare), (given.name,), (given.name, bare.name)), strict=True
        ):
            for key in keys:
                fits = level.get(str(key), [])
                if len(fits) > 1:
                    raise SourceError(f"the ground truth's image {name} fits both {fits[0]} and {fits[1]}")
                if fits:
                    return fits[0]
        return None

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of the image of that name; (1, 1) where there is none that can be read.

        Boxes normalized by the size of such an image get no useful pixels, but it is left out of every metric anyway.
        """
        path = self.find(name)
        try:
            height, width = read_image_file(path, self._max_pixels).image.shape[:2] if path else (1, 1)
        except SourceError:
            return 1, 1  # reported when detection reaches it
        return width, height


def pair_images(images: Sequence[TruthImage], folder: ImageFolder, progress: Progress) -> dict[int, Path]:
    """Position in the ground truth → its image file; what has no counterpart on either side is reported.

    Raises:
        SourceError: no image of the ground truth has a file, or two have the same.
    """
    paths = {index: path for index, image in enumerate(images) if (path := folder.find(image.name)) is not None}
    if not paths:
        first = images[0].name if images else "nothing"
        raise SourceError(f"no image of the ground truth is in {arg('images')}: the ground truth names {first}, "
                          f"the folder holds {folder.paths[0]}")  # fmt: skip
    owner: dict[Path, int] = {}
    for index, path in paths.items():
        if path in owner:
            both = f"{images[owner[path]].name} and {images[index].name}"
            raise SourceError(f"{path}: two images of the ground truth fit it, {both}")
        owner[path] = index
    missing = [image.name for index, image in enumerate(images) if index not in paths]
    if missing:
        count = f"{len(missing)} of {counted(len(images), 'image')}"
        have = "has no file and is" if len(missing) == 1 else "have no file and are"
        progress.warn(f"{count} of the ground truth {have} left out: {examples(missing)}")
    strangers = [str(path) for path in folder.paths if path not in owner]
    if strangers:
        have = "image file has" if len(strangers) == 1 else "image files have"
        progress.warn(f"{len(strangers)} {have} no ground truth, left out: {examples(strangers)}")
    return paths


@dataclass(frozen=True, slots=True)
class ClassMapping:
    """Which class of a model is which of the ground truth.

    Attributes:
        label_of: the model's class number → index into the ground truth's labels.
        only_model: names of the model's classes that the ground truth does not have.
        only_truth: indices of the ground truth's labels that the model does not have.
    """

    label_of: dict[int, int]
    only_model: tuple[str, ...]
    only_truth: tuple[int, ...]


def map_classes(model: LabelSet, truth: Sequence[str], class_ids: Iterable[int] | None = None) -> ClassMapping:
    """Match the model's classes (or those of `class_ids`) with the ground truth's, by name.

    Every spelling of a name matches (``canonical``); one that is spelled alike goes first.

    Raises:
        SourceError: they have nothing in common.
    """
    by_name = {name: i for i, name in reversed(list(enumerate(truth)))}
    by_key = {canonical(name): i for i, name in reversed(list(enumerate(truth)))}
    label_of: dict[int, int] = {}
    only_model = []
    for class_id in model.class_ids() if class_ids is None else class_ids:
        name = model.label(class_id)
        index = by_name.get(name, by_key.get(canonical(name)))
        if index is None:
            only_model.append(name)
        else:
            label_of[class_id] = index
    if not label_of:
        raise SourceError(
            f"model and ground truth have no class in common: the model has {examples(only_model)}, the ground truth "
            f"has {examples(truth) or 'none'}; classes are matched by name, and {arg('names')} sets those of a model"
        )
    met = set(label_of.values())
    return ClassMapping(label_of, tuple(only_model), tuple(i for i in range(len(truth)) if i not in met))


def examples(names: Sequence[str], most: int = 5) -> str:
    """``a, b, c, d, e, …``."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
