"""Label files in old encodings are read as they were written, or refused with what they may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.label_files.decoding import decode

CHINESE, ASCII = "母鸡\n鸡蛋\n牛\n", "cat\nbig dog\n"


@pytest.mark.parametrize("text", [CHINESE, ASCII, "Fußgänger\nRad\n", "кошка\n", "cat"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_with_and_without_a_mark_is_read_for_certain(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding), "x.names")
    if "\n" in text or encoding not in ("utf-16-le", "utf-16-be"):
        assert (decoded.text, decoded.certain) == (text, True)


def test_utf_16_with_marks_is_named() -> None:
    assert decode(b"\xfe\xff" + ASCII.encode("utf-16-be"), "x").encoding == "UTF-16"
    assert decode(ASCII.encode(), "x").encoding == "UTF-8"


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        ("行人\n自行车\n汽车\n", "gbk", "GBK"),
        ("苹果\n香蕉\ndog\n", "gb18030", "GBK"),
        ("行人\n汽車\n", "big5", "Big5"),
        ("自転車\n歩行者\n", "shift_jis", "Shift-JIS"),
        ("ネコ\nイヌ\n", "shift_jis", "Shift-JIS"),
        ("犬\n猫\n", "iso2022_jp", "ISO-2022-JP"),
        ("Fußgänger\nÜbergang\n", "latin-1", "Windows-1252"),
        ("chèvre\nœuf\nchat\n", "cp1252", "Windows-1252"),
        ("niño\nperro\n", "latin-1", "Windows-1252"),
        ("Кошка\nсобака\n", "koi8_r", "KOI8-R"),
    ],
)
def test_older_encodings_are_read_where_only_one_makes_sense(text: str, codec: str, encoding: str) -> None:
    decoded = decode(text.encode(codec), "x.names")
    assert (decoded.text, decoded.encoding, decoded.certain) == (text, encoding, False)


@pytest.mark.parametrize(
    ("text", "codec", "words"),
    [
        (CHINESE, "gbk", r"perhaps GBK \(母鸡\) or EUC-KR .* iconv -f GBK -t UTF-8 my.names > new.names"),
        ("사람\n자동차\n", "euc_kr", r"or EUC-KR \(사람\)"),
        ("кошка\nсобака\n", "cp1251", r"Windows-1251 \(кошка\) or Windows-1253"),
        ("żółw\nkot\n", "cp1250", r"Windows-1250 \(żółw\)"),
        ("ネコ\n", "euc_jp", r"EUC-JP \(ネコ\)"),
        ("café\n", "cp437", "is not UTF-8: save it as UTF-8"),
        ("Fußgänger\rRad\r", "mac_roman", "is not UTF-8: save it"),
    ],
)
def test_what_may_be_two_encodings_is_refused_with_both(text: str, codec: str, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        decode(text.encode(codec), "my.names")


def test_damaged_text_is_refused() -> None:
    for data in (b"\xff\xfec\0a\0t", b"cat\n\xe7\x8c\xab\xe7", b"\0\0\0", b"\xef\xbb\xbf\xff"):
        with pytest.raises(ModelFileError):
            decode(data, "x.names")


@given(st.binary(max_size=64))
def test_any_bytes_are_text_or_the_projects_error(data: bytes) -> None:
    try:
        text = decode(data, "x.names").text
    except ModelFileError as error:
        assert "x.names: " in str(error)
    else:
        assert "\0" not in text and "\r" not in text and text.strip()


WORD = st.text(st.characters(categories=["Ll"], codec="latin-1"), min_size=1, max_size=8)


@given(st.lists(WORD, min_size=1, max_size=6))
def test_latin_1_is_read_right_or_refused(words: list[str]) -> None:
    text = "\n".join(words)
    try:
        decoded = decode(text.encode("latin-1"), "x.names")
    except ModelFileError:
        return
    if decoded.encoding == "Windows-1252":
        assert decoded.text == text
