"""Which file belongs to which image, and how text survives in formats that cannot hold all of it."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["escape_xml", "fixed", "output_stems", "quote_yaml"]

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


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, never with an exponent, never "-0.00"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def escape_xml(text: str) -> str:
    r"""Text for an XML element or attribute; line breaks and tabs survive in both.

    XML 1.0 cannot hold most control characters, nor names that are not UTF-8: they become ``\x01``, ``\udc80`` ….
    """
    held = _NOT_IN_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return held.translate(_XML_REFERENCES)


def quote_yaml(text: str) -> str:
    """Text as a double-quoted YAML 1.1 scalar on one line."""
    return '"' + "".join(_yaml_character(c) for c in text) + '"'


def _yaml_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # What YAML does not take as it is (control characters, line separators, surrogates) is not printable to Python.
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
