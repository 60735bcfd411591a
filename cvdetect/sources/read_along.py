"""Which files are read where a video is named: its own, the images of a sequence, the segments of a playlist."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_of"]

_MOST = 1 << 20  # characters of a playlist that are looked at
_URI = re.compile(r'URI="([^"]+)"')  # keys, first segments and other tracks (RFC 8216, section 4.3)


def files_of(name: str) -> Iterator[str | Path]:
    """The files of a video as it was typed; what is not there, and addresses, may be among them."""
    path = name.removeprefix("file://")
    yield path
    if path.lower().endswith((".m3u8", ".m3u")):
        yield from _of_playlist(Path(path), depth=1)
    pattern = re.sub(r"%0?\d*d", "*", name)
    if glob.has_magic(pattern):
        yield from glob.iglob(pattern)  # noqa: PTH207 - names as they were typed


def _of_playlist(playlist: Path, depth: int) -> Iterator[Path]:
    """What a playlist names; a master playlist names others, which name the segments."""
    try:
        with playlist.open(encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read(_MOST).splitlines()
    except (OSError, ValueError):
        return
    for line in map(str.strip, lines):
        for uri in _URI.findall(line) if line.startswith("#") else [line] * bool(line):
            file = playlist.parent / uri.removeprefix("file://")
            yield file
            if depth and uri.lower().endswith((".m3u8", ".m3u")):
                yield from _of_playlist(file, depth - 1)
