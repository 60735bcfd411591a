"""Codecs are tried and used without a word from their libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("codec", ["AV01", "H265", "VP90", "FFV1"])
def test_an_encoder_prints_nothing_of_its_own(codec: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SVT_LOG"} | {"PYTHONPATH": str(ROOT)}
    words = f"from cvdetect.media.writer import can_write; can_write('.mkv', {codec!r})"
    done = subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
