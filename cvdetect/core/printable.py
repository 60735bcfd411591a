"""Text for people: safe for any terminal and encoding, numbers with their nouns, numbered names in a natural order."""

from __future__ import annotations

import codecs
import os
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import IO

__all__ = ["closest", "counted", "encodable", "is_utf8", "json_text", "natural_key", "printable", "write_safely"]

_HANDLER = "cvdetect"
_ASCII = {
    "→": "->", "←": "<-", "…": "...", "×": "x", "≥": ">=", "≤": "<=", "–": "-", "—": "-", "−": "-", "·": ".", "•": "*",
    "‘": "'", "’": "'", "“": '"', "”": '"', "─": "-", "━": "-", "│": "|", "┃": "|",
}  # fmt: skip
_KEPT = {"Zs", "Cn", "Co"}  # wide spaces, and what this Python's Unicode tables do not know yet


def printable(text: str, lines: bool = False) -> str:
    r"""`text` with an escape (``\x1b``, ``\u200b``, ``\udcff``) for each control, format and undecodable character.

    Terminals obey escape sequences, and zero-width and bidirectional marks make a name look like another. `lines` keeps
    the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(c if _shows(c) or (lines and c == "\n") else _escape(c) for c in text)


def _shows(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) in _KEPT


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encodable(text: str, encoding: str) -> str:
    """`text` as a stream of this encoding shows it: characters that it lacks become ASCII or escapes."""
    return text if text.isascii() else text.encode(encoding, _HANDLER).decode(encoding, "replace")


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can encode it; the name of a file in another encoding is not."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def json_text(text: str, stream: IO[str]) -> str:
    r"""JSON for a stream: characters that its encoding lacks, or that a terminal obeys, become ``\u`` escapes."""
    if text.isascii() and "\x7f" not in text:
        return text
    if _is_utf8(stream):
        return "".join(c if c == "\n" or _shows(c) else _json_escape(c) for c in text)
    return re.sub(r"[^\x00-\x7e]", lambda match: _json_escape(match[0]), text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _is_utf8(stream: IO[str]) -> bool:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


def write_safely() -> None:
    """Make standard output and standard error take any text, whatever their encoding, or where they are closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # This also takes the free descriptor, which one of our files would get, and C code's messages with it.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """What replaces characters that an encoding lacks: ASCII, escapes, and bytes of file names as they were."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    first, char = error.start, error.object[error.start]
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return bytes([ord(char) - 0xDC00]), first + 1
    if char not in _ASCII and "\u2500" <= char <= "\u257f":
        return "+", first + 1
    return _ASCII.get(char) or _escape(char), first + 1


codecs.register_error(_HANDLER, _replace)


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 image`` or ``2 images``; `plural` is needed where it is not `noun` with an s (``2 boxes``)."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that a person probably meant (``cutoff``: how alike it must be, 0 to 1); None: none is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return near[0] if near else None


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """A sort key in which img2 comes before img10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p)) if p.isdecimal() else (1, p.casefold()) for p in parts]
