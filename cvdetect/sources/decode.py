"""The bytes of an image file → the image as a viewer shows it, and what a copy of it keeps."""

from __future__ import annotations

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
from cvdetect.core.tags import ICC, read_directories, without_private
from cvdetect.media.stills import STILLS, decode_still
from cvdetect.media.tone import HDR_NAMES, HLG, hdr_remark
from cvdetect.sources.headers import check_wh, count_images, png_colours, stated_wh, white_of
from cvdetect.sources.heif import HEIF_NEEDED, heif_colours, heif_orientation, heif_profile, read_heif
from cvdetect.sources.kinds import HEAD, RAW_SUFFIXES, VIDEO_SUFFIXES, kind_of, unreadable
from cvdetect.sources.pixels import (
    exif_orientation,
    expose,
    hdr_to_sdr,
    to_eight_bits,
    to_opaque,
    to_upright,
    unit_to_eight_bits,
)

__all__ = ["DecodedImage", "decode"]


# These may be deeper than 8 bits or have an alpha channel.
_UNCHANGED = ("png", "webp", "tiff", "avif", "gif", "jp2", "pnm", "pfm", "hdr")
_WITH_METADATA = ("jpeg", "png", "webp", "avif")
_BY_SUFFIX = {".tga": "tga", ".jls": "jls"}
# A block of 8x8 pixels takes a bit at the very least; a file with less is one whose end is missing.
_MOST_JPEG_PIXELS = 8 * 64  # a byte
_BT2020 = 9
_ONE_KIND = ("avif", "gif", "png", "webp")  # of which all variants are read
_DNG_VERSION, _TOP_SAMPLE, _EXTRA_SAMPLES = 50706, 281, 338
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An image as a viewer shows it.

    Attributes:
        image: (H, W, 3) BGR uint8, upright.
        kept: what a copy keeps of the file's metadata.
        remarks: what a person should know about it, each to follow its name and a colon.
    """

    image: Image
    kept: Kept = NOTHING_KEPT
    remarks: tuple[str, ...] = ()

    def frame(self, name: str, index: int = 0) -> Frame:
        """A frame of that name."""
        return Frame(self.image, name, index, kept=self.kept, remarks=self.remarks)


def decode(data: _Bytes, name: str, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """The bytes of an image file, whatever its suffix → the image; `name` is used in errors.

    Raises:
        SourceError: it is not an image, of an unsupported kind, damaged, or larger than `max_pixels`.
    """
    whole = data.tobytes()
    if not whole:
        raise SourceError(f"{name}: is empty")
    kind = _kind(whole, name)
    check_wh(name, stated_wh(BytesIO(whole)), max_pixels)
    try:
        with quiet():
            raw = _decoder(kind)(_File(data, whole, kind, max_pixels))
        image = to_opaque(_shown(raw, kind), raw.premultiplied)
    except cv2.error as error:  # e.g. more pixels than OpenCV's limit
        raise SourceError(f"{name}: cannot be decoded: {' '.join(str(error.err or error).split())}") from error
    except ImportError:
        raise SourceError(f"{name}: {HEIF_NEEDED}") from None
    except _Undecoded:
        raise SourceError(f"{name}: {_why_undecodable(name, whole[:HEAD])}") from None
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from error
    hdr = _hdr(raw)
    kept = Kept(b"" if hdr else _rgb_profile(raw.icc), without_private(raw.exif))
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


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """Samples as a decoder gives them: grey, BGR or BGRA of any depth, already upright."""

    samples: NDArray[Any]
    icc: bytes = b""
    exif: bytes = b""
    white: int | None = None
    premultiplied: bool = False
    number: int = 1
    colours: tuple[int, int] = (2, 2)  # primaries and transfer (ITU-T H.273)


def _kind(whole: bytes, name: str) -> str | None:
    """The kind of image; a raw file that is a TIFF inside is known by its suffix or its version tag."""
    kind, suffix = kind_of(whole[:HEAD]), Path(name).suffix.lower()
    if kind == "tiff" and (suffix in RAW_SUFFIXES or _DNG_VERSION in next(iter(read_directories(whole, 1)), {})):
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
    if kind in STILLS:
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
        raise ValueError(f"is an image of a kind ({file.kind}) that only PyAV reads: {media.INSTALL}")
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
    turned = samples if kind == "jpeg" else to_upright(samples, orientation)
    colours = heif_colours(file.whole) if kind == "avif" else png_colours(file.whole) if kind == "png" else (2, 2)
    return _Raw(turned, icc, exif, white=white_of(file.whole, kind), colours=colours)


def _tiff(samples: NDArray[Any], whole: bytes) -> _Raw:
    tags = next(iter(read_directories(whole, 1)), {})
    white = tags[_TOP_SAMPLE].number() if _TOP_SAMPLE in tags else None
    icc = tags[ICC].data if ICC in tags else b""
    has_alpha = _EXTRA_SAMPLES in tags and tags[_EXTRA_SAMPLES].number() in (1, 2)
    if samples.ndim == 3 and samples.shape[2] == 4 and not has_alpha:
        samples = samples[:, :, :3]
    return _Raw(samples, icc, whole, white=white, premultiplied=samples.dtype == np.uint8)


def _shown(raw: _Raw, kind: str | None) -> NDArray[np.uint8]:
    """Samples of any type → uint8."""
    if _hdr(raw):
        primaries, transfer = raw.colours
        white = raw.white or np.iinfo(raw.samples.dtype).max
        return hdr_to_sdr(raw.samples, white, transfer == HLG, primaries == _BT2020)
    if raw.samples.dtype.kind in "ui":
        return to_eight_bits(raw.samples, raw.white)
    return unit_to_eight_bits(raw.samples) if kind == "tiff" else expose(raw.samples)


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
    return (f"holds {number} {called}: only the first one is used",) if number > 1 else ()


def _why_undecodable(name: str, head: bytes) -> str:
    if Path(name).suffix.lower() in VIDEO_SUFFIXES:
        return f"is a video; run cvdetect video '{name}'"
    kind = kind_of(head)
    if kind is not None:
        other = "" if kind in _ONE_KIND else f", or an unsupported variant of {kind.upper()}"
        return f"is cut short or damaged{other}: it cannot be decoded"
    foreign = describe_foreign(head)
    return f"is {foreign}, not an image" if foreign else "is not an image that OpenCV can decode"
