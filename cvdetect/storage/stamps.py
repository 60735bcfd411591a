"""What tells that a file in a store has changed: each store has its own words for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cvdetect.storage.folder import Found, State

__all__ = ["found_of", "state_of"]

# The surest first.
_STAMPS = "ETag etag e_tag md5Hash contentHash mtime LastModified last_modified updated modified created".split()


def state_of(info: Mapping[str, Any]) -> State:
    """The state of a file by what fsspec's ``info`` or ``ls`` tells of it."""
    size = info.get("size")
    known = next((info[key] for key in _STAMPS if info.get(key) is not None), "")
    told = str(known.timestamp() if isinstance(known, datetime) else known)
    stamp = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1
    return State(-1 if size is None else int(size), stamp)


def found_of(info: Mapping[str, Any]) -> Found:
    """The same with the kind, and the content's MD5 where the store states it."""
    if info["type"] == "directory":
        return Found("folder")
    state = state_of(info)
    return Found("file", state.size, state.stamp, _md5(info))


def _md5(info: Mapping[str, Any]) -> str:
    """S3's ETag is the content's MD5 unless the object came in parts (then it has a dash) or is encrypted by a key of
    its own (then it has the same shape, and matches nothing); Google states ``md5Hash`` in base64.
    """
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"').lower()
    if len(tag) == 32 and all(c in "0123456789abcdef" for c in tag):
        return tag
    try:
        return base64.b64decode(str(info.get("md5Hash") or ""), validate=True).hex()
    except ValueError:
        return ""
