"""The one door to OpenCV: ``from cvdetect.cv import cv2``.

A missing system library or a missing package becomes one sentence with the cure; OpenCV's own log lines are kept to
errors, because what they warn of (a backend that falls back) is checked here before it is asked for.
"""

from __future__ import annotations

import os
from typing import Any

from cvdetect.errors import MissingPackage

__all__ = ["cv2", "import_cure"]

NEEDS = "opencv-python>=4.11,<5"


def import_cure(reason: str) -> str:
    """The sentence a person needs when ``import cv2`` failed with `reason`."""
    if "libGL" in reason or "libglib" in reason or "libgthread" in reason:
        return (
            f"OpenCV cannot be imported: {reason}.\n"
            "Install the system libraries (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0), or replace "
            "opencv-python by opencv-python-headless (same versions, no windows)."
        )
    if "No module named" in reason:
        return f"OpenCV is not installed: run pip install '{NEEDS}' (or opencv-python-headless of the same version)."
    return f"OpenCV cannot be imported: {reason}.\nReinstall it: pip install --force-reinstall '{NEEDS}'."


# FFmpeg inside OpenCV tells of every lost packet; what matters comes back as an error. Read when OpenCV first uses it.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

try:
    import cv2 as _cv2
except ImportError as error:
    raise MissingPackage(import_cure(str(error))) from error

cv2: Any = _cv2  # its type stubs change from release to release

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
