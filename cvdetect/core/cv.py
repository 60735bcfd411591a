"""The only module that imports OpenCV: ``from cvdetect.core.cv import cv2``.

A missing system library or package is reported in one sentence with a hint.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cvdetect.core.errors import MissingPackage

__all__ = ["NEEDS", "cv2", "quiet", "version_hint"]

NEEDS = "opencv-python>=4.13,<5"
_FLOOR, _CEILING = (4, 13), (5, 0)  # below, cv2.utils.logging is missing; OpenCV 5 has no importer for Darknet


def import_hint(reason: str) -> str:
    """What to do when ``import cv2`` failed with `reason`, in a sentence."""
    if "libGL" in reason or "libglib" in reason or "libgthread" in reason:
        return (
            f"OpenCV cannot be imported: {reason}.\n"
            "Install the system libraries (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0), or replace "
            "opencv-python by opencv-python-headless (same versions, no windows)."
        )
    if "No module named" in reason:
        return f"OpenCV is not installed: run pip install '{NEEDS}' (or opencv-python-headless of the same version)."
    return f"OpenCV cannot be imported: {reason}.\nReinstall it: pip install --force-reinstall '{NEEDS}'."


def version_hint(version: str | None) -> str:
    """What to do about this version of OpenCV (None: it states none), in a sentence; "" where it is suitable."""
    if version is None:
        return (
            "OpenCV's folder cv2 exists, but holds no OpenCV: uninstall all opencv packages, then run pip install "
            f"'{NEEDS}'."
        )
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or _FLOOR <= (int(found[1]), int(found[2])) < _CEILING:
        return ""
    return (
        f"OpenCV {version} is not suitable, cvdetect needs 4.13 or a later 4.x: run pip install '{NEEDS}' "
        "(or opencv-python-headless of the same version)."
    )


try:
    import cv2 as _cv2
except ImportError as error:
    raise MissingPackage(import_hint(str(error))) from error

if _hint := version_hint(getattr(_cv2, "__version__", None)):
    raise MissingPackage(_hint)

cv2: Any = _cv2  # its type stubs change from release to release

_quieting = threading.Lock()
_levels: list[int] = []  # OpenCV's before each block that is quiet now; the first is that of the program itself


@contextmanager
def quiet() -> Iterator[None]:
    """Silences OpenCV's log while failures are reported in a sentence of our own; in any thread.

    OpenCV has one level for the whole process: when the last block ends, it is what it was before the first began.
    """
    logging = cv2.utils.logging
    with _quieting:
        _levels.append(logging.getLogLevel())
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        with _quieting:
            level = _levels.pop()
            if not _levels:
                logging.setLogLevel(level)
