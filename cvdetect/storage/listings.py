"""Looking many names up in a store by the listings of their folders: a thousandth of the requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from cvdetect.storage.folder import ABSENT, Found

__all__ = ["Listings"]

_KEPT = 16  # listings at once: names come in natural order, so few folders take turns
_MOST = 500_000  # names in all of them, if there is more than one

Listing = Mapping[str, Found]


class Listings:
    """What `list_folder` gives for a folder's name: what is right in it, by name."""

    def __init__(self, list_folder: Callable[[str], Listing]) -> None:
        self._list = list_folder
        self._kept: OrderedDict[str, Listing] = OrderedDict()

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """What lies at each name."""
        for name in names:
            folder, _, base = name.rpartition("/")
            yield self._listing(folder).get(base, ABSENT)

    def _listing(self, folder: str) -> Listing:
        if folder not in self._kept:
            self._kept[folder] = self._list(folder)
        self._kept.move_to_end(folder)
        while len(self._kept) > _KEPT or (len(self._kept) > 1 and sum(map(len, self._kept.values())) > _MOST):
            self._kept.popitem(last=False)
        return self._kept[folder]
