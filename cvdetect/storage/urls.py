"""Addresses of stores: how they are recognised, checked and taken apart."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from cvdetect.core.errors import UsageError

__all__ = ["check_address", "is_url", "join", "parent_and_name", "protocol_of"]


_PROTOCOL = re.compile(r"([a-z][a-z0-9+.-]*)(?:://|::)", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether `text` is an address (``s3://bucket/photos``) rather than a path."""
    return protocol_of(text) != ""


def protocol_of(text: str) -> str:
    """``s3`` for ``s3://bucket``, "" for a path."""
    found = _PROTOCOL.match(text)
    return found[1].lower() if found else ""


def check_address(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        UsageError: it contains a password, which would appear in messages and in the run's manifest.
    """
    try:
        password = urlsplit(url).password
    except ValueError as error:
        raise UsageError(f"{url}: is not an address: {error}") from None
    if password is not None:
        name = protocol_of(url).upper()
        raise UsageError(
            f"{url}: contains a password; give it in the environment (FSSPEC_{name}_PASSWORD, FSSPEC_{name}_USERNAME)"
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
