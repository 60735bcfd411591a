from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.filetype import describe_foreign

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 133000\n"


def tar_archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.weights"))
    return buffer.getvalue()


def zip_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.weights", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "phrase"),
    [
        (b"", "an empty file"),
        (LFS, "a Git LFS pointer (the real file has 133,000 bytes)"),
        (LFS[:60], "a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html lang='en'>", "an HTML page"),
        (b"\xef\xbb\xbf \r\n<HTML><head>", "an HTML page"),
        (b"<!-- saved from url -->\n<html>", "an HTML page"),
        (b"<!-- a --> " * 5000 + b"<p", "plain text"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "an HTML page"),
        (b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>', "an XML document"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "an XML document"),
        (b'<?xml version="1.0"?>\n<!-- a --><MPD type="static">', "a DASH manifest"),
        (b"<MPDs>", "an XML document"),
        (b'{"message": "Not Found"}', "a JSON document"),
        (b'[{"id": 1}]', "a JSON document"),
        (b"404: Not Found", "plain text"),
        ("Datei nicht gefunden: Größe".encode()[:-2], "plain text"),
        (zip_archive(), "a zip archive"),
        (gzip.compress(b"weights"), "a gzip archive"),
        (tar_archive(), "a tar archive"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a PNG image"),
    ],
)
def test_a_foreign_file_is_named(head: bytes, phrase: str) -> None:
    found = describe_foreign(head)
    assert found is not None
    assert found.startswith(phrase)


@pytest.mark.parametrize(
    ("head", "phrase"),
    [
        (b"[net]\nwidth=416\n", None),
        (b"node {\n  name: 'x'\n}\n", None),
        (b"item { id: 1 name: 'person' }", None),
        (b"\n\x30\n\x0cimage_tensor\x12\x0bPlaceholder", "a binary file"),
        (b"<!doctype html>", "an HTML page"),
        (LFS, "a Git LFS pointer (the real file has 133,000 bytes)"),
    ],
)
def test_where_text_is_expected_only_other_things_are_foreign(head: bytes, phrase: str | None) -> None:
    assert describe_foreign(head, text_expected=True) == phrase


@given(
    st.integers(0, 1),
    st.integers(0, 9),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8, max_size=200),
)
def test_darknet_weights_are_never_foreign(major: int, minor: int, values: list[float]) -> None:
    head = struct.pack("<iiiQ", major, minor, 5, 32_013_312) + struct.pack(f"<{len(values)}f", *values)
    assert describe_foreign(head[:512]) is None


@given(st.binary(max_size=600))
def test_no_bytes_make_it_fail(head: bytes) -> None:
    assert describe_foreign(head) is None or isinstance(describe_foreign(head), str)
    assert describe_foreign(b"\x00" + head[:200]) is None


def test_the_real_model_files_are_not_foreign(shared: Path) -> None:
    files = [p for p in (shared / "data").rglob("*") if p.suffix in {".weights", ".pb", ".onnx"}]
    assert len(files) > 8
    for path in files:
        with path.open("rb") as file:
            head = file.read(512)
        assert [describe_foreign(head[:size]) for size in (64, 512)] == [None, None], path


def test_the_real_images_are_called_images(shared: Path) -> None:
    for path in (shared / "data" / "pictures").glob("*.jpg"):
        assert describe_foreign(path.read_bytes()[:64]) == "a JPEG image"
