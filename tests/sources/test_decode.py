"""Images are read by what they hold and come out as viewers show them."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pil
from PIL import ImageCms, ImageOps

from cvdetect.core.errors import SourceError
from cvdetect.media.tone import tone_map
from cvdetect.sources.decode import DecodedImage, decode
from cvdetect.sources.kinds import HEAD, IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of, suffix_says

RGB = np.zeros((24, 36, 3), np.uint8)
RGB[:8, :12], RGB[16:, 24:], RGB[:, 12:24] = (200, 80, 30), (20, 120, 220), (90, 90, 90)


def saved(kind: str, image: Pil.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Pil.fromarray(RGB)).save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, name: str = "x") -> DecodedImage:
    return decode(np.frombuffer(data, np.uint8), name)


def rgb(data: bytes, name: str = "x") -> np.ndarray:
    return read(data, name).image[:, :, ::-1]


LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}, "PPM": {}, "JPEG2000": {}, "QOI": {},
            "PCX": {}, "SGI": {}, "DDS": {}, "TGA": {}}  # fmt: skip


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_format_gives_the_same_pixels_whatever_its_name(kind: str) -> None:
    data = saved(kind, **LOSSLESS[kind])
    name = "x.tga" if kind == "TGA" else "x.jpg"  # Targa has no magic number
    np.testing.assert_array_equal(rgb(data, name), RGB)
    assert (kind_of(data[:HEAD]) is None) == (kind == "TGA")


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "MPO"])
def test_lossy_formats_give_nearly_the_same(kind: str) -> None:
    big = Pil.fromarray(np.kron(RGB, np.ones((4, 4, 1), np.uint8)))
    assert np.abs(rgb(saved(kind, big, quality=95)).astype(int) - np.asarray(big)).mean() < 4


def test_the_largest_image_of_an_icon_is_taken() -> None:
    icon = Pil.fromarray(np.full((64, 64, 3), (10, 200, 30), np.uint8))
    np.testing.assert_array_equal(rgb(saved("ICO", icon, sizes=[(16, 16), (64, 64)])), np.asarray(icon))


def test_a_photoshop_file_gives_its_merged_image() -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 24, 36, 8, 3) + bytes(12) + b"\0\0"
    np.testing.assert_array_equal(rgb(header + RGB.transpose(2, 0, 1).tobytes()), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_each_orientation_is_undone(kind: str, orientation: int) -> None:
    exif = Pil.Exif()
    exif[274] = orientation
    options = {"tiffinfo": exif} if kind == "TIFF" else {"exif": exif.tobytes(), "quality": 95}
    data = saved(kind, Pil.fromarray(np.kron(RGB, np.ones((4, 4, 1), np.uint8))), **options)
    with Pil.open(io.BytesIO(data)) as shown:
        expected = np.asarray(ImageOps.exif_transpose(shown).convert("RGB"))
    found = rgb(data)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 4


def test_exifs_orientation_has_no_say_in_avif_but_irot_has(shared: Path, samples: Path) -> None:
    shown = read((shared / "data/cases/media/ex6.avif").read_bytes()).image
    picture = cv2.imread(str(samples / "dog.jpg"))
    assert shown.shape == picture.shape and np.abs(shown.astype(int) - picture).mean() < 8


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_the_bits_that_are_used_in_a_file_of_16_go_from_black_to_white(suffix: str, bits: int) -> None:
    top = (1 << bits) - 1
    grey = np.array([[0, top // 4, top // 2, top]], np.uint16)
    shown = read(cv2.imencode(suffix, grey)[1].tobytes()).image[0, :, 0]
    assert np.abs(shown.astype(int) - [0, 63, 127, 255]).max() <= 1


@pytest.mark.parametrize("depth", [10, 12])
def test_a_dark_avif_of_more_than_8_bits_stays_dark(depth: int) -> None:
    dark = np.full((16, 16, 3), 200, np.uint16)
    data = cv2.imencode(".avif", dark, [cv2.IMWRITE_AVIF_DEPTH, depth])[1].tobytes()
    assert abs(int(read(data).image.mean()) - 200 * 255 // ((1 << depth) - 1)) <= 2


def test_a_netpbm_file_is_scaled_by_its_own_maximum() -> None:
    assert read(b"P5\n# made by hand\n3 1\n100\n" + bytes([0, 50, 100])).image[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_is_read_from_0_to_1_and_refused_beyond() -> None:
    unit = Pil.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert read(saved("TIFF", unit)).image[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(SourceError, match=r"x: has samples from 0 to 90; only 0"):
        read(saved("TIFF", Pil.fromarray(np.array([[0, 90]], np.float32))))


def test_32_bit_whole_numbers_are_scaled_too() -> None:
    numbers = Pil.fromarray(np.array([[-5, 0, 2048, 4095]], np.int32))
    assert read(saved("TIFF", numbers)).image[0, :, 0].tolist() == [0, 0, 128, 255]


def light() -> np.ndarray:
    return (np.kron(RGB, np.ones((2, 2, 1))) / 255.0).astype(np.float32) ** 2.2 * 40


def exr() -> bytes:
    context = av.CodecContext.create("exr", "w")
    context.width, context.height, context.pix_fmt, context.framerate = 72, 48, "gbrpf32le", 1
    context.time_base = 1
    frame = av.VideoFrame.from_ndarray(light(), format="gbrpf32le")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


@pytest.mark.parametrize("kind", ["exr", "hdr", "pfm"])
def test_light_is_exposed_as_a_photograph(kind: str) -> None:
    data = exr() if kind == "exr" else cv2.imencode(f".{kind}", light()[:, :, ::-1])[1].tobytes()
    shown = rgb(data)
    assert shown.shape == (48, 72, 3) and 40 < shown.mean() < 200
    assert shown[4, 4, 0] > shown[4, 4, 1] > shown[4, 4, 2], "hues stay"
    assert np.abs(shown[20, 30].astype(int) - shown[20, 30, 0]).max() < 3, "grey stays grey"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "TGA"])
def test_white_shows_through_what_is_transparent(kind: str) -> None:
    alpha = np.repeat(np.uint8([0, 128, 255]), 12)[None, :, None].repeat(24, 0)
    picture = Pil.fromarray(np.dstack([np.full_like(RGB, 100), alpha]))
    options = {"lossless": True} if kind == "WEBP" else {}
    row = rgb(saved(kind, picture, **options), "x.tga" if kind == "TGA" else "x")[12, 2::12, 1]
    assert np.abs(row.astype(int) - [255, 177, 100]).max() <= 3


def test_an_alpha_channel_that_was_never_filled_in_does_not_hide_the_image() -> None:
    empty = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    np.testing.assert_array_equal(rgb(saved("PNG", Pil.fromarray(empty))), RGB)


def test_palettes_one_bit_and_grey_are_read() -> None:
    few = Pil.fromarray(RGB).quantize(8)
    np.testing.assert_array_equal(rgb(saved("PNG", few)), np.asarray(few.convert("RGB")))
    for kind in ("PNG", "TIFF"):
        assert set(np.unique(rgb(saved(kind, Pil.fromarray(RGB).convert("1"))))) == {0, 255}
        grey = Pil.fromarray(RGB).convert("L")
        np.testing.assert_array_equal(rgb(saved(kind, grey)), np.asarray(grey.convert("RGB")))


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_rgb_profile_is_handed_on(kind: str) -> None:
    assert read(saved(kind, icc_profile=PROFILE)).kept.icc == PROFILE


def test_profiles_of_ink_and_grey_are_not_as_the_image_is_rgb_then() -> None:
    for space, mode in ((b"CMYK", "CMYK"), (b"GRAY", "L")):
        other = PROFILE[:16] + space + PROFILE[20:]
        picture = read(saved("JPEG", Pil.fromarray(RGB).convert(mode), icc_profile=other, quality=95))
        assert picture.kept.icc == b"" and picture.image.shape == RGB.shape


def test_an_inked_jpeg_has_the_colours_that_others_show(samples: Path) -> None:
    with Pil.open(samples / "dog.jpg") as dog:
        data = saved("JPEG", dog.convert("CMYK"), quality=95)
    with Pil.open(io.BytesIO(data)) as shown:
        assert np.abs(rgb(data).astype(int) - np.asarray(shown.convert("RGB"))).mean() < 2


@pytest.mark.parametrize(
    ("kind", "called"), [("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames"), ("TIFF", "pages")]
)
def test_of_several_images_the_first_is_taken_which_is_reported(kind: str, called: str) -> None:
    more = [Pil.fromarray(np.roll(RGB, shift, 1)) for shift in (3, 9)]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(saved(kind, save_all=True, append_images=more, **options))
    assert picture.remarks == (f"holds 3 {called}: only the first one is used",)
    assert np.abs(picture.image[:, :, ::-1].astype(int) - RGB).mean() < 4
    assert read(saved(kind)).remarks == ()


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\xff\x0a" + bytes(99), "x.jxl", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "x", "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x.svg", "SVG"),
        (b"II*\0" + bytes(99), "x.nef", "raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "x.cr3", "raw file"),
        (b"hello\n", "x.jpg", "is plain text, not an image"),
        (b"", "x.jpg", "is empty"),
        (bytes(range(1, 200)), "x.tga", "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "x.png", "cut short or damaged"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(data: bytes, name: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as refusal:
        read(data, name)
    assert str(refusal.value).startswith(f"{name}: ") and "\n" not in str(refusal.value)


def test_a_dng_is_a_raw_file_by_its_version_tag_whatever_its_name() -> None:
    with pytest.raises(SourceError, match="raw file"):
        read(saved("TIFF", tiffinfo={50706: b"\1\4\0\0"}), "x.tif")


def test_a_jpeg_whose_end_is_missing_is_refused_though_it_has_an_end_marker(shared: Path) -> None:
    with pytest.raises(SourceError, match="cut short or damaged"):
        read((shared / "data/cases/hostile/jpg_dims_13000.jpg").read_bytes())


def test_heic_is_read_with_the_extra_and_asks_for_it_without(
    shared: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (shared / "data/cases/media/a.heic").read_bytes()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SourceError, match=r"needs the extra: pip install 'cvdetect\[heif\]'"):
        read(data)
    monkeypatch.undo()
    pytest.importorskip("pillow_heif")
    picture = read(data)
    expected = cv2.imread(str(samples / "dog.jpg"))
    assert np.abs(picture.image.astype(int) - expected).mean() < 8
    assert picture.kept.icc and picture.kept.exif


def test_more_pixels_than_the_limit_are_not_decoded_by_ffmpeg_either() -> None:
    with pytest.raises(SourceError, match="cannot be decoded"):
        decode(np.frombuffer(saved("TGA"), np.uint8), "x.tga", max_pixels=100)


def test_suffixes_of_images_and_of_other_files_do_not_overlap() -> None:
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES
    assert {suffix_says(f"a{suffix}") for suffix in IMAGE_SUFFIXES} == {"image"}
    assert [suffix_says(n) for n in ("a.TXT", "b.mp4", "c", "d.xyz", "e.JFIF")] == ["other"] * 2 + ["unknown"] * 2 + [
        "image"
    ]


def png_with(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_an_hdr_png_is_tone_mapped_and_reported(transfer: int, name: str) -> None:
    code = 0.5
    data = cv2.imencode(".png", np.full((4, 4, 3), round(code * 65535), np.uint16))[1].tobytes()
    picture = read(png_with(data, b"cICP", bytes([9, transfer, 0, 1])))
    expected = tone_map(np.full((1, 3), code), name == "HLG")[0] * 255
    assert np.abs(picture.image.reshape(-1, 3).mean(0) - expected).max() < 2
    assert len(picture.remarks) == 1 and f"HDR ({name})" in picture.remarks[0]


def test_the_frames_of_an_avif_sequence_are_counted() -> None:
    more = [Pil.fromarray(np.roll(RGB, shift, 1)) for shift in (3, 9)]
    assert read(saved("AVIF", save_all=True, append_images=more)).remarks == (
        "holds 3 frames: only the first one is used",
    )


def test_alpha_of_16_bits_does_not_darken_colours_of_12() -> None:
    deep = np.dstack([np.full((4, 4, 3), 2048, np.uint16), np.full((4, 4), 65535, np.uint16)])
    deep[0, 0, :3] = 4095
    assert abs(int(read(cv2.imencode(".png", deep)[1].tobytes()).image[2, 2, 0]) - 128) <= 1


def test_texts_that_begin_like_an_image_are_none() -> None:
    texts = [
        b"P1 is the first",
        b"BM stands for",
        b"<!--x-->" * 60,
        b"<?xml version='1.0'?><html/>",
        b"\n\0",
        b"#define A 1",
    ]
    assert [kind_of(text[:HEAD]) for text in texts] == [None] * len(texts)


def test_a_pam_file_is_read() -> None:
    header = b"P7\nWIDTH 36\nHEIGHT 24\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    np.testing.assert_array_equal(rgb(header + RGB.tobytes()), RGB)


def test_a_dark_image_of_16_bits_that_were_8_stays_dark() -> None:
    dark = np.arange(0, 60, dtype=np.uint16).reshape(6, 10) * 257
    done, data = cv2.imencode(".png", dark)
    assert done
    assert np.array_equal(decode(data, "dark.png").image[:, :, 0], dark >> 8)


def test_jpeg_ls_is_known_by_its_content_and_damage_is_reported_once(capfd: pytest.CaptureFixture[str]) -> None:
    grey = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    encoder = av.CodecContext.create("jpegls", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "gray", Fraction(1, 25)
    packet = encoder.encode(av.VideoFrame.from_ndarray(grey, format="gray"))[0]
    assert np.array_equal(decode(np.frombuffer(bytes(packet), np.uint8), "no_suffix").image[:, :, 0], grey)
    _, bmp = cv2.imencode(".bmp", grey)
    with pytest.raises(SourceError, match="cut short or damaged, or an unsupported variant of BMP"):
        decode(bmp[:1500], "a.bmp")
    assert capfd.readouterr() == ("", "")
