"""What tells that a file in a store has changed: each store has its own words for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cvdetect.storage.folder import State

__all__ = ["state_of"]

# The surest first.
_STAMPS = "ETag etag e_tag md5Hash contentHash mtime LastModified last_modified updated modified created".split()


def state_of(info: Mapping[str, Any]) -> State:
    """The state of a file by what fsspec's ``info`` or ``ls`` tells of it."""
    size = info.get("size")
    known = next((info[key] for key in _STAMPS if info.get(key) is not None), "")
    told = str(known.timestamp() if isinstance(known, datetime) else known)
    stamp = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1
    return State(-1 if size is None else int(size), stamp)
