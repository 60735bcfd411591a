"""Decoding of label files: UTF-8, UTF-16, UTF-32, and older encodings where only one of them makes sense.

A wrong guess gives names that nobody wrote, so a file whose bytes make sense in two encodings is refused; the message
shows its first name in each.
"""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign

__all__ = ["MOST_BYTES", "Decoded", "decode"]

MOST_BYTES = 16 << 20  # ImageNet's 21,841 classes take half a megabyte
_BOMS = (  # UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_NOT_TEXT = {"Cc", "Cs", "Co", "Cn"}  # categories of control, surrogate, private and unassigned characters
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a label file, with "\\n" as line ends.

    Attributes:
        encoding: the one it was decoded from.
        certain: the bytes themselves state the encoding.
    """

    text: str
    encoding: str = "UTF-8"
    certain: bool = True


def decode(data: bytes, name: str) -> Decoded:
    """The text of a label file; `name` is what errors call the file.

    Raises:
        ModelFileError: it is empty, not text, or in an encoding that is not certain.
    """
    if len(data) > MOST_BYTES:
        raise ModelFileError(f"{name}: has more than {MOST_BYTES:,} bytes, expected class names")
    decoded = _decode(data, name)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a").replace("\ufeff", "")
    if not text.strip():
        raise ModelFileError(f"{name}: is empty, expected class names")
    if _CONTROL.search(text):
        raise ModelFileError(f"{name}: is a binary file, expected class names")
    return Decoded(text, decoded.encoding, decoded.certain)


def _decode(data: bytes, name: str) -> Decoded:
    for mark, codec, encoding in _BOMS:
        if data.startswith(mark):
            text = _strict(data[len(mark) :], codec)
            if text is None:
                raise ModelFileError(f"{name}: begins like {encoding} text, but is damaged: save it again as UTF-8")
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
    """UTF-16 without a byte order mark, in the byte order in which all characters exist, and more are ASCII."""
    texts = [text for codec in ("utf-16-le", "utf-16-be") if (text := _strict(data, codec)) and _is_text(text)]
    texts.sort(key=_ascii, reverse=True)
    if not texts or (len(texts) > 1 and _ascii(texts[0]) == _ascii(texts[1])):
        what = describe_foreign(data[:512], text_expected=True) or "a binary file"
        raise ModelFileError(f"{name}: is {what}, expected class names")
    return Decoded(texts[0], "UTF-16")


def _is_text(text: str) -> bool:
    return all(c in "\t\r\n" or unicodedata.category(c) not in _NOT_TEXT for c in text)


def _ascii(text: str) -> int:
    return sum(c < "\x80" for c in text)


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
        return Decoded(text, encoding, certain=False)
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
    """A test whether a word has only letters of `pattern` that `codec` has as two bytes, and no small ASCII letters."""
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
    """A test whether a word has only letters of an alphabet; capitals, if any, at the front."""
    letters = re.compile(f"[{pattern}-]+")

    def fits(word: str) -> bool:
        bare = word.strip("()[]'\".,-")
        return bool(letters.fullmatch(bare)) and bare[1:] == bare[1:].lower()

    return fits


def _is_latin(word: str) -> bool:
    """Whether a word has only letters, ASCII ones among them; capitals, if any, at the front."""
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
    ("cp1250", "Windows-1250", _is_latin),  # after the former, which is far commoner
    ("cp1251", "Windows-1251", _alphabet("\u0400-\u04ff")),
    ("koi8_r", "KOI8-R", _alphabet("\u0400-\u04ff")),
    ("cp1253", "Windows-1253", _alphabet("\u0386-\u03ce")),
)
