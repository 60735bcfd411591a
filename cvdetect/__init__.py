"""Object detection with OpenCV's DNN module. Public names are loaded when they are touched (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvdetect.core.detections import Detection, Detections
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
    from cvdetect.core.labels import LabelSet
    from cvdetect.core.options import Conf, DetectOptions, ModelChoice, RunOptions
    from cvdetect.core.progress import Controls, LoggingProgress, NullProgress, Progress
    from cvdetect.inference.detector import Detector, detect_frames
    from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
    from cvdetect.jobs.annotate.run import annotate
    from cvdetect.jobs.bench import BenchJob, BenchReport, bench
    from cvdetect.jobs.doctor import DoctorJob, DoctorReport, diagnose
    from cvdetect.jobs.evaluate import EvalJob, EvalReport, evaluate
    from cvdetect.jobs.image import ImageJob, ImageReport, ImageResult, detect_images
    from cvdetect.jobs.models import (
        ListModelsJob,
        ListModelsReport,
        ModelPathsJob,
        ModelPathsReport,
        PullModelsJob,
        PullModelsReport,
        RemoveModelsJob,
        RemoveModelsReport,
        ShowModelJob,
        ShowModelReport,
        VerifyModelsJob,
        VerifyModelsReport,
        list_models,
        model_paths,
        pull_models,
        remove_models,
        show_model,
        verify_models,
    )
    from cvdetect.jobs.textgraph import TextGraphJob, TextGraphReport, write_text_graph
    from cvdetect.jobs.video import VideoJob, VideoReport, detect_video
    from cvdetect.jobs.webcam import WebcamJob, WebcamReport, detect_webcam
    from cvdetect.models.registry import load_models
    from cvdetect.sinks.draw import DrawStyle, draw
    from cvdetect.sinks.open import open_sink
    from cvdetect.sources.images import read_image
    from cvdetect.sources.open import open_source

__version__ = "0.1.0"

# Module → the public names that are in it.
_MODULES = {
    "core.detections": "Detection Detections",
    "core.errors": (
        "BackendError CvdetectError DecodeError FetchError MissingPackage ModelError ModelFileError RegistryError "
        "SinkError SourceError SourceNotFound UsageError"
    ),
    "core.frame": "Frame",
    "core.labels": "LabelSet",
    "core.options": "Conf DetectOptions ModelChoice RunOptions",
    "core.progress": "Controls LoggingProgress NullProgress Progress",
    "inference.detector": "Detector detect_frames",
    "jobs.annotate.job": "AnnotateJob AnnotateReport",
    "jobs.annotate.run": "annotate",
    "jobs.bench": "BenchJob BenchReport bench",
    "jobs.doctor": "DoctorJob DoctorReport diagnose",
    "jobs.evaluate": "EvalJob EvalReport evaluate",
    "jobs.image": "ImageJob ImageReport ImageResult detect_images",
    "jobs.models": (
        "ListModelsJob ListModelsReport ModelPathsJob ModelPathsReport PullModelsJob PullModelsReport "
        "RemoveModelsJob RemoveModelsReport ShowModelJob ShowModelReport VerifyModelsJob VerifyModelsReport "
        "list_models model_paths pull_models remove_models show_model verify_models"
    ),
    "jobs.textgraph": "TextGraphJob TextGraphReport write_text_graph",
    "jobs.video": "VideoJob VideoReport detect_video",
    "jobs.webcam": "WebcamJob WebcamReport detect_webcam",
    "models.registry": "load_models",
    "sinks.draw": "DrawStyle draw",
    "sinks.open": "open_sink",
    "sources.images": "read_image",
    "sources.open": "open_source",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AnnotateJob",
    "AnnotateReport",
    "BackendError",
    "BenchJob",
    "BenchReport",
    "Conf",
    "Controls",
    "CvdetectError",
    "DecodeError",
    "DetectOptions",
    "Detection",
    "Detections",
    "Detector",
    "DoctorJob",
    "DoctorReport",
    "DrawStyle",
    "EvalJob",
    "EvalReport",
    "FetchError",
    "Frame",
    "ImageJob",
    "ImageReport",
    "ImageResult",
    "LabelSet",
    "ListModelsJob",
    "ListModelsReport",
    "LoggingProgress",
    "MissingPackage",
    "ModelChoice",
    "ModelError",
    "ModelFileError",
    "ModelPathsJob",
    "ModelPathsReport",
    "NullProgress",
    "Progress",
    "PullModelsJob",
    "PullModelsReport",
    "RegistryError",
    "RemoveModelsJob",
    "RemoveModelsReport",
    "RunOptions",
    "ShowModelJob",
    "ShowModelReport",
    "SinkError",
    "SourceError",
    "SourceNotFound",
    "TextGraphJob",
    "TextGraphReport",
    "UsageError",
    "VerifyModelsJob",
    "VerifyModelsReport",
    "VideoJob",
    "VideoReport",
    "WebcamJob",
    "WebcamReport",
    "__version__",
    "annotate",
    "bench",
    "detect_frames",
    "detect_images",
    "detect_video",
    "detect_webcam",
    "diagnose",
    "draw",
    "evaluate",
    "list_models",
    "load_models",
    "model_paths",
    "open_sink",
    "open_source",
    "pull_models",
    "read_image",
    "remove_models",
    "show_model",
    "verify_models",
    "write_text_graph",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cvdetect' has no attribute {name!r}")
    return getattr(import_module(f"cvdetect.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
