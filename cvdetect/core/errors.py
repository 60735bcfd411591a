"""All errors that cvdetect raises, and the exit code of each kind.

CvdetectError                    1  any other failure
├── UsageError (ValueError)      2  an argument is wrong
├── ModelError                   3  a model is not available, or cannot be loaded or run
│   ├── RegistryError               a models.yaml cannot be read
│   ├── ModelFileError              a cfg, weights, graph or label file is wrong
│   ├── FetchError                  a file could not be downloaded or verified
│   ├── DecodeError                 the network's output does not have its family's shape
│   ├── BackendError                a backend or precision cannot run on this machine
│   └── MissingPackage (ImportError)
├── SourceError (OSError)        4  an input could not be read
│   └── SourceNotFound (FileNotFoundError)
└── SinkError (OSError)          4  an output could not be written
    └── UnwritableName              the file's own name is the reason; others can be written
        └── Occupied                a file that the run did not write is in its place

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
    """The base of all errors that cvdetect raises. Its text never contains a password (`cvdetect.core.redact`)."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return redact(super().__str__())


class UsageError(CvdetectError, ValueError):
    """An argument is wrong by itself: unknown name, number out of range, a size that does not fit."""

    exit_code = 2


class ModelError(CvdetectError):
    """A model is not available, or cannot be loaded or run."""

    exit_code = 3


class RegistryError(ModelError):
    """A models.yaml is not readable; the message names file, model, key and the nearest right key."""


class ModelFileError(ModelError):
    """A model file is truncated, malformed, or of another format."""


class FetchError(ModelError):
    """A model file could not be downloaded, or the download does not have the stated digest."""


class DecodeError(ModelError):
    """The network's output has another shape than its family's, or contains NaN."""


class BackendError(ModelError):
    """The requested backend, target or precision cannot run on this machine."""


class MissingPackage(ModelError, ImportError):
    """A Python package or system library is missing or of an unsuitable version."""


class SourceError(CvdetectError, OSError):
    """An input could not be read."""

    exit_code = 4


class SourceNotFound(SourceError, FileNotFoundError):
    """An input does not exist."""


class SinkError(CvdetectError, OSError):
    """An output could not be written."""

    exit_code = 4


class UnwritableName(SinkError):
    """A file could not be written because of its name: it is too long, or a folder has it."""


class Occupied(UnwritableName):
    """A file that the run did not write is in the place of an output; it is left as it is."""
