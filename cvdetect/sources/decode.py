"""The bytes of an image file → the image as a viewer shows it, and what a copy of it keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect import media
from cvdetect.core.cv import cv2, quiet
from cvdetect.core.errors import SourceError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.frame import MAX_PIXELS, NOTHING_KEPT, Frame, Image, Kept
from cvdetect.core.tags import ICC, directories, harmless
from cvdetect.media.tone import HDR_NAMES, HLG, hdr_remark
from cvdetect.sources.dimensions import check_wh, stated_wh
from cvdetect.sources.heif import NEEDED, heif_colours, heif_orientation, heif_profile, read_heif
from cvdetect.sources.kinds import HEAD, RAW_SUFFIXES, VIDEO_SUFFIXES, kind_of, unreadable
from cvdetect.sources.pixels import eight_bits, exif_orientation, expose, fraction_bits, opaque, sdr, upright

__all__ = ["DecodedImage", "count_images", "decode"]


# These may be deeper than 8 bits or have an alpha channel.
_UNCHANGED = ("png", "webp", "tiff", "avif", "gif", "jp2", "pnm", "pfm", "hdr")
_WITH_METADATA = ("jpeg", "png", "webp", "avif")
_BY_FFMPEG = frozenset("dds exr ico jls pam pcx psd qoi sgi tga xbm xpm".split())  # STILLS of media
_BY_SUFFIX = {".tga": "tga", ".jls": "jls"}
# A block of 8x8 pixels takes a bit at the very least; a file with less is one whose end is missing.
_MOST_JPEG_PIXELS = 8 * 64  # a byte
_BT2020 = 9
_ONE_KIND = ("avif", "gif", "png", "webp")  # of which all variants are read
_DNG_VERSION, _TOP_SAMPLE, _EXTRA_SAMPLES = 50706, 281, 338
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A decoded image.

    Attributes:
        image: (H, W, 3) BGR uint8, upright.
        kept: what a copy keeps of the file's metadata.
        remarks: what a person should know of it, to follow its name and a colon.
    """

    image: Image
    kept: Kept = NOTHING_KEPT
    remarks: tuple[str, ...] = ()

    def frame(self, name: str, index: int = 0) -> Frame:
        """It as a frame of that name."""
        return Frame(self.image, name, index, kept=self.kept, remarks=self.remarks)


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """Samples as a decoder gives them: grey, BGR or BGRA of any depth, already upright."""

    samples: NDArray[Any]
    icc: bytes = b""
    exif: bytes = b""
    top: int | None = None
    premultiplied: bool = False
    number: int = 1
    colours: tuple[int, int] = (2, 2)  # primaries and transfer (ITU-T H.273)


def decode(data: _Bytes, name: str, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """The bytes of an image file, whatever its suffix → the image; `name` is used in errors.

    Raises:
        SourceError: it is no image, of a kind that is not read, damaged, or larger than `max_pixels`.
    """
    whole = data.tobytes()
    if not whole:
        raise SourceError(f"{name}: is empty")
    kind = _kind(whole, name)
    check_wh(name, stated_wh(BytesIO(whole)), max_pixels)
    try:
        with quiet():
            raw = _decoder(kind)(_File(data, whole, kind, max_pixels))
        image = opaque(_shown(raw, kind), raw.premultiplied)
    except cv2.error as error:  # e.g. more pixels than OpenCV's limit
        raise SourceError(f"{name}: cannot be decoded: {' '.join(str(error.err or error).split())}") from error
    except ImportError:
        raise SourceError(f"{name}: {NEEDED}") from None
    except _Undecoded:
        raise SourceError(f"{name}: {_why_undecodable(name, whole[:HEAD])}") from None
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from error
    hdr = _hdr(raw)
    kept = Kept(b"" if hdr else _rgb_profile(raw.icc), harmless(raw.exif))
    remarks = (hdr_remark(raw.colours[1]),) if hdr else ()
    return DecodedImage(image, kept, remarks + _several(raw, whole, kind))


class _Undecoded(Exception):
    """OpenCV gives no image and no reason."""


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    data: _Bytes
    whole: bytes
    kind: str | None
    max_pixels: int


def _kind(whole: bytes, name: str) -> str | None:
    """The kind of image; a raw file that is a TIFF inside is known by its suffix or its version tag."""
    kind, suffix = kind_of(whole[:HEAD]), Path(name).suffix.lower()
    if kind == "tiff" and (suffix in RAW_SUFFIXES or _DNG_VERSION in next(iter(directories(whole, 1)), {})):
        return "raw"
    if kind is None:
        return "raw" if suffix in RAW_SUFFIXES else _BY_SUFFIX.get(suffix)
    return kind


def _decoder(kind: str | None) -> Callable[[_File], _Raw]:
    reason = unreadable(kind)
    if reason:
        raise ValueError(reason)
    if kind == "heic":
        return _heic
    if kind in _BY_FFMPEG:
        return _by_ffmpeg
    return _by_opencv


def _heic(file: _File) -> _Raw:
    try:
        image, icc, exif, number = read_heif(file.whole)
    except ValueError as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    return _Raw(image, icc, exif, number=number, colours=heif_colours(file.whole))


def _by_ffmpeg(file: _File) -> _Raw:
    if not media.available():
        raise ValueError(f"is an image of a kind ({file.kind}) that only PyAV reads: pip install av")
    from cvdetect.media.stills import decode_still

    try:
        return _Raw(decode_still(file.whole, file.kind or "", file.max_pixels))
    except ValueError as error:
        raise ValueError(f"cannot be decoded: {error}") from error


def _by_opencv(file: _File) -> _Raw:
    kind = file.kind
    flags = cv2.IMREAD_UNCHANGED if kind in _UNCHANGED else cv2.IMREAD_COLOR
    icc = exif = b""
    if kind in _WITH_METADATA:
        samples, kinds, blocks = cv2.imdecodeWithMetadata(file.data, flags=flags)
        blocks_of = {int(k): np.asarray(block).tobytes() for k, block in zip(kinds, blocks, strict=False)}
        icc, exif = blocks_of.get(cv2.IMAGE_METADATA_ICCP, b""), blocks_of.get(cv2.IMAGE_METADATA_EXIF, b"")
    else:
        samples = cv2.imdecode(file.data, flags)
    if samples is None:
        raise _Undecoded
    if kind == "tiff":  # OpenCV turns it upright itself, as it does a JPEG
        return _tiff(samples, file.whole)
    if kind == "jpeg" and samples.shape[0] * samples.shape[1] > _MOST_JPEG_PIXELS * len(file.whole):
        raise _Undecoded
    if kind == "avif":
        icc, orientation = heif_profile(file.whole), heif_orientation(file.whole)
    else:
        orientation = exif_orientation(exif)
    turned = samples if kind == "jpeg" else upright(samples, orientation)
    colours = heif_colours(file.whole) if kind == "avif" else _png_colours(file.whole) if kind == "png" else (2, 2)
    return _Raw(turned, icc, exif, top=_stated_top(file.whole, kind), colours=colours)


def _png_colours(whole: bytes) -> tuple[int, int]:
    """Primaries and transfer by the chunk ``cICP`` (PNG 3, 11.3.2.6), which comes before the first ``IDAT``."""
    found = re.search(rb"\x00\x00\x00\x04cICP(.{4})", whole[: max(0, whole.find(b"IDAT"))], re.DOTALL)
    return (found[1][0], found[1][1]) if found else (2, 2)


def _tiff(samples: NDArray[Any], whole: bytes) -> _Raw:
    tags = next(iter(directories(whole, 1)), {})
    top = tags[_TOP_SAMPLE].number() if _TOP_SAMPLE in tags else None
    icc = tags[ICC].data if ICC in tags else b""
    has_alpha = _EXTRA_SAMPLES in tags and tags[_EXTRA_SAMPLES].number() in (1, 2)
    if samples.ndim == 3 and samples.shape[2] == 4 and not has_alpha:
        samples = samples[:, :, :3]
    return _Raw(samples, icc, whole, top=top, premultiplied=samples.dtype == np.uint8)


def _stated_top(whole: bytes, kind: str | None) -> int | None:
    """The sample that means white, where the file states it."""
    if kind == "pnm":
        found = re.match(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d{1,5})\s", whole[:4096])
        return int(found[1]) if found and int(found[1]) > 0 else None
    if kind == "avif":  # AV1 in ISOBMFF, 2.3.3: high_bitdepth and twelve_bit
        at = whole.find(b"av1C") + 6
        deep, twelve = (whole[at] >> 6 & 1, whole[at] >> 5 & 1) if 6 <= at < len(whole) else (0, 0)
        return (1 << (8 + 2 * deep + 2 * twelve)) - 1
    if kind == "jp2":  # ISO/IEC 15444-1, I.5.3.1
        at = whole.find(b"ihdr") + 14
        bits = (whole[at] & 0x7F) + 1 if 14 <= at < len(whole) else 0
        return (1 << bits) - 1 if 0 < bits <= 16 else None
    return None


def _shown(raw: _Raw, kind: str | None) -> NDArray[np.uint8]:
    """Samples of any type → uint8."""
    if _hdr(raw):
        primaries, transfer = raw.colours
        top = raw.top or np.iinfo(raw.samples.dtype).max
        return sdr(raw.samples, top, transfer == HLG, primaries == _BT2020)
    if raw.samples.dtype.kind in "ui":
        return eight_bits(raw.samples, raw.top)
    return fraction_bits(raw.samples) if kind == "tiff" else expose(raw.samples)


def _hdr(raw: _Raw) -> str | None:
    """The name of its transfer where that is one of HDR."""
    is_colour = raw.samples.ndim == 3 and raw.samples.shape[2] >= 3
    return HDR_NAMES.get(raw.colours[1]) if is_colour else None


def _rgb_profile(icc: bytes) -> bytes:
    """The profile where it is one of RGB (ICC.1, 7.2.6): the image's numbers are no longer CMYK or grey."""
    return icc if icc[16:20] == b"RGB " and icc[36:40] == b"acsp" else b""


def _several(raw: _Raw, whole: bytes, kind: str | None) -> tuple[str, ...]:
    number, called = count_images(whole, kind)
    number = max(number, raw.number)
    return (f"holds {number} {called}: only the first is taken",) if number > 1 else ()


def _why_undecodable(name: str, head: bytes) -> str:
    if Path(name).suffix.lower() in VIDEO_SUFFIXES:
        return f"is a video; run cvdetect video '{name}'"
    kind = kind_of(head)
    if kind is not None:
        other = "" if kind in _ONE_KIND else f", or a variant of {kind.upper()} that is not read"
        return f"is cut short or damaged{other}: the picture cannot be decoded"
    foreign = describe_foreign(head)
    return f"is {foreign}, not a picture" if foreign else "is not a picture that OpenCV can decode"


# How many images a file holds, of which only the first is taken: animations and pages.

_SUBFILE, _REDUCED_OR_MASK = 254, 0b101


def count_images(data: bytes, kind: str | None) -> tuple[int, str]:
    """How many images the bytes of a file hold, and what they are called: "frames" or "pages"."""
    if kind == "gif":
        return _gif(data), "frames"
    if kind == "png":
        return _apng(data), "frames"
    if kind == "webp":
        return max(1, _riff(data).count(b"ANMF")), "frames"
    if kind in ("avif", "heic"):
        return _samples(data), "frames"
    if kind == "tiff":
        return _tiff_pages(data), "pages"
    return 1, "frames"


def _gif(data: bytes) -> int:
    """GIF89a, appendix A: image descriptors, past extensions and colour tables."""
    at = 13 + _table(data[10:11])
    found = 0
    while at < len(data):
        if data[at] == 0x2C:
            found += 1
            at = _blocks_end(data, at + 11 + _table(data[at + 9 : at + 10]))
        elif data[at] == 0x21:
            at = _blocks_end(data, at + 2)
        else:
            break
    return max(1, found)


def _table(packed: bytes) -> int:
    return 3 << ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _apng(data: bytes) -> int:
    """APNG 1.0: the count in ``acTL``, which comes before the first ``IDAT``."""
    found = re.search(rb"acTL(.{4})", data[: max(0, data.find(b"IDAT"))], re.DOTALL)
    return max(1, int.from_bytes(found[1], "big")) if found else 1


def _riff(data: bytes) -> list[bytes]:
    """The names of a RIFF file's chunks."""
    names, at = [], 12
    while at + 8 <= len(data):
        names.append(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return names


def _samples(data: bytes) -> int:
    """How many samples the first track of a sequence has (``stsz``, ISO/IEC 14496-12, 8.7.3); 1 without a track."""
    at = data.find(b"stsz") + 12
    return max(1, int.from_bytes(data[at : at + 4], "big")) if at >= 12 and b"moov" in data[:at] else 1


def _tiff_pages(data: bytes) -> int:
    """Pages that are neither a small version of another nor its mask."""
    pages = [page[_SUBFILE].number() if _SUBFILE in page else 0 for page in directories(data)]
    return max(1, sum(1 for kind in pages if not (kind or 0) & _REDUCED_OR_MASK))
