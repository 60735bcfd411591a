from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.printable import natural_key
from cvdetect.sources import Failed
from cvdetect.sources.images import Images, expand, read_image


def test_an_image_is_read_as_bgr_bytes(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    (tmp_path / "x.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), picture)


def test_not_found_is_also_pythons_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "x.png")
    with pytest.raises(SourceNotFound):
        read_image(tmp_path / "x.png")


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    data = cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()
    (tmp_path / "x.png").write_bytes(data[:40])
    with pytest.raises(SourceError, match="cut short or damaged"):
        read_image(tmp_path / "x.png")


def test_failed_inputs_come_in_their_place(tmp_path: Path, samples: Path) -> None:
    names = [str(tmp_path / "no.jpg"), str(samples / "dog.jpg")]
    first, second = Images(names).items()
    assert isinstance(first, Failed) and first.name == names[0]
    assert not isinstance(second, Failed) and (second.name, second.index) == (names[1], 1)


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a[1].jpg", "a1.jpg"):
        Path(name).write_bytes(b"x")
    assert expand(["a[1].jpg"]) == ["a[1].jpg"]
    assert expand(["a*.jpg"]) == ["a1.jpg", "a[1].jpg"] or expand(["a*.jpg"]) == ["a[1].jpg", "a1.jpg"]


def test_nothing_given_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        expand([])


@given(st.lists(st.integers(0, 5000), unique=True))
def test_natural_order_is_the_order_of_the_numbers(numbers: list[int]) -> None:
    names = [f"img{n}.jpg" for n in numbers]
    assert sorted(names, key=natural_key) == [f"img{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(), max_size=8))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert len(sorted(names, key=natural_key)) == len(names)
