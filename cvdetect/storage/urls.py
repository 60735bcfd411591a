"""Addresses: what is one, and its parts."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from cvdetect.core.errors import UsageError
from cvdetect.storage.folder import ABSENT, Found

__all__ = ["Listings", "check_address", "is_url", "join", "parent_and_name", "protocol_of"]


_PROTOCOL = re.compile(r"([a-z][a-z0-9+.-]*)(?:://|::)", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether `text` is an address (``s3://bucket/photos``), not a path."""
    return protocol_of(text) != ""


def protocol_of(text: str) -> str:
    """``s3`` of ``s3://bucket``, "" of a path."""
    found = _PROTOCOL.match(text)
    return found[1].lower() if found else ""


def check_address(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        UsageError: it has a password in it, which would be told, and written into what the run remembers.
    """
    try:
        password = urlsplit(url).password
    except ValueError as error:
        raise UsageError(f"{url}: is no address: {error}") from None
    if password is not None:
        name = protocol_of(url).upper()
        raise UsageError(
            f"{url}: has a password in it; give it in the environment (FSSPEC_{name}_PASSWORD, FSSPEC_{name}_USERNAME)"
        )
    return url if url.endswith("://") else url.rstrip("/")


def join(url: str, name: str) -> str:
    """The address of a file or folder below `url`; in a chain (``zip://::s3://…``) the name belongs to the first."""
    head, chain, rest = url.partition("::")
    head = head if head.endswith("/") or not name else f"{head}/"
    return f"{head}{name}{chain}{rest}"


def parent_and_name(url: str) -> tuple[str, str]:
    """``s3://bucket/photos/a.jpg`` → ``s3://bucket/photos``, ``a.jpg``."""
    head, chain, rest = url.partition("::")
    start, slashes, path = head.partition("://")
    parent, _, name = path.rpartition("/")
    return f"{start}{slashes}{parent}{chain}{rest}", name


# Looking many names up in a store by the listings of their folders: a thousandth of the requests.

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
