"""What can go wrong, and the exit code each kind gives.

CvdetectError                    1  something failed that no branch below names
├── UsageError (ValueError)      2  all that the arguments alone decide
├── ModelError                   3  a model could not be had or loaded
│   ├── RegistryError               a models.yaml that cannot be read
│   ├── ModelFileError              a cfg, weights, graph or label file is wrong
│   ├── FetchError                  a file could not be downloaded or verified
│   ├── DecodeError                 the network's output is not what the family promises
│   ├── BackendError                a backend or precision that cannot run here
│   └── MissingPackage (ImportError)
├── SourceError (OSError)        4  an input could not be read
│   └── SourceNotFound (FileNotFoundError)
└── SinkError (OSError)          4  an output could not be written
    └── UnwritableName              one file's own name is why; others can be written
        └── Occupied                a file that is not the run's own lies there

A message is one or two lines: what failed, on which file, why, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

from cvdetect.core.redact import redact

__all__ = [
    "BackendError",
    "CvdetectError",
    "DecodeError",
    "FetchError",
    "MissingPackage",
    "ModelError",
    "ModelFileError",
    "Occupied",
    "RegistryError",
    "SinkError",
    "SourceError",
    "SourceNotFound",
    "UnwritableName",
    "UsageError",
]


class CvdetectError(Exception):
    """The base of all errors that cvdetect raises on purpose. Its text holds no password (`cvdetect.core.redact`)."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return redact(super().__str__())


class UsageError(CvdetectError, ValueError):
    """An argument is wrong by itself: unknown name, number out of range, a size that does not fit."""

    exit_code = 2


class ModelError(CvdetectError):
    """A model could not be had, loaded or run."""

    exit_code = 3


class RegistryError(ModelError):
    """A models.yaml is not readable; the message names file, model, key and the nearest right key."""


class ModelFileError(ModelError):
    """A model file is not what it should be: truncated, foreign, malformed."""


class FetchError(ModelError):
    """A model file could not be downloaded, or what came is not what was promised."""


class DecodeError(ModelError):
    """The network's output has another shape than its family has, or holds NaN."""


class BackendError(ModelError):
    """The backend, target or precision asked for cannot run on this machine."""


class MissingPackage(ModelError, ImportError):
    """A Python package or system library is missing or of a version that cannot serve."""


class SourceError(CvdetectError, OSError):
    """An input could not be read."""

    exit_code = 4


class SourceNotFound(SourceError, FileNotFoundError):
    """An input does not exist."""


class SinkError(CvdetectError, OSError):
    """An output could not be written."""

    exit_code = 4


class UnwritableName(SinkError):
    """A file whose own name is why it could not be written: too long, or a folder is called so."""


class Occupied(UnwritableName):
    """A file that is not the run's own lies where one was to be written; it was left as it is."""
