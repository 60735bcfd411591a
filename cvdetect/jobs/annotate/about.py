"""What annotation files need to know of the model, so that they can be written without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cvdetect.core.labels import LabelSet

__all__ = ["About"]


@dataclass(frozen=True, slots=True)
class About:
    """The model's name, what ran it, and its labels."""

    model: str
    ran: dict[str, str]
    labels: LabelSet

    def as_json(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        labels = {
            "names": list(self.labels.names.items()),
            "category_ids": list(self.labels.category_ids.items()),
            "offset": self.labels.offset,
        }
        return {"model": self.model, "ran": self.ran, "labels": labels}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> About:
        """What `as_json` has made."""
        labels = value["labels"]
        names, category_ids = dict(map(tuple, labels["names"])), dict(map(tuple, labels["category_ids"]))
        return cls(value["model"], dict(value["ran"]), LabelSet(names, category_ids, labels["offset"]))
