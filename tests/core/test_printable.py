"""Text for people: safe for any terminal and encoding, and numbers with their nouns."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.printable import closest, counted, encodable, json_text, printable

ENCODINGS = ["utf-8", "cp1252", "ascii", "latin-1", "cp437", "gbk"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a dog, 狗, كلب, 🐕", "a dog, 狗, كلب, 🐕"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("in\u200bvisible \u202egpj.exe", "in\\u200bvisible \\u202egpj.exe"),
        ("two\nlines\r\ttab", "two\\x0alines\\x0d\\x09tab"),
        ("\udcff.jpg \ud800", "\\udcff.jpg \\ud800"),
        ("wide\u3000space", "wide\u3000space"),
    ],
)
def test_control_and_invisible_characters_become_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_ends_of_lines_are_kept_where_they_are_meant() -> None:
    assert printable("one\ntwo\x1b", lines=True) == "one\ntwo\\x1b"


def test_what_an_encoding_lacks_is_replaced_or_escaped() -> None:
    assert encodable("┏━┳━┓ → … ≥ 狗", "ascii") == "+-+-+ -> ... >= \\u72d7"
    assert encodable("naïve – 🐕", "latin-1") == "naïve - \\U0001f415"
    assert encodable("naïve – 🐕", "utf-8") == "naïve – 🐕"


@given(st.text(), st.sampled_from(ENCODINGS))
def test_any_text_can_be_written_in_any_encoding(text: str, encoding: str) -> None:
    out = encodable(printable(text), encoding)
    assert "\x1b" not in out and "\x9b" not in out
    assert out.encode(encoding).decode(encoding) == out


@given(st.text(), st.sampled_from(ENCODINGS))
def test_json_stays_the_same_json_in_any_encoding(text: str, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    line = json_text(json.dumps({"label": text}, ensure_ascii=False), stream)
    assert json.loads(line.encode(encoding, "backslashreplace").decode(encoding)) == {"label": text}
    assert not set(line) & set("\x7f\x9b\u200b\u202e")


def test_numbers_take_their_nouns_in_the_singular_and_plural() -> None:
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(n, "box", "boxes") for n in (1, 2)] == ["1 box", "2 boxes"]


def test_the_closest_word_is_one_that_is_near() -> None:
    assert closest("vidoe", ["image", "video"]) == "video"
    assert closest("xyz", ["image", "video"]) is None
