"""Recognises files that were saved in place of a model or video: web pages, Git LFS pointers, archives, images."""

from __future__ import annotations

import re

__all__ = ["describe_foreign", "not_a_video"]

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_TAR_MAGIC_AT = 257
_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"%PDF-", "a PDF document"),
)
# A comment ends at the first "-->" and nowhere else, so that no text makes the search slow.
_BEFORE_ROOT = rb"(<\?xml[^>]*>\s*)?(<!--(?:(?!-->).)*-->\s*)*"
_HTML = re.compile(_BEFORE_ROOT + rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_DASH = re.compile(_BEFORE_ROOT + rb"<MPD[\s>]", re.DOTALL)
_XML = re.compile(rb"<(\?xml\b|[a-z_][\w.:-]*[\s/>])", re.IGNORECASE)
_JSON = re.compile(rb'\{\s*["}]|\[\s*[\[{"\]]')
_IMAGE_BRANDS = (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1")  # animated ones are called avis, hevc, msf1
_MJPEG = (".mjpeg", ".mjpg", ".mjpe")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def describe_foreign(head: bytes, *, text_expected: bool = False) -> str | None:
    """What a file that cannot be a model is, by its first bytes.

    Args:
        head: the file's beginning; 512 bytes are enough for every kind (300 for all but a tar archive, 64 for most).
        text_expected: the file should be text (a cfg, a text graph, a label map): plain text is then right, and
            control characters show that it is binary.

    Returns:
        A phrase that follows "the file is", such as "a Git LFS pointer (the real file has 133,000 bytes)"; None where
        it is none of the kinds known here.
    """
    if not head:
        return "an empty file"
    return _by_magic(head) or _by_text(head, text_expected)


def not_a_video(head: bytes, name: str, *, piped: bool = False) -> str | None:
    """Why a file that begins so (4096 bytes are enough) is not a video, with a hint; None where it may be one.

    Raw MJPEG is JPEG after JPEG, so its suffix, or that it comes from a pipe, makes the difference.
    """
    if head.startswith((b"#EXTM3U", b"YUV4MPEG2 ")) or (head.startswith(b"\x89PNG") and b"acTL" in head):
        return None
    if head.startswith(b"\xff\xd8") and (piped or name.lower().endswith(_MJPEG)):
        return None
    foreign = "an AVIF or HEIF image" if head[4:12] in _IMAGE_BRANDS else describe_foreign(head)
    if foreign is None:
        return None
    hint = f"; run cvdetect image '{name}'" if "image" in foreign else ""
    if "DASH" in foreign:
        hint = f"; make one file of its parts: ffmpeg -i '{name}' -c copy OUT.mkv"
    return f"is {foreign}, not a video{hint}"


def _by_magic(head: bytes) -> str | None:
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "a tar archive"
    return next((phrase for magic, phrase in _MAGICS if head.startswith(magic)), None)


def _by_text(head: bytes, text_expected: bool) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(_LFS_POINTER):
        return _lfs_pointer(start)
    if _HTML.match(start):
        return "an HTML page"
    readable = _is_text(head)
    if readable and _DASH.match(start):
        return "a DASH manifest"
    if readable and _XML.match(start):
        return "an XML document, such as a server's error message"
    if readable and _JSON.match(start):
        return "a JSON document, such as a server's error message"
    if text_expected:
        return "a binary file" if _CONTROL.search(head) else None
    return "plain text" if readable else None


def _lfs_pointer(start: bytes) -> str:
    size = re.search(rb"^size (\d{1,18})\s*$", start, re.MULTILINE)
    promise = f" (the real file has {int(size[1]):,} bytes)" if size else ""
    return f"a Git LFS pointer{promise}"


def _is_text(head: bytes) -> bool:
    """Whether all of it is UTF-8 without control characters; the last character may be cut in two."""
    if _CONTROL.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 0 and error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
