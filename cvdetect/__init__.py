"""Object detection with OpenCV's DNN module. Public names are loaded when they are touched (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvdetect.core.detections import Detections
    from cvdetect.core.errors import (
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
    from cvdetect.core.frame import Frame
    from cvdetect.core.options import Conf, DetectOptions, ModelChoice, RunOptions
    from cvdetect.inference.detector import Detector
    from cvdetect.models.registry import load_models
    from cvdetect.sources.images import read_image

__version__ = "0.1.0"

_HOMES = {
    "Conf": "core.options",
    "DetectOptions": "core.options",
    "Detections": "core.detections",
    "Detector": "inference.detector",
    "Frame": "core.frame",
    "ModelChoice": "core.options",
    "RunOptions": "core.options",
    "load_models": "models.registry",
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
        "core.errors",
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
