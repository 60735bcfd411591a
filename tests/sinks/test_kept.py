"""Copies keep an image's profile and what of its EXIF harms nobody."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pil
from PIL import ImageCms, TiffImagePlugin

from cvdetect.core.frame import Kept
from cvdetect.core.tags import read_directories, with_tags, without_private
from cvdetect.sinks.images import JPEG_SUFFIXES, encode_image, output_names
from cvdetect.sources.images import read_image_file

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tiff": "TIFF", ".avif": "AVIF"}


def camera_exif() -> Pil.Exif:
    exif = Pil.Exif()
    exif[271], exif[272], exif[274], exif[306], exif[315] = "Maker", "Model", 6, "2020:01:02 03:04:05", "A. Person"
    more = exif.get_ifd(34665)
    more.update({33434: TiffImagePlugin.IFDRational(1, 80), 36867: "2020:01:02 03:04:05"})
    more.update({37500: b"maker's own", 42033: "SERIAL", 42032: "Owner"})
    place = exif.get_ifd(34853)
    place.update({1: "N", 2: (52.0, 30.0, 0.0)})
    return exif


def parts(exif: Pil.Exif) -> tuple[dict[int, object], dict[int, object], dict[int, object]]:
    main = {tag: value for tag, value in exif.items() if tag in (271, 272, 274, 306, 315)}
    return main, dict(exif.get_ifd(34665)), dict(exif.get_ifd(34853))


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_copies_are_upright_and_keep_profile_camera_and_date_but_no_place_and_no_serial_number(
    tmp_path: Path, source: str, target: str
) -> None:
    path = tmp_path / f"a{source}"
    extra = {"tiffinfo": camera_exif()} if source == ".tiff" else {"exif": camera_exif().tobytes()}
    Pil.fromarray(IMAGE).save(path, FORMATS[source], icc_profile=PROFILE, **extra)
    picture = read_image_file(path)
    copy = encode_image(Path(f"o{target}"), picture.image, kept=picture.kept)
    with Pil.open(io.BytesIO(copy)) as shown:
        assert shown.size == (20, 30) and shown.info["icc_profile"] == PROFILE
        main, more, place = parts(shown.getexif())
    assert main == {271: "Maker", 272: "Model", 306: "2020:01:02 03:04:05"}
    if source != ".tiff":  # Pillow writes no EXIF directory into a TIFF
        assert more == {33434: 0.0125, 36867: "2020:01:02 03:04:05"}
    assert place == {} and b"SERIAL" not in copy and b"Owner" not in copy and b"A. Person" not in copy


def test_each_suffix_of_jpeg_is_written_as_jpeg() -> None:
    for suffix in JPEG_SUFFIXES:
        assert encode_image(Path(f"o{suffix.upper()}"), IMAGE) == encode_image(Path("o.jpg"), IMAGE)
        assert output_names([f"a{suffix}"], Path())[f"a{suffix}"] == Path(f"a_detected{suffix}")


def test_a_format_without_a_place_for_it_is_written_all_the_same() -> None:
    kept = Kept(PROFILE, without_private(camera_exif().tobytes()))
    assert encode_image(Path("o.bmp"), IMAGE, kept=kept) == encode_image(Path("o.bmp"), IMAGE)


def test_a_profile_that_the_format_refuses_is_left_out() -> None:
    with Pil.open(io.BytesIO(encode_image(Path("o.png"), IMAGE, kept=Kept(b"no profile")))) as shown:
        assert shown.size == (30, 20) and "icc_profile" not in shown.info


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_either_byte_order_are_thinned_out(order: str) -> None:
    exif = camera_exif()
    exif.endian = order
    thin = Pil.Exif()
    thin.load(without_private(exif.tobytes()))
    assert parts(thin)[0] == {271: "Maker", 272: "Model", 306: "2020:01:02 03:04:05"}
    assert parts(thin)[1][33434] == 0.0125


@given(st.sampled_from([b"", b"II*\0", b"MM\0*", b"Exif\0\0II*\0\x08\0\0\0"]), st.binary(max_size=300))
def test_any_bytes_are_answered(start: bytes, rest: bytes) -> None:
    block = without_private(start + rest)
    assert block == b"" or read_directories(block)
    assert with_tags(start + rest, PROFILE, block) is not None
