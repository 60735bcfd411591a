"""Object detection with OpenCV's DNN module. Public names are loaded when they are touched (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvdetect.detections import Detections
    from cvdetect.detector import Detector
    from cvdetect.errors import (
        BackendError,
        CvdetectError,
        DecodeError,
        FetchError,
        MissingPackage,
        ModelError,
        ModelFileError,
        RegistryError,
        SinkError,
        SourceError,
        SourceNotFound,
        UsageError,
    )
    from cvdetect.frame import Frame
    from cvdetect.options import Conf, DetectOptions, ModelChoice, RunOptions
    from cvdetect.sources.images import read_image
    from cvdetect.zoo.registry import load_models

__version__ = "0.1.0"

_HOMES = {
    "Conf": "options",
    "DetectOptions": "options",
    "Detections": "detections",
    "Detector": "detector",
    "Frame": "frame",
    "ModelChoice": "options",
    "RunOptions": "options",
    "load_models": "zoo.registry",
    "read_image": "sources.images",
    **dict.fromkeys(
        (
            "BackendError",
            "CvdetectError",
            "DecodeError",
            "FetchError",
            "MissingPackage",
            "ModelError",
            "ModelFileError",
            "RegistryError",
            "SinkError",
            "SourceError",
            "SourceNotFound",
            "UsageError",
        ),
        "errors",
    ),
}

__all__ = [
    "BackendError",
    "Conf",
    "CvdetectError",
    "DecodeError",
    "DetectOptions",
    "Detections",
    "Detector",
    "FetchError",
    "Frame",
    "MissingPackage",
    "ModelChoice",
    "ModelError",
    "ModelFileError",
    "RegistryError",
    "RunOptions",
    "SinkError",
    "SourceError",
    "SourceNotFound",
    "UsageError",
    "__version__",
    "load_models",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cvdetect' has no attribute {name!r}")
    return getattr(import_module(f"cvdetect.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
