from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import fields, is_dataclass
from inspect import getdoc, isfunction, signature
from pathlib import Path

import cvdetect

ERRORS = {
    "BackendError", "CvdetectError", "DecodeError", "FetchError", "MissingPackage", "ModelError", "ModelFileError",
    "RegistryError", "SinkError", "SourceError", "SourceNotFound", "UsageError",
}  # fmt: skip
JOBS = {
    "annotate": "AnnotateJob", "bench": "BenchJob", "detect_images": "ImageJob", "detect_video": "VideoJob",
    "detect_webcam": "WebcamJob", "diagnose": "DoctorJob", "evaluate": "EvalJob", "list_models": "ListModelsJob",
    "model_paths": "ModelPathsJob", "pull_models": "PullModelsJob", "remove_models": "RemoveModelsJob",
    "show_model": "ShowModelJob", "verify_models": "VerifyModelsJob", "write_text_graph": "TextGraphJob",
}  # fmt: skip
LIBRARY = {
    "Conf", "Controls", "DetectOptions", "Detection", "Detections", "Detector", "DrawStyle", "Frame", "ImageResult",
    "LabelSet", "LoggingProgress", "ModelChoice", "NullProgress", "Progress", "RunOptions", "__version__",
    "detect_frames", "draw", "load_models", "open_sink", "open_source", "read_image",
}  # fmt: skip


def reports() -> set[str]:
    return {name for name in cvdetect.__all__ if name.endswith("Report")}


def test_the_public_names_are_these_and_each_can_be_had() -> None:
    assert set(cvdetect.__all__) == ERRORS | set(JOBS) | set(JOBS.values()) | LIBRARY | reports()
    for name in cvdetect.__all__:
        assert getattr(cvdetect, name) is not None


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    assert dir(cvdetect) == sorted(cvdetect.__all__)


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(str(cvdetect.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name: str(node.module).removeprefix("cvdetect.")
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == cvdetect._HOMES
    assert set(seen) | {"__version__"} == set(cvdetect.__all__)


def test_jobs_are_frozen_values_and_their_functions_take_one_and_a_progress() -> None:
    for function, job in JOBS.items():
        assert is_dataclass(getattr(cvdetect, job)) and fields(getattr(cvdetect, job))
        assert list(signature(getattr(cvdetect, function)).parameters)[:2] == ["job", "progress"], function


def test_every_public_function_and_class_has_a_docstring() -> None:
    for name in set(cvdetect.__all__) - {"__version__"}:
        value = getattr(cvdetect, name)
        assert isfunction(value) or isinstance(value, type)
        assert getdoc(value), name


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import cvdetect; dir(cvdetect); print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"cv2", "numpy", "yaml", "logging", "requests", "av", "rich", "click"}
    assert not heavy & {name.partition(".")[0] for name in ast.literal_eval(done.stdout)}


def test_every_error_has_its_exit_code_and_pythons_own_base() -> None:
    assert issubclass(cvdetect.UsageError, ValueError) and cvdetect.UsageError.exit_code == 2
    assert issubclass(cvdetect.MissingPackage, ImportError) and cvdetect.MissingPackage.exit_code == 3
    assert issubclass(cvdetect.SourceError, OSError) and cvdetect.SourceError.exit_code == 4
    assert issubclass(cvdetect.SinkError, OSError) and cvdetect.SinkError.exit_code == 4
    assert {e.exit_code for e in (cvdetect.FetchError, cvdetect.BackendError, cvdetect.DecodeError)} == {3}
