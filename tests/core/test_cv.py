from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from cvdetect.core.cv import cv2, quiet

levels = cv2.utils.logging


def test_the_level_that_was_there_is_restored_and_silence_lasts_until_the_last_has_left() -> None:
    before = levels.setLogLevel(levels.LOG_LEVEL_WARNING)
    try:
        with quiet():
            with quiet():
                assert levels.getLogLevel() == levels.LOG_LEVEL_SILENT
            assert levels.getLogLevel() == levels.LOG_LEVEL_SILENT
        assert levels.getLogLevel() == levels.LOG_LEVEL_WARNING
        with pytest.raises(ZeroDivisionError), quiet():
            raise ZeroDivisionError
        assert levels.getLogLevel() == levels.LOG_LEVEL_WARNING
    finally:
        levels.setLogLevel(before)


def test_threads_that_overlap_leave_the_level_as_it_was() -> None:
    before = levels.getLogLevel()
    entered, leave = threading.Barrier(3), threading.Event()

    def wait_inside() -> None:
        with quiet():
            entered.wait(5)
            leave.wait(5)

    threads = [threading.Thread(target=wait_inside) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait(5)
    assert levels.getLogLevel() == levels.LOG_LEVEL_SILENT
    leave.set()
    for thread in threads:
        thread.join()
    assert levels.getLogLevel() == before


def test_using_the_library_leaves_opencvs_level_and_the_environment_alone() -> None:
    code = (
        "import os, cv2; cv2.utils.logging.setLogLevel(5); before = dict(os.environ)\n"
        "import numpy, cvdetect; from cvdetect.core import cv; cvdetect.Detections.empty()\n"
        "assert cv2.utils.logging.getLogLevel() == 5 and dict(os.environ) == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
