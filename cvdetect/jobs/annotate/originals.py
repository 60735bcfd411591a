"""Where the files that a run reads really lie: none of them is written over or deleted, by whatever way it is reached.

Only whose place in its folder a new file would take is lost: what a hard link has under another name stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.sources.lists import is_list_file
from cvdetect.storage import Folder, LocalFolder

__all__ = ["Originals"]


class Originals:
    """The images of the last walk, the files of the model, and the list of images. Stores have no links: there, no
    folder that is written to holds images that are read.

    Args:
        root: the folder of the images.
    """

    def __init__(self, job: AnnotateJob, root: Folder, manifest: Manifest) -> None:
        self._job = job
        self._root = root
        self._manifest = manifest

    def at(self, folder: Folder, path: str) -> str | None:
        """The input, as it is shown, whose own place `path` in `folder` is when links on the way are followed."""
        if not isinstance(folder, LocalFolder):
            return None
        place = _place(folder.path / path)
        return self._elsewhere.get(place) or self._below_root(place)

    def _below_root(self, place: str) -> str | None:
        start, is_inside = self._real_root
        if not is_inside or not place.startswith(start):
            return None
        name = place[len(start) :].replace(os.sep, "/")
        return self._root.shown(name) if self._manifest.met(name) else None

    @cached_property
    def _real_root(self) -> tuple[str, bool]:
        """The images' folder, links followed, with a slash at its end, and whether it is on this machine."""
        if not isinstance(self._root, LocalFolder):
            return "", False
        return os.path.join(os.path.realpath(self._root.path), ""), True  # noqa: PTH118

    @cached_property
    def _elsewhere(self) -> dict[str, str]:
        """The real place of each file that is no plain one below the root → how it is shown."""
        files = [value for value in asdict(self._job.model).values() if isinstance(value, Path)]
        if is_list_file(self._job.images):
            files.append(Path(self._job.images[1:]))
        return {os.path.realpath(path): str(path) for path in files} | dict(self._linked())

    def _linked(self) -> Iterator[tuple[str, str]]:
        """The images that are links or lie behind one, below the root: what they lead to."""
        if not isinstance(self._root, LocalFolder):
            return
        start, folders = self._real_root[0], {"": self._real_root[0]}
        for name, _ in self._manifest.listed():
            above, _, last = name.rpartition("/")
            if above not in folders:  # names come folder by folder
                folders = {above: os.path.realpath(start + above)}
            plain = os.path.join(folders[above], last)  # noqa: PTH118
            real = os.path.realpath(plain) if os.path.islink(plain) else plain  # noqa: PTH114
            if real != start + name:
                yield real, self._root.shown(name)


def _place(path: Path) -> str:
    """The path with all links followed but one at its end, which would be replaced itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
