"""The tags of TIFF files and EXIF blocks (TIFF 6.0, section 2; EXIF 2.32): read, thinned out, and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["ICC", "ORIENTATION", "Directory", "Field", "read_directories", "with_tags", "without_private"]

ORIENTATION, ICC, EXIF_IFD = 274, 34675, 34665
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes a value, by type
_WORDS = {3: 2, 8: 2, 4: 4, 9: 4, 13: 4, 5: 4, 10: 4, 11: 4, 12: 8}  # what byte order turns round
_MOST_ENTRIES, _MOST_DIRECTORIES, _MOST_BYTES = 4096, 10_000, 1 << 16
# Make, Model, resolution, Software, DateTime, Copyright
_PUBLIC = frozenset((271, 272, 282, 283, 296, 305, 306, 33432))
# Exposure, lens and dates. No maker's notes, comments, owner, serial numbers, unique IDs, place or thumbnail; no size
# in pixels, which a copy may not have.
_PUBLIC_EXIF = frozenset(
    map(
        int,
        "33434 33437 34850 34855 34864 34865 34866 36864 36867 36868 36880 36881 36882 37377 37378 37379 37380 37381 "
        "37382 37383 37384 37385 37386 37520 37521 37522 40961 41486 41487 41488 41495 41728 41729 41985 41986 41987 "
        "41988 41989 41990 41991 41992 41993 41994 42034 42035 42036".split(),
    )
)


@dataclass(frozen=True, slots=True)
class Field:
    """A tag's value: its type, how many values it has, and their bytes, least significant first."""

    kind: int
    count: int
    data: bytes

    def number(self) -> int | None:
        """Its first value where that is a whole number."""
        size = {1: 1, 3: 2, 4: 4}.get(self.kind)
        return int.from_bytes(self.data[:size], "little") if size and self.data else None


Directory = dict[int, Field]


def read_directories(data: bytes, most: int = _MOST_DIRECTORIES) -> list[Directory]:
    """The directories of a TIFF file or EXIF block, one a page; as far as they can be read, and none of a BigTIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    found: list[Directory] = []
    if order is None or len(data) < 8:
        return found
    at, seen = struct.unpack_from(order + "I", data, 4)[0], set()
    while 0 < at <= len(data) - 2 and at not in seen and len(found) < most:
        seen.add(at)
        found.append(_directory(data, order, at))
        after = at + 2 + 12 * struct.unpack_from(order + "H", data, at)[0]
        at = struct.unpack_from(order + "I", data, after)[0] if after + 4 <= len(data) else 0
    return found


def _directory(data: bytes, order: str, at: int) -> Directory:
    fields: Directory = {}
    count = min(struct.unpack_from(order + "H", data, at)[0], _MOST_ENTRIES)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, many = struct.unpack_from(order + "HHI", data, entry)
        size = _SIZES.get(kind, 0) * many
        start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        if size and start + size <= len(data):
            fields[tag] = Field(kind, many, _little(data[start : start + size], kind, order))
    return fields


def _little(value: bytes, kind: int, order: str) -> bytes:
    word = _WORDS.get(kind, 1)
    if order == "<" or word == 1:
        return value
    return b"".join(value[i : i + word][::-1] for i in range(0, len(value), word))


def without_private(exif: bytes) -> bytes:
    """An EXIF block (or a TIFF file) → one with camera, exposure and dates alone; empty where it has none."""
    exif = exif.removeprefix(b"Exif\0\0")
    first = next(iter(read_directories(exif, 1)), {})
    more = _sub_directory(exif, first)
    main = {tag: field for tag, field in first.items() if tag in _PUBLIC and len(field.data) < _MOST_BYTES // 8}
    more = {tag: field for tag, field in more.items() if tag in _PUBLIC_EXIF and len(field.data) < _MOST_BYTES // 8}
    if not main and not more:
        return b""
    written = _written(main, more, 8)
    return b"II*\0" + struct.pack("<I", 8) + written if len(written) < _MOST_BYTES - 64 else b""


def _sub_directory(data: bytes, first: Mapping[int, Field]) -> Directory:
    pointer = first[EXIF_IFD].number() if EXIF_IFD in first else None
    order = "<" if data[:2] == b"II" else ">"
    return _directory(data, order, pointer) if pointer and pointer <= len(data) - 2 else {}


def _written(main: Mapping[int, Field], more: Mapping[int, Field], at: int) -> bytes:
    """A directory that begins at the offset `at`, and behind it the one of EXIF that it points to."""
    main = dict(main)
    if more:
        main[EXIF_IFD] = Field(4, 1, bytes(4))
        behind = at + len(_one(sorted(main.items()), at))
        main[EXIF_IFD] = Field(4, 1, struct.pack("<I", behind))
        return _one(sorted(main.items()), at) + _one(sorted(more.items()), behind)
    return _one(sorted(main.items()), at)


def _one(fields: Iterable[tuple[int, Field]], at: int) -> bytes:
    fields = list(fields)
    place = at + 2 + 12 * len(fields) + 4
    entries, values = b"", b""
    for tag, field in fields:
        data = field.data
        entries += struct.pack("<HHI", tag, field.kind, field.count)
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", place + len(values))
            values += data + b"\0" * (len(data) % 2)
    return struct.pack("<H", len(fields)) + entries + bytes(4) + values


def with_tags(tiff: bytes, icc: bytes, exif: bytes) -> bytes:
    """A TIFF file of one page in little-endian order with a profile and the tags of an EXIF block added.

    The directory is written anew behind everything, so that nothing it points to moves. Any other file comes back as
    it is.
    """
    if not tiff.startswith(b"II*\0") or not (icc or exif):
        return tiff
    first = next(iter(read_directories(exif, 1)), {})
    added = {tag: field for tag, field in first.items() if tag not in (EXIF_IFD, 282, 283, 296)}
    if icc:
        added[ICC] = Field(7, len(icc), icc)
    tiff += b"\0" * (len(tiff) % 2)
    pages = read_directories(tiff)
    if len(pages) != 1:
        return tiff
    at = len(tiff)
    return (
        tiff[:4] + struct.pack("<I", at) + tiff[8:] + _written({**pages[0], **added}, _sub_directory(exif, first), at)
    )
