"""fsspec's file systems: opened so that nothing hangs or is out of date, with their facts and errors translated."""

from __future__ import annotations

import base64
import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from cvdetect.core.errors import (
    CvdetectError,
    MissingPackage,
    SinkError,
    SourceError,
    SourceNotFound,
    UnwritableName,
    UsageError,
)
from cvdetect.core.printable import closest
from cvdetect.core.targets import UNWRITABLE_NAME
from cvdetect.storage.folder import Found, State
from cvdetect.storage.urls import check_address, protocol_of

__all__ = ["found_of", "open_url", "reading", "state_of", "taken", "wait_for", "writing"]


_LISTING = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")  # those that would keep listings
# An S3 that cannot be reached is reported after seconds, not after the minutes that botocore would try.
_S3 = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 3},
    "max_pool_connections": 32,  # as many requests may be on their way at once
}
_S3_ROUNDS = 2  # attempts of s3fs at what botocore has given up

# What changes when a file in a store does, the surest first: each store has a name of its own for it.
_STAMPS = "ETag etag e_tag md5Hash contentHash mtime LastModified last_modified updated modified created".split()
# Errors of stores' packages by the names of their classes, as none of the packages need be installed.
_NO_CREDENTIALS = ("NoCredentials", "PartialCredentials", "CredentialRetrieval", "DefaultCredentials", "NoAuthToken")
_REFUSED = ("Forbidden", "ClientAuthentication", "RefreshError", "Unauthorized", "InvalidToken", "TokenRetrieval")
_UNREACHABLE = ("EndpointConnection", "Timeout", "ClientConnector", "ServiceRequest", "HTTPClientError", "Connection")
_TOO_LONG = ("KeyTooLong", "key is too long", "name is too long")
_LONGEST = 300  # characters of another package's message


def open_url(url: str) -> tuple[str, Any, str]:
    """An address → the address as it is shown, the file system, and the path in it.

    Raises:
        MissingPackage: fsspec or the store's own package is not installed.
        UsageError: no such protocol, or an address with a password in it.
    """
    url = check_address(url)
    fsspec = _fsspec(url)
    try:
        system, path = fsspec.core.url_to_fs(url, **_options(fsspec, url))
    except ImportError as error:
        raise _missing(url, fsspec, error) from error
    except ValueError as error:
        raise _unknown(url, fsspec, error) from None
    if hasattr(system, "retries"):
        system.retries = min(system.retries, _S3_ROUNDS)
    return url, system, str(path).rstrip("/")


def wait_for(loop: Any, act: Callable[..., Any], *args: Any, timeout: float, **options: Any) -> Any:
    """Run a coroutine of a file system to its end, from a thread that is not the loop's.

    Raises:
        TimeoutError: it takes longer than `timeout` seconds.
    """
    from fsspec.asyn import sync

    return sync(loop, act, *args, timeout=timeout, **options)


def state_of(info: Mapping[str, Any]) -> State:
    """The state of a file from what fsspec's ``info`` or ``ls`` returns for it."""
    size = info.get("size")
    known = next((info[key] for key in _STAMPS if info.get(key) is not None), "")
    stated = str(known.timestamp() if isinstance(known, datetime) else known)
    stamp = int.from_bytes(hashlib.sha256(stated.encode()).digest()[:8], "big") >> 1
    return State(-1 if size is None else int(size), stamp)


def found_of(info: Mapping[str, Any]) -> Found:
    """What exists under a name, from what ``info`` or ``ls`` returns, with the MD5 where the store states it."""
    if info["type"] == "directory":
        return Found("folder")
    state = state_of(info)
    return Found("file", state.size, state.stamp, _md5(info))


@contextmanager
def reading(shown: str) -> Iterator[None]:
    """An error inside becomes a SourceError about the file or folder `shown`."""
    try:
        yield
    except CvdetectError:
        raise
    except FileNotFoundError as error:
        raise SourceNotFound(f"{shown}: {_not_found(error)}") from error
    except Exception as error:
        raise SourceError(f"{shown}: cannot be read: {_why(error)}") from error


@contextmanager
def writing(shown: str, what: str = "written") -> Iterator[None]:
    """An error inside becomes a SinkError about the file `shown`: UnwritableName where its name is the reason."""
    try:
        yield
    except CvdetectError:
        raise
    except Exception as error:
        kind = UnwritableName if _is_unfit(error) else SinkError
        raise kind(f"{shown}: cannot be {what}: {_why(error)}") from error


def taken(error: Exception) -> bool:
    """Whether a file was not created because it exists."""
    return isinstance(error, FileExistsError) or "pre-condition" in str(error).lower()


def _fsspec(url: str) -> Any:
    try:
        import fsspec
        import fsspec.core
    except ImportError as error:
        raise MissingPackage(
            f"{url}: addresses need the package fsspec, which is not installed: pip install 'cvdetect[cloud]'"
        ) from error
    return fsspec


def _options(fsspec: Any, url: str) -> dict[str, Any]:
    """No listing is cached: folders are read once, and their content may change meanwhile."""
    store = protocol_of(url.rpartition("::")[2] or url)
    options: dict[str, Any] = {"use_listings_cache": False} if store in _LISTING else {}
    if store in ("s3", "s3a"):
        own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options["config_kwargs"] = {**_S3, **own}
    return {store: options} if "::" in url else options


def _missing(url: str, fsspec: Any, error: ImportError) -> MissingPackage:
    from fsspec.registry import known_implementations

    protocol = next((p for p in map(protocol_of, url.split("::")) if not _can_load(fsspec, p)), protocol_of(url))
    package = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
    if package == "s3fs":
        hint = "pip install 'cvdetect[cloud]'"
    elif package == "fsspec":
        hint = str(error)
    else:
        hint = f"pip install {package}"
    return MissingPackage(f"{url}: {protocol}:// needs a package that is not installed: {hint}")


def _can_load(fsspec: Any, protocol: str) -> bool:
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError):
        return False
    return True


def _unknown(url: str, fsspec: Any, error: ValueError) -> UsageError:
    protocol = protocol_of(url)
    known = fsspec.available_protocols()
    if protocol in known:
        return UsageError(f"{url}: cannot be opened: {error}")
    near = closest(protocol, known, cutoff=0.5)
    hint = f"did you mean {near}://?" if near else "s3://, gs://, az:// and others that fsspec knows are supported"
    return UsageError(f"{url}: no such protocol {protocol}://; {hint}")


def _is_unfit(error: Exception) -> bool:
    if isinstance(error, UnicodeEncodeError | FileExistsError | NotADirectoryError | IsADirectoryError):
        return True
    return getattr(error, "errno", None) in UNWRITABLE_NAME or any(sign in str(error) for sign in _TOO_LONG)


def _why(error: Exception) -> str:
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, FileNotFoundError):
        return _not_found(error)
    if isinstance(error, UnicodeEncodeError):
        return "the name is not UTF-8"
    if any(name in kinds for name in _NO_CREDENTIALS):
        return f"no credentials were found ({_message(error)}); docs/cloud.md lists where they are looked for"
    if isinstance(error, PermissionError) or any(name in kinds for name in _REFUSED):
        return f"the store refuses it ({_message(error)}): check the credentials and their permissions"
    if isinstance(error, ConnectionError | TimeoutError) or any(name in kinds for name in _UNREACHABLE):
        return f"the store cannot be reached ({_message(error)})"
    if isinstance(error, NotImplementedError):
        return "this kind of address cannot be written to"
    return _message(error)


def _not_found(error: Exception) -> str:
    return "no such bucket" if "bucket" in str(error).lower() and "exist" in str(error) else "no such file or folder"


def _message(error: Exception) -> str:
    """One line, without Python's error number in front."""
    number = getattr(error, "errno", None)
    text = getattr(error, "strerror", None) if isinstance(number, int) else None
    line = " ".join(str(text or error).split())
    if not line:
        return "no answer in time" if "Timeout" in type(error).__name__ else type(error).__name__
    if number == errno.EIO and line.startswith("An error occurred"):
        line = line.partition(": ")[2] or line
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _md5(info: Mapping[str, Any]) -> str:
    """The content's MD5, hexadecimal; "" where it is not stated.

    S3's ETag is the MD5 unless the object came in parts (then it has a dash) or is encrypted by a key of its own (then
    it has the same shape, and matches nothing). Google states ``md5Hash`` in base64.
    """
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"').lower()
    if len(tag) == 32 and all(c in "0123456789abcdef" for c in tag):
        return tag
    try:
        return base64.b64decode(str(info.get("md5Hash") or ""), validate=True).hex()
    except ValueError:
        return ""
