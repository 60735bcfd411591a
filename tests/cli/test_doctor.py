from __future__ import annotations

import pytest

from cvdetect import media
from cvdetect.jobs import doctor as diagnose
from tests.conftest import Cli


def test_doctor_shows_versions_backends_codecs_and_models(cli: Cli) -> None:
    done = cli("doctor")
    assert done.code == 0, done
    for word in ("OpenCV", "backends", "cpu", "fp32", "auto takes", ".avi", "XVID", ".webm", "VP80", "cores", "cache"):
        assert word in done.out
    assert done.err == ""


def test_doctor_lists_the_codecs_that_video_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = cli("doctor").out
    assert f"PyAV {media.installed()}" in out and "H264" in out and ".ts" in out
    monkeypatch.setattr(media, "available", lambda: False)
    done = cli("doctor")
    assert done.code == 0 and "pip install 'av>=17'" in done.out and "H264" not in done.out and "XVID" in done.out


def test_doctor_names_two_packages_that_own_the_same_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "cv2_owners", lambda: ["opencv-python 4.14", "opencv-python-headless 4.14"])
    done = cli("doctor")
    assert done.code == 3
    assert "overwrite each other" in done.out


def test_doctor_names_an_opencv_that_cannot_read_darknet(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delattr(cv2.dnn, "readNetFromDarknet")
    done = cli("doctor")
    assert done.code == 3
    assert "install 'opencv-python>=4.13,<5'" in done.out
