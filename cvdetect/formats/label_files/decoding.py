"""Bytes of a label file → text: UTF-8, UTF-16 and UTF-32, and older encodings where only one of them makes sense.

A wrong guess gives names that nobody wrote, so a file whose bytes make sense in two encodings is refused, with what its
first name would be in each.
"""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign

__all__ = ["MOST_BYTES", "DarknetData", "Decoded", "decode", "is_darknet_data", "read_darknet_data"]


MOST_BYTES = 16 << 20  # ImageNet's 21,841 classes take half a megabyte
_BOMS = (  # UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_NO_TEXT = {"Cc", "Cs", "Co", "Cn"}  # categories of control, surrogate, private and unassigned characters
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a label file, its line ends made "\\n".

    Attributes:
        encoding: what it was decoded as; "UTF-8" needs no mention.
        sure: the bytes themselves state the encoding.
    """

    text: str
    encoding: str = "UTF-8"
    sure: bool = True


def decode(data: bytes, name: str) -> Decoded:
    """The text of a label file; `name` is what errors call the file.

    Raises:
        ModelFileError: it is empty, no text, or in an encoding that is not certain.
    """
    if len(data) > MOST_BYTES:
        raise ModelFileError(f"{name}: has more than {MOST_BYTES:,} bytes, expected class names")
    decoded = _decode(data, name)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a").replace("\ufeff", "")
    if not text.strip():
        raise ModelFileError(f"{name}: is empty, expected class names")
    if _CONTROL.search(text):
        raise ModelFileError(f"{name}: is a binary file, expected class names")
    return Decoded(text, decoded.encoding, decoded.sure)


def _decode(data: bytes, name: str) -> Decoded:
    for mark, codec, encoding in _BOMS:
        if data.startswith(mark):
            text = _strict(data[len(mark) :], codec)
            if text is None:
                raise ModelFileError(f"{name}: begins as {encoding} text does, but is damaged: save it again as UTF-8")
            return Decoded(text, encoding)
    if b"\0" in data:
        return _without_mark(data, name)
    text = _strict(data, "utf-8")
    if text is not None and "\x1b$" not in text:
        return Decoded(text)
    if describe_foreign(data[:512], text_expected=True):
        raise ModelFileError(f"{name}: is {describe_foreign(data[:512], text_expected=True)}, expected class names")
    return _older(data, name)


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _without_mark(data: bytes, name: str) -> Decoded:
    """UTF-16 without a byte order mark: the byte order in which all characters exist, and more are ASCII."""
    texts = [text for codec in ("utf-16-le", "utf-16-be") if (text := _strict(data, codec)) and _is_text(text)]
    texts.sort(key=_ascii, reverse=True)
    if not texts or (len(texts) > 1 and _ascii(texts[0]) == _ascii(texts[1])):
        what = describe_foreign(data[:512], text_expected=True) or "a binary file"
        raise ModelFileError(f"{name}: is {what}, expected class names")
    return Decoded(texts[0], "UTF-16")


def _is_text(text: str) -> bool:
    return all(c in "\t\r\n" or unicodedata.category(c) not in _NO_TEXT for c in text)


def _ascii(text: str) -> int:
    return sum(c < "\x80" for c in text)


# --- encodings older than Unicode -------------------------------------------------------------------------------------


def _older(data: bytes, name: str) -> Decoded:
    """The one older encoding in which all words of the file look like words."""
    found: dict[str, tuple[str, str]] = {}  # text → its encoding's name, and iconv's
    tests = set()
    for codec, encoding, fits in _OLDER:
        text = _strict(data, codec)
        words = _words(text or "")
        if text and words and fits not in tests and text not in found and all(map(fits, words)):
            found[text] = encoding, codec
            tests.add(fits)
    if len(found) == 1:
        ((text, (encoding, _)),) = found.items()
        return Decoded(text, encoding, sure=False)
    seen = " or ".join(f"{encoding} ({_words(text)[0]})" for text, (encoding, _) in found.items())
    codec = next((codec for _, codec in found.values()), "ENCODING")
    raise ModelFileError(
        f"{name}: is not UTF-8{f', perhaps {seen}' if seen else ''}: save it as UTF-8 in an editor, or with "
        f"iconv -f {codec.upper()} -t UTF-8 {shlex.quote(name)} > new.names"
    )


def _words(text: str) -> list[str]:
    """The words that have letters beyond ASCII."""
    return [word for word in text.split() if not word.isascii()]


def _beyond_ascii(word: str) -> str:
    return "".join(c for c in word if not c.isascii())


def _east_asian(codec: str, pattern: str, last_lead: int = 0xFF) -> Callable[[str], bool]:
    """Whether a word has only letters of `pattern` that `codec` has as two bytes, and no small ASCII letters."""
    letters = re.compile(f"[{pattern}]+")

    def fits(word: str) -> bool:
        beyond = _beyond_ascii(word)
        if not letters.fullmatch(beyond) or re.search("[a-z]", word):
            return False
        try:
            encoded = beyond.encode(codec)
        except UnicodeEncodeError:
            return False
        return len(encoded) == 2 * len(beyond) and max(encoded[::2]) <= last_lead

    return fits


def _alphabet(pattern: str) -> Callable[[str], bool]:
    """Whether a word has only letters of an alphabet; capitals, if any, in front."""
    letters = re.compile(f"[{pattern}-]+")

    def fits(word: str) -> bool:
        bare = word.strip("()[]'\".,-")
        return bool(letters.fullmatch(bare)) and bare[1:] == bare[1:].lower()

    return fits


def _is_latin(word: str) -> bool:
    """Letters, ASCII ones among them; capitals, if any, in front."""
    letters = "".join(c for c in word if c.isalpha())
    beyond = _beyond_ascii(word)
    cased = letters[1:] in (letters[1:].lower(), letters[1:].upper())
    mixed = len(beyond) == 1 or len(beyond) < len(letters)
    return cased and mixed and all(c.isalpha() and c not in "ªº" for c in beyond)


_HANZI, _KANA = "\u4e00-\u9fff", "\u3041-\u30fc"
_OLDER: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    # Of Big5 the characters for daily use only, whose first byte is at most C6; the others are rare.
    ("gbk", "GBK", _east_asian("gb2312", _HANZI)),
    ("cp949", "EUC-KR", _east_asian("euc_kr", "\uac00-\ud7a3")),
    ("big5", "Big5", _east_asian("big5", _HANZI, 0xC6)),
    ("cp932", "Shift-JIS", _east_asian("cp932", _HANZI + _KANA)),
    ("euc_jp", "EUC-JP", _east_asian("euc_jp", _HANZI + _KANA, 0xA5)),  # kana: hardly anyone has used it for kanji
    ("iso2022_jp", "ISO-2022-JP", _east_asian("cp932", _HANZI + _KANA)),
    ("cp1252", "Windows-1252", _is_latin),
    ("cp1250", "Windows-1250", _is_latin),  # where it is not the former, which is far commoner
    ("cp1251", "Windows-1251", _alphabet("\u0400-\u04ff")),
    ("koi8_r", "KOI8-R", _alphabet("\u0400-\u04ff")),
    ("cp1253", "Windows-1253", _alphabet("\u0386-\u03ce")),
)


# Darknet's .data files: where the lists of a training lie, its class names among them.

_MOST_BYTES = 1 << 16
_COMMENT = re.compile(r"\s*([#;]|$)")  # as Darknet's read_data_cfg passes over them
_SETTING = re.compile(r"(\w+)\s*=\s*(.*)")
_KEYS = {"classes", "train", "valid", "names", "labels", "backup", "test", "results", "eval", "top", "difficult"}


@dataclass(frozen=True, slots=True)
class DarknetData:
    """What a .data file says of the classes: the file of their names, and how many there are (None: not stated)."""

    names: Path
    classes: int | None


def is_darknet_data(text: str) -> bool:
    """Whether all lines are settings, and some of them Darknet's."""
    lines = [line for line in text.splitlines() if not _COMMENT.match(line)]
    keys = {match[1] for line in lines if (match := _SETTING.fullmatch(line.strip()))}
    return bool(lines) and all("=" in line for line in lines) and len(keys & _KEYS) >= min(2, len(lines))


def read_darknet_data(path: Path) -> DarknetData | None:
    """Read a .data file and find the names file that it names; None where `path` is no .data file.

    Darknet looks from the folder that it is started in, mostly the one above ``data/``; here a file is looked for from
    the .data file's folder, then from the current one, then beside the .data file by its name alone.

    Raises:
        ModelFileError: it has no ``names``, or they are not there, or ``classes`` is no number.
    """
    settings = _settings(path)
    if settings is None:
        return None
    named = settings.get("names") or settings.get("labels")
    if not named:
        raise ModelFileError(f"{path}: is a Darknet .data file without names =, so it names no classes")
    found = next((place for place in _places(path, named) if place.is_file()), None)
    if found is None:
        raise ModelFileError(f"{path}: its names file {named} is not there: give it as {arg('names')}")
    stated = settings.get("classes", "")
    if stated and not re.fullmatch(r"\d{1,6}", stated):
        raise ModelFileError(f"{path}: classes = {stated} is no number")
    return DarknetData(found, int(stated) if stated else None)


def _settings(path: Path) -> dict[str, str] | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        text = decode(data, str(path)).text
    except (OSError, ModelFileError):  # its reader says what it is
        return None
    if not is_darknet_data(text):
        return None
    return {match[1]: match[2] for line in text.splitlines() if (match := _SETTING.fullmatch(line.strip()))}


def _places(path: Path, named: str) -> Iterator[Path]:
    relative = Path(named.replace("\\", "/")).expanduser()
    yield path.parent / relative
    yield relative
    yield path.parent.parent / relative
    yield path.parent / relative.name
