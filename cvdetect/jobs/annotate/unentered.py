"""Images in folders that the walk does not enter because runs write there: those that no run has made itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from cvdetect.jobs.annotate.inputs import Inputs, Wanted
from cvdetect.jobs.annotate.manifest.images import Manifest
from cvdetect.jobs.annotate.walk import images_below
from cvdetect.storage import Folder, LocalFolder

__all__ = ["unentered"]

_TOGETHER = 500  # images looked up together
_Written = Sequence[tuple[str, Folder]]


def unentered(
    inputs: Inputs, names: Iterable[str], written: Iterable[tuple[str, Folder]], manifest: Manifest
) -> Iterator[tuple[str, int]]:
    """Each of the folders `names` below the root that has such images, as it is shown, and their number.

    Args:
        written: kind and folder of what this run and earlier ones write.
    """
    real = [(kind, _real(folder)) for kind, folder in written]
    for name in names:
        number = _count(inputs, name, real, manifest)
        if number:
            yield inputs.root.shown(name), number


def _count(inputs: Inputs, name: str, written: _Written, manifest: Manifest) -> int:
    """How many images of the folder `name` would have been taken, and are not the runs' own."""
    folder, number, wanted = _real(inputs.root.folder(name.rstrip("/"))), 0, inputs.wanted or Wanted()
    depth = None if wanted.depth is None else wanted.depth - name.count("/")
    found = (path for path in images_below(folder, depth) if wanted.takes(name + path))
    while some := list(islice(found, _TOGETHER)):
        keys = [{*_keys(folder.shown(path), written)} for path in some]
        known = manifest.known({key for of_one in keys for key in of_one}).keys()
        number += sum(not of_one & known for of_one in keys)
    return number


def _keys(place: str, written: _Written) -> Iterator[str]:
    """What runs call a file, as far as it lies in their folders."""
    for kind, folder in written:
        name = folder.relative(place)
        if name is not None:
            yield f"{kind}/{name}"


def _real(folder: Folder) -> Folder:
    """The folder by its path without links."""
    return LocalFolder(folder.path.resolve()) if isinstance(folder, LocalFolder) else folder
