"""Sizes from headers agree with what the decoder gives, and no header makes trouble."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import SourceError
from cvdetect.jobs.annotate.reading import read_image
from cvdetect.sources.headers import stated_wh
from cvdetect.sources.images import read_image_file
from cvdetect.storage import LocalFolder


def encoded(suffix: str, *flags: int) -> bytes:
    done, data = cv2.imencode(suffix, np.full((37, 53, 3), 99, np.uint8), list(flags))
    assert done
    return data.tobytes()


SUFFIXES = [".jpg", ".png", ".gif", ".bmp", ".webp", ".tiff", ".avif", ".ppm"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_size_in_the_header_is_the_images(suffix: str) -> None:
    assert stated_wh(io.BytesIO(encoded(suffix))) == (53, 37)


def test_lossy_webp_and_progressive_jpeg_too() -> None:
    assert stated_wh(io.BytesIO(encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 50))) == (53, 37)
    assert stated_wh(io.BytesIO(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1))) == (53, 37)


def test_a_jpegs_size_is_found_behind_long_metadata() -> None:
    jpeg = encoded(".jpg")
    metadata = (b"\xff\xe2" + struct.pack(">H", 60_000) + bytes(59_998)) * 3
    assert stated_wh(io.BytesIO(jpeg[:2] + metadata + jpeg[2:])) == (53, 37)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_header_cut_anywhere_is_answered(suffix: str) -> None:
    whole = encoded(suffix)
    for length in range(min(len(whole), 300)):
        assert stated_wh(io.BytesIO(whole[:length])) in (None, (53, 37), (53, 0), (5, 37), (53, 3), (5, 3)), length


@given(
    st.sampled_from([b"", b"\xff\xd8", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"BM", b"P6 ", b"RIFF1234WEBPVP8 "]),
    st.binary(max_size=200),
)
def test_any_bytes_are_answered(magic: bytes, rest: bytes) -> None:
    wh = stated_wh(io.BytesIO(magic + rest))
    assert wh is None or all(v >= 0 for v in wh)


def bomb(width: int, height: int) -> bytes:
    png = encoded(".png")
    return png[:16] + struct.pack(">II", width, height) + png[24:]


def test_an_image_that_states_an_enormous_size_is_not_decoded_and_the_limit_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(100_000, 100_000))
    with pytest.raises(SourceError, match=r"100000x100000 pixels, over the limit of 200,000,000 .*max_pixels"):
        read_image(LocalFolder(path.parent), path.name, 200_000_000)


def test_an_image_right_at_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    assert read_image(LocalFolder(path.parent), path.name, 37 * 53).image.shape == (37, 53, 3)
    with pytest.raises(SourceError, match="over the limit"):
        read_image(LocalFolder(path.parent), path.name, 37 * 53 - 1)


def test_a_file_that_no_image_of_the_limit_could_fill_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 10, 10))
        stream.truncate(1 << 40)  # sparse: it takes no room
    with pytest.raises(SourceError, match="more than an image"):
        read_image(LocalFolder(path.parent), path.name, 1_000_000)


def test_an_image_is_not_decoded_beyond_the_limit_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    assert read_image_file(path, 53 * 37).image.shape == (37, 53, 3)
    with pytest.raises(SourceError, match=r"a\.png: has 53x37 pixels, over the limit of 1,960 .*max_pixels"):
        read_image_file(path, 53 * 37 - 1)
