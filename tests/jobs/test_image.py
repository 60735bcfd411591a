from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvdetect import ImageJob


@pytest.mark.parametrize("inputs", ["a.jpg", Path("a.jpg"), ["a.jpg"], (Path("a.jpg"),)])
def test_inputs_may_be_one_name_and_paths(inputs: Any) -> None:
    assert ImageJob(inputs=inputs).inputs == ("a.jpg",)
