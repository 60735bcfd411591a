"""What stores' packages throw, as one sentence: each has errors of its own, and few are Python's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from cvdetect.core.errors import CvdetectError, SinkError, SourceError, SourceNotFound, UnfitName
from cvdetect.core.targets import UNFIT

__all__ = ["reading", "taken", "writing"]

# By the names of their classes, as none of the packages may be here.
_NO_CREDENTIALS = ("NoCredentials", "PartialCredentials", "CredentialRetrieval", "DefaultCredentials", "NoAuthToken")
_REFUSED = ("Forbidden", "ClientAuthentication", "RefreshError", "Unauthorized", "InvalidToken", "TokenRetrieval")
_UNREACHABLE = ("EndpointConnection", "Timeout", "ClientConnector", "ServiceRequest", "HTTPClientError", "Connection")
_TOO_LONG = ("KeyTooLong", "key is too long", "name is too long")
_LONGEST = 300  # characters of a message by other hands


@contextmanager
def reading(shown: str) -> Iterator[None]:
    """What goes wrong inside is a SourceError about the file or folder `shown`."""
    try:
        yield
    except CvdetectError:
        raise
    except FileNotFoundError as error:
        raise SourceNotFound(f"{shown}: {_missing(error)}") from error
    except Exception as error:
        raise SourceError(f"{shown}: cannot be read: {_why(error)}") from error


@contextmanager
def writing(shown: str, what: str = "written") -> Iterator[None]:
    """What goes wrong inside is a SinkError about the file `shown`: UnfitName where its name alone is the reason."""
    try:
        yield
    except CvdetectError:
        raise
    except Exception as error:
        kind = UnfitName if _is_unfit(error) else SinkError
        raise kind(f"{shown}: cannot be {what}: {_why(error)}") from error


def taken(error: Exception) -> bool:
    """Whether a file was not created because there is one."""
    return isinstance(error, FileExistsError) or "pre-condition" in str(error).lower()


def _is_unfit(error: Exception) -> bool:
    if isinstance(error, UnicodeEncodeError | FileExistsError | NotADirectoryError | IsADirectoryError):
        return True
    return getattr(error, "errno", None) in UNFIT or any(sign in str(error) for sign in _TOO_LONG)


def _why(error: Exception) -> str:
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, FileNotFoundError):
        return _missing(error)
    if isinstance(error, UnicodeEncodeError):
        return "the name is no UTF-8"
    if any(name in kinds for name in _NO_CREDENTIALS):
        return f"no credentials were found ({_message(error)}); docs/cloud.md tells where they are looked for"
    if isinstance(error, PermissionError) or any(name in kinds for name in _REFUSED):
        return f"the store refuses it ({_message(error)}): look at the credentials and their rights"
    if isinstance(error, ConnectionError | TimeoutError) or any(name in kinds for name in _UNREACHABLE):
        return f"the store cannot be reached ({_message(error)})"
    if isinstance(error, NotImplementedError):
        return "this kind of address cannot be written to"
    return _message(error)


def _missing(error: Exception) -> str:
    return "no such bucket" if "bucket" in str(error).lower() and "exist" in str(error) else "no such file or folder"


def _message(error: Exception) -> str:
    """One line, without Python's number in front."""
    number = getattr(error, "errno", None)
    text = getattr(error, "strerror", None) if isinstance(number, int) else None
    line = " ".join(str(text or error).split())
    if not line:
        return "no answer in time" if "Timeout" in type(error).__name__ else type(error).__name__
    if number == errno.EIO and line.startswith("An error occurred"):
        line = line.partition(": ")[2] or line
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
