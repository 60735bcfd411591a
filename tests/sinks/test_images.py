from __future__ import annotations

from pathlib import Path

import pytest

from cvdetect.sinks.images import output_names


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["a/x.jpg"], ["x_detected.jpg"]),
        (["a/x.jpg", "b/x.jpg", "c/y.jpg"], ["a_x_detected.jpg", "b_x_detected.jpg", "y_detected.jpg"]),
        (["x.jpg", "x.png"], ["x_detected.jpg", "x_detected.png"]),
        (["x"], ["x_detected.png"]),
        (["x.unknown"], ["x_detected.png"]),
    ],
)
def test_names_of_annotated_copies(inputs: list[str], names: list[str]) -> None:
    assert output_names(inputs, Path("out")) == {i: Path("out") / n for i, n in zip(inputs, names, strict=True)}


def test_no_two_inputs_share_an_output_however_alike_they_are() -> None:
    inputs = ["1/a/x.jpg", "2/a/x.jpg", "1/a/x.png", "1/a/x.odd", "1/a/x.strange", "x.jpg"]
    names = output_names(inputs, Path())
    assert len(set(names.values())) == len(inputs)
