"""The images to annotate: those of a folder, a pattern or a list of paths, or a single one.

They come one after another in any order and none is kept, so that a folder of any size can be walked; the manifest
puts them in order.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.printable import counted
from cvdetect.core.targets import check_regular, own_descriptor
from cvdetect.sources.kinds import HEAD, IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of, suffix_says
from cvdetect.sources.lists import is_list_file, names_of, reading_list
from cvdetect.storage import Entry, Folder, LocalFolder, is_url, open_folder, open_stream
from cvdetect.storage.urls import parent_and_name

__all__ = [
    "Inputs",
    "ListedImage",
    "Selection",
    "WalkStats",
    "describe_ignored",
    "find_inputs",
    "images_below",
    "list_images",
    "no_images_error",
]


_PATHS_AT_ONCE = 256  # listed paths whose states are asked for together


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a folder to take: how many levels below it (None: all), and which names."""

    depth: int | None = None
    pattern: re.Pattern[str] | None = None

    def takes(self, name: str) -> bool:
        """Whether to take the file of this name, relative to the folder."""
        return self.pattern is None or self.pattern.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where images come from.

    Attributes:
        text: as it was typed.
        root: the folder that names are relative to.
        selection: which files below `root` to take; None where the paths are listed.
    """

    text: str
    root: Folder
    selection: Selection | None


def find_inputs(text: str, root: str | Path | None = None, recursive: bool = True) -> Inputs:
    """What `text` names: a folder, a file, a pattern, ``@FILE`` or ``-`` for a list of paths; each may be an address.

    Names are relative to `root`; without one to the folder itself, to a file's folder, to the part of a pattern before
    its first wildcard, and for a list to the current folder.

    Raises:
        SourceNotFound: no such folder, file or list.
        SourceError: the store cannot be asked.
        UsageError: a `root` that the images cannot lie in.
        MissingPackage: what the address needs is not installed.
    """
    given = None if root is None else open_folder(root)
    _check_pipe(text)
    if _is_list(text):
        return Inputs(text, given or LocalFolder(Path()), None)
    if is_url(text):
        folder, parent = open_folder(text), open_folder(parent_and_name(text)[0])
    else:
        folder, parent = LocalFolder(Path(text)), LocalFolder(Path(text).parent)
    kind = folder.kind()
    if kind == "folder":
        _check_root(given, folder)
        return Inputs(text, folder, Selection(None if recursive else 0))
    if kind == "file":
        return Inputs(text, given or parent, None)
    if glob.has_magic(text):
        return _pattern(text, given)
    raise SourceNotFound(f"{text}: no such folder, image or pattern of images")


def _check_pipe(text: str) -> None:
    """Refuse a named pipe, which would be waited for; a list may come through one that the shell opened."""
    if is_list_file(text) and own_descriptor(text[1:]) is None:
        check_regular(text[1:], "a list of images")
    check_regular(text, "a folder or an image")


def _is_list(text: str) -> bool:
    return text == "-" or is_list_file(text)


def _check_root(root: Folder | None, folder: Folder) -> None:
    if root is not None and not (root.within(folder) and folder.within(root)):
        raise UsageError(f"{arg('root')} {root}: goes with a list of paths; names are relative to {folder}")


def _pattern(text: str, root: Folder | None) -> Inputs:
    start, parts = _parts(text)
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    folder, rest = open_folder(start + "/".join(parts[:fixed])), parts[fixed:]
    _check_root(root, folder)
    if folder.kind() != "folder":
        raise SourceNotFound(f"{folder}: no such folder")
    return Inputs(text, folder, Selection(None if "**" in rest else len(rest) - 1, _translate(rest)))


def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """The part before the first folder, and the names of folders and file."""
    if is_url(text):
        start, slashes, path = text.partition("://")
        return start + slashes, tuple(path.split("/"))
    parts = Path(text).parts
    return (parts[0], parts[1:]) if Path(text).is_absolute() else ("", parts)


def _translate(parts: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern's parts → the expression that relative names must match; ``**`` is any number of folders."""
    if parts[-1] == "**":
        parts = (*parts, "*")
    folders = "".join(r"(?:[^/]+/)*" if part == "**" else _translate_part(part) + "/" for part in parts[:-1])
    try:
        return re.compile(folders + _translate_part(parts[-1]), re.DOTALL)
    except re.error as error:
        raise UsageError(f"{'/'.join(parts)}: is not a pattern: {error}") from error


def _translate_part(part: str) -> str:
    pieces = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    return "".join(_translate_piece(piece) for piece in pieces)


def _translate_piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
        return "[^" + inner[1:] + "]" if inner.startswith("!") else "[" + inner.replace("^", "\\^", 1) + "]"
    return re.escape(piece)


def _listed_paths(inputs: Inputs) -> Iterator[str]:
    """The paths of a list, one a line; where it holds NUL bytes (``find -print0``), they separate the names instead.

    Raises:
        SourceError: the list cannot be read.
    """
    if not _is_list(inputs.text):
        yield inputs.text
        return
    shown = "standard input" if inputs.text == "-" else inputs.text[1:]
    with reading_list(shown), _open(inputs.text) as stream:
        yield from map(os.fsdecode, names_of(stream, shown))


def _open(text: str) -> AbstractContextManager[IO[bytes]]:
    if text == "-":
        return nullcontext(sys.stdin.buffer)
    return open_stream(text[1:]) if is_url(text[1:]) else Path(text[1:]).open("rb")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image: its path relative to the root with forward slashes, and what shows a change (as in `State`)."""

    name: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class WalkStats:
    """What a walk left out.

    Attributes:
        ignored: files that are not images, by suffix ("" for none).
        hidden: files with an image's suffix whose names begin with a dot, except those that macOS puts beside others.
        folders: sub-folders not entered because the walk is not recursive.
        loops: folders not entered because they are one of their own parents.
        outputs: folders not entered because this run writes there.
        unreadable: folders that could not be read, and why.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    folders: int = 0
    loops: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def list_images(
    inputs: Inputs, outputs: frozenset[Hashable], stats: WalkStats, drawn: frozenset[Hashable] = frozenset()
) -> Iterator[ListedImage]:
    """Every image of `inputs`, except hidden files.

    Args:
        outputs: identities of folders not to be entered.
        stats: counts what is left out.
        drawn: those of `outputs` that images are written to: a listed image must not lie there, where it could be
            overwritten.

    Raises:
        SourceError: the folder or the list cannot be read.
        UsageError: a listed file lies outside of the root, or where images are written.
    """
    if inputs.selection is None:
        relative = (_relative(path, inputs.root) for path in _listed_paths(inputs))
        names = _checked(relative, inputs.root, drawn)
        while together := list(islice(names, _PATHS_AT_ONCE)):
            states = inputs.root.look(together)
            yield from (ListedImage(name, s.size, s.stamp) for name, s in zip(together, states, strict=True))
    else:
        yield from _walk(inputs.root, inputs.selection, outputs, stats)


def images_below(folder: Folder, depth: int | None) -> Iterator[str]:
    """The paths of the images in a folder and `depth` levels below it; what cannot be read is left out."""
    with suppress(SourceError):
        yield from (image.name for image in _walk(folder, Selection(depth), frozenset(), WalkStats()))


def no_images_error(inputs: Inputs, stats: WalkStats) -> SourceError:
    """The error that states what was looked for, and what was found instead."""
    if inputs.selection is None:
        return SourceError(f"{inputs.text}: no images: the list is empty")
    parts = [f"looked for {', '.join(sorted(IMAGE_SUFFIXES))}"]
    if stats.ignored:
        parts.append(f"found {counted(stats.ignored.total(), 'other file')} ({_kinds(stats.ignored)})")
    if stats.hidden:
        parts.append(f"found {counted(stats.hidden, 'hidden image')} (the name begins with a dot)")
    if stats.folders:
        parts.append(f"did not enter {counted(stats.folders, 'sub-folder')}")
    return SourceError("\n".join([f"{inputs.text}: no images: {'; '.join(parts)}", *stats.unreadable]))


def describe_ignored(stats: WalkStats) -> str:
    """How many files were ignored, for a person; "" for none. Videos come apart, as another command takes them."""
    videos = Counter({suffix: n for suffix, n in stats.ignored.items() if suffix in VIDEO_SUFFIXES})
    others = stats.ignored - videos
    parts = [f"{counted(others.total(), 'other file')} ({_kinds(others)})"] if others else []
    if videos:
        parts.append(f"{counted(videos.total(), 'video')} ({_kinds(videos)}; cvdetect video takes videos)")
    ignored = [f"ignored, as not images: {', '.join(parts)}"] if parts else []
    if stats.hidden:
        ignored.append(f"ignored, as hidden (the name begins with a dot): {counted(stats.hidden, 'image')}")
    return "; ".join(ignored)


def _kinds(suffixes: Counter[str]) -> str:
    most = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))[:4]
    kinds = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in most)
    return kinds + (", …" if len(suffixes) > 4 else "")


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way: its name relative to the root, with a slash at its end, and its parents' identities."""

    name: str
    parents: tuple[Hashable, ...]

    def child(self, name: str, own: Hashable) -> _Folder:
        return _Folder(f"{self.name}{name}/", (*self.parents, own))


def _walk(root: Folder, selection: Selection, outputs: frozenset[Hashable], stats: WalkStats) -> Iterator[ListedImage]:
    waiting = [_Folder("", ())]
    while waiting:
        folder = waiting.pop()
        try:
            own = root.identity(folder.name)
            if own in folder.parents:
                stats.loops.append(folder.name)
            elif folder.parents and own in outputs:
                stats.outputs.append(folder.name)
            else:
                yield from _entries(root, folder, own, selection, waiting, stats)
        except SourceError as error:
            if not folder.parents:
                raise
            stats.unreadable.append(str(error))


def _entries(
    root: Folder, folder: _Folder, own: Hashable, selection: Selection, waiting: list[_Folder], stats: WalkStats
) -> Iterator[ListedImage]:
    """The images directly in a folder; its sub-folders are put on `waiting`."""
    for entry in root.entries(folder.name):
        if entry.name.startswith("."):
            stats.hidden += not entry.is_folder and _is_hidden_image(folder.name + entry.name, entry.name, selection)
        elif not entry.is_folder:
            yield from _file(root, folder, entry, selection, stats)
        elif selection.depth is None or len(folder.parents) < selection.depth:
            waiting.append(folder.child(entry.name, own))
        else:
            stats.folders += 1


def _file(root: Folder, folder: _Folder, entry: Entry, selection: Selection, stats: WalkStats) -> Iterator[ListedImage]:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each file would cost more than the rest
    name = folder.name + entry.name
    if not selection.takes(name):
        return
    if not _is_image(root, name):
        stats.ignored[suffix] += 1
    else:
        state = entry.state or next(root.look([name]))
        yield ListedImage(name, state.size, state.stamp)


def _is_hidden_image(name: str, last: str, selection: Selection) -> bool:
    return not last.startswith("._") and suffix_says(last) == "image" and selection.takes(name)


def _is_image(root: Folder, name: str) -> bool:
    """By the suffix; only where that decides nothing, by the first bytes."""
    says = suffix_says(name)
    return says == "image" or (says == "unknown" and kind_of(root.beginning(name, HEAD)) is not None)


def _checked(names: Iterator[str], root: Folder, drawn: frozenset[Hashable]) -> Iterator[str]:
    """The same names; each of their folders is checked once."""
    known: set[str] = set()
    for name in names:
        for folder in map(str, PurePosixPath(name).parents):
            if folder not in known and folder != ".":
                with suppress(SourceError):  # it does not exist: reading the file reports it
                    if root.identity(folder) in drawn:
                        raise UsageError(f"{root.shown(name)}: is an input in a folder that images are written to")
                known.add(folder)
        yield name


def _relative(text: str, root: Folder) -> str:
    """The path's name below the root."""
    name = root.relative(text)
    if name is None:
        raise UsageError(f"{text}: lies outside of {root.absolute()}: give {arg('root')}, a folder that holds all")
    return name
