"""Which files a choice of a model reads, so that no output of the run is written over one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from cvdetect.core.errors import CvdetectError
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import Silent
from cvdetect.models.registry import shipped_models, user_models
from cvdetect.models.resolve import resolve
from cvdetect.models.store import Store

__all__ = ["model_inputs"]


def model_inputs(*choices: ModelChoice) -> Iterator[Path]:
    """The files that were named, the models.yaml files, and the files that the chosen models have, here or later.

    A choice that cannot be met gives what it names; loading it reports what is wrong.
    """
    for choice in choices:
        values = (getattr(choice, one.name) for one in fields(choice))
        yield from (value for value in values if isinstance(value, Path))
        if choice.name:
            yield Path(choice.name)
        with suppress(CvdetectError):
            spec, store = resolve(choice, Silent()), Store(choice.cache)
            paths = [store.path_of(spec, file) for file in spec.files]
            yield from paths
            if any(file.found for file in spec.files):  # the names may have been found by way of Darknet's .data
                yield from (path.with_suffix(".data") for path in paths)
    yield from (shipped_models(), user_models())
