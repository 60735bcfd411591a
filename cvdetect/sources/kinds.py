"""Which files are images: by suffix where it is a known one, else by the first bytes."""

from __future__ import annotations

import os
import re
from typing import Literal

__all__ = [
    "HEAD",
    "IMAGE_SUFFIXES",
    "RAW_SUFFIXES",
    "VIDEO_SUFFIXES",
    "kind_of",
    "suffix_says",
    "unreadable",
]


HEAD = 512  # first bytes in which every kind shows

_READ = (
    ".apng .avif .bmp .dds .dib .exr .gif .hdr .heic .heif .hif .ico .j2c .j2k .jfi .jfif .jif .jp2 .jpe .jpeg .jpf "
    ".jpg .jpx .jls .mpo .pam .pbm .pcx .pfm .pgm .pic .png .pnm .ppm .psb .psd .pxm .qoi .ras .rgb .sgi .sr .sun .tga "
    ".tif .tiff .webp .xbm .xpm"
)
_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f"
)
_NOT_READ = ".cur .djvu .emf .eps .jxl .jxr .svg .svgz .wdp .wmf .xcf"
RAW_SUFFIXES = frozenset(_RAW.split())
IMAGE_SUFFIXES = frozenset(_READ.split()) | RAW_SUFFIXES | frozenset(_NOT_READ.split())
_VIDEO = (
    ".264 .265 .3g2 .3gp .asf .avi .divx .dv .f4v .flv .h264 .h265 .hevc .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 "
    ".mpeg .mpg .mts .mxf .ogm .ogv .rm .rmvb .ts .vob .webm .wmv .y4m"
)
VIDEO_SUFFIXES = frozenset(_VIDEO.split())
# Files that are certainly not images. Every other suffix, and none, is decided by the first bytes.
_OTHER = """
    .7z .a .aac .aux .bat .bz2 .c .caffemodel .cc .cfg .class .conf .cpp .crc .cs .css .csv .db .dcm .dll .doc .docx
    .dylib .exe .feather .flac .gitignore .go .gz .h .h5 .hdf5 .hpp .htm .html .ini .ipynb .jar .java .js .json .jsonl
    .kml .lock .log .lst .m3u8 .m4a .mat .md .md5 .mid .mp3 .msi .names .ndjson .npy .npz .o .obj .odt .ogg .onnx .opus
    .parquet .pb .pbtxt .pdf .php .pickle .pkl .ply .pptx .prototxt .ps1 .pt .pth .py .pyc .r .rar .rb .rs .rst .rtf
    .safetensors .sh .sha1 .sha256 .so .sql .sqlite .srt .tar .tex .tflite .tfrecord .tgz .toml .torrent .tsv .txt .url
    .vtt .wav .weights .whl .wma .xls .xlsx .xml .xmp .xz .yaml .yml .zip .zst
"""
_OTHER_SUFFIXES = frozenset(_OTHER.split()) | VIDEO_SUFFIXES
Says = Literal["image", "other", "unknown"]


_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff\xf7", "jls"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"8BPS", "psd"),
    (b"qoif", "qoi"),
    (b"DDS ", "dds"),
    (b"\x76\x2f\x31\x01", "exr"),
    (b"#?RADIANCE", "hdr"),
    (b"#?RGBE", "hdr"),
    (b"\x59\xa6\x6a\x95", "ras"),
    (b"\x01\xda\x00", "sgi"),
    (b"\x01\xda\x01", "sgi"),
    (b"/* XPM", "xpm"),
    (b"II\xbc\x01", "jxr"),
    (b"gimp xcf", "xcf"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),
    (b"\0MRM", "raw"),
    (b"IIU\0", "raw"),
    (b"IIRO", "raw"),
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "raw"),
    (b"AT&TFORM", "djvu"),
)
_NETPBM = re.compile(rb"P(?:([1-6Ff])(?:\s|#[^\n]*\n)+-?\d|(7)\n)")
# A comment ends at the first "-->" and nowhere else, so that no text makes the search slow.
_SVG = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--(?:(?!-->).)*-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", re.DOTALL
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_UNREADABLE = {
    "jxl": "is a JPEG XL image, which is not supported; convert it: djxl IN.jxl OUT.png",
    "jxr": "is a JPEG XR image, which is not supported; convert it to PNG",
    "svg": "is a vector drawing (SVG), which is not supported; export it as PNG",
    "xcf": "is a GIMP project, which is not supported; export it as PNG",
    "djvu": "is a DjVu document, which is not supported; convert its pages to PNG",
    "raw": "is a camera's raw file, which is not supported; export it as JPEG or TIFF",
}
_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))


def suffix_says(name: str) -> Says:
    """What a file is by the suffix of its name; where that is "unknown" its first bytes decide."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each file would cost more than all the rest
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "other" if suffix in _OTHER_SUFFIXES else "unknown"


def kind_of(head: bytes) -> str | None:
    """The kind of image that begins with `head`; None where its first bytes show none.

    Targa has no magic number, so it is recognised by its suffix alone.
    """
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    return _boxes(head) or _tagged(head) or _loose(head)


def unreadable(kind: str | None) -> str | None:
    """Why images of this kind are not supported, to follow the name and a colon; None where they are."""
    return _UNREADABLE.get(kind or "")


def _boxes(head: bytes) -> str | None:
    """Files of boxes (ISO/IEC 14496-12): the major brand first, then the compatible ones."""
    if head[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if b"crx " in brands[:1]:
        return "raw"
    if any(brand in (b"avif", b"avis") for brand in brands):
        return "avif"
    return "heic" if any(brand in _HEIC_BRANDS for brand in brands) else None


def _tagged(head: bytes) -> str | None:
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "raw" if head[8:11] == b"CR\x02" else "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def _loose(head: bytes) -> str | None:
    """Kinds whose magic numbers are short: more of the header has to fit."""
    if head[:2] == b"BM" and len(head) >= 26 and head[6:10] == bytes(4) and head[14:18] in _BMP_HEADERS:
        return "bmp"
    if head[:4] == b"\0\0\1\0" and len(head) > 22 and 0 < head[4] < 64 and head[5] == 0 and head[9] == 0:
        return "ico"
    if head[:1] == b"\x0a" and head[1:2] in b"\0\2\3\4\5" and head[2:3] == b"\1" and head[3:4] in b"\1\2\4\x08":
        return "pcx"
    netpbm = _NETPBM.match(head)
    if netpbm:
        return {b"F": "pfm", b"f": "pfm", None: "pam"}.get(netpbm[1], "pnm")
    if head.startswith(b"#define ") and b"_width " in head[:200]:
        return "xbm"
    return "svg" if _SVG.match(head) else None
