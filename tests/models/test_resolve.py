"""A run looks a model up once, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvdetect.core.errors import ModelFileError
from cvdetect.core.options import ModelChoice
from cvdetect.models import resolve
from cvdetect.models.registry import shipped_models
from cvdetect.models.resolve import ModelLookup
from tests.conftest import Told


@pytest.fixture
def model(tmp_path: Path) -> ModelChoice:
    for name in ("m.cfg", "m.weights"):
        (tmp_path / name).write_text("[net]\n")
    return ModelChoice(cfg=tmp_path / "m.cfg")


def test_a_model_is_looked_up_once_and_its_companions_are_noted_once(model: ModelChoice, tmp_path: Path) -> None:
    heard = Told()
    lookup = ModelLookup(model, heard)
    assert {tmp_path / "m.cfg", tmp_path / "m.weights", shipped_models()} <= set(lookup.inputs())
    assert not heard.notes, "it is not used yet"
    assert lookup.resolved is lookup.resolved
    assert [note.split()[0] for note in heard.notes] == ["taking"]


def test_a_choice_that_cannot_be_met_gives_what_it_names_and_fails_once(
    model: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.weights").unlink()
    lookup = ModelLookup(model)
    assert tmp_path / "m.cfg" in set(lookup.inputs())
    monkeypatch.setattr(resolve, "resolve", lambda *_: pytest.fail("it is looked up again"))
    with pytest.raises(ModelFileError, match="weights file is missing"):
        _ = lookup.resolved


def test_nothing_is_looked_up_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "resolve", lambda *_: pytest.fail("it is looked up"))
    ModelLookup(ModelChoice(name="yolov3"))
