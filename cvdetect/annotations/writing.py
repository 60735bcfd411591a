"""What the writers of annotation files share: numbers of classes, names of files, and text that a format can hold."""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cvdetect.core.labels import LabelSet

__all__ = ["Classes", "escape_xml", "fixed", "one_line", "output_stems", "placed_name", "spool"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_REFERENCES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


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


@contextmanager
def spool(folder: Path) -> Iterator[IO[str]]:
    """A text file without a name, on the disk of `folder`: write it, rewind it, copy it; it is gone with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="", dir=folder) as stream:
        yield stream
