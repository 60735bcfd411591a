from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from cvdetect.core.progress import LoggingProgress


def test_news_go_to_the_logger_by_their_weight(caplog: pytest.LogCaptureFixture) -> None:
    progress = LoggingProgress()
    with caplog.at_level(logging.DEBUG, "cvdetect"):
        progress.begin("detecting", 3, "frames")
        progress.advance()
        progress.note("taking 100% of it")
        progress.detail("a detail")
        progress.warn("a warning")
        progress.error("an error")
        progress.end()
    assert caplog.record_tuples == [
        ("cvdetect", logging.DEBUG, "detecting (3 frames)"),
        ("cvdetect", logging.INFO, "taking 100% of it"),
        ("cvdetect", logging.DEBUG, "a detail"),
        ("cvdetect", logging.WARNING, "a warning"),
        ("cvdetect", logging.ERROR, "an error"),
    ]


def test_a_logger_of_another_name_is_a_child() -> None:
    assert LoggingProgress("cvdetect.mine")._logger.parent is LoggingProgress()._logger


def test_nothing_is_written_where_the_application_sets_no_handlers() -> None:
    code = "from cvdetect.core.progress import LoggingProgress as P; P().warn('w'); P().error('e')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
