"""docs/scale.md says what benchmarks/scale.py works out, and that follows from its figures."""

from __future__ import annotations

import runpy
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))


def test_the_pages_tables_are_those_of_the_script(script: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in script["tables"]().split("\n\n"):
        assert table in page


def test_the_figures_that_stand_in_the_text_are_those_of_the_script(script: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    figures = script["FIGURES"]
    assert f"{figures.local_per_core_s} a second" in page and f"× {figures.listing:.0f} µs" in page
    assert f"{figures.export_quick:.0f} to {figures.export_slow:.0f} µs" in page
    assert f"{figures.picture_bytes / 1000:.0f} kB" in page and f"({figures.chunk_pictures} images)" in page


@pytest.mark.parametrize(
    ("machines", "drivers", "bound"), [(10, 1, "network"), (100, 1, "driver"), (100, 10, "network")]
)
def test_what_bounds_a_run(script: dict[str, Any], machines: int, drivers: int, bound: str) -> None:
    assert script["_Run"](script["FIGURES"], machines, drivers).bound == bound


def test_twice_the_pictures_take_twice_the_time(script: dict[str, Any]) -> None:
    figures = script["FIGURES"]
    once, twice = (script["_Run"](replace(figures, pictures=n), 10) for n in (10**8, 2 * 10**8))
    for part in ("listing", "detecting", "writing", "machine_hours"):
        assert getattr(twice, part) == pytest.approx(2 * getattr(once, part))
