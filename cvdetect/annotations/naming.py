"""Which file belongs to which image, and how text survives in formats that cannot hold all of it."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["escape_xml", "fixed", "one_line", "output_stems", "placed_name"]

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
